/** The ways in which a program is run: alone, and under each tracer. */

import { execFileSync } from "node:child_process";
import { cpSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pinCpu } from "./environment.js";

export const MODES = ["native", "trace", "strace", "pinned"] as const;
export type Mode = (typeof MODES)[number];

export interface Tracers {
  /** `dist/cli.cjs` of the build that is measured. */
  readonly cli: string;
  /** CPU of pinned strace. */
  readonly cpu: string;
}

/** Measures a copy of the build: whoever builds meanwhile neither breaks a run nor mixes two builds. */
export function tracers(cli: string, base: string): Tracers {
  const dist = join(base, "build", "dist");
  cpSync(dirname(cli), dist, { recursive: true });
  return { cli: join(dist, basename(cli)), cpu: pinCpu() };
}

/** Name of the trace file that a recording leaves in its folder. */
export const TRACE_FILE = "run.trace";

/** What the user would type, so that the start of node is part of it. */
export function recordCommand({ cli }: Tracers, dir: string, argv: readonly string[]): string[] {
  const file = join(dir, TRACE_FILE);
  return [process.execPath, cli, "record", "-q", "--force", "-o", file, ...argv];
}

export function commandLine(
  mode: Mode,
  tracers: Tracers,
  dir: string,
  argv: readonly string[],
): readonly string[] {
  const strace = ["strace", "-f", "-o", "/dev/null", ...argv];
  switch (mode) {
    case "native":
      return argv;
    case "trace":
      return recordCommand(tracers, dir, argv);
    case "strace":
      return strace;
    case "pinned":
      return ["taskset", "-c", tracers.cpu, ...strace];
  }
}

export function straceVersion(): string {
  const first = execFileSync("strace", ["-V"], { encoding: "utf8" }).split("\n")[0] ?? "";
  return first.replace("strace -- version ", "strace ");
}
