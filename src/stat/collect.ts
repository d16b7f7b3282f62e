/**
 * Counts the calls of a trace by syscall, process, thread, path or peer. Parts of calls that the
 * kernel restarted are not counted: the call that tells the whole is.
 */

import { syscallName } from "../decode/context.js";
import type { NativeTally } from "../native.js";
import { CallFacts } from "../query/facts.js";
import { columnsOfBoth, type Selection } from "../query/select.js";
import { type ColumnGroup, type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { inUtf8 } from "../trace/byte_text.js";
import { traceError } from "../trace/failure.js";
import { History } from "../trace/history.js";
import { threadName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { BUCKETS, Durations } from "./durations.js";
import type { Grouping } from "./keys.js";

export interface StatRow {
  readonly name: string;
  /** The command line, of a process. */
  readonly command?: string;
  readonly errors: number;
  readonly durations: Durations;
  /** Bytes that the calls read and wrote. */
  readonly read: number;
  readonly written: number;
  /** CPU time of the process in nanoseconds, where it is known. */
  readonly user?: number;
  readonly system?: number;
}

/** Rows beyond this many are counted together. */
const MAX_ROWS = 100_000;
const OTHERS = "(others)";

class Group implements StatRow {
  errors = 0;
  read = 0;
  written = 0;
  user?: number;
  system?: number;
  command?: string;
  readonly durations = new Durations();

  constructor(readonly name: string) {}
}

/** Gives the group of an event, or undefined for what is in none. */
type Keyer = (batch: EventBatch, i: number) => Group | undefined;

const columnsOf: Readonly<Record<Grouping, readonly ColumnGroup[]>> = {
  syscall: ["core"],
  process: ["core"],
  thread: ["core"],
  path: ["results", "contents", "refs"],
  peer: ["results", "contents", "refs"],
};

export interface Statistics {
  readonly rows: readonly StatRow[];
  /** All rows together. */
  readonly total: StatRow;
  /** Why a part of the trace was not counted. */
  readonly failure: unknown;
}

export async function collectStatistics(
  trace: Trace,
  by: Grouping,
  selection: Selection,
): Promise<Statistics> {
  const groups = new Groups();
  const facts = new CallFacts(trace);
  const keyer = keyerOf(trace, by, groups, facts);
  const total = new Group("total");
  const withBytes = by === "path" || by === "peer";
  const columns = columnsOfBoth(columnsOf[by], selection.columns);
  if (by === "syscall" && selection.keep === undefined) {
    const counted = await trace.tally();
    if (counted !== null) return tallied(trace, counted, groups, total);
  }
  let failure: unknown;
  try {
    const { read: bounds, choice } = selection;
    const kinds = [EventKind.Call];
    const read = { ...bounds, columns, kinds, ...(choice && { choice }) };
    for await (const batch of trace.batches(read)) {
      countBatch(batch, selection.keep, keyer, total);
      if (withBytes) countBytes(batch, selection.keep, keyer, facts, total);
    }
  } catch (error) {
    failure = error;
  }
  if (by === "process") await addTimes(trace, groups, total);
  return { rows: groups.all(), total, failure };
}

/** The same of what was counted where the blocks are decoded. */
function tallied(trace: Trace, counted: NativeTally, groups: Groups, total: Group): Statistics {
  const { arch, code, buckets, failure } = counted;
  for (let k = 0; k < code.length; k++) {
    const [count, errors, sum, min, max] = [
      counted.count,
      counted.errors,
      counted.total,
      counted.min,
      counted.max,
    ].map((numbers) => numbers[k] ?? 0) as [number, number, number, number, number];
    const spread = buckets.subarray(k * BUCKETS, (k + 1) * BUCKETS);
    for (const group of [groups.get(syscallName(arch[k] ?? 0, code[k] ?? -1)), total]) {
      group.errors += errors;
      group.durations.addCounted({ count, total: sum, min, max }, spread);
    }
  }
  const isWhole = !trace.info.definitionsDamaged;
  return {
    rows: groups.all(),
    total,
    failure: failure === null ? (isWhole ? undefined : trace.damage) : traceError(failure),
  };
}

const SKIPPED = EventFlag.Interrupted;

function countBatch(batch: EventBatch, keep: Selection["keep"], keyer: Keyer, total: Group): void {
  const { kind, flags, duration, count } = batch;
  for (let i = 0; i < count; i++) {
    const bits = flags[i] ?? 0;
    if (kind[i] !== EventKind.Call || (bits & SKIPPED) !== 0) continue;
    if (keep !== undefined && !keep(batch, i)) continue;
    const group = keyer(batch, i);
    if (group === undefined) continue;
    const nanos = duration[i] ?? 0;
    group.durations.add(nanos);
    total.durations.add(nanos);
    if ((bits & EventFlag.Error) !== 0) {
      group.errors += 1;
      total.errors += 1;
    }
  }
}

function countBytes(
  batch: EventBatch,
  keep: Selection["keep"],
  keyer: Keyer,
  facts: CallFacts,
  total: Group,
): void {
  for (let i = 0; i < batch.count; i++) {
    const bytes = facts.bytes(batch, i);
    if (bytes === undefined || ((batch.flags[i] ?? 0) & SKIPPED) !== 0) continue;
    if (keep !== undefined && !keep(batch, i)) continue;
    const direction = facts.shape(batch, i)?.direction;
    for (const group of [keyer(batch, i), total]) {
      if (group === undefined) continue;
      if (direction === "read") group.read += bytes;
      else group.written += bytes;
    }
  }
}

/** Groups by name, with an end to how many there are. */
class Groups {
  readonly #byName = new Map<string, Group>();

  get(name: string): Group {
    let group = this.#byName.get(name);
    if (group !== undefined) return group;
    const shown = this.#byName.size >= MAX_ROWS ? OTHERS : name;
    group = this.#byName.get(shown) ?? new Group(shown);
    this.#byName.set(shown, group);
    return group;
  }

  all(): Group[] {
    return [...this.#byName.values()];
  }
}

function keyerOf(trace: Trace, by: Grouping, groups: Groups, facts: CallFacts): Keyer {
  switch (by) {
    case "syscall":
      return syscallKeyer(groups);
    case "process":
      return cached(trace, groups, (thread) => `p${trace.threads[thread]?.process ?? 0}`);
    case "thread":
      return cached(trace, groups, (thread) => {
        const info = trace.threads[thread];
        return info === undefined ? "p0" : threadName(info);
      });
    case "path":
      return (batch, i) => {
        const path = pathOf(trace, facts, batch, i);
        return path === undefined ? undefined : groups.get(path);
      };
    case "peer":
      return (batch, i) => {
        const peer = facts.peer(batch, i);
        return peer === undefined ? undefined : groups.get(peer);
      };
  }
}

/** A look-up in an array per call: this runs for every event of a trace. */
function syscallKeyer(groups: Groups): Keyer {
  const tables: (Group | undefined)[][] = [[], []];
  return (batch, i) => {
    const arch = batch.arch[i] === 1 ? 1 : 0;
    const sysno = batch.code[i] ?? -1;
    const table = tables[arch] ?? [];
    if (sysno < 0 || sysno >= 4096) return groups.get(syscallName(arch, sysno));
    let group = table[sysno];
    if (group === undefined) {
      group = groups.get(syscallName(arch, sysno));
      table[sysno] = group;
    }
    return group;
  };
}

function cached(trace: Trace, groups: Groups, name: (thread: number) => string): Keyer {
  const known: (Group | undefined)[] = new Array(Math.min(trace.threads.length, 1 << 20));
  return (batch, i) => {
    const thread = batch.thread[i] ?? 0;
    let group = known[thread];
    if (group === undefined) {
      group = groups.get(name(thread));
      known[thread] = group;
    }
    return group;
  };
}

/** The file that the call is about: of its path, else of its first descriptor. */
function pathOf(trace: Trace, facts: CallFacts, batch: EventBatch, i: number): string | undefined {
  const own = facts.resolvedPath(batch, i, 0) ?? facts.path(batch, i, 0);
  if (own !== undefined) return own;
  const object = facts.objects(batch, i)[0];
  const path = object === undefined ? undefined : trace.objects[object]?.path;
  return path === undefined ? undefined : inUtf8(path);
}

async function addTimes(trace: Trace, groups: Groups, total: Group): Promise<void> {
  const history = await History.read(trace);
  total.user = 0;
  total.system = 0;
  for (const group of groups.all()) {
    const life = history.life(Number(group.name.slice(1)));
    const program =
      life && (life.programs.at(-1) ?? history.programAt(life.number, life.createdBy));
    if (program !== undefined) group.command = program.argv.join(" ");
    if (life?.end === undefined) continue;
    group.user = life.end.userTime;
    group.system = life.end.systemTime;
    total.user += group.user;
    total.system += group.system;
  }
}
