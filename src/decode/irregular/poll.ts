/** poll, select and epoll: what was waited for is the argument, what happened is the remark behind the result. */

import { CaptureSide } from "../../trace/batch.js";
import { address, genericArgs, MAX_ELEMENTS } from "../argument.js";
import type { CallContext } from "../context.js";
import { flags } from "../flags.js";
import { i32, u16, u32, u64 } from "../memory.js";
import { structAt } from "../struct.js";
import {
  type Argument,
  type ArrayValue,
  array,
  type FdValue,
  field,
  int,
  type ListValue,
  NULL,
  pointer,
  struct,
  symbol,
  type Value,
} from "../value.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;
const POLLFD_SIZE = 8;

/** struct pollfd[] at entry: descriptors and what is asked of them. */
function pollfds(call: CallContext): Value {
  const addr = call.arg(0);
  if (addr === 0) return NULL;
  const count = Math.min(call.low(1), MAX_ELEMENTS);
  const data = call.memory.read(addr, count * POLLFD_SIZE, In);
  if (data === undefined) return pointer(addr);
  const items: Value[] = [];
  for (let at = 0; at + POLLFD_SIZE <= data.length; at += POLLFD_SIZE) {
    const fd = i32(data, at) ?? 0;
    const events = field("events", flags("poll_events", u16(data, at + 4) ?? 0));
    // A negative descriptor is passed over, with its events.
    items.push(
      struct("pollfd", [field("fd", call.fd(fd)), fd < 0 ? { ...events, hidden: true } : events]),
    );
  }
  return array(items, items.length < call.low(1));
}

/** The descriptors on which something happened. */
function pollResults(call: CallContext): Value | undefined {
  const count = Math.min(call.low(1), MAX_ELEMENTS);
  const data = call.memory.read(call.arg(0), count * POLLFD_SIZE, Out);
  if (data === undefined) return undefined;
  const items: Value[] = [];
  for (let at = 0; at + POLLFD_SIZE <= data.length; at += POLLFD_SIZE) {
    const revents = u16(data, at + 6) ?? 0;
    if (revents === 0) continue;
    items.push(
      struct("pollfd", [
        field("fd", int(i32(data, at) ?? 0)),
        field("revents", flags("poll_events", revents)),
      ]),
    );
  }
  return array(items);
}

const TIMEOUT = symbol("Timeout");

function poll(call: CallContext): Shape {
  const args = atEntry(genericArgs(call), { 0: pollfds(call), 2: timeoutBefore(call, 2) });
  if (!call.succeeded) return { args };
  if (call.retCount === 0) return { args, result: { note: TIMEOUT } };
  const results = pollResults(call);
  const left = timeLeft(call, 2);
  const items: { label?: string; value: Value }[] = [];
  if (results !== undefined) items.push({ value: results });
  if (left !== undefined) items.push({ label: "left", value: left });
  return items.length === 0 ? { args } : { args, result: { note: list(items) } };
}

function list(items: ListValue["items"]): ListValue {
  return { kind: "list", sep: ", ", items };
}

/** Arguments that strace shows at entry, with these values. */
function atEntry(args: Argument[], values: Record<number, Value | undefined>): Argument[] {
  return args.map((arg, k) => ({ name: arg.name, value: values[k] ?? arg.value }));
}

function timeoutName(call: CallContext, k: number): string | undefined {
  const ty = call.row?.args[k]?.ty;
  return ty?.t === "struct" ? ty.name : undefined;
}

function timeoutBefore(call: CallContext, k: number): Value | undefined {
  const name = timeoutName(call, k);
  return name === undefined || call.arg(k) === 0
    ? undefined
    : structAt(name, call.arg(k), call, In);
}

function timeLeft(call: CallContext, k: number): Value | undefined {
  const name = timeoutName(call, k);
  if (name === undefined || call.arg(k) === 0) return undefined;
  const value = structAt(name, call.arg(k), call, Out);
  return value.kind === "pointer" ? undefined : value;
}

/** Most descriptors in a set. */
const MAX_FDS = 65_536;

/** The descriptors below `count` in the fd_set at `addr`; undefined when it was not captured. */
function fdSet(
  call: CallContext,
  k: number,
  count: number,
  side: number,
  make: (fd: number) => Value,
): ArrayValue | undefined {
  const addr = call.arg(k);
  if (count < 0) return undefined;
  const bits = Math.min(count, MAX_FDS);
  const bytes = Math.ceil(bits / (8 * call.word)) * call.word;
  const data = call.memory.read(addr, bytes, side);
  if (addr === 0 || data === undefined) return undefined;
  const items: Value[] = [];
  for (let fd = 0; fd < bits && fd >> 3 < data.length; fd++) {
    if ((((data[fd >> 3] ?? 0) >> (fd & 7)) & 1) === 1) items.push(make(fd));
  }
  return { kind: "array", items, elided: false, spaced: true, whole: true };
}

const SETS = ["in", "out", "except"] as const;

function select(call: CallContext): Shape {
  const count = call.int(0);
  const values: Record<number, Value | undefined> = { 4: timeoutBefore(call, 4) };
  for (const k of [1, 2, 3]) {
    const known = fdSet(call, k, count, In, (fd): FdValue => call.fd(fd));
    values[k] = known ?? (call.arg(k) === 0 ? NULL : pointer(call.arg(k)));
  }
  const args = atEntry(genericArgs(call), values);
  if (!call.succeeded) return { args };
  if (call.retCount === 0) return { args, result: { note: TIMEOUT } };
  const items: { label: string; value: Value }[] = [];
  for (const k of [1, 2, 3]) {
    const after = fdSet(call, k, count, Out, int);
    if (after !== undefined && after.items.length > 0) {
      items.push({ label: SETS[k - 1] ?? "", value: after });
    }
  }
  const left = timeLeft(call, 4);
  if (left !== undefined) items.push({ label: "left", value: left });
  return items.length === 0 ? { args } : { args, result: { note: list(items) } };
}

function epollEvent(data: Uint8Array): Value {
  const events = u32(data, 0);
  const low = u32(data, 4);
  const wide = u64(data, 4);
  if (events === undefined || low === undefined || wide === undefined) {
    return struct("epoll_event", [], true);
  }
  return struct("epoll_event", [
    field("events", flags("epoll_events", events)),
    field("data", struct("epoll_data", [field("u32", int(low)), field("u64", int(wide))])),
  ]);
}

const EPOLL_CTL_DEL = 2;

/** The event is not looked at when a descriptor is taken out. */
function epollCtl(call: CallContext): Shape {
  const args = genericArgs(call);
  const event = args[3];
  if (call.int(1) === EPOLL_CTL_DEL && event !== undefined) {
    args[3] = { ...event, value: call.arg(3) === 0 ? NULL : pointer(call.arg(3)) };
  }
  return { args };
}

/** strace reads this timeout only when the call succeeded. */
function epollPwait2(call: CallContext): Shape {
  const args = genericArgs(call);
  const timeout = args[3];
  if (call.failed && timeout !== undefined) args[3] = { ...timeout, text: address(call, 3) };
  return { args };
}

export const pollFamily: Family = {
  structs: { epoll_event: epollEvent },
  calls: {
    poll,
    ppoll: poll,
    ppoll_time64: poll,
    select: (call) => (call.word === 8 ? select(call) : {}),
    _newselect: select,
    pselect6: select,
    pselect6_time64: select,
    epoll_ctl: epollCtl,
    epoll_pwait2: epollPwait2,
  },
};
