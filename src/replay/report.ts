/**
 * What a desync means, as data: which program, which event was expected and which one came, field by field, where in the
 * program, and what was around it. text.ts and json.ts say it.
 */

import { syscallRow } from "../decode/context.js";
import type { Desync, ScriptLine } from "../replay.js";
import { type EventBatch, Slot } from "../trace/batch.js";
import { History } from "../trace/history.js";
import { threadName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { type ByteDifference, byteDifference, type Field, fieldsOf } from "./fields.js";
import { neighboursOf } from "./neighbours.js";
import { type Place, placesAt } from "./place.js";
import { callName, codeAddress, isCall, pointerOf, type Row, registerOf, seqOf } from "./rows.js";
import { hintsOf, summaryOf } from "./words.js";

/** Callers that are told. */
const CALLERS = 8;
/** Events that are shown before and after. */
export const AROUND = 5;

export interface DesyncReport {
  /** Number of the event that was expected. */
  readonly seq: number;
  readonly reason: Desync["reason"];
  /** One sentence without a full stop. */
  readonly summary: string;
  readonly process: {
    readonly number: number;
    /** `p3.2` */
    readonly thread: string;
    /** As the system numbered it when it was recorded. */
    readonly tid: number;
    readonly argv: readonly string[];
    readonly path: string;
  };
  /** The event of the recording; undefined when the trace has none of that number. */
  readonly expected: Row | undefined;
  /** What came, as an event without a result; undefined when nothing did. */
  readonly actual: Row | undefined;
  /** Both sides, when they can be compared so. */
  readonly fields: readonly Field[];
  readonly bytes: ByteDifference | undefined;
  /** Where the program was, and where it ought to have been when that is elsewhere. */
  readonly place: Place | undefined;
  readonly expectedPlace: Place | undefined;
  /** Who called the code at `place`, the nearest first: the calls themselves, not what is behind them. */
  readonly callers: readonly Place[];
  /** The functions of a script that led there, the nearest first. */
  readonly script: readonly ScriptLine[];
  /** Events of the process around it, itself included, in their order. */
  readonly around: readonly Row[];
  /** What to do next, a line each. */
  readonly hints: readonly string[];
}

/** Looks up everything that a report of this difference needs. */
export async function desyncReport(trace: Trace, desync: Desync): Promise<DesyncReport> {
  const { seq } = desync;
  const thread = trace.threads[desync.thread];
  const number = thread?.process ?? 0;
  const { before, at: expected, after } = await neighboursOf(trace, number, seq, AROUND);
  const known = expected === undefined ? before : [...before, expected];
  const actual = actualRow(desync, known);
  const fields = fieldsOf(desync, expected, actual, trace);
  const bytes = byteDifference(desync, expected, trace);
  const program = (await History.read(trace)).programAt(number, seq);
  return {
    seq,
    reason: desync.reason,
    summary: summaryOf({ desync, expected, actual, fields, bytes }, trace),
    process: {
      number,
      thread: thread === undefined ? "p?" : threadName(thread),
      tid: thread?.tid ?? 0,
      argv: program?.argv ?? [],
      path: program?.path ?? "",
    },
    expected,
    actual,
    fields,
    bytes,
    ...(await placesOf(trace, number, desync, expected)),
    script: desync.script.slice(0, CALLERS),
    around: [...known, ...after],
    hints: [
      ...recordedElsewhere(actual, [...before, ...after]),
      ...hintsOf(desync, trace, number, before[0]),
    ],
  };
}

/** What the program did by itself, with the descriptors that are known from the events before it. */
function actualRow(desync: Desync, known: readonly Row[]): Row | undefined {
  const { actual } = desync;
  if (actual === undefined || actual.kind === "held" || actual.batch.count < 1) return undefined;
  const row = { batch: actual.batch, i: 0 };
  if (!isCall(row)) return row;
  const { fds, cwd } = objectsOf(known);
  const args = syscallRow(row.batch.arch[0] ?? 0, row.batch.code[0] ?? -1)?.args ?? [];
  const refs: Ref[] = args.flatMap(({ ty }, k): Ref[] => {
    const fd = (row.batch.args[2 * k] ?? 0) | 0;
    const object = ty.t === "fd" || ty.t === "dirfd" ? fds.get(fd) : undefined;
    return object === undefined ? [] : [{ slot: k, fd, object }];
  });
  if (cwd !== undefined) refs.push({ slot: Slot.Cwd, fd: -1, object: cwd });
  return { batch: withRefs(row.batch, refs), i: 0 };
}

/** Says so when what came is recorded nearby: the program left something out, or did something again. */
function recordedElsewhere(actual: Row | undefined, rows: readonly Row[]): string[] {
  if (!isCall(actual)) return [];
  const { batch, i } = actual;
  const count = syscallRow(batch.arch[i] ?? 0, batch.code[i] ?? -1)?.args.length ?? 6;
  const registers = Array.from({ length: count }, (_, k) => k);
  const same = rows.find(
    (row) =>
      isCall(row) &&
      callName(row) === callName(actual) &&
      pointerOf(row, "ip") === pointerOf(actual, "ip") &&
      registers.every((k) => registerOf(row, k) === registerOf(actual, k)),
  );
  return same === undefined ? [] : [`what came is what the recording has at @${seqOf(same)}`];
}

interface Ref {
  readonly slot: number;
  readonly fd: number;
  readonly object: number;
}

/** What descriptors stood for in some events, the later ones decide, and the working directory. */
function objectsOf(rows: readonly Row[]): { fds: Map<number, number>; cwd: number | undefined } {
  const fds = new Map<number, number>();
  let cwd: number | undefined;
  for (const { batch, i } of rows) {
    const end = Math.min(batch.refStart[i + 1] ?? 0, batch.refSlot.length);
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      if (batch.refSlot[r] === Slot.Cwd) cwd = batch.refObject[r];
      else fds.set(batch.refFd[r] ?? -1, batch.refObject[r] ?? 0);
    }
  }
  fds.delete(-1);
  return { fds, cwd };
}

function withRefs(batch: EventBatch, refs: readonly Ref[]): EventBatch {
  return {
    ...batch,
    refStart: Uint32Array.of(0, refs.length),
    refSlot: Uint8Array.from(refs, ({ slot }) => slot),
    refFd: Int32Array.from(refs, ({ fd }) => fd),
    refObject: Uint32Array.from(refs, ({ object }) => object),
  };
}

/** Where the program was (innermost), who called that, and where it ought to have been when it was elsewhere. */
async function placesOf(
  trace: Trace,
  process: number,
  desync: Desync,
  expected: Row | undefined,
): Promise<Pick<DesyncReport, "place" | "expectedPlace" | "callers">> {
  const { actual, frames, maps, seq } = desync;
  const here =
    (actual === undefined ? undefined : codeAddress({ batch: actual.batch, i: 0 })) ??
    frames.find((address) => address !== 0n);
  const there = expected && codeAddress(expected);
  const isElsewhere = there !== undefined && there !== here;
  // A frame is where a call returns to.
  const calls = frames.slice(1, 1 + CALLERS).map((address) => address - 1n);
  const wanted = [here, isElsewhere ? there : undefined, ...calls];
  const known = wanted.filter((address) => address !== undefined);
  const places = await placesAt(trace, process, seq, known, maps);
  const next = (address: unknown) => (address === undefined ? undefined : places.shift());
  const [place, expectedPlace] = [next(wanted[0]), next(wanted[1])];
  return { place, expectedPlace, callers: places.filter(({ file }) => file !== undefined) };
}
