/** Programs in Python that read exports back, in the environment that setup.sh makes. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const { TRACE_EXPORT_VENV, XDG_CACHE_HOME, CI = "" } = process.env;
const place =
  TRACE_EXPORT_VENV ?? join(XDG_CACHE_HOME || join(homedir(), ".cache"), "trace-export-tests");
const python = join(place, "bin", "python");

/** Why tests have to be left out; undefined when they can run. Never in continuous integration: there, it is a failure. */
export const lackingPython: string | undefined =
  (CI !== "" && CI !== "false") || existsSync(join(place, "requirements.txt"))
    ? undefined
    : "there is no environment for it: test/export/setup.sh makes one";

/** The path of another program of that environment. */
export function installed(program: string): string {
  return join(place, "bin", program);
}

/** The name of a group of tests, with the reason where they are left out. */
export function titled(name: string): string {
  return lackingPython === undefined ? name : `${name} (left out: ${lackingPython})`;
}

/** Runs a program of this folder; its output as JSON. */
export function readBack<T>(program: string, ...args: string[]): T {
  const path = fileURLToPath(new URL(program, import.meta.url));
  const run = spawnSync(python, [path, ...args], { encoding: "utf8", maxBuffer: 1 << 30 });
  if (run.status !== 0) {
    throw new Error(`${program} failed: ${run.error?.message ?? ""}\n${run.stderr.slice(-4000)}`);
  }
  return JSON.parse(run.stdout) as T;
}
