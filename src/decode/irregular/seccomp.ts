/** seccomp: what the argument is depends on the operation. Filters themselves are in bpf_code.ts. */

import { CaptureSide } from "../../trace/batch.js";
import { returnFd } from "../call_result.js";
import type { CallContext } from "../context.js";
import { choice, flags } from "../flags.js";
import { u32 } from "../memory.js";
import { deref, hexInt, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { fprog } from "./bpf_code.js";
import { address } from "./kinds.js";
import { shown } from "./members.js";
import type { Family, ReturnDecoder, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

const OP = { STRICT: 0, FILTER: 1, ACTION_AVAIL: 2, NOTIF_SIZES: 3 } as const;
const FLAG_NEW_LISTENER = 8;

function seccomp(call: CallContext): Shape {
  const operation = call.low(0);
  const addr = call.arg(2);
  const args = new Arguments(call).plain(0);
  const bits = call.low(1);
  args.add(1, operation === OP.FILTER ? flags("seccomp_filter_flags", bits) : hexInt(bits));
  switch (operation) {
    case OP.FILTER:
      return args.add(2, filterAt(call)).shape();
    case OP.ACTION_AVAIL:
      return args.add(2, action(call)).shape();
    case OP.NOTIF_SIZES: {
      const members = "seccomp_notif seccomp_notif_resp seccomp_data";
      const value = call.succeeded
        ? shown("seccomp_notif_sizes", addr, call, Out, members)
        : address(addr);
      return args.late(2, value).shape();
    }
    default:
      return args.add(2, address(addr)).shape();
  }
}

function filterAt(call: CallContext): Value {
  const addr = call.arg(2);
  const data = call.memory.readAll(addr, 2 * call.word, In);
  return data === undefined ? address(addr) : fprog(data, call, In, "seccomp");
}

function action(call: CallContext): Value {
  const data = call.memory.readAll(call.arg(2), 4, In);
  return data === undefined
    ? address(call.arg(2))
    : deref(choice("seccomp_action", u32(data, 0) ?? 0));
}

const returns: ReturnDecoder = (call) =>
  call.low(0) === OP.FILTER && (call.low(1) & FLAG_NEW_LISTENER) !== 0
    ? { value: returnFd(call) }
    : {};

export const seccompFamily: Family = {
  calls: { seccomp },
  returns: { seccomp: returns },
  structs: {
    sock_fprog: (data, call, side) =>
      fprog(data, call, side, call.name === "prctl" ? "seccomp" : "socket"),
  },
};
