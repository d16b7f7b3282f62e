/** What the project has promised of its speed, and whether a run of the benchmark keeps it. */

import { type Measured, toNative } from "./measure.js";
import { count, median, ratio } from "./numbers.js";
import type { Reading } from "./reading.js";
import type { Redis } from "./redis.js";
import type { Startup } from "./startup.js";
import { FORKS as FORKS_MADE } from "./workloads/sh_forks.js";

export interface Results {
  readonly workloads: readonly Measured[];
  readonly startup: Startup | undefined;
  readonly redis: Redis | undefined;
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
const MOST_TO_WATCH = 1.15;
const MOST_TO_RECORD = 1;
const METADATA_BYTES = 6;
const PEAK_MIB = 150;
const STAT_EVENTS = 10e6;
const STAT_SECONDS = 3;
const JSONL_PER_SECOND = 500_000;
/** How long a recorded program may take, of what it takes alone: recorded so that it can be replayed, and observed with paths. */
const LIMITS: ReadonlyMap<string, readonly [record: number, paths: number]> = new Map([
  ["getppid", [2, 1.5]],
  ["read64", [2.5, 1.7]],
  ["dd", [1.35, 1.2]],
  ["sqlite", [1.35, 1.2]],
  ["find", [1.35, 1.2]],
  ["tar", [1.35, 1.2]],
  ["grep", [1.35, 1.2]],
  ["gcc", [1.1, 1.06]],
  ["compileall", [1.1, 1.06]],
  ["node_script", [1.1, 1.06]],
  ["git_log", [1.1, 1.06]],
  ["npm_ls", [1.1, 1.06]],
  ["make_parallel", [1.25, 1.15]],
  ["sh_forks", [1.5, 1.35]],
]);
/** Requests per second of a recorded server, of those that it answers alone. */
const REDIS = { record: 0.85, paths: 0.95 };
/** What an exec may take more than alone, in microseconds. */
const PER_EXEC_US = 120;
/** Workloads that make many calls, of which the middle one has a limit too. */
const BUSY = ["dd", "sqlite", "find", "tar", "grep"];
const MEDIAN_BUSY = 1.2;
/** How much of a workload's calls is captured without a stop; less in a loop of forks. */
const IN_PROCESS = 0.99;
const IN_PROCESS_FORKS = 0.95;
const FORKS = "sh_forks";
/** Workloads whose bytes per event are promised. */
const SIZED = ["make", "find"];

export const toStrace = (one: Measured): number =>
  toNative(one, "observe") / toNative(one, "strace");
export const toPinned = (one: Measured): number =>
  toNative(one, "observe") / toNative(one, "pinned");
/** What it costs that a recording can be replayed, where both stop at each call. */
export const toWatch = ({ wall }: Measured): number => wall.stops / wall.watch;
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

/** Each workload's own limit. */
function limited(
  mode: "record" | "paths",
  all: readonly Measured[],
  limit: (of: readonly [number, number]) => number,
): Verdict {
  const goal = `${mode}/native within the limit of each workload`;
  const known = all.flatMap((one) => {
    const limits = LIMITS.get(one.name);
    return limits === undefined ? [] : [{ one, value: toNative(one, mode), most: limit(limits) }];
  });
  if (known.length === 0) return { goal, found: "not measured", kept: undefined };
  const over = known.filter(({ value, most }) => value > most);
  const told = over.map(({ one, value, most }) => `${one.name} ${ratio(value)} of ${most}`);
  const found = over.length === 0 ? `${known.length} of ${known.length}` : told.join(", ");
  return { goal, found, kept: over.length === 0 };
}

function redisVerdict(redis: Redis | undefined): Verdict {
  const percent = (value: number): string => `${Math.round(value * 100)} %`;
  const goal = `redis with ten clients: at least ${percent(REDIS.record)} of its requests recorded, and ${percent(REDIS.paths)} with paths`;
  if (redis === undefined) return { goal, found: "not measured", kept: undefined };
  const { record, observe, paths, strace } = redis;
  const found = `recorded ${percent(record)}, observed ${percent(observe)}, with paths ${percent(paths)}; strace ${percent(strace)}`;
  return { goal, found, kept: record >= REDIS.record && paths >= REDIS.paths };
}

/** What the loop of forks says of one exec, the fork included. */
function execVerdict(all: readonly Measured[], scale: number): Verdict {
  const goal = `added to each fork and exec of ${FORKS}: at most ${PER_EXEC_US} us`;
  const one = all.find(({ name }) => name === FORKS);
  if (one === undefined) return { goal, found: "not measured", kept: undefined };
  const per = (mode: "record" | "paths"): number =>
    ((one.wall[mode] - one.wall.native) * 1000) / (FORKS_MADE * scale);
  const found = `recorded ${per("record").toFixed(0)} us, with paths ${per("paths").toFixed(0)} us`;
  return { goal, found, kept: per("record") <= PER_EXEC_US };
}

function inProcess(all: readonly Measured[]): Verdict {
  const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;
  const goal = `calls captured without a stop: at least ${percent(IN_PROCESS)}, and ${percent(IN_PROCESS_FORKS)} of ${FORKS}`;
  if (all.length === 0) return { goal, found: "not measured", kept: undefined };
  const under = all.filter(
    (one) => !(one.inProcess >= (one.name === FORKS ? IN_PROCESS_FORKS : IN_PROCESS)),
  );
  const told = under.map((one) => `${one.name} ${percent(one.inProcess)}`);
  const found = under.length === 0 ? `${all.length} of ${all.length}` : told.join(", ");
  return { goal, found, kept: under.length === 0 };
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

export function verdicts(
  { workloads, startup, redis, reading }: Results,
  scale: number,
): Verdict[] {
  const sized = workloads.filter(({ name }) => SIZED.includes(name));
  return [
    startupVerdict(startup),
    limited("record", workloads, ([record]) => record),
    limited("paths", workloads, ([, paths]) => paths),
    middle(
      `median of record/native <= ${MEDIAN_BUSY} on ${BUSY.join(", ")}`,
      workloads.filter(({ name }) => BUSY.includes(name)),
      (one) => toNative(one, "record"),
      MEDIAN_BUSY,
    ),
    inProcess(workloads),
    execVerdict(workloads, scale),
    redisVerdict(redis),
    middle(
      `median of observe/strace <= ${MEDIAN_TO_STRACE}`,
      workloads,
      toStrace,
      MEDIAN_TO_STRACE,
    ),
    middle(
      `median of record/strace <= ${MEDIAN_TO_STRACE}`,
      workloads,
      (one) => toNative(one, "record") / toNative(one, "strace"),
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
      (one) => toNative(one, "record") / toNative(one, "pinned"),
      MOST_TO_PINNED,
    ),
    worst(`stops/watch <= ${MOST_TO_WATCH} on each`, workloads, toWatch, MOST_TO_WATCH),
    worst(`replay/record <= ${MOST_TO_RECORD} on each`, workloads, toRecord, MOST_TO_RECORD),
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
