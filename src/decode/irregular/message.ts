/** iovec, msghdr, mmsghdr and control messages. */

import { CaptureSide } from "../../trace/batch.js";
import { genericArgs, MAX_ELEMENTS } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { i32, u32, uword } from "../memory.js";
import { interfaceIndex } from "../scalar.js";
import { plainStruct, structAt } from "../struct.js";
import {
  type ArrayValue,
  array,
  bytes,
  deref,
  type FieldValue,
  field,
  hexInt,
  int,
  NULL,
  type Num,
  pointer,
  type StructValue,
  struct,
  symbol,
  type Value,
} from "../value.js";
import { isNetlink, netlinkMessages } from "./netlink.js";
import type { ArgDecoder, Family, Shape } from "./registry.js";
import { sockaddrAt } from "./sockaddr.js";

const { In, Out } = CaptureSide;

function address(value: Num): Value {
  return value === 0 ? NULL : pointer(value);
}

/** How buffers are looked at: on which side, and how many bytes of them count. */
export interface Buffers {
  readonly side: number;
  /** Bytes over all buffers; Infinity for those the program filled. -1: only their addresses. */
  readonly bytes: number;
  readonly netlink?: boolean;
}

/** More than any program passes; the count is taken for a mistake. */
const MAX_IOVECS = 1 << 20;

/** The iovec array of `count` elements at `addr`. */
export function iovecs(call: CallContext, addr: Num, count: number, buffers: Buffers): Value {
  if (addr === 0) return NULL;
  if (count <= 0) return array([]);
  if (count > MAX_IOVECS) return pointer(addr);
  const { word } = call;
  const wanted = Math.min(count, MAX_ELEMENTS);
  const data =
    call.memory.read(addr, wanted * 2 * word, In) ?? call.memory.readAfter(addr, wanted * 2 * word);
  if (data === undefined || data.length < 2 * word) return pointer(addr);
  const items: Value[] = [];
  let left = buffers.bytes;
  for (let at = 0; at + 2 * word <= data.length; at += 2 * word) {
    const base = uword(data, at, word) ?? 0;
    const length = uword(data, at + word, word) ?? 0;
    const size = Math.min(Number(length), Math.max(0, left));
    const value = buffers.bytes < 0 ? address(base) : buffer(call, base, size, buffers);
    left -= size;
    items.push(struct("iovec", [field("iov_base", value), field("iov_len", int(length))]));
  }
  return array(items, items.length < count);
}

function buffer(call: CallContext, base: Num, size: number, buffers: Buffers): Value {
  const data = base === 0 ? undefined : call.memory.read(base, size, buffers.side);
  if (data === undefined) return address(base);
  const messages = buffers.netlink === true ? netlinkMessages(data, call, buffers.side) : undefined;
  return messages ?? bytes(data, size);
}

const iovec: ArgDecoder = (call, k, side) => {
  const row = call.row?.args[k];
  const count = row === undefined ? 0 : call.count(row.len.from === "arg" ? row.len.i : k + 1);
  const out = row?.dir === "out";
  const filled = call.succeeded ? call.retCount : -1;
  return iovecs(call, call.arg(k), count, {
    side: out ? Out : side,
    bytes: out ? filled : Number.POSITIVE_INFINITY,
  });
};

/** Where the members of a `struct msghdr` are, whose pointers have `word` bytes. */
export function messageOffsets(word: 4 | 8) {
  return word === 8
    ? { name: 0, namelen: 8, iov: 16, iovlen: 24, control: 32, controllen: 40, flags: 48, size: 56 }
    : { name: 0, namelen: 4, iov: 8, iovlen: 12, control: 16, controllen: 20, flags: 24, size: 28 };
}

/** A message that is sent (`after` undefined), or one that was received with what the kernel changed. */
function msghdr(
  call: CallContext,
  before: Uint8Array,
  after: Uint8Array | undefined,
  buffers: Buffers,
): Value {
  const { word } = call;
  const at = messageOffsets(word);
  const now = after ?? before;
  const side = after === undefined ? In : Out;
  const nameBefore = i32(before, at.namelen) ?? 0;
  const nameAfter = i32(now, at.namelen) ?? 0;
  const control = uword(before, at.control, word) ?? 0;
  const controlLength = uword(now, at.controllen, word) ?? 0;
  const name = uword(before, at.name, word) ?? 0;
  const namelen: Value =
    nameBefore === nameAfter
      ? int(nameBefore)
      : { kind: "change", before: int(nameBefore), after: int(nameAfter) };
  const fields: FieldValue[] = [
    field("msg_name", sockaddrAt(call, name, Math.min(nameBefore, nameAfter), side)),
    field("msg_namelen", namelen),
    field(
      "msg_iov",
      iovecs(
        call,
        uword(before, at.iov, word) ?? 0,
        Number(uword(before, at.iovlen, word) ?? 0),
        buffers,
      ),
    ),
    field("msg_iovlen", int(uword(before, at.iovlen, word) ?? 0)),
  ];
  if (controlLength !== 0) {
    fields.push(field("msg_control", controls(call, control, Number(controlLength), side)));
  }
  fields.push(
    field("msg_controllen", int(controlLength)),
    field("msg_flags", flags("msg_flags", u32(now, at.flags) ?? 0)),
  );
  return struct("msghdr", fields);
}

/** Control messages. */
function controls(call: CallContext, addr: Num, length: number, side: number): Value {
  const { word } = call;
  const head = word + 8;
  const data = call.memory.read(addr, Math.min(length, 1 << 20), side);
  if (addr === 0 || data === undefined || data.length < head) return address(addr);
  const items: Value[] = [];
  let at = 0;
  while (at + head <= data.length) {
    const size = Number(uword(data, at, word) ?? 0);
    const whole = Math.max(size, head);
    items.push(control(call, data.subarray(at, Math.min(at + whole, data.length)), size));
    at += Math.ceil(whole / word) * word;
  }
  // What is left is too short for a header.
  if (at < data.length && typeof addr === "number") {
    items.push(symbol(`... /* 0x${(addr + at).toString(16)} */`));
  }
  return array(items);
}

const SOL = { IP: 0, SOCKET: 1, IPV6: 41 } as const;
const SCM = { RIGHTS: 1, CREDENTIALS: 2, PIDFD: 4 } as const;

/** Names of control messages by level. */
const TYPES: Readonly<Record<number, string>> = {
  [SOL.IP]: "cmsg_ip",
  [SOL.SOCKET]: "scm_type",
  [SOL.IPV6]: "cmsg_ipv6",
};

function control(call: CallContext, data: Uint8Array, size: number): Value {
  const { word } = call;
  const level = u32(data, word) ?? 0;
  const type = u32(data, word + 4) ?? 0;
  const set = TYPES[level];
  const body = data.subarray(word + 8);
  const fields: FieldValue[] = [
    field("cmsg_len", int(size)),
    field("cmsg_level", choice("sockopt_level", level)),
    field("cmsg_type", set === undefined ? hexInt(type) : choice(set, type)),
  ];
  if (body.length > 0) {
    const value = field("cmsg_data", controlData(call, level, type, body));
    const named = set !== undefined && choiceName(set, type) !== undefined;
    fields.push(named ? value : { ...value, hidden: true });
  }
  return struct("cmsghdr", fields);
}

/** Structs that control messages hold, by level and type. */
const STRUCTS: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  [SOL.SOCKET]: { [SCM.CREDENTIALS]: "ucred", 29: "timeval", 35: "timespec", 64: "timespec" },
  [SOL.IP]: { 8: "in_pktinfo" },
  [SOL.IPV6]: { 50: "in6_pktinfo" },
};

/** Types that hold one int. */
const INTS: Readonly<Record<number, readonly number[]>> = {
  [SOL.SOCKET]: [],
  [SOL.IP]: [2],
  [SOL.IPV6]: [52, 67],
};

function controlData(call: CallContext, level: number, type: number, body: Uint8Array): Value {
  if (level === SOL.SOCKET && (type === SCM.RIGHTS || type === SCM.PIDFD)) {
    return descriptors(call, body);
  }
  const name = STRUCTS[level]?.[type];
  if (name !== undefined) {
    const value = plainStruct(name, body, call, In);
    if (value.kind === "struct" && !value.elided) return named(value);
  }
  if (INTS[level]?.includes(type) === true && body.length >= 4)
    return deref(int(i32(body, 0) ?? 0));
  if (level === SOL.IP && type === IP_TOS && body.length === 1) return deref(int(body[0] ?? 0));
  return bytes(body, body.length, "hex");
}

const IP_TOS = 1;

/** Indexes of interfaces by the function that finds them. */
function named(value: StructValue): StructValue {
  const fields = value.fields.map((member) =>
    member.name.endsWith("_ifindex") && member.value.kind === "int"
      ? { ...member, value: interfaceIndex(Number(member.value.value)) }
      : member,
  );
  return { ...value, fields };
}

function descriptors(call: CallContext, body: Uint8Array): ArrayValue {
  const items: Value[] = [];
  for (let at = 0; at + 4 <= body.length; at += 4) items.push(call.fd(i32(body, at) ?? -1));
  return array(items);
}

const message: ArgDecoder = (call, k) => {
  const addr = call.arg(k);
  const { size, namelen } = messageOffsets(call.word);
  const exit = call.succeeded ? call.memory.readAll(addr, size, Out) : undefined;
  const before = call.memory.readAll(addr, size, In) ?? exit;
  if (addr === 0 || before === undefined) return address(addr);
  const netlink = isNetlink(call);
  if (call.row?.args[k]?.dir === "in") {
    return msghdr(call, before, undefined, { side: In, bytes: Number.POSITIVE_INFINITY, netlink });
  }
  if (!call.succeeded) {
    return struct("msghdr", [field("msg_namelen", int(i32(before, namelen) ?? 0))]);
  }
  return msghdr(call, before, exit ?? before, { side: Out, bytes: call.retCount, netlink });
};

const messages: ArgDecoder = (call, k) => {
  const addr = call.arg(k);
  const row = call.row?.args[k];
  const out = row?.dir === "out";
  const { size } = messageOffsets(call.word);
  const step = size + (call.word === 8 ? 8 : 4);
  const asked = call.count(2);
  const count = Math.min(call.succeeded ? call.retCount : asked, asked, MAX_ELEMENTS);
  if (addr === 0 || (out && !call.succeeded)) return address(addr);
  if (typeof addr === "bigint") return address(addr);
  const items: Value[] = [];
  while (items.length < count) {
    const item = oneOfMany(call, addr + items.length * step, out);
    if (item === undefined) break;
    items.push(item);
  }
  return items.length === 0 && count > 0 ? address(addr) : array(items, items.length < count);
};

/** The message at `addr`; undefined when it was not captured. */
function oneOfMany(call: CallContext, addr: number, out: boolean): Value | undefined {
  const { size } = messageOffsets(call.word);
  const after = call.succeeded ? call.memory.readAll(addr, size, Out) : undefined;
  const before = call.memory.readAll(addr, size, In) ?? after;
  if (before === undefined) return undefined;
  const counted = call.succeeded ? call.memory.readAll(addr + size, 4, Out) : undefined;
  const length = counted === undefined ? undefined : u32(counted, 0);
  const netlink = isNetlink(call);
  const header = out
    ? msghdr(call, before, after ?? before, { side: Out, bytes: length ?? 0, netlink })
    : msghdr(call, before, undefined, { side: In, bytes: Number.POSITIVE_INFINITY, netlink });
  const fields = [field("msg_hdr", header)];
  if (length !== undefined) fields.push(field("msg_len", int(length)));
  return struct("mmsghdr", fields);
}

/** What is left of the timeout is a remark behind the result. */
function recvmmsg(call: CallContext): Shape {
  const args = genericArgs(call);
  const timeout = args[4];
  const ty = call.row?.args[4]?.ty;
  if (timeout === undefined || ty?.t !== "struct" || call.arg(4) === 0) return { args };
  args[4] = { ...timeout, value: structAt(ty.name, call.arg(4), call, In) };
  const left = call.succeeded ? structAt(ty.name, call.arg(4), call, Out) : NULL;
  if (left.kind !== "struct") return { args };
  return {
    args,
    result: { note: { kind: "list", sep: ", ", items: [{ label: "left", value: left }] } },
  };
}

export const messageFamily: Family = {
  args: { iovec, msghdr: message, mmsghdr: messages },
  calls: { recvmmsg, recvmmsg_time64: recvmmsg },
};
