/** Limits, scheduling, time and identity: small structs and results that strace writes in a way of their own. */

import { CaptureSide } from "../../trace/batch.js";
import { genericArgs, lengthOf } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { i32, u32, u64 } from "../memory.js";
import {
  type Argument,
  type ArrayValue,
  deref,
  field,
  hexInt,
  type IntValue,
  int,
  NULL,
  type Num,
  pointer,
  struct,
  symbol,
  type Value,
} from "../value.js";
import { timeNote } from "./file.js";
import type { ArgDecoder, Family, Shape, StructDecoder } from "./registry.js";

/** `RLIM64_INFINITY`, `8192*1024`, `1000`. */
function limit(value: Num, infinity: Num, name: string): IntValue {
  if (value === infinity) return { kind: "int", value, base: "dec", text: name };
  if (typeof value === "number" && value > 1024 && value % 1024 === 0) {
    return { kind: "int", value, base: "dec", text: `${value / 1024}*1024` };
  }
  return int(value);
}

const INFINITY_64 = 0xffff_ffff_ffff_ffffn;
const INFINITY_32 = 0xffff_ffff;

function rlimit64(name: string): StructDecoder {
  return (data) => {
    const current = u64(data, 0);
    const most = u64(data, 8);
    if (current === undefined || most === undefined) return struct("rlimit", [], true);
    return struct("rlimit", [
      field("rlim_cur", limit(current, INFINITY_64, name)),
      field("rlim_max", limit(most, INFINITY_64, name)),
    ]);
  };
}

const rlimit32: StructDecoder = (data) => {
  const current = u32(data, 0);
  const most = u32(data, 4);
  if (current === undefined || most === undefined) return struct("rlimit", [], true);
  return struct("rlimit", [
    field("rlim_cur", limit(current, INFINITY_32, "RLIM_INFINITY")),
    field("rlim_max", limit(most, INFINITY_32, "RLIM_INFINITY")),
  ]);
};

const RESET_ON_FORK = 0x4000_0000;

function policy(value: number): Value {
  if ((value & RESET_ON_FORK) === 0) return choice("sched_policy", value);
  const base = choiceName("sched_policy", value & ~RESET_ON_FORK);
  return base === undefined ? choice("sched_policy", value) : symbol(`${base}|SCHED_RESET_ON_FORK`);
}

/** The processors in a mask: `[0 1]`. */
const cpumask: ArgDecoder = (call, k, side) => {
  const addr = call.arg(k);
  if (addr === 0) return NULL;
  const row = call.row?.args[k];
  const length = row === undefined ? undefined : lengthOf(call, row.len, side);
  const out = side === CaptureSide.Out;
  const data =
    out && !call.succeeded ? undefined : call.memory.read(addr, Math.min(length ?? 0, 8192), side);
  return data === undefined ? pointer(addr) : bitNumbers(data);
};

function bitNumbers(data: Uint8Array): ArrayValue {
  const items: Value[] = [];
  for (let bit = 0; bit < 8 * data.length; bit++) {
    if ((((data[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 1) items.push(int(bit));
  }
  return { kind: "array", items, elided: false, spaced: true, whole: true };
}

const IOPRIO_CLASS_SHIFT = 13;

function ioprio(value: number): Value {
  const kind = choice("ioprio_class", value >>> IOPRIO_CLASS_SHIFT);
  return {
    kind: "apply",
    name: "IOPRIO_PRIO_VALUE",
    args: [kind, int(value & ((1 << IOPRIO_CLASS_SHIFT) - 1))],
  };
}

const PERSONALITY_TYPE = 0xff;

function personality(value: number): Value {
  if (value === 0xffff_ffff) return hexInt(value);
  const base = choice("personality_type", value & PERSONALITY_TYPE);
  const rest = (value & ~PERSONALITY_TYPE) >>> 0;
  if (rest === 0) return base;
  return {
    kind: "list",
    sep: "|",
    items: [{ value: base }, { value: flags("personality_flags", rest) }],
  };
}

/** The device counts only for device files. */
function mknod(modeIndex: number): (call: CallContext) => Shape {
  return (call) => {
    const args = genericArgs(call);
    const type = call.low(modeIndex) & 0o170000;
    const device = type === 0o020000 || type === 0o060000;
    return { args: device ? args : args.slice(0, modeIndex + 1) };
  };
}

function time(call: CallContext): Shape {
  const note = call.succeeded ? timeNote(call.retLow) : undefined;
  return note === undefined ? {} : { result: { note: symbol(note) } };
}

const TIMER_ABSTIME = 1;

/** The rest of a sleep is stored only when it was interrupted. */
function nanosleep(k: number): (call: CallContext) => Shape {
  return (call) => {
    const args = genericArgs(call);
    const rest = args[k];
    if (rest === undefined || call.arg(k) === 0) return { args };
    const absolute = k === 3 && (call.low(1) & TIMER_ABSTIME) !== 0;
    args[k] = { ...rest, value: pointer(call.arg(k)) } satisfies Argument;
    if (call.failed && !absolute) {
      const value = interruptedRest(call, k);
      if (value !== undefined) args[k] = { ...rest, value };
    }
    return { args };
  };
}

function interruptedRest(call: CallContext, k: number): Value | undefined {
  const narrow = call.word === 4 && !call.name.endsWith("64");
  const size = narrow ? 8 : 16;
  const data = call.memory.readAll(call.arg(k), size, CaptureSide.Out);
  if (data === undefined) return undefined;
  const word = size / 2;
  const seconds = narrow ? i32(data, 0) : u64(data, 0);
  const nanos = narrow ? i32(data, word) : u64(data, word);
  return struct("timespec", [
    field("tv_sec", int(seconds ?? 0)),
    field("tv_nsec", int(nanos ?? 0)),
  ]);
}

const MPOL_FLAGS = 0xe000;

function mempolicyMode(value: number): Value {
  const mode = choice("mempolicy_mode", value & ~MPOL_FLAGS);
  const bits = value & MPOL_FLAGS;
  if (bits === 0) return mode;
  if (mode.name === undefined) return flags("mempolicy_flags", value);
  return {
    kind: "list",
    sep: "|",
    items: [{ value: mode }, { value: flags("mempolicy_flags", bits) }],
  };
}

/** struct sched_param has one member; strace shows it as `[0]`. */
const schedParam: StructDecoder = (data) => {
  const priority = i32(data, 0);
  return priority === undefined ? struct("sched_param", [], true) : deref(int(priority));
};

export const limits: Family = {
  args: {
    cpumask,
    sched_policy: (call, k) => policy(call.low(k)),
    ioprio: (call, k) => ioprio(call.low(k)),
    personality: (call, k) => personality(call.low(k)),
    mempolicy_mode: (call, k, side) => {
      if (call.row?.args[k]?.ty.t !== "ptr") return mempolicyMode(call.low(k));
      const data = call.memory.readAll(call.arg(k), 4, side);
      if (data === undefined) return call.arg(k) === 0 ? NULL : pointer(call.arg(k));
      return deref(mempolicyMode(u32(data, 0) ?? 0));
    },
  },
  structs: {
    rlimit: rlimit64("RLIM64_INFINITY"),
    rlimit64: rlimit64("RLIM64_INFINITY"),
    compat_rlimit: rlimit32,
    sched_param: schedParam,
  },
  calls: {
    mknod: mknod(1),
    mknodat: mknod(2),
    time,
    nanosleep: nanosleep(1),
    clock_nanosleep: nanosleep(3),
    clock_nanosleep_time64: nanosleep(3),
  },
  returns: {
    personality: (call) => ({ value: hexInt(call.retLow), note: personality(call.retLow) }),
    ioprio: (call) => ({ note: ioprio(call.retLow) }),
  },
};
