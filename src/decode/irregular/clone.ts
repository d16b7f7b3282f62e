/** clone, clone3 and exec: new tasks and programs. */

import { CaptureSide } from "../../trace/batch.js";
import { genericArgs } from "../argument.js";
import type { CallContext } from "../context.js";
import { flags } from "../flags.js";
import { i32, u32, u64 } from "../memory.js";
import { signalValue } from "../scalar.js";
import {
  type Argument,
  array,
  deref,
  type FieldValue,
  field,
  hexInt,
  int,
  NULL,
  type Num,
  pointer,
  struct,
  type Value,
} from "../value.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

const CLONE = {
  PIDFD: 0x1000,
  SETTLS: 0x80000,
  PARENT_SETTID: 0x100000,
  CHILD_CLEARTID: 0x200000,
  CHILD_SETTID: 0x1000000,
} as const;
const CLONE_INTO_CGROUP_HIGH = 2;

function address(value: Num): Value {
  return value === 0 ? NULL : pointer(value);
}

/** A thread id or descriptor that the kernel stored at `addr`. */
function stored(call: CallContext, addr: Num, descriptor: boolean): Value {
  const data = call.succeeded ? call.memory.readAll(addr, 4, Out) : undefined;
  if (data === undefined) return address(addr);
  const value = i32(data, 0) ?? 0;
  return deref(descriptor ? call.fd(value) : int(value));
}

/** strace names these arguments, and leaves out those that the flags give no meaning. */
function clone(call: CallContext): Shape {
  const bits = call.low(0);
  const tls = call.word === 8 ? 4 : 3;
  const child = call.word === 8 ? 3 : 4;
  const labelled = (name: string, value: Value): Argument => ({ name, value, labelled: true });
  const late = (name: string, value: Value): Argument => ({ ...labelled(name, value), at: "exit" });
  const args: Argument[] = [
    labelled("child_stack", address(call.arg(1))),
    labelled("flags", flags("clone_flags", call.arg(0))),
  ];
  if ((bits & (CLONE.PARENT_SETTID | CLONE.PIDFD)) !== 0) {
    const pidfd = (bits & CLONE.PARENT_SETTID) === 0;
    args.push(late("parent_tid", stored(call, call.arg(2), pidfd)));
  }
  if ((bits & CLONE.SETTLS) !== 0) args.push(late("tls", address(call.arg(tls))));
  if ((bits & (CLONE.CHILD_SETTID | CLONE.CHILD_CLEARTID)) !== 0) {
    args.push(late("child_tidptr", address(call.arg(child))));
  }
  return { args };
}

/** Size of clone_args as of its first version. */
const MIN_CLONE_ARGS = 64;

function clone3(call: CallContext): Shape {
  const args = genericArgs(call);
  const first = args[0];
  const data = call.memory.read(call.arg(0), Math.min(call.count(1), 4096), In);
  if (first === undefined) return { args };
  const known = data !== undefined && data.length >= MIN_CLONE_ARGS;
  const before = known ? cloneArgs(call, data) : address(call.arg(0));
  const after = known && call.succeeded ? cloneResults(call, data) : undefined;
  args[0] =
    after === undefined
      ? { name: first.name, value: before }
      : { name: first.name, value: { kind: "change", before, after }, at: "both" };
  return { args };
}

function cloneArgs(call: CallContext, data: Uint8Array): Value {
  const at = (offset: number) => u64(data, offset) ?? 0;
  const low = u32(data, 0) ?? 0;
  const fields: FieldValue[] = [field("flags", flags("clone3_flags", at(0)))];
  if ((low & CLONE.PIDFD) !== 0) fields.push(field("pidfd", address(at(8))));
  if ((low & (CLONE.CHILD_SETTID | CLONE.CHILD_CLEARTID)) !== 0) {
    fields.push(field("child_tid", address(at(16))));
  }
  if ((low & CLONE.PARENT_SETTID) !== 0) fields.push(field("parent_tid", address(at(24))));
  fields.push(
    field("exit_signal", signalValue(Number(at(32)) | 0)),
    field("stack", address(at(40))),
    field("stack_size", hexInt(at(48))),
  );
  if ((low & CLONE.SETTLS) !== 0) fields.push(field("tls", address(at(56))));
  if (data.length >= 80 && (at(64) !== 0 || at(72) !== 0)) {
    fields.push(field("set_tid", setTid(call, at(64), at(72))), field("set_tid_size", int(at(72))));
  }
  if (data.length >= 88 && ((u32(data, 4) ?? 0) & CLONE_INTO_CGROUP_HIGH) !== 0) {
    fields.push(field("cgroup", call.fd(Number(at(80)) | 0)));
  }
  return struct("clone_args", fields);
}

function setTid(call: CallContext, addr: Num, count: Num): Value {
  const data = call.memory.read(addr, 4 * Math.min(Number(count), 1024), In);
  if (addr === 0 || data === undefined) return address(addr);
  const items: Value[] = [];
  for (let k = 0; k + 4 <= data.length; k += 4) items.push(int(i32(data, k) ?? 0));
  return array(items);
}

/** What the kernel stored through the addresses in the structure. */
function cloneResults(call: CallContext, data: Uint8Array): Value | undefined {
  const low = u32(data, 0) ?? 0;
  const fields: FieldValue[] = [];
  if ((low & CLONE.PIDFD) !== 0) {
    const value = stored(call, u64(data, 8) ?? 0, true);
    if (value.kind === "deref") fields.push(field("pidfd", value));
  }
  if ((low & CLONE.PARENT_SETTID) !== 0) {
    const value = stored(call, u64(data, 24) ?? 0, false);
    if (value.kind === "deref") fields.push(field("parent_tid", value));
  }
  return fields.length === 0 ? undefined : struct("clone_args", fields);
}

/** The environment is counted in the short form. */
function exec(k: number): (call: CallContext) => Shape {
  return (call) => {
    const args = genericArgs(call);
    const env = args[k];
    if (env?.value.kind !== "array") return { args };
    const count = env.value.items.length;
    const unit = count === 1 ? "var" : "vars";
    const unterminated = env.value.elided ? ", unterminated" : "";
    const brief = pointer(call.arg(k), `${count} ${unit}${unterminated}`);
    args[k] = { ...env, value: { ...env.value, brief, environment: true } };
    return { args };
  };
}

export const cloneFamily: Family = {
  args: { clone_flags: (call, k) => flags("clone_flags", call.arg(k)) },
  calls: { clone, clone3, execve: exec(2), execveat: exec(3) },
};
