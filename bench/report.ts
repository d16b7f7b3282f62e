/**
 * The report: two tables and the verdicts, in Markdown that also reads well on a terminal. Only
 * ratios and sizes: wall times belong to the machine and are not told, and neither is its name.
 */

import {
  type Results,
  toPinned,
  toRecord,
  toStrace,
  toWatch,
  type Verdict,
  verdicts,
} from "./goals.js";
import { type Measured, toNative } from "./measure.js";
import { count, median, ratio } from "./numbers.js";

/** Above this load somebody else was at work, and the ratios are worth less. */
export const QUIET_LOAD = 0.5;

export interface Conditions {
  readonly kernel: string;
  readonly cpus: number;
  readonly node: string;
  readonly strace: string;
  readonly rounds: number;
  /** One-minute load average at the start. */
  readonly load: number;
  readonly quick: boolean;
  /** How much of the work the workloads had. */
  readonly scale: number;
  /** Workloads that could not run, with the reason. */
  readonly skipped: readonly string[];
}

/** Columns, the first to the left and the others to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const [head = []] = rows;
  const widths = head.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0), 3),
  );
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0);
  const line = (row: readonly string[]): string => `| ${row.map(pad).join(" | ")} |`;
  const rule = widths.map((width, k) =>
    k === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`,
  );
  return [line(head), `| ${rule.join(" | ")} |`, ...rows.slice(1).map(line)].join("\n");
}

function ratios(all: readonly Measured[]): string {
  const columns: readonly (readonly [string, (one: Measured) => number])[] = [
    ...(["record", "observe", "paths", "stops", "strace", "pinned"] as const).map(
      (mode): [string, (one: Measured) => number] => [
        `${mode}/native`,
        (one) => toNative(one, mode),
      ],
    ),
    ["observe/strace", toStrace],
    ["observe/pinned", toPinned],
    ["stops/watch", toWatch],
    ["replay/record", toRecord],
  ];
  return table([
    ["wall time", ...columns.map(([name]) => name)],
    ...all.map((one) => [one.title, ...columns.map(([, value]) => ratio(value(one)))]),
    ["median", ...columns.map(([, value]) => ratio(median(all.map(value))))],
  ]);
}

function recordings(all: readonly Measured[]): string {
  const head = [
    "recording",
    "events",
    "events/s",
    "in-process",
    "bytes/event",
    "payload/event",
    "peak MiB",
  ];
  const row = (one: Measured): string[] => [
    one.title,
    count(one.events),
    count(one.eventsPerSecond),
    Number.isNaN(one.inProcess) ? "-" : `${(one.inProcess * 100).toFixed(1)} %`,
    one.metadataBytes.toFixed(2),
    one.payloadBytes.toFixed(2),
    one.peakMiB.toFixed(0),
  ];
  return table([head, ...all.map(row)]);
}

function verdictLine({ goal, found, kept }: Verdict): string {
  const word = kept === undefined ? "not measured" : kept ? "ok" : "not ok";
  const detail = found === "not measured" ? "" : `: ${found}`;
  return `- ${word}: ${goal}${detail}`;
}

function notes(conditions: Conditions): string[] {
  const { load, quick, skipped } = conditions;
  const out: string[] = [];
  if (load > QUIET_LOAD) {
    out.push(
      `The machine was not quiet (load average ${load.toFixed(1)} at the start): do not trust this.`,
    );
  }
  if (quick) out.push("A quick run with less work: good for a first look only.");
  return [...out, ...skipped.map((reason) => `Left out: ${reason}.`)];
}

export function report(results: Results, conditions: Conditions): string {
  const { kernel, cpus, node, strace, rounds } = conditions;
  const { workloads } = results;
  const machine = `Linux ${kernel}, ${cpus} CPUs, node ${node}, ${strace}, medians of ${rounds} rounds`;
  const about = [
    "`record` is `trace record`, whose trace can be replayed, `replay` is `trace replay` of it, with the start of",
    "node in it. `observe` is `trace record --observe`, and `paths` that with `--data=paths`, which is what strace",
    "takes down. `stops` and `watch` are `record` and `observe` with `--backend=ptrace`. `strace` is",
    "`strace -f -o /dev/null`, `pinned` the same kept on one CPU. The modes took turns in one run. A workload takes",
    "half a second or more alone; what stops at each call (`stops`, `watch`, `strace`, `pinned`) is given a share of",
    "it, and compared with the program alone on that share. In-process are calls that were captured without a stop.",
    "Bytes per event are of the file without the bytes that programs read and wrote, which are counted as payload,",
    "compressed.",
  ].join("\n");
  const parts = [
    "# Benchmark",
    `${machine}.`,
    ...notes(conditions),
    ...(workloads.length === 0 ? [] : [about, ratios(workloads), recordings(workloads)]),
    verdicts(results, conditions.scale).map(verdictLine).join("\n"),
  ];
  return `${parts.join("\n\n")}\n`;
}
