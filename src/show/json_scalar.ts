/** Numbers and structs as JSON, straight into a sink: the parts from which jsonl.ts compiles its writers. */

import { choice, flags } from "../decode/flags.js";
import { structDecoder } from "../decode/irregular/registry.js";
import { isScalar, maskBits, scalar } from "../decode/scalar.js";
import { layout } from "../decode/struct.js";
import type { FieldRow, Ty } from "../decode/tables.generated.js";
import type { Num } from "../decode/value.js";
import { signed, unsigned } from "../trace/word.js";
import { flagsJson, JSON_OPTIONS, jsonNumber, jsonValue } from "./json.js";
import { type Piece, piece, type Sink } from "./sink.js";

/** Writes the number of which these are the words. */
export type ScalarWriter = (sink: Sink, low: number, high: number) => void;

/** Writes the struct at `at`; false when it cannot (what it wrote is to be dropped). */
export type StructWriter = (sink: Sink, bytes: DataView, at: number, limit: number) => boolean;

const MEMO_LIMIT = 4096;
const NULL = piece("null");

export function writeSigned(sink: Sink, low: number, high: number): void {
  if (high === 0) sink.uint(low);
  else if (high === 0xffff_ffff && low >= 0x8000_0000) sink.int(low | 0);
  else sink.text(jsonNumber(signed(low, high)));
}

export function writeUnsigned(sink: Sink, low: number, high: number): void {
  if (high <= 0x1f_ffff) sink.uint(high * 0x1_0000_0000 + low);
  else sink.text(jsonNumber(unsigned(low, high)));
}

/** Texts by value, made once; forgotten when a trace has too many. */
function remembered(
  make: (value: Num, low: number, high: number) => string,
  read: (low: number, high: number) => Num,
): ScalarWriter {
  const memo = new Map<Num, Piece>();
  return (sink, low, high) => {
    const value = read(low, high);
    let text = memo.get(value);
    if (text === undefined) {
      if (memo.size >= MEMO_LIMIT) memo.clear();
      text = piece(make(value, low, high));
      memo.set(value, text);
    }
    sink.put(text);
  };
}

/** The writer of a scalar of `size` bytes that is no descriptor. */
export function scalarWriter(ty: Ty, size: number): ScalarWriter {
  const narrow = size < 8;
  switch (ty.t) {
    case "flags": {
      const text = (value: Num) => {
        const { names, rest } = flags(ty.set, value);
        return flagsJson(names, rest);
      };
      return remembered(text, narrow ? (low) => low : maskBits);
    }
    case "enum":
      return remembered(
        (value) => jsonValue(choice(ty.set, value), JSON_OPTIONS),
        narrow ? (low) => low : maskBits,
      );
    case "int":
    case "long":
    case "off":
    case "time":
    case "pid":
      if (!narrow) return writeSigned;
      return (sink, low) => sink.int((low << (32 - 8 * size)) >> (32 - 8 * size));
    case "uint":
    case "ulong":
    case "size":
    case "hex":
      return narrow ? (sink, low) => sink.uint(low) : writeUnsigned;
    case "addr":
      return (sink, low, high) => {
        if (low === 0 && (narrow || high === 0)) sink.put(NULL);
        else sink.address(low, narrow ? 0 : high);
      };
    case "mode":
    case "filemode":
      return (sink, low) => sink.uint(low & 0xffff);
    default:
      return remembered(
        (_, low, high) => jsonValue(scalar(ty, low, high, size), JSON_OPTIONS),
        narrow ? (low) => low : unsigned,
      );
  }
}

const compiled = new Map<string, StructWriter | null>();

/** The writer of a struct of the table, if all its members are plain; undefined otherwise. */
export function structWriter(name: string): StructWriter | undefined {
  let writer = compiled.get(name);
  if (writer === undefined) {
    writer = compileStruct(name);
    compiled.set(name, writer);
  }
  return writer ?? undefined;
}

function compileStruct(name: string): StructWriter | null {
  const row = layout(name);
  if (row === undefined || structDecoder(name) !== undefined) return null;
  const members: StructWriter[] = [];
  for (const field of row.fields) {
    const member = memberWriter(field);
    if (member === undefined) return null;
    members.push(member);
  }
  const keys = row.fields.map((field, k) =>
    piece(`${k === 0 ? "{" : ","}${JSON.stringify(field.name)}:`),
  );
  const end = piece(row.fields.length === 0 ? "{}" : "}");
  return (sink, bytes, at, limit) => {
    for (let k = 0; k < members.length; k++) {
      sink.put(keys[k] as Piece);
      if (!(members[k] as StructWriter)(sink, bytes, at, limit)) return false;
    }
    sink.put(end);
    return true;
  };
}

function memberWriter(field: FieldRow): StructWriter | undefined {
  const { ty, offset, size, count } = field;
  if (field.name === "") return undefined;
  if (ty.t === "chars") return charsWriter(offset, size * count);
  if (count !== 1) return undefined;
  if (ty.t === "struct") {
    const inner = structWriter(ty.name);
    return inner && ((sink, bytes, at, limit) => inner(sink, bytes, at + offset, limit));
  }
  if (!isScalar(ty) || ty.t === "fd" || ty.t === "dirfd") return undefined;
  if (size !== 1 && size !== 2 && size !== 4 && size !== 8) return undefined;
  const write = scalarWriter(ty, size);
  return (sink, bytes, at) => {
    write(
      sink,
      lowWord(bytes, at + offset, size),
      size === 8 ? lowWord(bytes, at + offset + 4, 4) : 0,
    );
    return true;
  };
}

function lowWord(bytes: DataView, at: number, size: number): number {
  if (size === 1) return bytes.getUint8(at);
  return size === 2 ? bytes.getUint16(at, true) : bytes.getUint32(at, true);
}

function charsWriter(offset: number, length: number): StructWriter {
  return (sink, bytes, at, limit) => {
    const start = at + offset;
    const end = sink.asciiText(bytes, start, start + length);
    return end >= 0 && end - start <= limit;
  };
}
