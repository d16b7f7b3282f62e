/**
 * Structs in memory to values, by the layouts of the table.
 *
 * A layout holds for every architecture whose rows name it: what i386 lays out differently has structs of its own
 * (`compat_*`, `old_*32`).
 */

import { CaptureSide } from "../trace/batch.js";
import type { CallContext } from "./context.js";
import { flags } from "./flags.js";
import { structDecoder, structView } from "./irregular/registry.js";
import { u8, u16, u32 } from "./memory.js";
import { ipv6, isScalar, scalar } from "./scalar.js";
import { type FieldRow, STRUCTS, type StructRow, type Ty } from "./tables.generated.js";
import {
  array,
  bytes,
  type FieldValue,
  type Num,
  pointer,
  type StructValue,
  type Value,
} from "./value.js";

/** The layout of a struct, if the table has it. */
export function layout(name: string): StructRow | undefined {
  return Object.hasOwn(STRUCTS, name) ? STRUCTS[name] : undefined;
}

/** Bytes of one element of that type in memory; undefined when it has no size of its own. */
export function sizeOf(ty: Ty, word: 4 | 8): number | undefined {
  switch (ty.t) {
    case "struct":
      return layout(ty.name)?.size;
    case "int":
    case "uint":
    case "fd":
    case "dirfd":
    case "pid":
    case "uid":
    case "gid":
    case "mode":
    case "filemode":
    case "signal":
    case "ipv4":
    case "flags":
    case "enum":
      return 4;
    case "port":
      return 2;
    case "ipv6":
      return 16;
    case "chars":
    case "blob":
      return 1;
    case "sigset":
    case "off":
      return 8;
    default:
      return word;
  }
}

/** Sizes that the first versions of growing structs had; the kernel takes no less. */
const LEAST_SIZES: Readonly<Record<string, number>> = { open_how: 24, mount_attr: 32 };

/** Enough for every struct that has a decoder of its own and no layout. */
const SPECIAL_SIZE = 256;

/** The struct at `addr`, or the pointer when none of it was captured. `size` is what the program says it is. */
export function structAt(
  name: string,
  addr: Num,
  call: CallContext,
  side: number = CaptureSide.In,
  size?: number,
): Value {
  const wanted =
    size ?? layout(name)?.size ?? (structDecoder(name) === undefined ? 0 : SPECIAL_SIZE);
  const data = wanted === 0 ? undefined : call.memory.read(addr, wanted, side);
  if (data === undefined || data.length === 0) return pointer(addr);
  const least = size === undefined ? undefined : LEAST_SIZES[name];
  if (least !== undefined && data.length < least) return pointer(addr);
  const value = structFrom(name, data, call, side);
  const whole = size !== undefined && data.length === size && value.kind === "struct";
  return whole && value.elided ? { ...value, elided: false } : value;
}

/** The struct of which `data` is what there is. */
export function structFrom(name: string, data: Uint8Array, call: CallContext, side: number): Value {
  const special = structDecoder(name);
  if (special !== undefined) return special(data, call, side);
  const value = plainStruct(name, data, call, side);
  const view = structView(name);
  return view !== undefined && value.kind === "struct" ? view(value) : value;
}

/** As {@link structFrom}, by the layout alone. */
export function plainStruct(
  name: string,
  data: Uint8Array,
  call: CallContext,
  side: number,
): StructValue | Value {
  const row = layout(name);
  if (row === undefined) return bytes(data, data.length, "blob");
  const fields: FieldValue[] = [];
  let elided = false;
  for (const member of row.fields) {
    const value = memberValue(member, data, call, side);
    if (value === undefined) elided = true;
    else
      fields.push(
        member.brief ? { name: member.name, value } : { name: member.name, value, detail: true },
      );
  }
  return { kind: "struct", name, fields, elided };
}

/** One member; undefined when the data ends before it. */
export function memberValue(
  member: FieldRow,
  data: Uint8Array,
  call: CallContext,
  side: number,
): Value | undefined {
  const length = member.size * member.count;
  if (member.offset + length > data.length) return undefined;
  const part = data.subarray(member.offset, member.offset + length);
  if (member.ty.t === "chars") return chars(part);
  if (member.ty.t === "blob") return bytes(part, part.length, "hex");
  if (member.count === 1) return element(member.ty, part, call, side);
  const items: Value[] = [];
  for (let at = 0; at < length; at += member.size) {
    items.push(element(member.ty, part.subarray(at, at + member.size), call, side));
  }
  return array(items);
}

/** A `char[]` that ends at its first NUL, if it has one. */
export function chars(part: Uint8Array): Value {
  const nul = part.indexOf(0);
  const text = nul < 0 ? part : part.subarray(0, nul);
  return bytes(text, text.length, "string");
}

/** One element of that type that fills `data`. */
export function element(ty: Ty, data: Uint8Array, call: CallContext, side: number): Value {
  if (ty.t === "struct") return structFrom(ty.name, data, call, side);
  if (ty.t === "ipv6") return ipv6(data);
  if (ty.t === "sigset") {
    const special = structDecoder("sigset");
    if (special !== undefined) return special(data, call, side);
  }
  if (!isScalar(ty)) return pointer(word(data));
  const [low, high] = words(data);
  if (ty.t === "flags") return flags(ty.set, word(data));
  return scalar(ty, low, high, data.length, call);
}

/** Little-endian number of up to 8 bytes as two words. */
export function words(data: Uint8Array): [low: number, high: number] {
  switch (data.length) {
    case 1:
      return [u8(data, 0) ?? 0, 0];
    case 2:
      return [u16(data, 0) ?? 0, 0];
    case 4:
      return [u32(data, 0) ?? 0, 0];
    default:
      return [u32(data, 0) ?? 0, u32(data, 4) ?? 0];
  }
}

function word(data: Uint8Array): Num {
  const [low, high] = words(data);
  return high <= 0x1f_ffff ? high * 0x1_0000_0000 + low : (BigInt(high) << 32n) | BigInt(low);
}
