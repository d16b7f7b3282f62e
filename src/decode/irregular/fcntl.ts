/** fcntl: what the third argument and the result are depends on the command. */

import { CaptureSide } from "../../trace/batch.js";
import { returnFd } from "../call_result.js";
import type { CallContext } from "../context.js";
import { choice, flags } from "../flags.js";
import { i32, u64 } from "../memory.js";
import { signalName, signalValue } from "../scalar.js";
import { structAt } from "../struct.js";
import { type Argument, deref, hexInt, int, NULL, pointer, symbol, type Value } from "../value.js";
import type { Family, ReturnDecoder, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

const F = {
  DUPFD: 0,
  GETFD: 1,
  SETFD: 2,
  GETFL: 3,
  SETFL: 4,
  GETLK: 5,
  SETLK: 6,
  SETLKW: 7,
  SETOWN: 8,
  GETOWN: 9,
  SETSIG: 10,
  GETSIG: 11,
  GETLK64: 12,
  SETLK64: 13,
  SETLKW64: 14,
  SETOWN_EX: 15,
  GETOWN_EX: 16,
  GETOWNER_UIDS: 17,
  OFD_GETLK: 36,
  OFD_SETLK: 37,
  OFD_SETLKW: 38,
  SETLEASE: 1024,
  GETLEASE: 1025,
  NOTIFY: 1026,
  DUPFD_QUERY: 1027,
  CREATED_QUERY: 1028,
  CANCELLK: 1029,
  DUPFD_CLOEXEC: 1030,
  SETPIPE_SZ: 1031,
  GETPIPE_SZ: 1032,
  ADD_SEALS: 1033,
  GET_SEALS: 1034,
  GET_RW_HINT: 1035,
  SET_FILE_RW_HINT: 1038,
} as const;

const WITHOUT_ARGUMENT: ReadonlySet<number> = new Set([
  F.GETFD,
  F.GETFL,
  F.GETOWN,
  F.GETSIG,
  F.GETLEASE,
  F.GETPIPE_SZ,
  F.GET_SEALS,
  F.CREATED_QUERY,
]);

/** Commands whose third argument is a number, and no address or descriptor. */
const WITH_NUMBER: ReadonlySet<number> = new Set([
  ...[F.DUPFD, F.DUPFD_CLOEXEC, F.SETPIPE_SZ, F.SETFD, F.SETFL, F.SETOWN, F.SETSIG, F.SETLEASE],
  ...[F.NOTIFY, F.ADD_SEALS],
]);

/** What the third argument is for a command. */
export function fcntlArgument(command: number): "none" | "number" | "other" {
  if (WITHOUT_ARGUMENT.has(command)) return "none";
  return WITH_NUMBER.has(command) ? "number" : "other";
}

function fcntl(call: CallContext): Shape {
  const rows = call.row?.args ?? [];
  const command = call.int(1);
  const args: Argument[] = [
    { name: rows[0]?.name ?? "fd", value: call.fd(call.int(0), 0) },
    { name: rows[1]?.name ?? "cmd", value: choice("fcntl_cmd", command >>> 0) },
  ];
  if (WITHOUT_ARGUMENT.has(command)) return { args };
  const argument = { name: rows[2]?.name ?? "arg", value: third(call, command) };
  const late = readsBack(command);
  args.push(late ? { ...argument, at: "exit" } : argument);
  return { args };
}

/** Whether the kernel writes the answer into the third argument. */
function readsBack(command: number): boolean {
  return (
    command === F.GETLK ||
    command === F.GETLK64 ||
    command === F.OFD_GETLK ||
    command === F.GETOWN_EX ||
    command === F.GETOWNER_UIDS
  );
}

function third(call: CallContext, command: number): Value {
  switch (command) {
    case F.DUPFD:
    case F.DUPFD_CLOEXEC:
    case F.SETPIPE_SZ:
      return int(call.int(2));
    case F.SETFD:
      return flags("fd_flags", call.low(2));
    case F.SETFL:
      return flags("open_flags", call.low(2));
    case F.SETOWN:
      return int(call.int(2));
    case F.SETSIG:
      return signalValue(call.int(2));
    case F.SETLEASE:
      return choice("lock_type", call.low(2));
    case F.NOTIFY:
      return flags("notify_flags", call.low(2));
    case F.ADD_SEALS:
      return flags("seals", call.low(2));
    case F.DUPFD_QUERY:
      return call.fd(call.int(2));
    default:
      return pointed(call, command);
  }
}

/** Commands whose third argument is an address. */
function pointed(call: CallContext, command: number): Value {
  const addr = call.arg(2);
  const side = call.succeeded && readsBack(command) ? Out : In;
  switch (command) {
    case F.GETLK:
    case F.SETLK:
    case F.SETLKW:
    case F.GETLK64:
    case F.SETLK64:
    case F.SETLKW64:
    case F.OFD_GETLK:
    case F.OFD_SETLK:
    case F.OFD_SETLKW:
    case F.CANCELLK:
      return lock(call, command, side);
    case F.SETOWN_EX:
      return structAt("f_owner_ex", addr, call, In);
    case F.GETOWN_EX:
      return call.succeeded ? structAt("f_owner_ex", addr, call, Out) : bare(call);
    case F.GETOWNER_UIDS: {
      const data = call.succeeded ? call.memory.readAll(addr, 8, Out) : undefined;
      if (data === undefined) return bare(call);
      const items = [int(i32(data, 0) ?? 0), int(i32(data, 4) ?? 0)];
      return { kind: "array", items, elided: false };
    }
    default:
      return command >= F.GET_RW_HINT && command <= F.SET_FILE_RW_HINT
        ? hint(call, command)
        : hexInt(addr);
  }
}

function bare(call: CallContext): Value {
  return call.arg(2) === 0 ? NULL : pointer(call.arg(2));
}

/** A lock that is asked for has no owner to show. */
function lock(call: CallContext, command: number, side: number): Value {
  const value = structAt(lockStruct(call, command), call.arg(2), call, side);
  if (value.kind !== "struct" || side === Out) return value;
  return { ...value, fields: value.fields.filter((member) => member.name !== "l_pid") };
}

function lockStruct(call: CallContext, command: number): string {
  if (call.word === 8) return "flock";
  const wide = command >= F.GETLK64 && (command <= F.SETLKW64 || command >= F.OFD_GETLK);
  return wide ? "compat_flock64" : "compat_flock";
}

function hint(call: CallContext, command: number): Value {
  const gets = (command - F.GET_RW_HINT) % 2 === 0;
  const data = call.memory.readAll(call.arg(2), 8, gets ? Out : In);
  return data === undefined ? bare(call) : deref(choice("rw_hint", u64(data, 0) ?? 0));
}

const returns: ReturnDecoder = (call) => {
  const command = call.int(1);
  const value = call.retLow;
  const named = (set: string, label: string) => ({
    value: hexInt(value),
    note: {
      kind: "list" as const,
      sep: ", ",
      items: [{ label, value: flags(set, value) }],
    },
  });
  switch (command) {
    case F.DUPFD:
    case F.DUPFD_CLOEXEC:
      return { value: returnFd(call) };
    case F.GETFD:
      return value === 0 ? { value: int(0) } : named("fd_flags", "flags");
    case F.GETFL:
      return named("open_flags", "flags");
    case F.GET_SEALS:
      return value === 0 ? { value: int(0) } : named("seals", "seals");
    case F.GETSIG: {
      const name = signalName(value);
      return name === undefined ? {} : { note: symbol(name) };
    }
    case F.GETLEASE:
      return { value: hexInt(value), note: choice("lock_type", value) };
    default:
      return {};
  }
};

export const fcntlFamily: Family = {
  calls: { fcntl, fcntl64: fcntl },
  returns: { fcntl: returns },
};
