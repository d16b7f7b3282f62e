/** The ways in which a program is run: alone, and under each tracer. */

import { execFileSync } from "node:child_process";
import { cpSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pinCpu } from "./environment.js";

/**
 * `record` is `trace record`, whose trace can be replayed, and `replay` replays what it made; `observe` is `trace record
 * --observe`, and `paths` the same with `--data=paths`, which is what strace takes down. `stops` and `watch` are `record` and
 * `observe` with `--backend=ptrace`; `pinned` is strace on one CPU. `short` is the program alone with the share of its work that
 * tracers get that stop at each call.
 */
export const MODES = [
  "native",
  "short",
  "record",
  "observe",
  "paths",
  "stops",
  "watch",
  "replay",
  "strace",
  "pinned",
] as const;
export type Mode = (typeof MODES)[number];

/** Modes that are given a share of the work, and are compared with the program alone on that share. */
export const SHORT_MODES: ReadonlySet<Mode> = new Set([
  "short",
  "stops",
  "watch",
  "strace",
  "pinned",
]);

export interface Tracers {
  /** `dist/trace` of the build that is measured. */
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
/** The trace that is replayed: of a recording that was not timed. */
export const REPLAYED_FILE = "replayed.trace";

export interface Recording {
  readonly observe?: boolean;
  /** By `--backend=ptrace`. */
  readonly stops?: boolean;
  /** Without the bytes that calls move. */
  readonly paths?: boolean;
  /** Name of the file; default: TRACE_FILE. */
  readonly file?: string;
}

/** What the user would type, so that the start of the recorder is part of it. */
export function recordCommand(
  { cli }: Tracers,
  dir: string,
  argv: readonly string[],
  { observe = false, stops = false, paths = false, file = TRACE_FILE }: Recording = {},
): string[] {
  const mode = [
    ...(observe ? ["--observe"] : []),
    ...(stops ? ["--backend=ptrace"] : []),
    ...(paths ? ["--data=paths"] : []),
  ];
  const out = ["-q", "--force", "-o", join(dir, file)];
  return [cli, "record", ...mode, ...out, ...argv];
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
    case "short":
      return argv;
    case "observe":
      return recordCommand(tracers, dir, argv, { observe: true });
    case "paths":
      return recordCommand(tracers, dir, argv, { observe: true, paths: true });
    case "watch":
      return recordCommand(tracers, dir, argv, { observe: true, stops: true });
    case "record":
      return recordCommand(tracers, dir, argv);
    case "stops":
      return recordCommand(tracers, dir, argv, { stops: true });
    case "replay":
      return [tracers.cli, "replay", "-q", join(dir, REPLAYED_FILE)];
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
