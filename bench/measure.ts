/** Measures the workloads: all modes of a workload in turn, round after round. */

import { join } from "node:path";
import { openTrace } from "../src/trace/open.js";
import { median } from "./numbers.js";
import { peakMemory, wallTime } from "./run.js";
import {
  commandLine,
  MODES,
  type Mode,
  REPLAYED_FILE,
  recordCommand,
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
}

export interface Measured extends Recorded {
  readonly name: string;
  readonly title: string;
  /** Median wall times in milliseconds. */
  readonly wall: Readonly<Record<Mode, number>>;
  readonly eventsPerSecond: number;
}

export async function measure(
  workload: Prepared,
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
      workload.reset?.();
      const argv = commandLine(mode, tracers, workload.dir, workload.argv);
      times[mode].push(await wallTime({ argv, dir: workload.dir, base }));
    }
  }
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
  trace.close();
  return {
    events,
    metadataBytes: (total - content - objects) / events,
    payloadBytes: content / events,
    peakMiB,
  };
}
