/** futex: how many arguments there are, and which are timeouts, addresses or counts, depends on the operation. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { structAt } from "../struct.js";
import { type Argument, hexInt, int, NULL, pointer, symbol, type Value } from "../value.js";
import type { Family, Shape } from "./registry.js";

const OP = {
  WAIT: 0,
  WAKE: 1,
  FD: 2,
  REQUEUE: 3,
  CMP_REQUEUE: 4,
  WAKE_OP: 5,
  LOCK_PI: 6,
  UNLOCK_PI: 7,
  TRYLOCK_PI: 8,
  WAIT_BITSET: 9,
  WAKE_BITSET: 10,
  WAIT_REQUEUE_PI: 11,
  CMP_REQUEUE_PI: 12,
  LOCK_PI2: 13,
} as const;

const PRIVATE = 128;
const CLOCK_REALTIME = 256;
const MATCH_ANY = 0xffff_ffff;

/** `FUTEX_WAIT_PRIVATE`, `FUTEX_WAIT_BITSET|FUTEX_CLOCK_REALTIME`. */
function operation(op: number): Value {
  const base = choiceName("futex_op", op & ~(PRIVATE | CLOCK_REALTIME));
  if (base === undefined) return choice("futex_op", op >>> 0);
  const name = (op & PRIVATE) === 0 ? base : `${base}_PRIVATE`;
  return symbol((op & CLOCK_REALTIME) === 0 ? name : `${name}|FUTEX_CLOCK_REALTIME`);
}

function timeout(call: CallContext): Value {
  const addr = call.arg(3);
  if (addr === 0) return NULL;
  const narrow = call.word === 4 && call.row?.name !== "futex_time64";
  return structAt(narrow ? "old_timespec32" : "timespec", addr, call, CaptureSide.In);
}

function bitset(value: number): Value {
  return value === MATCH_ANY ? symbol("FUTEX_BITSET_MATCH_ANY") : hexInt(value);
}

/** `FUTEX_OP_ADD<<28|0x1<<12|FUTEX_OP_CMP_GT<<24|0x3`. */
function wakeOp(value: number): Value {
  const op = value >>> 28;
  const compare = (value >>> 24) & 15;
  const shifted = (op & 8) === 0 ? "" : "FUTEX_OP_OPARG_SHIFT<<28|";
  const name = (set: string, number: number) => choiceName(set, number) ?? hex(number);
  const known = choiceName("futex_wake_cmp", compare) !== undefined;
  const remark = known ? "" : " /* FUTEX_OP_CMP_??? */";
  return symbol(
    `${shifted}${name("futex_wake_op", op & 7)}<<28|${hex((value >>> 12) & 0xfff)}<<12|` +
      `${name("futex_wake_cmp", compare)}<<24${remark}|${hex(value & 0xfff)}`,
  );
}

function hex(value: number): string {
  return value === 0 ? "0" : `0x${value.toString(16)}`;
}

function futex(call: CallContext): Shape {
  const names = call.row?.args.map((row) => row.name) ?? [];
  const op = call.int(1);
  const args: Argument[] = [];
  const add = (k: number, value: Value) => args.push({ name: names[k] ?? `arg${k + 1}`, value });
  const address = (k: number): Value => (call.arg(k) === 0 ? NULL : pointer(call.arg(k)));
  const count = (k: number) => int(call.low(k));
  add(0, address(0));
  add(1, operation(op));
  operands(op & ~(PRIVATE | CLOCK_REALTIME), call, add, address, count);
  return { args };
}

function operands(
  op: number,
  call: CallContext,
  add: (k: number, value: Value) => void,
  address: (k: number) => Value,
  count: (k: number) => Value,
): void {
  switch (op) {
    case OP.WAIT:
      add(2, count(2));
      add(3, timeout(call));
      return;
    case OP.LOCK_PI:
    case OP.LOCK_PI2:
      add(3, timeout(call));
      return;
    case OP.WAIT_BITSET:
      add(2, count(2));
      add(3, timeout(call));
      add(5, bitset(call.low(5)));
      return;
    case OP.WAKE_BITSET:
      add(2, count(2));
      add(5, bitset(call.low(5)));
      return;
    case OP.REQUEUE:
    case OP.CMP_REQUEUE:
    case OP.CMP_REQUEUE_PI:
    case OP.WAKE_OP:
      add(2, count(2));
      add(3, count(3));
      add(4, address(4));
      if (op === OP.WAKE_OP) add(5, wakeOp(call.low(5)));
      else if (op !== OP.REQUEUE) add(5, count(5));
      return;
    case OP.WAIT_REQUEUE_PI:
      add(2, count(2));
      add(3, timeout(call));
      add(4, address(4));
      return;
    case OP.WAKE:
    case OP.FD:
      add(2, count(2));
      return;
    case OP.UNLOCK_PI:
    case OP.TRYLOCK_PI:
      return;
    default:
      add(2, count(2));
      add(3, address(3));
      add(4, address(4));
      add(5, hexInt(call.low(5)));
  }
}

/** Flags of the futex2 calls hold a size and bits. */
export const futexFamily: Family = {
  calls: { futex, futex_time64: futex },
  args: {
    futex_op: (call, k) => operation(call.int(k)),
    futex2_flags: (call, k) => flags("futex2_flags", call.low(k)),
  },
};
