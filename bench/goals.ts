/** What the project has promised of its speed, and whether a run of the benchmark keeps it. */

import type { Measured } from "./measure.js";
import { count, median, ratio } from "./numbers.js";
import type { Reading } from "./reading.js";
import type { Startup } from "./startup.js";

export interface Results {
  readonly workloads: readonly Measured[];
  readonly startup: Startup | undefined;
  readonly reading: Reading | undefined;
}

export interface Verdict {
  readonly goal: string;
  readonly found: string;
  /** Undefined: not measured. */
  readonly kept: boolean | undefined;
}

const STARTUP_MS = 40;
const MEDIAN_TO_STRACE = 0.5;
const MOST_TO_PINNED = 1.1;
const MOST_TO_OBSERVE = 1.15;
const MEDIAN_REPLAY = 1;
const METADATA_BYTES = 6;
const PEAK_MIB = 150;
const STAT_EVENTS = 10e6;
const STAT_SECONDS = 3;
const JSONL_PER_SECOND = 500_000;
/** Workloads whose bytes per event are promised. */
const SIZED = ["make", "find"];

export const toStrace = ({ wall }: Measured): number => wall.observe / wall.strace;
export const toPinned = ({ wall }: Measured): number => wall.observe / wall.pinned;
export const toObserve = ({ wall }: Measured): number => wall.record / wall.observe;
export const toRecord = ({ wall }: Measured): number => wall.replay / wall.record;

function highest(all: readonly Measured[], value: (one: Measured) => number): Measured | undefined {
  return [...all].sort((a, b) => value(b) - value(a))[0];
}

/** A limit on the worst workload. */
function worst(
  goal: string,
  all: readonly Measured[],
  value: (one: Measured) => number,
  limit: number,
): Verdict {
  const one = highest(all, value);
  if (one === undefined) return { goal, found: "not measured", kept: undefined };
  const over = all.filter((other) => value(other) > limit);
  const names = over.length > 1 ? `; over it: ${over.map(({ name }) => name).join(", ")}` : "";
  return { goal, found: `${ratio(value(one))} (${one.name})${names}`, kept: over.length === 0 };
}

/** A limit on the middle workload. */
function middle(
  goal: string,
  all: readonly Measured[],
  value: (one: Measured) => number,
  limit: number,
): Verdict {
  if (all.length === 0) return { goal, found: "not measured", kept: undefined };
  const found = median(all.map(value));
  return { goal, found: ratio(found), kept: found <= limit };
}

function startupVerdict(startup: Startup | undefined): Verdict {
  const goal = `trace record true: at most ${STARTUP_MS} ms more than node -e 0`;
  if (startup === undefined) return { goal, found: "not measured", kept: undefined };
  const found = `${ratio(startup.ratio)} times node -e 0`;
  return { goal, found, kept: startup.added <= STARTUP_MS };
}

function statVerdict(reading: Reading | undefined): Verdict {
  const goal = `stat of a ${count(STAT_EVENTS)} event trace: at most ${STAT_SECONDS} s of CPU`;
  if (reading === undefined) return { goal, found: "not measured", kept: undefined };
  const { statCpu, events } = reading;
  if (typeof statCpu === "string") return { goal, found: statCpu, kept: undefined };
  const allowed = (STAT_SECONDS * events) / STAT_EVENTS;
  const found = `${Math.round((statCpu / allowed) * 100)} % of what is allowed, ${count(events)} events`;
  return { goal, found, kept: statCpu <= allowed };
}

function jsonlVerdict(reading: Reading | undefined): Verdict {
  const goal = `show --format=jsonl: at least ${count(JSONL_PER_SECOND)} events per second`;
  if (reading === undefined) return { goal, found: "not measured", kept: undefined };
  const { jsonl } = reading;
  if (typeof jsonl === "string") return { goal, found: jsonl, kept: undefined };
  return { goal, found: `${count(jsonl)} events per second`, kept: jsonl >= JSONL_PER_SECOND };
}

export function verdicts({ workloads, startup, reading }: Results): Verdict[] {
  const sized = workloads.filter(({ name }) => SIZED.includes(name));
  return [
    startupVerdict(startup),
    middle(
      `median of observe/strace <= ${MEDIAN_TO_STRACE}`,
      workloads,
      toStrace,
      MEDIAN_TO_STRACE,
    ),
    middle(
      `median of record/strace <= ${MEDIAN_TO_STRACE}`,
      workloads,
      ({ wall }) => wall.record / wall.strace,
      MEDIAN_TO_STRACE,
    ),
    worst(
      `observe/pinned strace <= ${MOST_TO_PINNED} on each`,
      workloads,
      toPinned,
      MOST_TO_PINNED,
    ),
    worst(
      `record/pinned strace <= ${MOST_TO_PINNED} on each`,
      workloads,
      ({ wall }) => wall.record / wall.pinned,
      MOST_TO_PINNED,
    ),
    worst(`record/observe <= ${MOST_TO_OBSERVE} on each`, workloads, toObserve, MOST_TO_OBSERVE),
    middle(`median of replay/record <= ${MEDIAN_REPLAY}`, workloads, toRecord, MEDIAN_REPLAY),
    worst(
      `trace bytes per event without payload <= ${METADATA_BYTES} on ${SIZED.join(" and ")}`,
      sized,
      (one) => one.metadataBytes,
      METADATA_BYTES,
    ),
    worst(
      `peak memory of the recorder <= ${PEAK_MIB} MiB`,
      workloads,
      (one) => one.peakMiB,
      PEAK_MIB,
    ),
    statVerdict(reading),
    jsonlVerdict(reading),
  ];
}
