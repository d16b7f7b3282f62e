/** Signals: sets, actions, siginfo, sigevent. */

import { CaptureSide } from "../../trace/batch.js";
import { address, lengthOf } from "../argument.js";
import { type CallContext, rowIndex } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { i32, u32, u64, uword } from "../memory.js";
import { NAMES } from "../names.generated.js";
import { signalName, signalValue } from "../scalar.js";
import {
  type ChoiceValue,
  type FieldValue,
  field,
  int,
  NULL,
  type Num,
  pointer,
  type SigsetValue,
  struct,
  symbol,
  type Value,
} from "../value.js";
import type { Family, Shape } from "./registry.js";

/** The signals in a kernel signal mask; written the other way round when most are in it. */
export function sigset(mask: Uint8Array): SigsetValue {
  const bits = 8 * mask.length;
  const inside: string[] = [];
  const outside: string[] = [];
  for (let signal = 1; signal <= bits; signal++) {
    const set = ((mask[(signal - 1) >> 3] ?? 0) >> ((signal - 1) & 7)) & 1;
    const name = signalName(signal)?.slice(3) ?? String(signal);
    (set === 1 ? inside : outside).push(name);
  }
  const negated = bits > 0 && inside.length >= (bits * 2) / 3;
  return { kind: "sigset", names: negated ? outside : inside, negated };
}

/** The signal mask of `size` bytes at `addr`; at most 16 bytes are a mask. */
export function sigsetAt(call: CallContext, addr: Num, size: number, side: number): Value {
  if (addr === 0) return NULL;
  const data = size > 16 ? undefined : call.memory.readAll(addr, size, side);
  return data === undefined ? pointer(addr) : sigset(data);
}

/** Bytes of the only mask that the kernel takes. */
const KERNEL_SIGSET = 8;

function sigsetArg(call: CallContext, k: number, side: number): Value {
  const row = call.row?.args[k];
  const size = (row && lengthOf(call, row.len, side)) ?? KERNEL_SIGSET;
  if (row?.len.from !== "fixed" && size !== KERNEL_SIGSET && row?.dir === "in")
    return address(call, k);
  return sigsetAt(call, call.arg(k), size, side);
}

const SIG_HANDLERS: ReadonlyMap<Num, string> = new Map<Num, string>([
  [0, "SIG_DFL"],
  [1, "SIG_IGN"],
  [0xffff_ffff, "SIG_ERR"],
  [0xffff_ffff_ffff_ffffn, "SIG_ERR"],
]);

export function handler(value: Num): Value {
  const name = SIG_HANDLERS.get(value);
  return name === undefined ? pointer(value) : symbol(name);
}

const SA_RESTORER = 0x0400_0000;

/** Where the members of one of the kernel's sigaction layouts are. */
interface ActionLayout {
  readonly word: 4 | 8;
  readonly size: number;
  readonly flags: number;
  readonly restorer: number;
  readonly mask: number;
  readonly maskSize: number;
}

const ACTIONS: Readonly<Record<string, ActionLayout>> = {
  sigaction: { word: 8, size: 32, flags: 8, restorer: 16, mask: 24, maskSize: 8 },
  compat_sigaction: { word: 4, size: 20, flags: 4, restorer: 8, mask: 12, maskSize: 8 },
  compat_old_sigaction: { word: 4, size: 16, flags: 8, restorer: 12, mask: 4, maskSize: 4 },
};

function sigaction(data: Uint8Array, at: ActionLayout): Value {
  const bits = u32(data, at.flags);
  const mask = data.subarray(at.mask, at.mask + at.maskSize);
  if (bits === undefined || mask.length < at.maskSize) return struct("sigaction", [], true);
  const fields: FieldValue[] = [
    field("sa_handler", handler(uword(data, 0, at.word) ?? 0)),
    field("sa_mask", sigset(mask)),
    field("sa_flags", flags("sigaction_flags", uword(data, at.flags, at.word) ?? bits)),
  ];
  if ((bits & SA_RESTORER) !== 0) {
    fields.push(field("sa_restorer", pointer(uword(data, at.restorer, at.word) ?? 0)));
  }
  return struct("sigaction", fields);
}

/** Signals whose codes have a set of their own. */
const CODE_SETS: Readonly<Record<number, string>> = {
  4: "si_code_sigill",
  5: "si_code_sigtrap",
  7: "si_code_sigbus",
  8: "si_code_sigfpe",
  11: "si_code_sigsegv",
  17: "si_code_sigchld",
  29: "si_code_sigpoll",
  31: "si_code_sigsys",
};

const SIGNALS = { ILL: 4, TRAP: 5, BUS: 7, FPE: 8, SEGV: 11, CHLD: 17, POLL: 29, SYS: 31 } as const;
const CODES = { USER: 0, QUEUE: -1, TIMER: -2, TKILL: -6, KERNEL: 0x80 } as const;

function code(signal: number, value: number): ChoiceValue {
  const own = CODE_SETS[signal];
  const general = choiceName("si_code", value >>> 0) ?? choiceName("si_code", value);
  if (value > 0 && value !== CODES.KERNEL && own !== undefined) return choice(own, value);
  const base = { kind: "choice", set: "si_code", value: value >>> 0 } as const;
  return general === undefined ? base : { ...base, name: general };
}

/** A siginfo; `word` is the size of a pointer of the program that it is for. */
export function siginfo(data: Uint8Array, call: CallContext, word: 4 | 8): Value {
  const signal = i32(data, 0) ?? 0;
  const errno = i32(data, 4) ?? 0;
  const codeValue = i32(data, 8) ?? 0;
  if (signal === 0 && codeValue === 0) return struct("siginfo", []);
  if (signal === 0) return hiddenInfo(data, call, word, codeValue);
  const fields: FieldValue[] = [field("si_signo", signalValue(signal))];
  if (errno !== 0) fields.push(field("si_errno", int(errno)));
  fields.push(field("si_code", code(signal, codeValue)));
  fields.push(...siginfoFields(data, call, word, signal, codeValue));
  return struct("siginfo", fields);
}

/** Without a signal number strace shows nothing; the data stays. */
function hiddenInfo(data: Uint8Array, call: CallContext, word: 4 | 8, codeValue: number): Value {
  const fields = [
    field("si_signo", int(0)),
    field("si_code", code(0, codeValue)),
    ...siginfoFields(data, call, word, 0, codeValue),
  ];
  return struct(
    "siginfo",
    fields.map((member) => ({ ...member, hidden: true })),
  );
}

function siginfoFields(
  data: Uint8Array,
  call: CallContext,
  word: 4 | 8,
  signal: number,
  codeValue: number,
): FieldValue[] {
  const at = word === 8 ? 16 : 12;
  const number = (offset: number) => i32(data, at + offset) ?? 0;
  const pointerAt = (offset: number) => pointer(uword(data, at + offset, word) ?? 0);
  const sender = [field("si_pid", int(number(0))), field("si_uid", int(number(4) >>> 0))];
  const value = (offset: number) => [
    field("si_int", int(number(offset))),
    field("si_ptr", pointerAt(offset)),
  ];
  if (codeValue === CODES.TIMER) {
    return [field("si_timerid", int(number(0))), field("si_overrun", int(number(4))), ...value(8)];
  }
  if (codeValue === CODES.USER || codeValue === CODES.TKILL) return sender;
  if (codeValue <= 0) return [...sender, ...value(8)];
  const faults = signal === SIGNALS.SEGV || signal === SIGNALS.TRAP;
  switch (codeValue === CODES.KERNEL && !faults ? 0 : signal) {
    case SIGNALS.CHLD:
      return [...sender, ...childFields(data, at, word, codeValue)];
    case SIGNALS.ILL:
    case SIGNALS.FPE:
    case SIGNALS.SEGV:
    case SIGNALS.BUS:
    case SIGNALS.TRAP:
      return [field("si_addr", pointerAt(0))];
    case SIGNALS.POLL:
      return [
        field("si_band", int(word === 8 ? (u64(data, at) ?? 0) : number(0))),
        field("si_fd", call.fd(number(word))),
      ];
    case SIGNALS.SYS:
      return [
        field("si_call_addr", pointerAt(0)),
        field("si_syscall", sysno(number(word), number(word + 4) >>> 0)),
        field("si_arch", choice("audit_arch", number(word + 4) >>> 0)),
      ];
    default:
      return number(0) !== 0 || number(4) !== 0 ? sender : [];
  }
}

const AUDIT_ARCH_I386 = 0x40000003;

/** `__NR_getpid`. */
function sysno(value: number, arch: number): Value {
  const name = NAMES[rowIndex(arch === AUDIT_ARCH_I386 ? 1 : 0, value)];
  return name === undefined ? int(value) : symbol(`__NR_${name}`);
}

const CLD_EXITED = 1;

function childFields(data: Uint8Array, at: number, word: 4 | 8, codeValue: number): FieldValue[] {
  const status = i32(data, at + 8) ?? 0;
  const times = at + (word === 8 ? 16 : 12);
  return [
    field("si_status", codeValue === CLD_EXITED ? int(status) : signalValue(status)),
    field("si_utime", int(uword(data, times, word) ?? 0)),
    field("si_stime", int(uword(data, times + word, word) ?? 0)),
  ];
}

const SIGEV = { SIGNAL: 0, NONE: 1, THREAD: 2, THREAD_ID: 4 } as const;

function sigevent(data: Uint8Array, word: 4 | 8): Value {
  const signal = i32(data, word);
  const notify = i32(data, word + 4);
  if (signal === undefined || notify === undefined) return struct("sigevent", [], true);
  const fields: FieldValue[] = [];
  const value = uword(data, 0, word) ?? 0;
  if (value !== 0) {
    const both = [field("sival_int", int(i32(data, 0) ?? 0)), field("sival_ptr", pointer(value))];
    fields.push(field("sigev_value", struct("sigval", both)));
  }
  const named = notify === SIGEV.SIGNAL || notify === SIGEV.THREAD_ID;
  fields.push(field("sigev_signo", named ? signalValue(signal) : int(signal)));
  fields.push(field("sigev_notify", choice("sigev_notify", notify >>> 0)));
  if (notify === SIGEV.THREAD_ID) {
    fields.push(field("sigev_notify_thread_id", int(i32(data, word + 8) ?? 0)));
  } else if (notify === SIGEV.THREAD) {
    fields.push(field("sigev_notify_function", pointer(uword(data, word + 8, word) ?? 0)));
    fields.push(field("sigev_notify_attributes", pointer(uword(data, 2 * word + 8, word) ?? 0)));
  }
  return struct("sigevent", fields);
}

function oldSet(value: number): SigsetValue {
  return sigset(Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
}

/** The sixth argument of pselect6: a pointer to a pointer to a mask and its size. */
function pselectMask(call: CallContext, k: number): Value {
  const addr = call.arg(k);
  if (addr === 0) return NULL;
  const data = call.memory.readAll(addr, 2 * call.word, CaptureSide.In);
  if (data === undefined) return pointer(addr);
  const mask = uword(data, 0, call.word) ?? 0;
  const size = Number(uword(data, call.word, call.word) ?? 0);
  const known = size === KERNEL_SIGSET;
  return struct("pselect6_sigmask", [
    field(
      "sigmask",
      known ? sigsetAt(call, mask, size, CaptureSide.In) : mask === 0 ? NULL : pointer(mask),
    ),
    field("sigsetsize", int(size)),
  ]);
}

const actions = Object.entries(ACTIONS).map(
  ([name, at]) => [name, (data: Uint8Array) => sigaction(data, at)] as const,
);

/** The mask that the signal frame restores, where the recording has it (8 bytes in slot 0). */
function sigreturn(call: CallContext): Shape {
  const mask = call.memory.slot(0, CaptureSide.In)?.bytes;
  if (mask === undefined || mask.length !== 8) return {};
  return { args: [{ name: "frame", value: struct("sigframe", [field("mask", sigset(mask))]) }] };
}

export const signal: Family = {
  calls: { rt_sigreturn: sigreturn, sigreturn },
  args: {
    sigset: sigsetArg,
    signal_handler: (call, k) => handler(call.arg(k)),
    old_sigset: (call, k) => oldSet(call.low(k)),
    pselect6_sigmask: pselectMask,
  },
  structs: {
    ...Object.fromEntries(actions),
    siginfo: (data, call) => siginfo(data, call, 8),
    compat_siginfo: (data, call) => siginfo(data, call, 4),
    sigevent: (data) => sigevent(data, 8),
    compat_sigevent: (data) => sigevent(data, 4),
    sigset: (data) => sigset(data),
  },
  returns: {
    signal_handler: (call) => ({ value: handler(call.retLow) }),
    old_sigset: (call) => ({ note: oldSet(call.retLow) }),
  },
};
