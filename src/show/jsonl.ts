/**
 * JSONL, fast: the bytes that json.ts would give, without an object per argument.
 *
 * Each syscall row is compiled once into a list of writers, one per argument, that go from the batch's columns straight
 * into the output buffer. A writer that meets anything unusual (memory that was not captured, text that is not ASCII, a
 * type that needs a family) writes nothing and returns false; then that one argument takes the way through
 * `genericArg` and `jsonValue`. A property test holds both ways to the same bytes.
 */

import { genericArg, resolvedPath } from "../decode/argument.js";
import { AT_FDCWD, CallContext, rowIndex, type TraceContext } from "../decode/context.js";
import {
  argDecoder,
  callDecoder,
  countsOptional,
  type Optional,
  optionalArgs,
  structDecoder,
} from "../decode/irregular/registry.js";
import { NAMES } from "../decode/names.generated.js";
import { isScalar, registerSize } from "../decode/scalar.js";
import { layout } from "../decode/struct.js";
import { type ArgRow, type Ret, SYSCALLS, type SyscallRow } from "../decode/tables.generated.js";
import {
  CaptureSide,
  CaptureStatus,
  type EventBatch,
  EventFlag,
  EventKind,
  NO_CONTENT,
  Slot,
} from "../trace/batch.js";
import {
  errnoName,
  finite,
  isText,
  JSON_OPTIONS,
  type JsonOptions,
  jsonEvent,
  jsonHeader,
  jsonValue,
  threadName,
} from "./json.js";
import { type StructWriter, scalarWriter, structWriter, writeSigned } from "./json_scalar.js";
import { PathTexts } from "./path_texts.js";
import { type Piece, piece, Sink } from "./sink.js";
import type { Keep } from "./source.js";

const NOT_ALL_OK = EventFlag.Error | EventFlag.NoReturn | EventFlag.NoResult;

/** Writes one argument of event `i`; false when it wrote nothing and the generic way must. */
type ArgWriter = (writer: JsonlWriter, batch: EventBatch, i: number) => boolean;

interface Plan {
  /** `,"call":"read","args":{` */
  readonly head: Piece;
  /** `"fd":`, with a comma before all but the first. */
  readonly keys: readonly Piece[];
  readonly args: readonly ArgWriter[];
  readonly paths: readonly number[];
  readonly optional: Optional | undefined;
  readonly ret: Ret["r"];
}

const P = {
  seq: piece('{"seq":'),
  time: piece(',"kind":"call","time":'),
  dur: piece(',"dur":'),
  endArgs: piece("}"),
  ret: piece(',"ret":'),
  retPath: piece(',"retPath":'),
  unfinished: piece(',"ret":null,"state":"unfinished"'),
  unseen: piece(',"ret":null,"state":"unseen"'),
  restarted: piece(',"restarted":true'),
  partial: piece(',"partial":true'),
  end: piece("}\n"),
  null: piece("null"),
  textOpen: piece('{"text":'),
  size: piece(',"size":'),
  base64: piece('{"base64":"'),
  quote: piece('"'),
  brace: piece("}"),
  fd: piece('{"fd":'),
  path: piece(',"path":'),
  empty: piece('""'),
} as const;

/**
 * True when the first byte that is not ASCII begins no UTF-8 character. Says nothing about the last three bytes, which
 * may be the start of a character that was cut.
 */
function surelyBinary(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from;
  while (at < to && (bytes[at] as number) < 0x80) at++;
  if (at + 1 >= to - 3) return false;
  const lead = bytes[at] as number;
  return lead < 0xc2 || lead > 0xf4 || ((bytes[at + 1] as number) & 0xc0) !== 0x80;
}

const plans = new Map<number, Plan | null>();

/** The plan of an x86-64 syscall; null where only the generic way will do. */
function planOf(sysno: number): Plan | null {
  let plan = plans.get(sysno);
  if (plan === undefined) {
    if (plans.size > 2048) plans.clear();
    const index = rowIndex(0, sysno);
    const row = SYSCALLS[index];
    plan = row === undefined ? null : compile(row, NAMES[index] ?? "");
    plans.set(sysno, plan);
  }
  return plan;
}

function compile(row: SyscallRow, name: string): Plan | null {
  if (callDecoder(name) !== undefined || row.ret.r === "flags" || row.ret.r === "irregular")
    return null;
  return {
    head: piece(`,"call":${JSON.stringify(name)},"args":{`),
    keys: row.args.map((arg, k) => piece(`${k === 0 ? "" : ","}${JSON.stringify(arg.name)}:`)),
    args: row.args.map((arg, k) => argWriter(arg, k)),
    paths: row.args.flatMap((arg, k) => (arg.ty.t === "path" ? [k] : [])),
    optional: optionalArgs(name),
    ret: row.ret.r,
  };
}

const generic: ArgWriter = () => false;

function argWriter(row: ArgRow, k: number): ArgWriter {
  const { ty } = row;
  if (ty.t === "fd" || ty.t === "dirfd") {
    return (writer, batch, i) =>
      writer.descriptor(batch, i, (batch.args[12 * i + 2 * k] ?? 0) | 0, k);
  }
  if (isScalar(ty)) {
    const write = scalarWriter(ty, registerSize(ty, 8));
    return (writer, batch, i) => {
      write(writer.sink, batch.args[12 * i + 2 * k] ?? 0, batch.args[12 * i + 2 * k + 1] ?? 0);
      return true;
    };
  }
  if (ty.t !== "irregular" && argDecoder(ty.t) !== undefined) return generic;
  if (ty.t === "irregular" || (ty.t === "ptr" && ty.of.t === "irregular")) return generic;
  return pointerWriter(row, k);
}

function pointerWriter(row: ArgRow, k: number): ArgWriter {
  if (row.dir === "inout") return generic;
  const out = row.dir === "out";
  const inner = memoryWriter(row, k, out ? CaptureSide.Out : CaptureSide.In);
  return (writer, batch, i) => {
    const low = batch.args[12 * i + 2 * k] ?? 0;
    const high = batch.args[12 * i + 2 * k + 1] ?? 0;
    if (low === 0 && high === 0) {
      writer.sink.put(P.null);
      return true;
    }
    if (out && ((batch.flags[i] ?? 0) & NOT_ALL_OK) !== 0) {
      writer.sink.address(low, high);
      return true;
    }
    return inner(writer, batch, i);
  };
}

function memoryWriter(row: ArgRow, k: number, side: number): ArgWriter {
  const { ty, len } = row;
  if ((ty.t === "path" || ty.t === "str") && len.from === "own") {
    const whole = ty.t === "path";
    return (writer, batch, i) => writer.string(batch, i, k, side, whole);
  }
  if (
    ty.t === "bytes" &&
    (len.from === "arg" || (len.from === "retmax" && side === CaptureSide.Out))
  ) {
    const counted = len.i;
    const returned = len.from === "retmax";
    return (writer, batch, i) => writer.buffer(batch, i, k, side, counted, returned);
  }
  if (ty.t === "struct" && len.from === "own" && structDecoder(ty.name) === undefined) {
    const size = layout(ty.name)?.size ?? 0;
    const write = size === 0 ? undefined : structWriter(ty.name);
    if (write !== undefined) {
      return (writer, batch, i) => writer.struct(batch, i, k, side, size, write);
    }
  }
  return generic;
}

export class JsonlWriter {
  readonly sink = new Sink();
  readonly #trace: TraceContext;
  readonly #options: JsonOptions;
  readonly #paths: PathTexts;
  readonly #threads: (Piece | undefined)[] = [];
  readonly #errors = new Map<number, Piece>();
  /** The batch of the last event, and its bytes. */
  #batch: EventBatch | undefined;
  #bytes: DataView = new DataView(new ArrayBuffer(0));

  constructor(trace: TraceContext, options: JsonOptions = JSON_OPTIONS) {
    this.#trace = trace;
    this.#options = options;
    this.#paths = new PathTexts(trace);
  }

  /** One line, whatever kind of event it is. */
  event(batch: EventBatch, i: number): void {
    if (batch !== this.#batch) {
      this.#batch = batch;
      const { buffer, byteOffset, byteLength } = batch.bytes;
      this.#bytes = new DataView(buffer, byteOffset, byteLength);
    }
    const plan =
      batch.kind[i] === EventKind.Call && batch.arch[i] === 0 ? planOf(batch.code[i] ?? -1) : null;
    if (plan === null) {
      this.sink.text(jsonEvent(batch, i, this.#trace, this.#options));
      this.sink.byte(10);
    } else {
      this.#planned(batch, i, plan);
    }
  }

  #planned(batch: EventBatch, i: number, plan: Plan): void {
    const { sink } = this;
    sink.put(P.seq);
    sink.uint(batch.firstSeq + i);
    sink.put(P.time);
    this.#time(batch.start[i]);
    sink.put(P.dur);
    this.#time(batch.duration[i]);
    sink.put(this.#thread(batch.thread[i] ?? 0));
    sink.put(plan.head);
    this.#args(batch, i, plan);
    sink.put(P.endArgs);
    this.#result(batch, i, plan.ret);
    this.#tail(batch, i, plan);
    sink.put(P.end);
  }

  #args(batch: EventBatch, i: number, plan: Plan): void {
    const { args, keys, optional } = plan;
    let count = args.length;
    if (
      optional !== undefined &&
      !countsOptional(optional, batch.args[12 * i + 2 * optional.arg] ?? 0)
    ) {
      count = optional.keep;
    }
    for (let k = 0; k < count; k++) {
      this.sink.put(keys[k] as Piece);
      if (!(args[k] as ArgWriter)(this, batch, i)) this.#generic(batch, i, k);
    }
  }

  #generic(batch: EventBatch, i: number, k: number): void {
    const { value } = genericArg(new CallContext(batch, i, this.#trace), k);
    this.sink.text(jsonValue(value, this.#options));
  }

  #time(value: number | undefined): void {
    const time = finite(value);
    if (time >= 0 && Number.isSafeInteger(time)) this.sink.uint(time);
    else this.sink.text(String(time));
  }

  #thread(index: number): Piece {
    let text = this.#threads[index];
    if (text === undefined) {
      const tid = this.#trace.threads[index]?.tid ?? 0;
      text = piece(`,"thread":"${threadName(this.#trace, index)}","tid":${tid}`);
      if (index < this.#trace.threads.length) this.#threads[index] = text;
    }
    return text;
  }

  /** Index of the object behind a slot, or -1. */
  #ref(batch: EventBatch, i: number, slot: number): number {
    const end = Math.min(batch.refStart[i + 1] ?? 0, batch.refSlot.length);
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      if (batch.refSlot[r] === slot) return batch.refObject[r] ?? -1;
    }
    return -1;
  }

  /** Writes a key and the path of object `index`; nothing when there is no such object. */
  #path(key: Piece, index: number): boolean {
    const paths = this.#paths;
    const place = index < 0 ? -1 : paths.place(index);
    if (place < 0) return false;
    this.sink.put(key);
    this.sink.words(paths.words, paths.start(place), paths.length(place));
    return true;
  }

  descriptor(batch: EventBatch, i: number, fd: number, slot: number): boolean {
    const { sink } = this;
    sink.put(P.fd);
    sink.int(fd);
    if (fd >= 0 || fd === AT_FDCWD) this.#pathOf(P.path, batch, i, fd, slot);
    sink.put(P.brace);
    return true;
  }

  /** The path of what stands in a slot: for AT_FDCWD, if nothing does, that of the working directory. */
  #pathOf(key: Piece, batch: EventBatch, i: number, fd: number, slot: number): void {
    const found = this.#path(key, this.#ref(batch, i, slot));
    if (!found && fd === AT_FDCWD) this.#path(key, this.#ref(batch, i, Slot.Cwd));
  }

  /**
   * The capture whose content begins at argument `k`'s address, when it is the only one of that side that covers it;
   * -1 when the generic way has to look.
   */
  #capture(batch: EventBatch, i: number, k: number, side: number): number {
    const low = batch.args[12 * i + 2 * k] ?? 0;
    const high = batch.args[12 * i + 2 * k + 1] ?? 0;
    if (high > 0x1f_ffff) return -1;
    const addr = high * 0x1_0000_0000 + low;
    const end = Math.min(batch.capStart[i + 1] ?? 0, batch.capSlot.length);
    let found = -1;
    for (let c = batch.capStart[i] ?? 0; c < end; c++) {
      if (batch.capSide[c] !== side) continue;
      const content = batch.capContent[c] ?? NO_CONTENT;
      if (content === NO_CONTENT) continue;
      const at = (batch.capAddr[2 * c + 1] ?? 0) * 0x1_0000_0000 + (batch.capAddr[2 * c] ?? 0);
      const size = (batch.contentStart[content + 1] ?? 0) - (batch.contentStart[content] ?? 0);
      if (addr < at || addr >= at + size) continue;
      if (found >= 0 || addr !== at) return -1;
      if ((batch.contentStart[content + 1] ?? 0) > batch.bytes.length) return -1;
      found = c;
    }
    return found;
  }

  string(batch: EventBatch, i: number, k: number, side: number, whole: boolean): boolean {
    const c = this.#capture(batch, i, k, side);
    if (c < 0) return false;
    const content = batch.capContent[c] ?? 0;
    const start = batch.contentStart[content] ?? 0;
    const end = batch.contentStart[content + 1] ?? 0;
    const { stringLimit } = this.#options;
    const before = this.sink.length;
    const stop = whole ? end : Math.min(end, start + stringLimit + 1);
    const nul = this.sink.asciiText(this.#bytes, start, stop);
    if (nul < 0) return false;
    const isWhole = nul < end || batch.capStatus[c] === CaptureStatus.Whole;
    if (isWhole && (whole || nul - start <= stringLimit)) return true;
    this.sink.truncate(before);
    return false;
  }

  buffer(
    batch: EventBatch,
    i: number,
    k: number,
    side: number,
    counted: number,
    returned: boolean,
  ): boolean {
    if ((batch.args[12 * i + 2 * counted + 1] ?? 0) !== 0) return false;
    let length = batch.args[12 * i + 2 * counted] ?? 0;
    if (returned) {
      if (batch.ret[2 * i + 1] !== 0) return false;
      length = Math.min(length, (batch.ret[2 * i] ?? 0) >>> 0);
    }
    const { sink } = this;
    if (length === 0) {
      sink.put(P.empty);
      return true;
    }
    const c = this.#capture(batch, i, k, side);
    if (c < 0) return false;
    const content = batch.capContent[c] ?? 0;
    const start = batch.contentStart[content] ?? 0;
    if ((batch.contentStart[content + 1] ?? 0) - start < length) return false;
    const { stringLimit } = this.#options;
    const whole = length <= stringLimit;
    const end = start + (whole ? length : stringLimit);
    const before = sink.length;
    if (!whole) sink.put(P.textOpen);
    if (sink.asciiString(this.#bytes, start, end)) {
      if (whole) return true;
    } else {
      sink.truncate(before);
      if (!surelyBinary(batch.bytes, start, end) && isText(batch.bytes.subarray(start, end), whole))
        return false;
      sink.put(P.base64);
      sink.base64(batch.bytes, start, end);
      sink.put(P.quote);
      if (whole) {
        sink.put(P.brace);
        return true;
      }
    }
    sink.put(P.size);
    sink.uint(length);
    sink.put(P.brace);
    return true;
  }

  struct(
    batch: EventBatch,
    i: number,
    k: number,
    side: number,
    size: number,
    write: StructWriter,
  ): boolean {
    const c = this.#capture(batch, i, k, side);
    if (c < 0) return false;
    const content = batch.capContent[c] ?? 0;
    const start = batch.contentStart[content] ?? 0;
    if ((batch.contentStart[content + 1] ?? 0) - start < size) return false;
    const before = this.sink.length;
    if (write(this.sink, this.#bytes, start, this.#options.stringLimit)) return true;
    this.sink.truncate(before);
    return false;
  }

  #result(batch: EventBatch, i: number, ret: Ret["r"]): void {
    const { sink } = this;
    const flags = batch.flags[i] ?? 0;
    const low = batch.ret[2 * i] ?? 0;
    const high = batch.ret[2 * i + 1] ?? 0;
    if ((flags & NOT_ALL_OK) !== 0) {
      this.#noResult(flags, -low | 0);
      return;
    }
    sink.put(P.ret);
    if (ret === "fd") {
      sink.int(low);
      if (low >= 0 || low === AT_FDCWD) this.#pathOf(P.retPath, batch, i, low, Slot.Ret);
    } else if (ret === "addr") {
      if (low === 0 && high === 0) sink.put(P.null);
      else sink.address(low >>> 0, high >>> 0);
    } else if (ret === "mode") {
      sink.uint(low & 0xffff);
    } else if (ret === "uid" || ret === "gid") {
      sink.int(low === -1 ? -1 : low >>> 0);
    } else {
      writeSigned(sink, low >>> 0, high >>> 0);
    }
  }

  #noResult(flags: number, errno: number): void {
    const { sink } = this;
    if ((flags & EventFlag.NoReturn) !== 0) {
      sink.put(P.unfinished);
    } else if ((flags & EventFlag.NoResult) !== 0) {
      sink.put(P.unseen);
    } else {
      let text = this.#errors.get(errno);
      if (text === undefined) {
        if (this.#errors.size > 4096) this.#errors.clear();
        text = piece(`,"ret":-1,"err":"${errnoName(errno)}"`);
        this.#errors.set(errno, text);
      }
      sink.put(text);
    }
  }

  #tail(batch: EventBatch, i: number, plan: Plan): void {
    const { sink } = this;
    if (plan.paths.length > 0) this.#resolved(batch, i, plan.paths);
    const flags = batch.flags[i] ?? 0;
    if ((flags & EventFlag.Restarted) !== 0) sink.put(P.restarted);
    if ((flags & EventFlag.Partial) !== 0) sink.put(P.partial);
  }

  #resolved(batch: EventBatch, i: number, paths: readonly number[]): void {
    const end = Math.min(batch.capStart[i + 1] ?? 0, batch.capSlot.length);
    let any = false;
    for (let c = batch.capStart[i] ?? 0; c < end; c++) {
      if (batch.capSide[c] === CaptureSide.Resolved) any = true;
    }
    if (!any) return;
    const call = new CallContext(batch, i, this.#trace);
    const parts: string[] = [];
    for (const k of paths) {
      const path = resolvedPath(call, k);
      if (path === undefined) continue;
      parts.push(`${JSON.stringify(call.row?.args[k]?.name ?? "")}:${JSON.stringify(path)}`);
    }
    if (parts.length > 0) this.sink.text(`,"resolved":{${parts.join(",")}}`);
  }
}

const CHUNK = 192 * 1024;

/** All events as JSONL, header first, in chunks of whole lines. */
export async function* jsonLines(
  trace: TraceContext,
  batches: AsyncIterable<EventBatch>,
  options: JsonOptions = JSON_OPTIONS,
  keep?: Keep,
): AsyncGenerator<Buffer> {
  const writer = new JsonlWriter(trace, options);
  writer.sink.text(`${jsonHeader()}\n`);
  for await (const batch of batches) {
    for (let i = 0; i < batch.count; i++) {
      if (keep !== undefined && !keep(batch, i)) continue;
      writer.event(batch, i);
      if (writer.sink.length > CHUNK) yield writer.sink.take();
    }
  }
  if (writer.sink.length > 0) yield writer.sink.take();
}
