/**
 * The fields of events as a trace has them: the `FieldResolver` of the filter language over batches.
 * It knows where a value stands; what fields there are and mean is in fields.ts.
 */

import { decodeCall } from "../decode/call.js";
import { rowIndex, syscallName } from "../decode/context.js";
import { decodeExit, decodeSignal } from "../decode/event.js";
import { ERRNO_NAMES, NAMES } from "../decode/names.generated.js";
import type { Num, Value } from "../decode/value.js";
import { valueText } from "../show/notation.js";
import {
  type ColumnGroup,
  type EventBatch,
  EventFlag,
  EventKind,
  KIND_NAMES,
  seqOf,
  type ThreadInfo,
} from "../trace/batch.js";
import { signed, unsigned } from "../trace/word.js";
import type { CallFacts } from "./facts.js";
import type {
  EventPredicate,
  FieldGetter,
  FieldResolver,
  FieldValue,
  Filter,
} from "./filter/index.js";
import type { ProcessTimes } from "./process_times.js";
import { classesOf } from "./syscalls.js";

const NO_RESULT = EventFlag.NoReturn | EventFlag.NoResult;
const utf8 = new TextDecoder();

/** What the resolver needs of a trace. */
export interface ResolverTrace {
  readonly threads: readonly ThreadInfo[];
  readonly facts: CallFacts;
  /** Only there when a field of processes is asked for: see `needsProcesses`. */
  readonly times: ProcessTimes | undefined;
  /** Number of the process that started a process; 0: none. */
  parentOf(process: number): number;
  pathOf(object: number): string;
  kindOf(object: number): string;
}

/** All fields that the filter looks at. */
export function fieldsOf(filter: Filter): Set<string> {
  const found = new Set<string>();
  const walk = (part: Filter): void => {
    if (part.type === "and" || part.type === "or") part.terms.forEach(walk);
    else if (part.type === "not") walk(part.term);
    else if ("field" in part) found.add(part.field);
  };
  walk(filter);
  return found;
}

/** Groups beside `core`. */
const columnsOf: Readonly<Record<string, readonly ColumnGroup[]>> = {
  ret: ["results"],
  err: ["results"],
  path: ["contents"],
  "path.bytes": ["contents"],
  "path.resolved": ["contents", "refs"],
  fd: ["results", "args", "refs"],
  "fd.path": ["refs"],
  "fd.kind": ["refs"],
  "fd.id": ["refs"],
  bytes: ["results"],
  peer: ["contents", "refs"],
  data: ["args", "captures"],
  ip: ["place"],
};

/** The column groups that evaluating the filter needs. */
export function columnsFor(filter: Filter): ColumnGroup[] {
  const groups = new Set<ColumnGroup>(["core"]);
  for (const field of fieldsOf(filter)) {
    const own = field.startsWith("arg.")
      ? (["base", "args", "captures", "refs"] as const)
      : columnsOf[field];
    for (const group of own ?? []) groups.add(group);
  }
  return [...groups];
}

/** Whether the filter looks at what a process was at that moment. */
export function needsProcesses(filter: Filter): boolean {
  return [...fieldsOf(filter)].some((field) => field.startsWith("proc."));
}

type Getter = (batch: EventBatch, i: number) => FieldValue | undefined;

export class BatchResolver implements FieldResolver {
  /** The batch that predicates look at. */
  batch: EventBatch | undefined;
  readonly #trace: ResolverTrace;
  readonly #getters: ReadonlyMap<string, Getter>;

  constructor(trace: ResolverTrace) {
    this.#trace = trace;
    this.#getters = new Map([
      ...baseGetters(trace),
      ...processGetters(trace),
      ...callGetters(trace),
    ]);
  }

  field(name: string): FieldGetter | undefined {
    const getter = name.startsWith("arg.")
      ? argumentGetter(this.#trace, name.slice(4))
      : this.#getters.get(name);
    if (getter === undefined) return undefined;
    return (i) => (this.batch === undefined ? undefined : getter(this.batch, i));
  }

  nameSet(fits: (name: string, classes: readonly string[]) => boolean): EventPredicate {
    const rows = Uint8Array.from(NAMES, (name, row) => (fits(name, classesOf(row)) ? 1 : 0));
    const unknown = new Map<number, boolean>();
    return (i) => {
      const { batch } = this;
      if (batch === undefined || batch.kind[i] !== EventKind.Call) return false;
      const sysno = batch.code[i] ?? -1;
      const arch = batch.arch[i] ?? 0;
      const row = rowIndex(arch, sysno);
      if (row >= 0) return rows[row] === 1;
      let chosen = unknown.get(sysno);
      if (chosen === undefined) {
        chosen = fits(syscallName(arch, sysno), []);
        if (unknown.size < 4096) unknown.set(sysno, chosen);
      }
      return chosen;
    };
  }
}

function isCall(batch: EventBatch, i: number): boolean {
  return batch.kind[i] === EventKind.Call;
}

/** One value alone, several as a list, none as missing. */
function oneOrMore<T extends string | number>(values: readonly T[]): T | readonly T[] | undefined {
  return values.length <= 1 ? values[0] : values;
}

function baseGetters(trace: ResolverTrace): [string, Getter][] {
  const thread = (batch: EventBatch, i: number) => trace.threads[batch.thread[i] ?? -1];
  const names = nameCache((info: ThreadInfo) => `p${info.process}`);
  const threadNames = nameCache((info: ThreadInfo) => `p${info.process}.${info.ordinal}`);
  return [
    ["seq", (batch, i) => seqOf(batch, i)],
    ["kind", (batch, i) => KIND_NAMES[batch.kind[i] ?? -1]],
    ["time", (batch, i) => batch.start[i]],
    ["dur", (batch, i) => (isCall(batch, i) ? batch.duration[i] : undefined)],
    ["pid", (batch, i) => thread(batch, i)?.pid],
    ["tid", (batch, i) => thread(batch, i)?.tid],
    ["proc", (batch, i) => names(thread(batch, i))],
    ["thread", (batch, i) => threadNames(thread(batch, i))],
    ["signal", (batch, i) => signalOf(batch, i)],
    ["exit.code", (batch, i) => exitOf(batch, i)?.code],
    ["exit.signal", (batch, i) => exitOf(batch, i)?.signal],
    ["partial", (batch, i) => ((batch.flags[i] ?? 0) & EventFlag.Partial) !== 0],
    ["restarted", (batch, i) => ((batch.flags[i] ?? 0) & EventFlag.Restarted) !== 0],
    ["ip", (batch, i) => unsigned(batch.ip[2 * i] ?? 0, batch.ip[2 * i + 1] ?? 0)],
  ];
}

/** Names are made once per thread: filters compare them for every event. */
function nameCache(make: (info: ThreadInfo) => string) {
  const made: string[] = [];
  return (info: ThreadInfo | undefined): string | undefined => {
    if (info === undefined) return undefined;
    made[info.index] ??= make(info);
    return made[info.index];
  };
}

function signalOf(batch: EventBatch, i: number): string | undefined {
  if (batch.kind[i] !== EventKind.Signal && batch.kind[i] !== EventKind.Stop) return undefined;
  const noTrace = { threads: [], objects: [], startSeconds: 0, startNanos: 0 };
  return decodeSignal(batch, i, noTrace).name;
}

function exitOf(batch: EventBatch, i: number) {
  if (batch.kind[i] !== EventKind.Exit) return undefined;
  const exit = decodeExit(batch, i);
  return exit.signal === undefined
    ? { code: exit.code, signal: undefined }
    : { code: undefined, signal: exit.signal };
}

function processGetters(trace: ResolverTrace): [string, Getter][] {
  const { times } = trace;
  const thread = (batch: EventBatch, i: number) => trace.threads[batch.thread[i] ?? -1];
  const program = (batch: EventBatch, i: number) =>
    times?.program(thread(batch, i)?.process ?? 0, seqOf(batch, i));
  return [
    [
      "parent",
      (batch, i) => {
        const parent = trace.parentOf(thread(batch, i)?.process ?? 0);
        return parent === 0 ? undefined : `p${parent}`;
      },
    ],
    ["proc.exe", (batch, i) => program(batch, i)?.path],
    ["proc.argv", (batch, i) => program(batch, i)?.argv.join(" ")],
    ["proc.cwd", (batch, i) => times?.cwd(thread(batch, i)?.process ?? 0, seqOf(batch, i))],
    ["proc.comm", (batch, i) => times?.comm(thread(batch, i), seqOf(batch, i))],
  ];
}

function callGetters(trace: ResolverTrace): [string, Getter][] {
  const { facts } = trace;
  const call =
    (get: Getter): Getter =>
    (batch, i) =>
      isCall(batch, i) ? get(batch, i) : undefined;
  const paths = (batch: EventBatch, i: number, resolved: boolean) => {
    const found: string[] = [];
    for (let n = 0; n < facts.pathCount(batch, i); n++) {
      const path = resolved ? facts.resolvedPath(batch, i, n) : facts.path(batch, i, n);
      if (path !== undefined) found.push(path);
    }
    return oneOrMore(found);
  };
  return [
    ["name", call((batch, i) => syscallName(batch.arch[i] ?? 0, batch.code[i] ?? -1))],
    ["sysno", call((batch, i) => batch.code[i])],
    ["arch", call(archOf)],
    ["class", call((batch, i) => classesOf(rowIndex(batch.arch[i] ?? 0, batch.code[i] ?? -1)))],
    ["status", call(statusOf)],
    ["ret", call((batch, i) => resultOf(batch, i))],
    ["err", call((batch, i) => errorOf(batch, i))],
    ["ok", call((batch, i) => ((batch.flags[i] ?? 0) & (NO_RESULT | EventFlag.Error)) === 0)],
    ["failed", call((batch, i) => ((batch.flags[i] ?? 0) & EventFlag.Error) !== 0)],
    ["path", (batch, i) => paths(batch, i, false)],
    ["path.resolved", (batch, i) => paths(batch, i, true)],
    ["path.bytes", (batch, i) => facts.pathBytes(batch, i, 0)],
    ["fd", call((batch, i) => oneOrMore(facts.fds(batch, i)))],
    ["fd.path", call((batch, i) => oneOrMore(facts.objects(batch, i).map(trace.pathOf)))],
    ["fd.kind", call((batch, i) => oneOrMore(facts.objects(batch, i).map(trace.kindOf)))],
    ["fd.id", call((batch, i) => oneOrMore(facts.objects(batch, i)))],
    ["bytes", (batch, i) => facts.bytes(batch, i)],
    ["peer", (batch, i) => facts.peer(batch, i)],
    ["data", (batch, i) => facts.data(batch, i)],
  ];
}

/** Bit 30 of the number marks calls of the x32 convention. */
const X32_BIT = 0x4000_0000;

function archOf(batch: EventBatch, i: number): string {
  if (batch.arch[i] === 1) return "i386";
  return ((batch.code[i] ?? 0) & X32_BIT) !== 0 && (batch.code[i] ?? 0) > 0 ? "x32" : "x86_64";
}

function statusOf(batch: EventBatch, i: number): string {
  const flags = batch.flags[i] ?? 0;
  if ((flags & EventFlag.NoReturn) !== 0) return "unfinished";
  if ((flags & EventFlag.NoResult) !== 0) return "unavailable";
  return (flags & EventFlag.Error) === 0 ? "successful" : "failed";
}

function resultOf(batch: EventBatch, i: number): Num | undefined {
  const flags = batch.flags[i] ?? 0;
  if ((flags & NO_RESULT) !== 0) return undefined;
  if ((flags & EventFlag.Error) !== 0) return -1;
  const low = batch.ret[2 * i] ?? 0;
  return batch.arch[i] === 1 ? low | 0 : signed(low, batch.ret[2 * i + 1] ?? 0);
}

function errorOf(batch: EventBatch, i: number): string | undefined {
  if (((batch.flags[i] ?? 0) & EventFlag.Error) === 0) return undefined;
  const errno = -((batch.ret[2 * i] ?? 0) | 0);
  const name = ERRNO_NAMES[errno] ?? "";
  return name === "" ? String(errno) : name;
}

/** An argument by its place from 0, or by the name that the table has for it. */
function argumentGetter(trace: ResolverTrace, word: string): Getter {
  const place = /^\d$/.test(word) ? Number(word) : -1;
  return (batch, i) => {
    if (!isCall(batch, i)) return undefined;
    const { args } = decodeCall(batch, i, trace.facts.trace);
    const arg = place >= 0 ? args[place] : args.find(({ name }) => name === word);
    return arg === undefined ? undefined : plainValue(arg.value);
  };
}

const notation = { stringLimit: 4096, verbose: true, descriptors: "number" } as const;

/** The value as filters compare it: a number, a text, or both where a number has a name. */
function plainValue(value: Value): FieldValue {
  switch (value.kind) {
    case "int":
      return value.value;
    case "fd":
      return value.fd;
    case "pointer":
      return value.addr;
    case "bytes":
      return utf8.decode(value.bytes);
    case "deref":
      return plainValue(value.value);
    case "flags":
    case "choice":
      return [valueText(value, notation), value.value];
    default:
      return valueText(value, notation);
  }
}
