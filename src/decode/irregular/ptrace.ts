/** ptrace: what the address and the data of a request are. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { syscallName } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { i32, u32, u64, uword } from "../memory.js";
import { ERRNO_NAMES } from "../names.generated.js";
import { signalValue } from "../scalar.js";
import { layout, structFrom } from "../struct.js";
import {
  array,
  type ChangeValue,
  deref,
  field,
  hexInt,
  int,
  type Num,
  struct,
  symbol,
  type Value,
} from "../value.js";
import { Arguments } from "./arguments.js";
import { filterProgram } from "./bpf_code.js";
import { address } from "./kinds.js";
import { Members, membersAt } from "./members.js";
import type { Family, Shape } from "./registry.js";
import { sigsetAt } from "./signal.js";

const { In, Out } = CaptureSide;

/** Requests that use neither address nor data. */
const BARE: ReadonlySet<string> = new Set([
  "PTRACE_ATTACH",
  "PTRACE_INTERRUPT",
  "PTRACE_KILL",
  "PTRACE_LISTEN",
]);

/** Requests whose data is a signal to deliver. */
const RESUMES: ReadonlySet<string> = new Set([
  "PTRACE_CONT",
  "PTRACE_DETACH",
  "PTRACE_SYSCALL",
  "PTRACE_SINGLESTEP",
  "PTRACE_SINGLEBLOCK",
  "PTRACE_SYSEMU",
  "PTRACE_SYSEMU_SINGLESTEP",
]);

/** Requests that leave the address out. */
const DATA_ONLY: ReadonlySet<string> = new Set([
  "PTRACE_GETREGS",
  "PTRACE_SETREGS",
  "PTRACE_GETFPREGS",
  "PTRACE_SETFPREGS",
]);

/** Requests that tell something at exit. */
const LATE: ReadonlySet<string> = new Set([
  "PTRACE_PEEKTEXT",
  "PTRACE_PEEKDATA",
  "PTRACE_PEEKUSER",
  "PTRACE_GETEVENTMSG",
  "PTRACE_GETREGS",
  "PTRACE_GETFPREGS",
  "PTRACE_GETSIGINFO",
  "PTRACE_GETSIGMASK",
  "PTRACE_PEEKSIGINFO",
  "PTRACE_SECCOMP_GET_FILTER",
  "PTRACE_GET_SYSCALL_INFO",
  "PTRACE_GETREGSET",
  "PTRACE_GET_RSEQ_CONFIGURATION",
  "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG",
]);

function ptrace(call: CallContext): Shape {
  const args = new Arguments(call).plain(0);
  const request = choiceName("ptrace_request", call.low(0)) ?? "";
  if (request === "PTRACE_TRACEME") return args.shape();
  args.plain(1);
  if (BARE.has(request)) return args.shape();
  if (!DATA_ONLY.has(request)) args.add(2, where(call, request));
  if (LATE.has(request)) args.late(3, data(call, request));
  else args.add(3, data(call, request));
  return args.shape();
}

/** The address argument. */
function where(call: CallContext, request: string): Value {
  const addr = call.arg(2);
  switch (request) {
    case "PTRACE_PEEKUSER":
    case "PTRACE_POKEUSER":
      return userOffset(call, addr);
    case "PTRACE_GETREGSET":
    case "PTRACE_SETREGSET":
      return choice("nt_regset", call.low(2));
    case "PTRACE_GETSIGMASK":
    case "PTRACE_SETSIGMASK":
    case "PTRACE_SECCOMP_GET_FILTER":
    case "PTRACE_SECCOMP_GET_METADATA":
    case "PTRACE_GET_SYSCALL_INFO":
    case "PTRACE_SET_SYSCALL_INFO":
      return int(addr);
    case "PTRACE_PEEKSIGINFO": {
      const m = membersAt("ptrace_peeksiginfo_args", addr, call, In);
      return m?.add("off:u flags nr:u").value() ?? address(addr);
    }
    default:
      return address(addr);
  }
}

/** strace's own names for the registers of 32-bit programs, in their order. */
const REGISTERS_32 = "EBX ECX EDX ESI EDI EBP EAX DS ES FS GS ORIG_EAX EIP CS EFL UESP SS".split(
  " ",
);
/** Registers from here on are no part of what has a name. */
const LAST_REGISTER = "ss";

type Place = readonly [offset: number, name: string];

/** What is where in `struct user`, in order. */
function userPlaces(word: 4 | 8): readonly Place[] {
  if (word === 4) return REGISTERS_32.map((name, k): Place => [4 * k, `4*${name}`]);
  const registers = layout("user_regs_struct")?.fields ?? [];
  const end = registers.findIndex((member) => member.name === LAST_REGISTER);
  const named = registers.slice(0, end + 1).map((member): Place => {
    const name = member.name === "eflags" ? "EFL" : member.name.toUpperCase();
    return [member.offset, `8*${name}`];
  });
  const others = (layout("user_area")?.fields ?? []).map(
    (member): Place => [member.offset, `offsetof(struct user, ${member.name})`],
  );
  return [...named, ...others];
}

/** A place in `struct user`, by the name of the last member that begins before it. */
function userOffset(call: CallContext, addr: Num): Value {
  const size = call.word === 8 ? (layout("user_area")?.size ?? 0) : 4 * REGISTERS_32.length;
  if (typeof addr !== "number" || addr >= size) return address(addr);
  const place = userPlaces(call.word).findLast(([offset]) => offset <= addr);
  if (place === undefined) return address(addr);
  const rest = addr - place[0];
  return symbol(rest === 0 ? place[1] : `${place[1]}+${rest}`);
}

function data(call: CallContext, request: string): Value {
  const addr = call.arg(3);
  if (RESUMES.has(request)) return signalValue(call.int(3));
  switch (request) {
    case "PTRACE_SEIZE":
    case "PTRACE_SETOPTIONS":
    case "PTRACE_OLDSETOPTIONS":
      return flags("ptrace_options", addr);
    case "PTRACE_SETSIGINFO":
      return siginfo(call, addr, In);
    case "PTRACE_SETSIGMASK":
      return sigsetAt(call, addr, call.count(2), In);
    case "PTRACE_SETREGS":
      return registers(call, addr, In);
    case "PTRACE_SETFPREGS":
      return floatRegisters(call, addr, In);
    case "PTRACE_SETREGSET":
    case "PTRACE_GETREGSET":
      return regset(call, addr, request === "PTRACE_GETREGSET");
    case "PTRACE_SECCOMP_GET_METADATA":
      return metadata(call, addr);
    case "PTRACE_SET_SYSCALL_INFO":
      return syscallInfo(call, addr, In, call.count(2));
    case "PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG":
      return sized(call, addr, In, "ptrace_sud_config", "mode selector offset len");
    default:
      return LATE.has(request) && call.succeeded ? answer(call, request, addr) : address(addr);
  }
}

function answer(call: CallContext, request: string, addr: Num): Value {
  switch (request) {
    case "PTRACE_PEEKTEXT":
    case "PTRACE_PEEKDATA":
    case "PTRACE_PEEKUSER":
    case "PTRACE_GETEVENTMSG": {
      const found = call.memory.readAll(addr, call.word, Out);
      if (found === undefined) return address(addr);
      const value = uword(found, 0, call.word) ?? 0;
      return deref(request === "PTRACE_GETEVENTMSG" ? int(value) : address(value));
    }
    case "PTRACE_GETREGS":
      return registers(call, addr, Out);
    case "PTRACE_GETFPREGS":
      return floatRegisters(call, addr, Out);
    case "PTRACE_GETSIGINFO":
      return siginfo(call, addr, Out);
    case "PTRACE_GETSIGMASK":
      return sigsetAt(call, addr, call.count(2), Out);
    case "PTRACE_PEEKSIGINFO":
      return siginfos(call, addr);
    case "PTRACE_SECCOMP_GET_FILTER":
      return filterProgram(call, addr, call.retCount, Out, "seccomp");
    case "PTRACE_GET_RSEQ_CONFIGURATION":
      return sized(
        call,
        addr,
        Out,
        "ptrace_rseq_configuration",
        "rseq_abi_pointer rseq_abi_size signature flags",
      );
    case "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG":
      return sized(call, addr, Out, "ptrace_sud_config", "mode selector offset len");
    default:
      return syscallInfo(call, addr, Out, Math.min(call.count(2), call.retCount));
  }
}

/** A struct of which the address argument says the size. */
function sized(call: CallContext, addr: Num, side: number, name: string, show: string): Value {
  const size = Math.min(call.count(2), layout(name)?.size ?? 0);
  const found = call.memory.readAll(addr, size, side);
  if (found === undefined || size === 0) return address(addr);
  return new Members(name, found, call, side).add(show).value();
}

function siginfo(call: CallContext, addr: Num, side: number): Value {
  const found = call.memory.readAll(addr, 128, side);
  return found === undefined ? address(addr) : structFrom("siginfo", found, call, side);
}

function siginfos(call: CallContext, addr: Num): Value {
  const count = call.retCount;
  if (count === 0) return array([]);
  const found = call.memory.read(addr, Math.min(count, 4096) * 128, Out);
  if (found === undefined) return address(addr);
  const items: Value[] = [];
  for (let at = 0; at + 128 <= found.length; at += 128) {
    items.push(structFrom("siginfo", found.subarray(at, at + 128), call, Out));
  }
  return array(items, items.length < count);
}

/** Registers by the layout of the tracer's word size, as many as `size` covers. */
function registers(call: CallContext, addr: Num, side: number, size?: number): Value {
  const name = call.word === 8 ? "user_regs_struct" : "compat_user_regs_struct";
  return registerSet(call, addr, side, name, size);
}

function floatRegisters(call: CallContext, addr: Num, side: number, size?: number): Value {
  if (call.word === 4) return address(addr);
  return registerSet(call, addr, side, "user_fpregs_struct", size);
}

function registerSet(
  call: CallContext,
  addr: Num,
  side: number,
  name: string,
  size?: number,
): Value {
  const row = layout(name);
  if (row === undefined) return address(addr);
  const wanted = Math.min(size ?? row.size, row.size);
  if (wanted === 0 || (size ?? 0) % call.word !== 0) return address(addr);
  const found = call.memory.readAll(addr, wanted, side);
  if (found === undefined) return address(addr);
  const m = new Members(name, found, call, side);
  for (const member of row.fields) {
    if (member.count === 1) m.add(`${member.name}:x`);
    else if (m.has(member.name))
      m.put(member.name, partOfArray(found, member.offset, member.count));
  }
  m.elided = size !== undefined && size > row.size;
  return m.value();
}

/** An array of 32-bit numbers that may end before its last one. */
function partOfArray(found: Uint8Array, offset: number, count: number): Value {
  const there = Math.min(count, Math.floor((found.length - offset) / 4));
  return array(Array.from({ length: there }, (_, k) => hexInt(u32(found, offset + 4 * k) ?? 0)));
}

const NT_PRSTATUS = 1;
const NT_FPREGSET = 2;

/** An iovec, and the registers that it points to. */
function regset(call: CallContext, addr: Num, gets: boolean): Value {
  const { word } = call;
  const before = call.memory.readAll(addr, 2 * word, In);
  if (before === undefined) return address(addr);
  const after = call.succeeded ? call.memory.readAll(addr, 2 * word, Out) : undefined;
  const base = uword(before, 0, word) ?? 0;
  const asked = uword(before, word, word) ?? 0;
  const got = (after && uword(after, word, word)) ?? asked;
  const length = Number(gets ? got : asked);
  const known = gets ? call.succeeded : true;
  const side = gets ? Out : In;
  const kind = call.low(2);
  let value = address(base);
  if (known && kind === NT_PRSTATUS) value = registers(call, base, side, length);
  if (known && kind === NT_FPREGSET) value = floatRegisters(call, base, side, length);
  const size: Value | ChangeValue =
    got === asked ? int(asked) : { kind: "change", before: int(asked), after: int(got) };
  return struct("iovec", [field("iov_base", value), field("iov_len", size)]);
}

function metadata(call: CallContext, addr: Num): Value {
  const size = call.count(2);
  const asked = size < 8 ? undefined : call.memory.readAll(addr, 8, In);
  if (asked === undefined) return address(addr);
  const fields = [field("filter_off", int(u64(asked, 0) ?? 0))];
  const found = call.succeeded ? call.memory.readAll(addr, 16, Out) : undefined;
  if (found !== undefined) {
    fields.push(field("flags", flags("seccomp_filter_flags", u64(found, 8) ?? 0)));
  }
  return struct("seccomp_metadata", fields, call.succeeded && call.retCount > 16);
}

const INFO = { ENTRY: 1, EXIT: 2, SECCOMP: 3 } as const;
const AUDIT_ARCH_I386 = 0x4000_0003;
const INFO_SIZE = 88;

/** What the tracee is stopped at. */
function syscallInfo(call: CallContext, addr: Num, side: number, size: number): Value {
  const found = call.memory.readAll(addr, Math.min(size, INFO_SIZE), side);
  if (found === undefined || found.length === 0) return address(addr);
  const m = new Members("ptrace_syscall_info", found, call, side);
  m.add("op arch instruction_pointer:a stack_pointer:a");
  if (found.length < 32) return m.value();
  const arch = m.low("arch") === AUDIT_ARCH_I386 ? 1 : 0;
  switch (m.low("op")) {
    case INFO.ENTRY:
      m.put("entry", entryInfo(found, arch, false));
      break;
    case INFO.SECCOMP:
      m.put("seccomp", entryInfo(found, arch, true));
      break;
    case INFO.EXIT:
      m.put("exit", exitInfo(found));
      break;
    default:
  }
  return m.value();
}

function entryInfo(found: Uint8Array, arch: number, seccomp: boolean): Value {
  const number = u64(found, 24) ?? 0;
  const name = typeof number === "number" ? syscallName(arch, number) : "syscall_";
  const known = !name.startsWith("syscall_");
  const count = Math.min(6, Math.floor((found.length - 32) / 8));
  const args = Array.from({ length: count }, (_, k) => hexInt(u64(found, 32 + 8 * k) ?? 0));
  const fields = [field("nr", known ? symbol(`__NR_${name}`) : int(number))];
  if (count > 0) fields.push(field("args", array(args)));
  const extra = u32(found, 80);
  if (seccomp && extra !== undefined) fields.push(field("ret_data", int(extra)));
  return struct("ptrace_syscall_info", fields);
}

function exitInfo(found: Uint8Array): Value {
  const low = i32(found, 24) ?? 0;
  const failed = found[32];
  const wide = BigInt.asIntN(64, BigInt(u64(found, 24) ?? 0));
  const rval = Number.isSafeInteger(Number(wide)) ? Number(wide) : wide;
  const name = failed === 1 ? ERRNO_NAMES[-low] : undefined;
  const value = name === undefined || name === "" ? int(rval) : symbol(`-${name}`);
  const fields = [field("rval", value)];
  if (failed !== undefined) fields.push(field("is_error", int(failed)));
  return struct("ptrace_syscall_info", fields);
}

export const ptraceFamily: Family = { calls: { ptrace } };
