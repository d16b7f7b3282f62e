/**
 * What `trace record` does around its recordings when it is asked for more than one plain one: repeats them, varies the
 * seed, throws away traces of runs that succeeded, and packs what it keeps.
 */

import { randomInt } from "node:crypto";
import { rmSync } from "node:fs";
import { constants } from "node:os";
import type { RecordOptions, RecordResult } from "../record.js";

export interface RunsOptions {
  readonly keep: "always" | "on-failure";
  readonly pack?: boolean;
  /** The first seed; true: any. Later runs take the numbers after it. */
  readonly chaos?: number | true;
  readonly runs?: number;
  readonly untilFailure?: boolean;
}

export interface RunsResult {
  /** Of the last run. */
  readonly result: RecordResult;
  /** Whether the trace of that run is still there. */
  readonly isKept: boolean;
  /** What went wrong besides, a line each. */
  readonly warnings: readonly string[];
  /** Lines for who asks for details. */
  readonly remarks: readonly string[];
}

/** Seeds that are made up are short, since people type them again. */
const SEEDS = 2 ** 32;

export async function recordRuns(
  options: RunsOptions,
  record: (changes: Partial<RecordOptions>) => Promise<RecordResult>,
  wasAskedToEnd: () => boolean,
): Promise<RunsResult> {
  const { untilFailure = false } = options;
  const onlyFailures = untilFailure || options.keep === "on-failure";
  const most = options.runs ?? (untilFailure ? Number.POSITIVE_INFINITY : 1);
  const seed = options.chaos === true ? randomInt(SEEDS) : options.chaos;
  const warnings: string[] = [];
  const remarks: string[] = [];
  let failures = 0;
  for (let run = 1; ; run++) {
    const chaos = seed === undefined ? undefined : (seed + run - 1) % Number.MAX_SAFE_INTEGER;
    const result = await record(chaos === undefined ? {} : { chaos });
    const failed = result.exitCode !== 0;
    if (failed) failures += 1;
    const isKept = failed || !onlyFailures || !remove(result.path);
    if (isKept && options.pack === true) {
      const packed = await pack(result.path);
      warnings.push(...packed.warnings);
      remarks.push(...packed.remarks);
    }
    const isOver = run >= most || (untilFailure && failed);
    if (!isOver && !wasStopped(result) && !wasAskedToEnd()) continue;
    const reason = untilFailure ? "--until-failure" : "--keep=on-failure";
    if (!isKept) remarks.push(`the program succeeded, so its trace was removed (${reason})`);
    if (run > 1) remarks.push(`${run} runs, ${failures} failed`);
    if (isKept && chaos !== undefined)
      remarks.push(`the same order of threads again: --chaos=${chaos}`);
    return { result, isKept, warnings, remarks };
  }
}

/** `false`: it is still there, since its folder was made read-only, for example. */
function remove(path: string): boolean {
  try {
    rmSync(path, { force: true });
    return true;
  } catch {
    return false;
  }
}

/** Whoever ends a run from the keyboard or by kill wants no other one. */
function wasStopped({ exitSignal }: RecordResult): boolean {
  const { SIGINT, SIGTERM, SIGQUIT, SIGHUP } = constants.signals;
  return exitSignal !== undefined && [SIGINT, SIGTERM, SIGQUIT, SIGHUP].includes(exitSignal);
}

/** Puts the mapped files into a trace. What goes wrong does not change the end of the program, and is said. */
async function pack(path: string): Promise<Pick<RunsResult, "warnings" | "remarks">> {
  const [{ openTrace }, { counted, humanBytes }] = await Promise.all([
    import("../trace/open.js"),
    import("../report/units.js"),
  ]);
  try {
    const trace = await openTrace(path);
    const { added, addedBytes, missing } = await trace.pack(undefined, true);
    trace.close();
    return {
      warnings: missing.map((file) => `not packed, since it is not in the cache: ${file.path}`),
      remarks: [`packed ${counted(added, "file")} (${humanBytes(addedBytes)}) into it`],
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { warnings: [`not packed: ${reason}`], remarks: [] };
  }
}
