/** What was promised of queries and exports, and whether a run keeps it. */

import type { Verdict } from "../goals.js";
import { count, ratio } from "../numbers.js";
import type { Answered, RangeQuery, Written } from "./questions.js";

export interface Results {
  readonly events: number;
  readonly stat: Answered;
  readonly filter: Answered;
  readonly topFiles: Answered;
  readonly parquet: Written;
  readonly range: RangeQuery;
  readonly perfetto: Written;
  /** The long trace, if it was made. */
  readonly long?: Written;
}

export interface Conditions {
  readonly kernel: string;
  readonly cpus: number;
  readonly node: string;
  readonly rounds: number;
  readonly load: number;
  readonly recorded: boolean;
}

/** Times are promised for that many events. */
const EVENTS = 10e6;
const SECONDS = 1;
const PEAK_MIB = 500;
const ROWS_PER_SECOND = 1.5e6;
const BYTES_PER_ROW = 22;
const RANGE_MS = 50;
const PERFETTO_BYTES = 20;
const LONG_PEAK_MIB = 1024;

const mib = (value: number) => `${Math.round(value)} MiB`;
const percent = (share: number) => `${(share * 100).toFixed(1)} %`;

function asked(what: string, { cpu, share }: Answered, events: number): Verdict {
  const allowed = (SECONDS * events) / EVENTS;
  const chosen = share === undefined ? "" : `, chose ${percent(share)}`;
  return {
    goal: `${what} of ${count(EVENTS)} events: at most ${SECONDS} s of CPU`,
    found: `${cpu.toFixed(2)} s for ${count(events)}${chosen}`,
    kept: cpu <= allowed,
  };
}

function peak(results: Results): Verdict {
  const { stat, filter, topFiles, parquet } = results;
  const all = { stat, filter, "top files": topFiles, "Parquet export": parquet };
  const found = Object.entries(all).map(([name, { peakMiB }]) => `${name} ${mib(peakMiB)}`);
  return {
    goal: `peak memory of all of these: at most ${PEAK_MIB} MiB`,
    found: found.join(", "),
    kept: Object.values(all).every(({ peakMiB }) => peakMiB <= PEAK_MIB),
  };
}

function exported({ cpu, rows, bytes }: Written): Verdict[] {
  return [
    {
      goal: `Parquet export: at least ${count(ROWS_PER_SECOND)} rows per CPU-second`,
      found: `${count(rows / cpu)}, ${count(rows)} rows`,
      kept: rows / cpu >= ROWS_PER_SECOND,
    },
    {
      goal: `Parquet export: at most ${BYTES_PER_ROW} bytes per row`,
      found: ratio(bytes / rows),
      kept: bytes / rows <= BYTES_PER_ROW,
    },
  ];
}

function long(written: Written | undefined): Verdict {
  const goal = `export of 100M events: at most ${LONG_PEAK_MIB} MiB`;
  if (written === undefined) return { goal, found: "not measured", kept: undefined };
  const { rows, peakMiB, cpu, bytes } = written;
  const speed = `${count(rows / cpu)} rows per CPU-second, ${ratio(bytes / rows)} bytes per row`;
  return {
    goal,
    found: `${mib(peakMiB)} for ${count(rows)} rows; ${speed}`,
    kept: peakMiB <= LONG_PEAK_MIB && rows >= 99e6 ? true : rows < 99e6 ? undefined : false,
  };
}

function verdicts(results: Results): Verdict[] {
  const { events, stat, filter, topFiles, range, perfetto } = results;
  const perEvent = perfetto.bytes / perfetto.rows;
  return [
    asked("stat", stat, events),
    asked("a filter that chooses 1 %", filter, events),
    asked("@top-files", topFiles, events),
    ...exported(results.parquet),
    {
      goal: `a query of 1 % of the time over the Parquet files: at most ${RANGE_MS} ms`,
      found: `${range.cpu.toFixed(0)} ms of CPU, ${range.wall.toFixed(0)} ms of wall time, ${percent(range.share)} of the rows`,
      kept: range.cpu <= RANGE_MS,
    },
    peak(results),
    {
      goal: `Perfetto export: less than ${PERFETTO_BYTES} bytes per event, compressed`,
      found: `${ratio(perEvent)}, with a peak of ${mib(perfetto.peakMiB)}`,
      kept: perEvent < PERFETTO_BYTES,
    },
    long(results.long),
  ];
}

function line({ goal, found, kept }: Verdict): string {
  const mark = kept === undefined ? "not measured in full" : kept ? "ok" : "not ok";
  return `- ${mark}: ${goal}: ${found}`;
}

export function report(results: Results, conditions: Conditions): string {
  const { kernel, cpus, node, rounds, load, recorded } = conditions;
  const source = recorded
    ? "The trace was recorded for this (`--observe`): grep, find, tar and python3 -m compileall over the files of the machine."
    : "The trace was recorded before.";
  return `# Queries and exports of a long trace

Linux ${kernel}, ${cpus} CPUs, node ${node}; CPU time (user and system, start of node included), medians of ${rounds} rounds, peaks
of all rounds; load ${load.toFixed(1)} at the start. Made by \`npm run bench:query\`.

${source}

${verdicts(results).map(line).join("\n")}
`;
}
