/** Operation codes of BPF programs, classic (socket and seccomp filters) and extended, and classic programs. */

import type { CallContext } from "../context.js";
import { choice } from "../flags.js";
import { u8, u16, u32, uword } from "../memory.js";
import {
  type ArrayValue,
  apply,
  array,
  type FieldValue,
  field,
  hexInt,
  int,
  type Num,
  pointer,
  struct,
  symbol,
  type Value,
} from "../value.js";
import { address } from "./kinds.js";

const CLASS = { LD: 0, LDX: 1, ST: 2, STX: 3, ALU: 4, JMP: 5, RET: 6, MISC: 7 } as const;

const CLASS_BITS = 0x07;
const SIZE_BITS = 0x18;
const MODE_BITS = 0xe0;
const MODE_ABS = 0x20;
const OPERATION_BITS = 0xf0;
const SOURCE_BITS = 0x08;
const RESULT_BITS = 0x18;
const MISC_BITS = 0xf8;

/** Most instructions that the kernel takes of a classic program. */
const MAX_INSTRUCTIONS = 4096;

function unknown(bits: number): Value {
  return symbol(`0x${bits.toString(16)} /* BPF_??? */`);
}

/** `BPF_LD|BPF_W|BPF_ABS`. */
export function codeValue(code: number, extended: boolean): Value {
  const kind = code & CLASS_BITS;
  const set = (name: string) => (extended ? `e${name}` : name);
  const parts: Value[] = [choice(set("bpf_class"), kind)];
  const add = (name: string, bits: number) => parts.push(choice(name, code & bits));
  const rest = (known: number) => {
    const bits = code & ~CLASS_BITS & ~known;
    if (bits !== 0) parts.push(unknown(bits));
  };
  if (kind === CLASS.LD || kind === CLASS.LDX || (extended && kind <= CLASS.STX)) {
    add(set("bpf_size"), SIZE_BITS);
    add(set("bpf_mode"), MODE_BITS);
  } else if (kind === CLASS.ST || kind === CLASS.STX) {
    rest(0);
  } else if (kind === CLASS.ALU || (extended && kind === CLASS.MISC)) {
    add("bpf_src", SOURCE_BITS);
    add(set("bpf_op_alu"), OPERATION_BITS);
  } else if (kind === CLASS.JMP) {
    add("bpf_src", SOURCE_BITS);
    add(set("bpf_op_jmp"), OPERATION_BITS);
  } else if (kind === CLASS.MISC) {
    add("bpf_miscop", MISC_BITS);
  } else {
    if (!extended) add("bpf_rval", RESULT_BITS);
    rest(extended ? 0 : RESULT_BITS);
  }
  return { kind: "list", sep: "|", items: parts.map((value) => ({ value })) };
}

const SECCOMP_ACTION = 0xffff_0000;

/** What a seccomp filter returns: `SECCOMP_RET_ERRNO|0x1`. */
export function seccompAction(k: number): Value {
  const action = choice("seccomp_action", (k & SECCOMP_ACTION) >>> 0);
  const data = k & 0xffff;
  if (data === 0) return action;
  return { kind: "list", sep: "|", items: [{ value: action }, { value: hexInt(data) }] };
}

/** What a classic program filters: that decides how its numbers are written. */
export type Filters = "seccomp" | "socket";

const SKF_AD_OFF = 0xffff_f000;
const SKF_NET_OFF = 0xfff0_0000;
const SKF_LL_OFF = 0xffe0_0000;

/** The kernel's own data, and headers, that a socket filter loads from: `SKF_AD_OFF+SKF_AD_PROTOCOL`. */
function socketOffset(k: number): Value {
  if (k >= SKF_AD_OFF) {
    const place = choice("skf_ad", k - SKF_AD_OFF);
    return { kind: "list", sep: "+", items: [{ value: symbol("SKF_AD_OFF") }, { value: place }] };
  }
  if (k >= SKF_NET_OFF) return symbol(`SKF_NET_OFF+${k - SKF_NET_OFF}`);
  return k >= SKF_LL_OFF ? symbol(`SKF_LL_OFF+${k - SKF_LL_OFF}`) : hexInt(k);
}

function operand(code: number, k: number, filters: Filters): Value {
  const kind = code & CLASS_BITS;
  if (filters === "seccomp") return kind === CLASS.RET ? seccompAction(k) : hexInt(k);
  return kind === CLASS.LD && (code & MODE_BITS) === MODE_ABS ? socketOffset(k) : hexInt(k);
}

function instruction(data: Uint8Array, at: number, filters: Filters): Value {
  const code = u16(data, at) ?? 0;
  const yes = u8(data, at + 2) ?? 0;
  const no = u8(data, at + 3) ?? 0;
  const k = u32(data, at + 4) ?? 0;
  const operation = codeValue(code, false);
  if (yes !== 0 || no !== 0) {
    return apply("BPF_JUMP", [operation, hexInt(k), hexInt(yes), hexInt(no)]);
  }
  return apply("BPF_STMT", [operation, operand(code, k, filters)]);
}

/** The `count` instructions at `addr`; the short form shows the address. */
export function filterProgram(
  call: CallContext,
  addr: Num,
  count: number,
  side: number,
  filters: Filters,
): Value {
  const brief = address(addr);
  if (addr === 0 || count === 0) return count === 0 ? briefArray([], false, brief) : brief;
  const data = call.memory.read(addr, Math.min(count, MAX_INSTRUCTIONS) * 8, side);
  if (data === undefined) return brief;
  const items: Value[] = [];
  for (let at = 0; at + 8 <= data.length; at += 8) items.push(instruction(data, at, filters));
  return briefArray(items, items.length < count, brief);
}

function briefArray(items: readonly Value[], elided: boolean, brief: Value): ArrayValue {
  return { ...array(items, elided), brief };
}

/** A `struct sock_fprog` and its program; `data` is the struct. */
export function fprog(data: Uint8Array, call: CallContext, side: number, filters: Filters): Value {
  const { word } = call;
  const length = u16(data, 0);
  const filter = uword(data, word, word);
  if (length === undefined || filter === undefined) return struct("sock_fprog", [], true);
  return struct("sock_fprog", [
    field("len", int(length)),
    field("filter", filterProgram(call, filter, length, side, filters)),
  ]);
}

const MAX_EXTENDED = 4096;

/** The `count` extended instructions at `addr`; the short form shows the address. */
export function extendedProgram(call: CallContext, addr: Num, count: number, side: number): Value {
  const brief = address(addr);
  if (addr === 0) return brief;
  const data = call.memory.read(addr, Math.min(count, MAX_EXTENDED) * 8, side);
  if (data === undefined) return pointer(addr);
  const items: Value[] = [];
  for (let at = 0; at + 8 <= data.length; at += 8) items.push(extended(data, at));
  return briefArray(items, items.length < count, brief);
}

function extended(data: Uint8Array, at: number): Value {
  const registers = u8(data, at + 1) ?? 0;
  const offset = u16(data, at + 2) ?? 0;
  const fields: FieldValue[] = [
    field("code", codeValue(u8(data, at) ?? 0, true)),
    field("dst_reg", choice("bpf_register", registers & 15)),
    field("src_reg", choice("bpf_register", registers >>> 4)),
    field("off", int((offset << 16) >> 16)),
    field("imm", hexInt(u32(data, at + 4) ?? 0)),
  ];
  return struct("bpf_insn", fields);
}
