/** Builds the small programs of `fixtures`: `programs`, one per syscall or family, and `replay`, which prove replay. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

export type FixtureSet = "programs" | "replay";

export interface Fixtures {
  /** Where the built programs are. */
  readonly dir: string;
  readonly names: readonly string[];
  /** A line for each that this machine cannot build. */
  readonly skipped: readonly string[];
}

/** A fixture does not compile, although its compiler is there. */
export class BuildError extends Error {}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const KINDS = [".c", ".S", ".cpp", ".go", ".rs", ".java", ".py", ".js"];

/** The names of all programs of a set, built or not. */
export function fixtureNames(set: FixtureSet): string[] {
  return readdirSync(join(ROOT, "fixtures", set))
    .filter((file) => KINDS.includes(extname(file)))
    .map((file) => basename(file, extname(file)))
    .sort();
}

/** Builds what is not built yet. The folder is kept for the next time; test files that want it at once take turns. */
export function buildFixtures(set: FixtureSet): Fixtures {
  const dir = join(
    ROOT,
    "node_modules",
    ".cache",
    set === "programs" ? "fixtures" : `fixtures-${set}`,
  );
  mkdirSync(dir, { recursive: true });
  const words = [
    join(dir, ".lock"),
    "make",
    "-k",
    "-j2",
    "-C",
    join(ROOT, "fixtures"),
    `SET=${set}`,
    `OUT=${dir}`,
  ];
  const made = spawnSync("flock", words, { encoding: "utf8", maxBuffer: 1 << 26 });
  if (made.status !== 0) throw new BuildError(`fixtures do not build:\n${made.stderr}`);
  const skipped = made.stdout.split("\n").filter((line) => line.startsWith("skipped "));
  return { dir, names: fixtureNames(set).filter((name) => existsSync(join(dir, name))), skipped };
}
