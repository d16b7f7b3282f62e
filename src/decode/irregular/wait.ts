/** The wait family: wait statuses, and what is filled in only when a child was found. */

import { CaptureSide } from "../../trace/batch.js";
import { address, genericArgs } from "../argument.js";
import type { CallContext } from "../context.js";
import { choiceName } from "../flags.js";
import { i32 } from "../memory.js";
import { signalName } from "../scalar.js";
import { type Argument, deref, NULL, pointer, type Value, type WaitValue } from "../value.js";
import type { Family } from "./registry.js";

/** What a status as waitpid returns it says. */
export function waitStatus(status: number): WaitValue {
  const signal = status & 0x7f;
  const high = (status >>> 8) & 0xff;
  if (status === 0xffff) return { kind: "wait", status, continued: true };
  if (signal === 0) return { kind: "wait", status, exited: high };
  if (signal !== 0x7f) {
    const name = signalName(signal) ?? String(signal);
    return { kind: "wait", status, signal: name, core: (status & 0x80) !== 0 };
  }
  const stop = (high & 0x80) !== 0 ? `SIGTRAP | 0x80` : (signalName(high) ?? String(high));
  const event = status >>> 16;
  if (event === 0) return { kind: "wait", status, stop };
  return { kind: "wait", status, stop, event: choiceName("ptrace_event", event) ?? String(event) };
}

function statusArg(call: CallContext, k: number, side: number): Value {
  const addr = call.arg(k);
  if (addr === 0) return NULL;
  const data = foundChild(call) ? call.memory.readAll(addr, 4, side) : undefined;
  return data === undefined ? pointer(addr) : deref(waitStatus(i32(data, 0) ?? 0));
}

function foundChild(call: CallContext): boolean {
  return call.succeeded && (call.retLow | 0) > 0;
}

/** With nothing found (WNOHANG), the output arguments are only addresses. */
function wait4(call: CallContext): { args: Argument[] } {
  const args = genericArgs(call);
  if (foundChild(call)) return { args };
  return {
    args: args.map((arg, k) => (k === 1 || k === 3 ? { ...arg, value: address(call, k) } : arg)),
  };
}

const P_PIDFD = 3;

function waitid(call: CallContext): { args: Argument[] } {
  const args = genericArgs(call);
  const id = args[1];
  if (id !== undefined && call.int(0) === P_PIDFD)
    args[1] = { ...id, value: call.fd(call.int(1), 1) };
  return { args };
}

export const wait: Family = {
  args: { wait_status: (call, k) => statusArg(call, k, CaptureSide.Out) },
  calls: { wait4, waitpid: wait4, waitid },
};
