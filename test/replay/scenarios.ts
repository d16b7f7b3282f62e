/**
 * The real programs of the table: every folder of `programs/` is one. `run` (a script in any language, by its first line) is
 * what is recorded, in a copy of the folder; `setup`, when there is one, makes its files before, unrecorded. Comments at the
 * head of `run` say the rest:
 *
 *   # title: what is run, as the table names it
 *   # needs: programs that must be installed
 *   # note: what the table should say about it
 */

import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram } from "../support/tools.js";
import type { Place } from "./faithful.js";

export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  readonly needs: readonly string[];
}

/** A scenario does not come as far as being recorded. */
export class SetupError extends Error {}

const FOLDER = fileURLToPath(new URL("./programs/", import.meta.url));
/** Where compilers keep what they compiled before; only setups use it. */
const CACHE = fileURLToPath(new URL("../../node_modules/.cache/scenarios/", import.meta.url));
const SETUP_LIMIT_MS = 300_000;

export function loadScenarios(): Scenario[] {
  return readdirSync(FOLDER).sort().map(load);
}

function load(name: string): Scenario {
  const text = readFileSync(join(FOLDER, name, "run"), "utf8");
  const field = (key: string): string | undefined =>
    new RegExp(`^(?:#|//) ${key}: (.*)$`, "m").exec(text)?.[1];
  const title = field("title");
  if (title === undefined) throw new SetupError(`${name}/run names no title`);
  const needs = (field("needs") ?? "").split(" ").filter((program) => program !== "");
  return { name, title, note: field("note") ?? "", needs };
}

/** Programs that a scenario needs and that are not installed. */
export function missingPrograms({ needs }: Scenario): string[] {
  const system = ["/usr/sbin", "/sbin"];
  return needs.filter(
    (program) =>
      findProgram(program) === undefined && !system.some((dir) => existsSync(join(dir, program))),
  );
}

/** Lays out a scenario in an empty place. Gives the words that run it. */
export function prepare({ name }: Scenario, place: Place): readonly string[] {
  // Some share a source by a link.
  cpSync(join(FOLDER, name), place.work, { recursive: true, dereference: true });
  chmodSync(place.work, 0o777);
  if (existsSync(join(place.work, "setup"))) {
    mkdirSync(CACHE, { recursive: true });
    const done = spawnSync(join(place.work, "setup"), [], {
      cwd: place.work,
      env: {
        ...place.env,
        GOCACHE: join(CACHE, "go"),
        GOTOOLCHAIN: "local",
        GO111MODULE: "off",
        ...toolchains(),
      },
      encoding: "utf8",
      timeout: SETUP_LIMIT_MS,
    });
    if (done.status !== 0)
      throw new SetupError(`setup of ${name}: ${done.error?.message ?? done.stderr}`);
  }
  return [join(place.work, "run")];
}

/** rustup finds its compilers by these, or by a home directory that scenarios do not have. */
export function toolchains(): Record<string, string> {
  const {
    HOME = "/",
    RUSTUP_HOME = join(HOME, ".rustup"),
    CARGO_HOME = join(HOME, ".cargo"),
  } = process.env;
  return { RUSTUP_HOME, CARGO_HOME };
}
