/**
 * One argument of a call to a value, by what its row says: type, direction, length.
 *
 * Memory of an output argument is looked at only when the call succeeded; otherwise, and wherever the recording lacks
 * the bytes, the pointer itself is the value.
 */

import { CaptureSide } from "../trace/batch.js";
import { byteText } from "../trace/byte_text.js";
import type { CallContext } from "./context.js";
import { argDecoder, countsOptional, optionalArgs } from "./irregular/registry.js";
import { u32, uword } from "./memory.js";
import { isScalar, registerSize, scalar } from "./scalar.js";
import { element, sizeOf, structAt } from "./struct.js";
import type { ArgRow, Len, Ty } from "./tables.generated.js";
import {
  type Argument,
  array,
  type BytesValue,
  bytes,
  deref,
  hexInt,
  int,
  NULL,
  type Num,
  pointer,
  type Value,
} from "./value.js";

/** Most elements that one array is decoded to; what follows is said to be elided. */
export const MAX_ELEMENTS = 65_536;

const { In, Out, Resolved } = CaptureSide;

/** Argument `k` of the row, as name and value. */
export function genericArg(call: CallContext, k: number): Argument {
  const row = call.row?.args[k];
  if (row === undefined) return { name: `arg${k + 1}`, value: hexInt(call.arg(k)) };
  const value = argValue(call, k, row);
  if (row.ty.t === "path") {
    const resolved = resolvedPath(call, k);
    if (resolved !== undefined) return { name: row.name, value, resolved };
  }
  if (row.name === "flags" && HEX_FLAGS.has(call.name)) {
    return { name: row.name, value, text: hexInt(call.low(k)) };
  }
  return isExit(row) ? { name: row.name, value, at: "exit" } : { name: row.name, value };
}

function isExit(row: ArgRow): boolean {
  return row.dir !== "in" && !isScalar(row.ty);
}

export function resolvedPath(call: CallContext, k: number): string | undefined {
  const found = call.memory.slot(k, Resolved);
  return found === undefined ? undefined : byteText(found.bytes);
}

/** How many arguments of the row mean something in this call. */
export function argumentCount(call: CallContext): number {
  const rule = call.row && optionalArgs(call.row.name);
  if (rule !== undefined && !countsOptional(rule, call.low(rule.arg))) return rule.keep;
  return call.row?.args.length ?? 0;
}

/** All arguments of the row. Halves of a 64-bit argument (`pos_low`, `pos_high`) become one. */
export function genericArgs(call: CallContext): Argument[] {
  const args: Argument[] = [];
  const rows = call.row?.args.slice(0, argumentCount(call)) ?? [];
  for (let k = 0; k < rows.length; k++) {
    const name = rows[k]?.name ?? "";
    const next = rows[k + 1]?.name ?? "";
    const stem = name.replace(/_l(ow)?$/, "");
    if (call.word === 4 && stem !== name && next.replace(/_h(igh)?$/, "") === stem) {
      const value = (BigInt.asIntN(32, BigInt(call.low(k + 1))) << 32n) | BigInt(call.low(k));
      args.push({ name: stem, value: int(narrow(value)) });
      k++;
    } else {
      args.push(genericArg(call, k));
    }
  }
  return args;
}

/** The same integer as a number where that is exact. */
export function narrow(value: bigint): Num {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Calls whose flags have no names yet, and are shown in hexadecimal. */
const HEX_FLAGS: ReadonlySet<string> = new Set([
  "futex_waitv",
  "pidfd_getfd",
  "pkey_alloc",
  "process_madvise",
  "process_mrelease",
]);

/** Value of argument `k`, from its register or the memory behind it. */
export function argValue(call: CallContext, k: number, row: ArgRow): Value {
  const { ty } = row;
  if (isScalar(ty)) {
    return scalar(ty, call.low(k), call.high(k), registerSize(ty, call.word), call, k);
  }
  if (row.dir === "in") return sideValue(call, k, row, In);
  if (row.dir === "out") {
    if (call.succeeded || readsEntry(ty)) return sideValue(call, k, row, Out);
    return address(call, k);
  }
  const before = sideValue(call, k, row, In);
  if (!call.succeeded) return before;
  return changed(before, sideValue(call, k, row, Out));
}

/** Types whose structure is there at entry, whatever became of the call. */
function readsEntry(ty: Ty): boolean {
  return ty.t === "irregular" || ty.t === "iovec" || ty.t === "msghdr" || ty.t === "mmsghdr";
}

/** What the value was and became; one value when both are the same or one of them is not known. */
export function changed(before: Value, after: Value): Value {
  if (after.kind === "pointer" || same(before, after)) return before;
  if (before.kind === "pointer") return after;
  if (before.kind === "deref" && after.kind === "deref") {
    return deref({ kind: "change", before: before.value, after: after.value });
  }
  return { kind: "change", before, after };
}

function same(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || !left || !right) return false;
  if (left instanceof Uint8Array) {
    return right instanceof Uint8Array && Buffer.compare(left, right) === 0;
  }
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => same(left[key as keyof typeof left], right[key as keyof typeof right]))
  );
}

export function address(call: CallContext, k: number): Value {
  const addr = call.arg(k);
  return addr === 0 ? NULL : pointer(addr);
}

function sideValue(call: CallContext, k: number, row: ArgRow, side: number): Value {
  const { ty } = row;
  const special = argDecoder(decoderName(ty));
  if (special !== undefined) return special(call, k, side);
  const addr = call.arg(k);
  if (ty.t === "irregular") return irregularFallback(call, k, row, side);
  if (addr === 0) return NULL;
  switch (ty.t) {
    case "path":
    case "str":
      return stringAt(
        call,
        addr,
        side,
        ty.t === "path" ? "path" : "string",
        lengthOf(call, row.len, side),
      );
    case "bytes":
      return bytesAt(call, addr, lengthOf(call, row.len, side) ?? 0, side);
    case "struct": {
      const size = lengthOf(call, row.len, side);
      return structAt(ty.name, addr, call, side, size);
    }
    case "ptr":
      return pointeeAt(call, addr, ty.of, side);
    case "array":
      return arrayAt(call, addr, ty.of, lengthOf(call, row.len, side) ?? 0, side);
    case "strarray":
      return stringsAt(call, addr, side);
    default:
      return pointer(addr);
  }
}

/** Under what name a family would decode the type. */
function decoderName(ty: Ty): string {
  if (ty.t === "irregular") return ty.name;
  return ty.t === "ptr" && ty.of.t === "irregular" ? ty.of.name : ty.t;
}

/** An irregular argument that no family reads: its bytes where the row counts them, else the bare word. */
function irregularFallback(call: CallContext, k: number, row: ArgRow, side: number): Value {
  if (row.len.from === "fixed" && row.len.n === 0) return hexInt(call.arg(k));
  const length = lengthOf(call, row.len, side);
  if (length === undefined) return address(call, k);
  return call.arg(k) === 0 ? NULL : bytesAt(call, call.arg(k), length, side);
}

/** Length in bytes or elements; undefined when the type has its own. */
export function lengthOf(call: CallContext, len: Len, side: number): number | undefined {
  switch (len.from) {
    case "own":
      return undefined;
    case "fixed":
      return len.n;
    case "arg":
      return call.count(len.i);
    case "ret":
      return call.retCount;
    case "retmax":
      return side === Out ? Math.min(call.retCount, call.count(len.i)) : call.count(len.i);
    case "pointee":
      return pointeeLength(call, len.i, side, 4);
    case "pointeeword":
      return pointeeLength(call, len.i, side, call.word);
  }
}

function pointeeLength(call: CallContext, i: number, side: number, size: number): number {
  const read = (from: number): number => {
    const data = call.memory.readAll(call.arg(i), size, from);
    if (data === undefined) return 0;
    return Number(size === 4 ? u32(data, 0) : uword(data, 0, size)) || 0;
  };
  const before = read(In);
  if (side !== Out) return before;
  const data = call.memory.readAll(call.arg(i), size, Out);
  return data === undefined ? before : Math.min(before || read(Out), read(Out));
}

/** A string that ends at its NUL, or after `limit` bytes. */
export function stringAt(
  call: CallContext,
  addr: Num,
  side: number,
  style: "path" | "string",
  limit?: number,
): Value {
  const found = call.memory.cstring(addr, side);
  if (found === undefined) return addr === 0 ? NULL : pointer(addr);
  if (found.terminated) return bytes(cut(found.bytes, limit), undefined, style);
  const data = cut(found.bytes, limit);
  if (data.length === limit) return bytes(data, data.length, style);
  const value = bytes(data, data.length + 1, style);
  return found.faulted ? { ...value, fault: addr } : value;
}

function cut(data: Uint8Array, limit?: number): Uint8Array {
  return limit === undefined ? data : data.subarray(0, limit);
}

/** `length` bytes. What the recording lacks is counted in `total`. */
export function bytesAt(
  call: CallContext,
  addr: Num,
  length: number,
  side: number,
  style: BytesValue["style"] = "buffer",
): Value {
  const data = call.memory.read(addr, length, side);
  if (data === undefined) return addr === 0 ? NULL : pointer(addr);
  return bytes(data, length, style);
}

function pointeeAt(call: CallContext, addr: Num, of: Ty, side: number): Value {
  const data = call.memory.readAll(addr, sizeOf(of, call.word) ?? call.word, side);
  return data === undefined ? pointer(addr) : deref(element(of, data, call, side));
}

/** `count` elements of type `of`. */
export function arrayAt(call: CallContext, addr: Num, of: Ty, count: number, side: number): Value {
  if (addr === 0) return NULL;
  if (count <= 0) return array([]);
  const size = sizeOf(of, call.word) ?? call.word;
  const wanted = Math.min(count, MAX_ELEMENTS);
  const data = call.memory.read(addr, wanted * size, side);
  if (data === undefined || data.length < size) return pointer(addr);
  const items: Value[] = [];
  for (let at = 0; at + size <= data.length; at += size) {
    items.push(element(of, data.subarray(at, at + size), call, side));
  }
  return array(items, items.length < count);
}

/** A NULL-terminated array of strings. */
function stringsAt(call: CallContext, addr: Num, side: number): Value {
  const table = call.memory.read(addr, MAX_ELEMENTS * call.word, side);
  if (table === undefined) return pointer(addr);
  const items: Value[] = [];
  for (let at = 0; at + call.word <= table.length; at += call.word) {
    const item = uword(table, at, call.word) ?? 0;
    if (item === 0) return array(items);
    items.push(stringAt(call, item, side, "string"));
  }
  return array(items, true);
}
