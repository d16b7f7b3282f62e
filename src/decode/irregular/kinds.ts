/**
 * A small notation for arguments of calls that are many calls in one (prctl, ioctl): what a word is, or what is behind
 * the address that it is.
 *
 *     int uint hex addr size signal cap fd    a number, read that way
 *     c:SET   f:SET                           a choice, a mask of that set
 *     <T      >T      =T                      an address: read at entry, at exit when the call succeeded, both
 *     T may also be: long u64 str, s:STRUCT, and `2int`, `8u64`: so many of them
 */

import { CaptureSide } from "../../trace/batch.js";
import { changed, stringAt } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, flags } from "../flags.js";
import { i32, u32, u64, uword } from "../memory.js";
import { signalValue } from "../scalar.js";
import { structAt } from "../struct.js";
import { array, deref, hexInt, int, NULL, type Num, pointer, type Value } from "../value.js";

const { In, Out } = CaptureSide;

/** True when the kind can be told only at exit. */
export function isLate(kind: string): boolean {
  return kind.startsWith(">") || kind.startsWith("=");
}

/** Argument `k`, read as the kind says. */
export function kindValue(call: CallContext, k: number, kind: string): Value {
  const what = kind.slice(1);
  switch (kind[0]) {
    case "<":
      return behind(call, call.arg(k), what, In);
    case ">":
      return call.succeeded ? behind(call, call.arg(k), what, Out) : address(call.arg(k));
    case "=": {
      const before = behind(call, call.arg(k), what, In);
      return call.succeeded ? changed(before, behind(call, call.arg(k), what, Out)) : before;
    }
    default:
      return wordValue(call, call.arg(k), call.low(k), kind);
  }
}

export function address(value: Num): Value {
  return value === 0 ? NULL : pointer(value);
}

/** `low` is the value's low 32 bits. */
function wordValue(call: CallContext, value: Num, low: number, kind: string): Value {
  if (kind.startsWith("c:")) return choice(kind.slice(2), low);
  if (kind.startsWith("f:")) return flags(kind.slice(2), low);
  switch (kind) {
    case "int":
      return int(low | 0);
    case "uint":
      return int(low);
    case "addr":
      return address(value);
    case "size":
    case "u64":
      return int(value);
    case "signal":
      return signalValue(low | 0);
    case "cap":
      return choice("capability", low);
    case "fd":
      return call.fd(low | 0);
    default:
      return hexInt(value);
  }
}

/** What stands at `addr`, or the address when it was not captured. */
export function behind(call: CallContext, addr: Num, what: string, side: number): Value {
  if (addr === 0) return NULL;
  if (what === "str") return stringAt(call, addr, side, "string");
  if (what.startsWith("s:")) return structAt(what.slice(2), addr, call, side);
  const many = /^(\d+)(\D.*)$/.exec(what);
  const count = many === null ? 1 : Number(many[1]);
  const kind = many === null ? what : (many[2] ?? "");
  const size = elementSize(kind, call.word);
  const data = call.memory.readAll(addr, size * count, side);
  if (data === undefined) return pointer(addr);
  if (many === null) return deref(elementAt(call, data, 0, kind));
  return array(Array.from({ length: count }, (_, k) => elementAt(call, data, k * size, kind)));
}

function elementSize(kind: string, word: 4 | 8): number {
  if (kind === "u64") return 8;
  if (kind === "addr" || kind === "long" || kind === "size") return word;
  return kind === "char" ? 1 : 4;
}

function elementAt(call: CallContext, data: Uint8Array, at: number, kind: string): Value {
  switch (kind) {
    case "u64":
      return int(u64(data, at) ?? 0);
    case "addr":
      return address(uword(data, at, call.word) ?? 0);
    case "long":
    case "size":
      return int(uword(data, at, call.word) ?? 0);
    case "char":
      return int(data[at] ?? 0);
    case "int":
      return int(i32(data, at) ?? 0);
    default: {
      const low = u32(data, at) ?? 0;
      return wordValue(call, low, low, kind);
    }
  }
}
