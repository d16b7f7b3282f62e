/** Calls on files whose arguments depend on others: modes of `open`, seals of `stat`, times of `utimensat`. */

import { genericArgs } from "../argument.js";
import type { CallContext } from "../context.js";
import { i32, u32 } from "../memory.js";
import { type Argument, type StructValue, symbol, type Value } from "../value.js";
import type { Family, Shape } from "./registry.js";

const O_CREAT = 0o100;
const O_TMPFILE_BIT = 0o20000000;

const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;

/** A size, or a device number for what is a device; never both, as strace has it. */
function sizeOrDevice(value: StructValue): StructValue {
  const mode = value.fields.find((member) => member.name === "st_mode")?.value;
  const type = mode?.kind === "int" ? Number(mode.value) & S_IFMT : 0;
  const device = type === S_IFCHR || type === S_IFBLK;
  const shown = device ? "st_rdev" : "st_size";
  const fields = value.fields.map(({ name, value: member, detail }) => {
    if (name === "st_rdev" || name === "st_size") {
      return name === shown ? { name, value: member } : { name, value: member, hidden: true };
    }
    return { name, value: member, ...(detail === true && { detail }) };
  });
  return { ...value, fields };
}

const UTIME_NOW = 0x3fff_ffff;
const UTIME_OMIT = 0x3fff_fffe;

/** `2020-01-01T00:00:00+0000`, in the time zone of whoever reads it. */
export function timeNote(seconds: number, fraction = 0, digits = 9): string | undefined {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime()) || (seconds === 0 && fraction === 0)) return undefined;
  const offset = -date.getTimezoneOffset();
  const two = (value: number) => String(Math.trunc(value)).padStart(2, "0");
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.abs(offset) / 60)}${two(Math.abs(offset) % 60)}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const part = fraction === 0 ? "" : `.${String(fraction).padStart(digits, "0")}`;
  return `${day}T${time}${part}${zone}`;
}

/** Times of utimensat: special nanoseconds by name, others with their date. */
function utimes(k: number, word: 4 | 8, digits: 6 | 9): (call: CallContext) => Shape {
  return (call) => {
    const args = genericArgs(call);
    const arg = args[k];
    const data = call.memory.readAll(call.arg(k), 4 * word);
    if (arg === undefined || data === undefined || arg.value.kind !== "array") return { args };
    const items = arg.value.items.map((item, n) =>
      dated(item, data.subarray(2 * n * word), word, digits),
    );
    args[k] = { ...arg, value: { ...arg.value, items } } satisfies Argument;
    return { args };
  };
}

function dated(item: Value, data: Uint8Array, word: 4 | 8, digits: 6 | 9): Value {
  const fraction = u32(data, word) ?? 0;
  if (digits === 9 && fraction === UTIME_NOW) return symbol("UTIME_NOW");
  if (digits === 9 && fraction === UTIME_OMIT) return symbol("UTIME_OMIT");
  const high = word === 8 ? (i32(data, 4) ?? 0) : 0;
  const seconds = high * 0x1_0000_0000 + (word === 8 ? (u32(data, 0) ?? 0) : (i32(data, 0) ?? 0));
  const note = timeNote(seconds, fraction, digits);
  return item.kind === "struct" && note !== undefined ? { ...item, note } : item;
}

const MREMAP_FIXED = 2;
const MREMAP_DONTUNMAP = 4;

function utimensat(call: CallContext): Shape {
  const narrow = call.word === 4 && call.name === "utimensat";
  return utimes(2, narrow ? 4 : 8, 9)(call);
}

/** getrandom's bytes are no text. */
function getrandom(call: CallContext): Shape {
  const args = genericArgs(call);
  const first = args[0];
  if (first?.value.kind === "bytes")
    args[0] = { ...first, value: { ...first.value, style: "hex" } };
  return { args };
}

export const file: Family = {
  optional: {
    open: { arg: 1, mask: O_CREAT | O_TMPFILE_BIT, keep: 2 },
    openat: { arg: 2, mask: O_CREAT | O_TMPFILE_BIT, keep: 3 },
    mq_open: { arg: 1, mask: O_CREAT, keep: 2 },
    mremap: { arg: 3, mask: MREMAP_FIXED | MREMAP_DONTUNMAP, keep: 4 },
  },
  views: { stat: sizeOrDevice, compat_stat: sizeOrDevice, compat_stat64: sizeOrDevice },
  calls: {
    getrandom,
    utimensat,
    utimensat_time64: utimensat,
    utimes: (call) => utimes(1, call.word, 6)(call),
    futimesat: (call) => utimes(2, call.word, 6)(call),
  },
};
