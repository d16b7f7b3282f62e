/** Statistics as tables: for people, for strace's readers, for programs. */

import type { Painter } from "../report/color.js";
import { histogramText } from "../report/histogram.js";
import { type Cell, type Column, csvText, tableMarkdown, tableText } from "../report/table.js";
import { printable } from "../report/text.js";
import { counted, humanBytes, humanCount, humanDuration, percent } from "../report/units.js";
import type { Statistics, StatRow } from "./collect.js";
import type { Grouping, SortKey } from "./keys.js";

const sizes: Readonly<Record<SortKey, (row: StatRow) => number>> = {
  time: (row) => row.durations.total,
  calls: (row) => row.durations.count,
  errors: (row) => row.errors,
  name: () => 0,
  mean: (row) => row.durations.mean,
  min: (row) => row.durations.min,
  max: (row) => row.durations.max,
  p50: (row) => row.durations.percentile(0.5),
  p99: (row) => row.durations.percentile(0.99),
  bytes: (row) => row.read + row.written,
  cpu: (row) => (row.user ?? 0) + (row.system ?? 0),
  nothing: () => 0,
};

/** Largest first; equal ones by name. `nothing` keeps the order of first appearance. */
export function sorted(rows: readonly StatRow[], key: SortKey): StatRow[] {
  if (key === "nothing") return [...rows];
  const size = sizes[key];
  const sized = rows.map((row) => ({ row, size: size(row) }));
  sized.sort((a, b) => b.size - a.size || byName(a.row.name, b.row.name));
  return sized.map(({ row }) => row);
}

/** `p2` before `p10`. */
function byName(a: string, b: string): number {
  const [x, y] = [Number(a.replace(/^p/, "")), Number(b.replace(/^p/, ""))];
  if (Number.isFinite(x) && Number.isFinite(y) && x !== y) return x - y;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Columns of numbers; on a narrow terminal those that come late in `drops` are the last to go. */
function columns(by: Grouping): Column[] {
  const isFiles = by === "path" || by === "peer";
  const numbers = isFiles
    ? ["calls", "errors", "total", "%", "p99", "read", "written"]
    : by === "process"
      ? ["calls", "errors", "total", "%", "p99", "max", "user", "system"]
      : ["calls", "errors", "total", "%", "mean", "p50", "p99", "max"];
  const drops = isFiles ? ["p99", "%"] : by === "process" ? ["%", "p99", "max"] : ["%", "mean"];
  const number = (head: string): Column => {
    const drop = drops.indexOf(head);
    return { head, align: "right", ...(drop >= 0 && { drop }) };
  };
  return [...numbers.map(number), { head: by, align: "left", shrink: isFiles ? "middle" : "end" }];
}

function cells(row: StatRow, by: Grouping, whole: number): Cell[] {
  const { durations: d } = row;
  const errors = row.errors === 0 ? "" : humanCount(row.errors);
  const share = percent(d.total, whole);
  const first: Cell[] = [
    humanCount(d.count),
    errors === "" ? "" : { text: errors, style: "red" },
    humanDuration(d.total),
    share,
  ];
  const time = (share: number) => humanDuration(d.percentile(share));
  if (by === "path" || by === "peer") {
    const bytes = (count: number) => (count === 0 ? "" : humanBytes(count));
    return [...first, time(0.99), bytes(row.read), bytes(row.written), row.name];
  }
  if (by === "process") {
    const cpu = (nanos: number | undefined) => (nanos === undefined ? "" : humanDuration(nanos));
    return [...first, time(0.99), humanDuration(d.max), cpu(row.user), cpu(row.system), label(row)];
  }
  return [...first, humanDuration(d.mean), time(0.5), time(0.99), humanDuration(d.max), row.name];
}

function label(row: StatRow): string {
  return row.command === undefined ? row.name : `${row.name} ${row.command}`;
}

export interface TableFacts {
  readonly by: Grouping;
  /** Calls were only seen to begin: how long they took, whether they failed and what they moved is not known. */
  readonly isBegun?: boolean;
  readonly statistics: Statistics;
  /** The rows to show, in their order. */
  readonly rows: readonly StatRow[];
}

/** Columns and rows of the tables for people, the last row of all together: without the columns of which nothing is known. */
function table({ by, isBegun, rows, statistics }: TableFacts) {
  const { total } = statistics;
  const all = columns(by);
  const isKnown = (_: unknown, k: number) => !isBegun || ["calls", by].includes(all[k]?.head ?? "");
  return {
    columns: all.filter(isKnown),
    body: [...rows, total].map((row) => cells(row, by, total.durations.total).filter(isKnown)),
  };
}

export function statText(facts: TableFacts, paint: Painter, width: number): string {
  const { rows, statistics } = facts;
  const { columns, body } = table(facts);
  const foot = body.pop();
  const hidden = statistics.rows.length - rows.length;
  const more = hidden > 0 ? `${humanCount(hidden)} more rows; --top 0 shows all\n` : "";
  const note = facts.isBegun ? "how long calls took was not recorded (--backend=notify)\n" : "";
  return tableText(columns, body, { paint, width, ...(foot && { foot }) }) + more + note;
}

export function statMarkdown(facts: TableFacts): string {
  const { columns, body } = table(facts);
  return tableMarkdown(columns, body);
}

/** For each row, and for all together: how many calls took how long. */
export function statHistograms(facts: TableFacts, paint: Painter, width: number): string {
  const { rows, statistics } = facts;
  const shown = rows.length > 1 ? [...rows, statistics.total] : rows;
  const parts = shown.map((row) => {
    const calls = counted(row.durations.count, "call");
    const head = `${paint("bold", printable(label(row)))}  ${calls}, ${humanDuration(row.durations.total)}\n`;
    return head + histogramText(row.durations.octaves(), width, paint);
  });
  return parts.join("\n");
}

/** The layout of `strace -c -w`: seconds, microseconds per call. */
export function straceSummary({ rows, statistics }: TableFacts): string {
  const { total } = statistics;
  const rule = "------ ----------- ----------- --------- --------- ----------------\n";
  const line = (row: StatRow) => {
    const { count, total: nanos, mean } = row.durations;
    const share = (total.durations.total === 0 ? 0 : (100 * nanos) / total.durations.total).toFixed(
      2,
    );
    const errors = row.errors === 0 ? "" : String(row.errors);
    return `${share.padStart(6)} ${(nanos / 1e9).toFixed(6).padStart(11)} ${String(Math.floor(mean / 1000)).padStart(11)} ${String(count).padStart(9)} ${errors.padStart(9)} ${row.name}\n`;
  };
  const head = "% time     seconds  usecs/call     calls    errors syscall\n";
  return head + rule + rows.map(line).join("") + rule + line(total);
}

/** Nanoseconds and bytes as plain numbers. */
function numbers(row: StatRow) {
  const { durations: d } = row;
  return {
    name: row.name,
    command: row.command,
    calls: d.count,
    errors: row.errors,
    total: d.total,
    mean: d.mean,
    min: d.count === 0 ? 0 : d.min,
    p50: d.percentile(0.5),
    p90: d.percentile(0.9),
    p99: d.percentile(0.99),
    max: d.max,
    read: row.read,
    written: row.written,
    user: row.user,
    system: row.system,
  };
}

export function statJson(facts: TableFacts, histogram: boolean): string {
  const row = (one: StatRow) => {
    const { read, written, ...rest } = numbers(one);
    const bytes = facts.by === "path" || facts.by === "peer" ? { read, written } : {};
    return { ...rest, ...bytes, ...(histogram && { histogram: one.durations.octaves() }) };
  };
  const document = {
    schema: "trace.stat",
    version: 1,
    by: facts.by,
    unit: "ns",
    rows: facts.rows.map(row),
    total: row(facts.statistics.total),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

export function statCsv(facts: TableFacts): string {
  const rows = facts.rows.map((row) => Object.values(numbers(row)));
  const heads = Object.keys(numbers(facts.statistics.total)).map((name) =>
    /^(?:name|command|calls|errors)$/.test(name)
      ? name
      : `${name}_${/read|written/.test(name) ? "bytes" : "ns"}`,
  );
  return csvText([heads, ...rows]);
}
