/**
 * What filters and statistics ask of one call: its paths, descriptors, peers, bytes. Taken straight
 * from the columns; a call is decoded whole only where there is no other way.
 */

import { refObject, rowIndex, type TraceContext } from "../decode/context.js";
import { captureBytes, findCapture, i32 } from "../decode/memory.js";
import { NAMES } from "../decode/names.generated.js";
import { ipv4Text, ipv6Text } from "../decode/scalar.js";
import { READ_FROM, SYSCALLS, WRITTEN_TO } from "../decode/tables.generated.js";
import {
  CaptureSide,
  type EventBatch,
  EventFlag,
  EventKind,
  NO_CONTENT,
  Slot,
} from "../trace/batch.js";
import { inUtf8 } from "../trace/byte_text.js";

const NOT_OK = EventFlag.Error | EventFlag.NoReturn | EventFlag.NoResult;

/** Calls that move bytes between descriptors, without memory of the program. */
const movers = new Set(["sendfile", "sendfile64", "splice", "tee", "copy_file_range", "vmsplice"]);

/** Arguments that are the descriptor that bytes were read from, and the one that they were written to; -1: none. */
export interface Transfer {
  readonly from: number;
  readonly to: number;
}

/** Which arguments of a syscall are of interest. */
export interface RowShape {
  readonly name: string;
  /** Arguments that are paths the program gave. */
  readonly paths: readonly number[];
  /** For each of `paths`: the argument with the directory that it is relative to, or -1. */
  readonly bases: readonly number[];
  readonly fds: readonly number[];
  readonly returnsFd: boolean;
  readonly addresses: readonly number[];
  /** Arguments that are buffers, or lists of buffers. */
  readonly buffers: readonly number[];
  /** Whether the result counts bytes that were transferred. */
  readonly transfers: boolean;
  /** Which way the bytes went, as the program sees it. */
  readonly direction: "read" | "write" | "move";
  readonly transfer: Transfer;
}

const shapes = new Map<number, RowShape>();

/** The shape of a call's row; undefined for calls that the table does not have. */
export function shapeOf(arch: number, sysno: number): RowShape | undefined {
  const index = rowIndex(arch, sysno);
  let shape = shapes.get(index);
  if (shape === undefined) {
    shape = makeShape(index);
    if (shape === undefined) return undefined;
    shapes.set(index, shape);
  }
  return shape;
}

function makeShape(index: number): RowShape | undefined {
  const row = SYSCALLS[index];
  if (row === undefined) return undefined;
  const name = NAMES[index] ?? row.name;
  const of = (...types: string[]) =>
    row.args.flatMap((arg, k) => (types.includes(arg.ty.t) ? [k] : []));
  const paths = of("path").filter((k) => row.args[k]?.dir === "in");
  const buffers = of("bytes", "iovec", "msghdr");
  const first = row.args[buffers[0] ?? -1];
  const moves = movers.has(name);
  return {
    name,
    paths,
    bases: paths.map((k) => (row.args[k - 1]?.ty.t === "dirfd" ? k - 1 : -1)),
    fds: of("fd", "dirfd"),
    returnsFd: row.ret.r === "fd",
    addresses: of("sockaddr"),
    buffers,
    transfers: row.ret.r === "size" && (first !== undefined || moves),
    direction: moves ? "move" : first?.dir === "out" ? "read" : "write",
    transfer: { from: READ_FROM[index] ?? -1, to: WRITTEN_TO[index] ?? -1 },
  };
}

const utf8 = new TextDecoder();

function textOf(bytes: Uint8Array): string {
  return utf8.decode(upToNul(bytes));
}

function upToNul(bytes: Uint8Array): Uint8Array {
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}

/** A path without `//`, `.` and `..`, as far as that can be known without asking the file system. */
export function normalPath(path: string): string {
  if (!/\/\/|\/\.{1,2}(?:\/|$)|.\/$/.test(path)) return path;
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") parts.pop();
    else parts.push(part);
  }
  return `/${parts.join("/")}`;
}

export class CallFacts {
  readonly trace: TraceContext;

  constructor(trace: TraceContext) {
    this.trace = trace;
  }

  /** The shape of event `i`; undefined when it is no call, or one that nobody knows. */
  shape(batch: EventBatch, i: number): RowShape | undefined {
    if (batch.kind[i] !== EventKind.Call) return undefined;
    return shapeOf(batch.arch[i] ?? 0, batch.code[i] ?? -1);
  }

  succeeded(batch: EventBatch, i: number): boolean {
    return batch.kind[i] === EventKind.Call && ((batch.flags[i] ?? 0) & NOT_OK) === 0;
  }

  /** Path `n` of the call as the program gave it. Of events that are no calls: executable, mapped file. */
  path(batch: EventBatch, i: number, n: number): string | undefined {
    const slot = this.#pathSlot(batch, i, n);
    const capture = slot < 0 ? -1 : findCapture(batch, i, slot, CaptureSide.In);
    return capture < 0 ? undefined : this.#text(batch, capture);
  }

  /** A block holds equal contents once, and most of its paths many times. */
  #text(batch: EventBatch, capture: number): string {
    const content = batch.capContent[capture] ?? NO_CONTENT;
    if (content === NO_CONTENT) return "";
    if (this.#textsOf !== batch.contentStart) {
      this.#textsOf = batch.contentStart;
      this.#texts = [];
    }
    const text = this.#texts[content] ?? textOf(captureBytes(batch, capture));
    this.#texts[content] = text;
    return text;
  }

  /** Texts of contents of the block whose contents these are the places of. */
  #texts: string[] = [];
  #textsOf: Uint32Array | undefined;

  /** The same as bytes, without the NUL. */
  pathBytes(batch: EventBatch, i: number, n: number): Uint8Array | undefined {
    const slot = this.#pathSlot(batch, i, n);
    const capture = slot < 0 ? -1 : findCapture(batch, i, slot, CaptureSide.In);
    return capture < 0 ? undefined : upToNul(captureBytes(batch, capture));
  }

  #pathSlot(batch: EventBatch, i: number, n: number): number {
    const kind = batch.kind[i];
    if (kind === EventKind.Call) return this.shape(batch, i)?.paths[n] ?? -1;
    return n === 0 && (kind === EventKind.Exec || kind === EventKind.Map) ? 0 : -1;
  }

  /** The same, absolute: as the recorder resolved it, or joined with the directory it is relative to. */
  resolvedPath(batch: EventBatch, i: number, n: number): string | undefined {
    const slot = this.#pathSlot(batch, i, n);
    if (slot < 0) return undefined;
    const resolved = findCapture(batch, i, slot, CaptureSide.Resolved);
    return resolved >= 0 ? this.#text(batch, resolved) : this.namedPath(batch, i, n);
  }

  /** The same as it was named, absolute: symbolic links on the way are not followed. */
  namedPath(batch: EventBatch, i: number, n: number): string | undefined {
    const given = this.path(batch, i, n);
    if (given === undefined || given.startsWith("/")) return given && normalPath(given);
    const directory = this.#base(batch, i, n)?.path;
    if (directory === undefined) return undefined;
    const base = inUtf8(directory);
    return given === "" ? base : normalPath(`${base}/${given}`);
  }

  #base(batch: EventBatch, i: number, n: number) {
    const slot = this.shape(batch, i)?.bases[n] ?? -1;
    const own = slot < 0 ? undefined : refObject(batch, i, this.trace, slot);
    return own ?? refObject(batch, i, this.trace, Slot.Cwd);
  }

  pathCount(batch: EventBatch, i: number): number {
    if (batch.kind[i] === EventKind.Call) return this.shape(batch, i)?.paths.length ?? 0;
    return this.#pathSlot(batch, i, 0) < 0 ? 0 : 1;
  }

  /** Descriptors in the arguments, in memory, and the one that was returned. */
  fds(batch: EventBatch, i: number): number[] {
    const shape = this.shape(batch, i);
    const found = (shape?.fds ?? []).map((k) => (batch.args[12 * i + 2 * k] ?? 0) | 0);
    if (shape?.returnsFd === true && this.succeeded(batch, i)) found.push(batch.ret[2 * i] ?? -1);
    const end = batch.refStart[i + 1] ?? 0;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      if (batch.refSlot[r] === Slot.Nested) found.push(batch.refFd[r] ?? -1);
    }
    return found.filter((fd) => fd >= 0);
  }

  /** Indexes of the objects behind the descriptors of the call, without the working directory. */
  objects(batch: EventBatch, i: number): number[] {
    const found: number[] = [];
    const end = batch.refStart[i + 1] ?? 0;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      if (batch.refSlot[r] !== Slot.Cwd) found.push(batch.refObject[r] ?? -1);
    }
    return found;
  }

  /** Bytes that the call transferred; undefined for calls that transfer none. */
  bytes(batch: EventBatch, i: number): number | undefined {
    const shape = this.shape(batch, i);
    if (shape?.transfers !== true || !this.succeeded(batch, i)) return undefined;
    const high = batch.arch[i] === 1 ? 0 : (batch.ret[2 * i + 1] ?? 0);
    return high < 0 ? undefined : high * 0x1_0000_0000 + ((batch.ret[2 * i] ?? 0) >>> 0);
  }

  /** Socket addresses: of the call's arguments, else the other end of its socket. */
  peer(batch: EventBatch, i: number): string | undefined {
    const shape = this.shape(batch, i);
    if (shape === undefined) return undefined;
    for (const k of shape.addresses) {
      const out = findCapture(batch, i, k, CaptureSide.Out);
      const capture = out >= 0 ? out : findCapture(batch, i, k, CaptureSide.In);
      const text = capture < 0 ? undefined : addressText(captureBytes(batch, capture));
      if (text !== undefined) return text;
    }
    for (const index of this.objects(batch, i)) {
      const other = /->([^\]]*)\]/.exec(this.trace.objects[index]?.detail ?? "")?.[1];
      if (other !== undefined && other !== "") return other;
    }
    return undefined;
  }

  /** The bytes that the call read or wrote, as far as they were captured. */
  data(batch: EventBatch, i: number): Uint8Array | undefined {
    const shape = this.shape(batch, i);
    const slot = shape?.buffers[0];
    if (shape === undefined || slot === undefined) return undefined;
    const side = shape.direction === "read" ? CaptureSide.Out : CaptureSide.In;
    const own = this.#address(batch, i, slot);
    const parts: Uint8Array[] = [];
    const end = Math.min(batch.capStart[i + 1] ?? 0, batch.capSlot.length);
    const direct = SYSCALLS[rowIndex(batch.arch[i] ?? 0, batch.code[i] ?? -1)]?.args[slot];
    for (let c = batch.capStart[i] ?? 0; c < end; c++) {
      if (batch.capSlot[c] !== slot || batch.capSide[c] !== side) continue;
      const addr = (batch.capAddr[2 * c + 1] ?? 0) * 0x1_0000_0000 + (batch.capAddr[2 * c] ?? 0);
      // What stands at the argument itself is the list of the buffers, where there is one.
      if (direct?.ty.t === "bytes" || addr !== own) parts.push(captureBytes(batch, c));
    }
    if (parts.length <= 1) return parts[0];
    return Buffer.concat(parts);
  }

  #address(batch: EventBatch, i: number, k: number): number {
    const low = batch.args[12 * i + 2 * k] ?? 0;
    return (batch.args[12 * i + 2 * k + 1] ?? 0) * 0x1_0000_0000 + low;
  }
}

/** `127.0.0.1:443`, `[::1]:443`, `/run/socket`, `@abstract`. */
export function addressText(data: Uint8Array): string | undefined {
  const family = (data[0] ?? 0) | ((data[1] ?? 0) << 8);
  const port = ((data[2] ?? 0) << 8) | (data[3] ?? 0);
  if (family === 2 && data.length >= 8) return `${ipv4Text((i32(data, 4) ?? 0) >>> 0)}:${port}`;
  if (family === 10 && data.length >= 24) return `[${ipv6Text(data.subarray(8, 24))}]:${port}`;
  if (family !== 1 || data.length <= 2) return undefined;
  const name = data.subarray(2);
  return name[0] === 0 ? `@${utf8.decode(name.subarray(1))}` : textOf(name);
}
