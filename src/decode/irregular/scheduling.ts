/** sched_setattr and sched_getattr: attributes that say their size, and which of them are to be kept as they are. */

import { CaptureSide } from "../../trace/batch.js";
import { genericArgs } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice } from "../flags.js";
import { u32 } from "../memory.js";
import { int, type Num, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { Members } from "./members.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

const SIZE_VER0 = 48;
const SIZE_VER1 = 56;
const KEEP_POLICY = 0x08;
const KEEP_PARAMS = 0x10;
const E2BIG = 7;
const PARAMETERS = "sched_nice sched_priority sched_runtime sched_deadline sched_period";

/** The first `size` bytes of the attributes; what a setter asks to keep does not count. */
function attributes(call: CallContext, data: Uint8Array, size: number, sets: boolean): Members {
  const m = new Members("sched_attr", data, call, sets ? In : Out).add("size");
  if (size < SIZE_VER0) return m;
  const keeps = sets ? m.low("sched_flags") : 0;
  if ((keeps & (KEEP_POLICY | KEEP_PARAMS)) === 0) m.add("sched_policy");
  m.add("sched_flags");
  if ((keeps & KEEP_PARAMS) === 0) m.add(PARAMETERS);
  return size < SIZE_VER1 ? m : m.add("sched_util_min sched_util_max");
}

/** The size that the kernel knows, which it writes when the program's is too large. */
function told(call: CallContext, addr: Num): Value | undefined {
  const data = call.memory.readAll(addr, 4, Out);
  return data && new Members("sched_attr", data, call, Out).add("size").value();
}

function setAttr(call: CallContext): Shape {
  const addr = call.arg(1);
  const head = call.memory.readAll(addr, 4, In);
  const said = head === undefined ? 0 : u32(head, 0) || SIZE_VER0;
  const size = Math.min(said, SIZE_VER1);
  const data = size === 0 ? undefined : call.memory.readAll(addr, size, In);
  const args = new Arguments(call).plain(0);
  if (data === undefined) return args.add(1, address(addr)).plain(2).shape();
  const m = attributes(call, data, size, true);
  m.elided = said > size;
  const known = call.failed && -(call.retLow | 0) === E2BIG ? told(call, addr) : undefined;
  if (known === undefined) return args.add(1, m.value()).plain(2).shape();
  return args.both(1, { kind: "change", before: m.value(), after: known }).plain(2).shape();
}

function getAttr(call: CallContext): Shape {
  const addr = call.arg(1);
  const wanted = Math.min(call.count(2), SIZE_VER1);
  const data = call.succeeded && wanted > 0 ? call.memory.readAll(addr, wanted, Out) : undefined;
  const args = new Arguments(call).plain(0);
  if (data === undefined) args.late(1, address(addr));
  else {
    const size = u32(data, 0) ?? 0;
    const m = attributes(call, data, Math.min(size, wanted), false);
    m.elided = size > wanted;
    args.late(1, m.value());
  }
  return args
    .plain(2)
    .add(3, int(call.low(3)))
    .shape();
}

/** strace knows policies only without the bit that is reset at fork. */
function setScheduler(call: CallContext): Shape {
  const [pid, policy, ...rest] = genericArgs(call);
  if (pid === undefined || policy === undefined) return {};
  return { args: [pid, { ...policy, text: choice("sched_policy", call.low(1)) }, ...rest] };
}

export const schedulingFamily: Family = {
  calls: { sched_setattr: setAttr, sched_getattr: getAttr, sched_setscheduler: setScheduler },
};
