/** Directory entries as getdents and getdents64 return them; the short form only counts them. */

import type { CallContext } from "../context.js";
import { choice } from "../flags.js";
import { u16, uword } from "../memory.js";
import { chars } from "../struct.js";
import {
  type ArrayValue,
  type FieldValue,
  field,
  int,
  NULL,
  pointer,
  struct,
  type Value,
} from "../value.js";
import type { ArgDecoder, Family } from "./registry.js";

/** Where the members of an entry are. */
interface Layout {
  readonly word: 4 | 8;
  readonly length: number;
  readonly name: number;
  /** Offset of the type; undefined when it is the last byte of the entry. */
  readonly type: number | undefined;
}

const DIRENT64: Layout = { word: 8, length: 16, name: 19, type: 18 };

function entry(data: Uint8Array, at: Layout): Value {
  const fields: FieldValue[] = [
    field("d_ino", int(uword(data, 0, at.word) ?? 0)),
    field("d_off", int(signedOffset(data, at))),
    field("d_reclen", int(u16(data, at.length) ?? 0)),
  ];
  const type = field("d_type", choice("dirent_type", data[at.type ?? data.length - 1] ?? 0));
  const name = field("d_name", chars(data.subarray(at.name)));
  fields.push(...(at.type === undefined ? [name, type] : [type, name]));
  return struct("dirent", fields);
}

function signedOffset(data: Uint8Array, at: Layout): number | bigint {
  const value = uword(data, at.word, at.word) ?? 0;
  return typeof value === "bigint" ? BigInt.asIntN(64, value) : value;
}

const dirents: ArgDecoder = (call, k, side) => {
  const addr = call.arg(k);
  if (addr === 0) return NULL;
  const data = call.succeeded ? call.memory.read(addr, call.retCount, side) : undefined;
  if (data === undefined) return pointer(addr);
  return list(data, layoutOf(call), addr);
};

function layoutOf(call: CallContext): Layout {
  if (call.row?.name === "getdents64") return DIRENT64;
  const { word } = call;
  return { word, length: 2 * word, name: 2 * word + 2, type: undefined };
}

function list(data: Uint8Array, at: Layout, addr: number | bigint): ArrayValue {
  const items: Value[] = [];
  let offset = 0;
  while (offset + at.name <= data.length) {
    const length = u16(data, offset + at.length) ?? 0;
    if (length < at.name || offset + length > data.length) break;
    items.push(entry(data.subarray(offset, offset + length), at));
    offset += length;
  }
  const elided = offset < data.length;
  const brief = pointer(addr, `${items.length} entries`);
  return { kind: "array", items, elided, whole: true, brief };
}

export const direntsFamily: Family = { args: { dirents } };
