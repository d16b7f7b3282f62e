/** Calls on files whose arguments depend on others: modes of `open`, seals of `stat`, times of `utimensat`. */

import { address, genericArgs } from "../argument.js";
import type { CallContext } from "../context.js";
import { i32, u32 } from "../memory.js";
import { plainStruct } from "../struct.js";
import {
  type Argument,
  deref,
  field,
  hexInt,
  type StructValue,
  struct,
  symbol,
  type Value,
} from "../value.js";
import type { Family, Shape, StructDecoder } from "./registry.js";

const O_CREAT = 0o100;
const O_TMPFILE_BIT = 0o20000000;

const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;

/** The mode in open_how counts as the argument of openat does. */
function modeOfNew(value: StructValue): StructValue {
  const bits = value.fields.find((member) => member.name === "flags")?.value;
  const creates = bits?.kind === "flags" && /O_CREAT|O_TMPFILE/.test(bits.names.join());
  const mode = value.fields.find((member) => member.name === "mode")?.value;
  if (creates || (mode?.kind === "int" && mode.value !== 0)) return value;
  const fields = value.fields.map((member) =>
    member.name === "mode" ? { ...member, hidden: true } : member,
  );
  return { ...value, fields };
}

/** The id of a file system is a struct with one array. */
function fsid(name: string): StructDecoder {
  return (data, call, side) => {
    const value = plainStruct(name, data, call, side);
    if (value.kind !== "struct") return value;
    const fields = value.fields.map((member) =>
      member.name === "f_fsid"
        ? field("f_fsid", struct("fsid", [field("val", member.value)]))
        : member,
    );
    return { ...value, fields };
  };
}

/** A size, or in its place a device number for what is a device; never both, as strace has it. */
function sizeOrDevice(value: StructValue): StructValue {
  const mode = value.fields.find((member) => member.name === "st_mode")?.value;
  const type = mode?.kind === "int" ? Number(mode.value) & S_IFMT : 0;
  const device = type === S_IFCHR || type === S_IFBLK;
  const number = value.fields.find(({ name }) => name === "st_rdev");
  const fields = value.fields.flatMap((member) => {
    if (member.name === "st_size") {
      const size = { name: member.name, value: member.value };
      if (!device || number === undefined) return [size];
      return [
        { name: number.name, value: number.value },
        { ...size, hidden: true },
      ];
    }
    if (member.name !== "st_rdev") return [member];
    return device ? [] : [{ ...member, hidden: true }];
  });
  return { ...value, fields };
}

const UTIME_NOW = 0x3fff_ffff;
const UTIME_OMIT = 0x3fff_fffe;

/** `2020-01-01T00:00:00+0000`, in the time zone of whoever reads it. */
export function timeNote(seconds: number, fraction = 0, digits = 9): string | undefined {
  const date = new Date(seconds * 1000);
  if (fraction >= 10 ** digits || Number.isNaN(date.getTime()) || (seconds === 0 && fraction === 0))
    return undefined;
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

const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;

function utimensat(call: CallContext): Shape {
  const narrow = call.word === 4 && call.name === "utimensat";
  return utimes(2, narrow ? 4 : 8, 9)(call);
}

/** The target of a link is no path that is looked up, but shown as one. */
function target(call: CallContext, k: number): Shape {
  const args = genericArgs(call);
  const arg = args[k];
  if (arg?.value.kind === "bytes") args[k] = { ...arg, value: { ...arg.value, style: "path" } };
  return { args };
}

/** Both times with their dates. */
function utime(call: CallContext): Shape {
  const args = genericArgs(call);
  const times = args[1];
  if (times?.value.kind !== "struct") return { args };
  const fields = times.value.fields.map((member) => {
    if (member.value.kind !== "int" || typeof member.value.value !== "number") return member;
    const note = timeNote(member.value.value);
    if (note === undefined) return member;
    return { ...member, value: { ...member.value, text: `${member.value.value} /* ${note} */` } };
  });
  args[1] = { ...times, value: { ...times.value, fields } };
  return { args };
}

/** strace shows where the area is and how large, not what is in it. */
function rseq(call: CallContext): Shape {
  const args = genericArgs(call);
  const [area, length] = args;
  if (area !== undefined) args[0] = { name: area.name, value: area.value, text: address(call, 0) };
  if (length !== undefined) args[1] = { ...length, text: hexInt(call.low(1)) };
  const bits = args[2];
  if (bits !== undefined) args[2] = { ...bits, text: hexInt(call.low(2)) };
  return { args };
}

/** On 64-bit machines the offset is whole, and its other half means nothing. */
function wholeOffset(call: CallContext): Shape {
  const args = genericArgs(call);
  return { args: call.word === 8 ? args.filter((arg) => arg.name !== "pos_h") : args };
}

/** getrandom's bytes are no text. */
function getrandom(call: CallContext): Shape {
  const args = genericArgs(call);
  const first = args[0];
  if (first?.value.kind === "bytes")
    args[0] = { ...first, value: { ...first.value, style: "hex" } };
  return { args };
}

/** strace writes the offset that was read at entry as a pair of pointees. */
function sendfile(call: CallContext): Shape {
  const args = genericArgs(call);
  const offset = args[2];
  if (offset?.value.kind !== "deref" || offset.value.value.kind !== "change") return { args };
  const { before, after } = offset.value.value;
  const value: Value = { kind: "change", before: deref(before), after: deref(after) };
  args[2] = { name: offset.name, value, at: "both" };
  return { args };
}

/** Offsets are shown as they were at entry. */
function entryOffsets(call: CallContext): Shape {
  const args = genericArgs(call).map((arg): Argument => {
    const { name, value } = arg;
    if (value.kind !== "deref") return { name, value };
    return { name, value: value.value.kind === "change" ? deref(value.value.before) : value };
  });
  return { args };
}

export const file: Family = {
  optional: {
    open: { arg: 1, mask: O_CREAT | O_TMPFILE_BIT, keep: 2 },
    openat: { arg: 2, mask: O_CREAT | O_TMPFILE_BIT, keep: 3 },
    mq_open: { arg: 1, mask: O_CREAT, keep: 2 },
    mremap: { arg: 3, mask: MREMAP_MAYMOVE | MREMAP_FIXED, keep: 4, all: true },
  },
  structs: {
    statfs: fsid("statfs"),
    compat_statfs: fsid("compat_statfs"),
    compat_statfs64: fsid("compat_statfs64"),
  },
  views: {
    open_how: modeOfNew,
    stat: sizeOrDevice,
    compat_stat: sizeOrDevice,
    compat_stat64: sizeOrDevice,
  },
  calls: {
    getrandom,
    symlink: (call) => target(call, 0),
    symlinkat: (call) => target(call, 0),
    utime,
    rseq,
    preadv2: wholeOffset,
    pwritev2: wholeOffset,
    sendfile,
    sendfile64: sendfile,
    splice: entryOffsets,
    copy_file_range: entryOffsets,
    utimensat,
    utimensat_time64: utimensat,
    utimes: (call) => utimes(1, call.word, 6)(call),
    futimesat: (call) => utimes(2, call.word, 6)(call),
  },
};
