/**
 * The environment that everything is run in: a temporary folder that takes all files, the same
 * variables for every tracer, and nothing of the user's own configuration.
 */

import { accessSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** Filled by `makeFolder`; one object, so that it can be handed out before. */
export const ENVIRONMENT: Record<string, string> = {
  PATH: process.env.PATH ?? "/usr/bin:/bin",
  LC_ALL: "C",
  GIT_CONFIG_NOSYSTEM: "1",
};

/** Makes the folder of this run; the second value removes it. */
export function makeFolder(): [string, () => void] {
  const base = mkdtempSync(join(tmpdir(), "trace-bench-"));
  const folders = { HOME: "home", TMPDIR: "tmp", XDG_CACHE_HOME: "cache", XDG_STATE_HOME: "state" };
  for (const [variable, name] of Object.entries(folders)) {
    const folder = join(base, name);
    mkdirSync(folder);
    ENVIRONMENT[variable] = folder;
  }
  return [base, () => rmSync(base, { recursive: true, force: true })];
}

/** Where a program is, as a shell would look it up. */
export function which(program: string): string | undefined {
  const folders = (ENVIRONMENT.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const folder of folders) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  return undefined;
}

/** The last CPU that this process may use: the first ones take most interrupts. */
export function pinCpu(): string {
  const status = readFileSync("/proc/self/status", "latin1");
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? "0";
  return list.split(/[-,]/).at(-1) ?? "0";
}

export function cpuCount(): number {
  return cpus().length;
}
