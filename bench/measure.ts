/** Measures the workloads: all modes of a workload in turn, round after round. */

import { join } from "node:path";
import { coverageOf } from "../src/trace/coverage.js";
import { openTrace } from "../src/trace/open.js";
import { median } from "./numbers.js";
import { peakMemory, wallTime } from "./run.js";
import {
  commandLine,
  MODES,
  type Mode,
  REPLAYED_FILE,
  recordCommand,
  SHORT_MODES,
  type Tracers,
} from "./tracers.js";
import type { Prepared } from "./workload.js";

/** What one recording looks like from outside. */
export interface Recorded {
  readonly events: number;
  /** Of the file without the bytes that programs read and wrote. */
  readonly metadataBytes: number;
  readonly payloadBytes: number;
  readonly peakMiB: number;
  /** How much of its calls was captured without a stop, from 0 to 1. */
  readonly inProcess: number;
}

export interface Measured extends Recorded {
  readonly name: string;
  readonly title: string;
  /** Median wall times in milliseconds: of all of the work, and of a share of it in modes of SHORT_MODES. */
  readonly wall: Readonly<Record<Mode, number>>;
  readonly eventsPerSecond: number;
}

/** Wall time under a tracer, of what the same work takes without one. */
export function toNative({ wall }: Measured, mode: Mode): number {
  return wall[mode] / (SHORT_MODES.has(mode) ? wall.short : wall.native);
}

/** `share` is the same workload with the work that modes of SHORT_MODES get; the workload itself where they get all of it. */
export async function measure(
  workload: Prepared,
  share: Prepared,
  tracers: Tracers,
  base: string,
  rounds: number,
): Promise<Measured> {
  // The recording that is looked at closely is not timed; it also warms the caches of everything.
  const recorded = await recordOnce(workload, tracers, base);
  const times = perMode((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another mode, so that none always follows the same one.
    for (let k = 0; k < MODES.length; k++) {
      const mode = MODES[(round + k) % MODES.length] ?? "native";
      if (mode === "short" && share === workload) continue;
      const { dir, argv: program, reset } = SHORT_MODES.has(mode) ? share : workload;
      reset?.();
      const argv = commandLine(mode, tracers, dir, program);
      times[mode].push(await wallTime({ argv, dir, base }));
    }
  }
  if (share === workload) times.short.push(...times.native);
  const wall = perMode((mode) => median(times[mode]));
  const eventsPerSecond = recorded.events / (wall.record / 1000);
  return { ...recorded, name: workload.name, title: workload.title, wall, eventsPerSecond };
}

function perMode<T>(value: (mode: Mode) => T): Record<Mode, T> {
  return Object.fromEntries(MODES.map((mode) => [mode, value(mode)])) as Record<Mode, T>;
}

async function recordOnce(workload: Prepared, tracers: Tracers, base: string): Promise<Recorded> {
  const { dir, argv } = workload;
  workload.reset?.();
  const command = recordCommand(tracers, dir, argv, { file: REPLAYED_FILE });
  const peakMiB = await peakMemory({ argv: command, dir, base });
  const trace = await openTrace(join(dir, REPLAYED_FILE));
  const { total, content, objects } = trace.info.bytes;
  const { eventCount: events } = trace;
  const { inProcess = 0, trapped = 0 } = coverageOf(trace.info) ?? {};
  trace.close();
  return {
    events,
    metadataBytes: (total - content - objects) / events,
    payloadBytes: content / events,
    peakMiB,
    inProcess: inProcess / (inProcess + trapped),
  };
}
