/**
 * What a decoder needs to know of the trace, and of the one event that it decodes.
 *
 * `TraceContext` is the whole interface between decoding and the reader: anything with threads and objects will do.
 */

import {
  type EventBatch,
  EventFlag,
  type FdObject,
  Slot,
  type ThreadInfo,
} from "../trace/batch.js";
import { unsigned } from "../trace/word.js";
import { Memory } from "./memory.js";
import { I386, NAMES, X86_64 } from "./names.generated.js";
import { SYSCALLS, type SyscallRow } from "./tables.generated.js";
import type { FdValue, Num } from "./value.js";

export interface TraceContext {
  readonly threads: readonly ThreadInfo[];
  /** Objects by the indexes of the batch's refs. */
  readonly objects: ArrayLike<FdObject>;
  /** `objects[index]?.path`, where that can be had without making the object. */
  objectPath?(index: number): string | undefined;
  /** Wall-clock time of event time 0: whole seconds since 1970 and nanoseconds. */
  readonly startSeconds: number;
  readonly startNanos: number;
}

export const AT_FDCWD = -100;

/** Set in the numbers of the x32 interface of x86-64. */
const X32_BIT = 0x4000_0000;
const FIRST_X32_ONLY = 512;
/** What the numbers from 512 on are there, as numbers of x86-64. */
const X32_ONLY: readonly number[] = [
  13, 15, 16, 19, 20, 45, 46, 47, 59, 101, 127, 128, 129, 131, 222, 244, 246, 247, 273, 274, 278,
  279, 295, 296, 297, 299, 307, 310, 311, 54, 55, 206, 209, 322, 327, 328,
];

/** Row index of syscall `sysno` of that architecture, or -1. */
export function rowIndex(arch: number, sysno: number): number {
  if (arch === 1) return I386[sysno] ?? -1;
  if (sysno < X32_BIT) return X86_64[sysno] ?? -1;
  const number = sysno - X32_BIT;
  const plain = number < FIRST_X32_ONLY ? number : X32_ONLY[number - FIRST_X32_ONLY];
  return plain === undefined ? -1 : (X86_64[plain] ?? -1);
}

export function syscallRow(arch: number, sysno: number): SyscallRow | undefined {
  return SYSCALLS[rowIndex(arch, sysno)];
}

/** `syscall_0x1f4` where the table has no name. */
export function syscallName(arch: number, sysno: number): string {
  return NAMES[rowIndex(arch, sysno)] ?? `syscall_0x${(sysno >>> 0).toString(16)}`;
}

/** One call event, as its decoders see it. */
export class CallContext {
  readonly batch: EventBatch;
  readonly i: number;
  readonly trace: TraceContext;
  readonly row: SyscallRow | undefined;
  readonly arch: number;
  readonly sysno: number;
  /** Bytes of a pointer and of a C `long`. */
  readonly word: 4 | 8;
  readonly memory: Memory;

  /** `row` is what the event is decoded as; without it, the row of its number. */
  constructor(batch: EventBatch, i: number, trace: TraceContext, row?: SyscallRow) {
    this.batch = batch;
    this.i = i;
    this.trace = trace;
    this.arch = batch.arch[i] ?? 0;
    this.sysno = batch.code[i] ?? -1;
    this.word = this.arch === 1 ? 4 : 8;
    this.row = row ?? syscallRow(this.arch, this.sysno);
    this.memory = new Memory(batch, i);
  }

  get name(): string {
    return syscallName(this.arch, this.sysno);
  }

  /** Low 32 bits of argument `k`, unsigned. */
  low(k: number): number {
    return k < 6 ? (this.batch.args[12 * this.i + 2 * k] ?? 0) : 0;
  }

  high(k: number): number {
    return k < 6 && this.word === 8 ? (this.batch.args[12 * this.i + 2 * k + 1] ?? 0) : 0;
  }

  /** Argument `k` as an unsigned word. */
  arg(k: number): Num {
    return unsigned(this.low(k), this.high(k));
  }

  /** Argument `k` as a C `int`. */
  int(k: number): number {
    return this.low(k) | 0;
  }

  /** Argument `k` as a count, cut to what a count can sensibly be. */
  count(k: number): number {
    const value = this.arg(k);
    return typeof value === "number" ? value : Number.MAX_SAFE_INTEGER;
  }

  get flags(): number {
    return this.batch.flags[this.i] ?? 0;
  }

  get failed(): boolean {
    return (this.flags & EventFlag.Error) !== 0;
  }

  /** True when the call returned and did not fail: then output memory means something. */
  get succeeded(): boolean {
    return (this.flags & (EventFlag.Error | EventFlag.NoReturn | EventFlag.NoResult)) === 0;
  }

  get retLow(): number {
    return (this.batch.ret[2 * this.i] ?? 0) >>> 0;
  }

  get retHigh(): number {
    return (this.batch.ret[2 * this.i + 1] ?? 0) >>> 0;
  }

  /** The result as a count, 0 when there is none. */
  get retCount(): number {
    if (!this.succeeded) return 0;
    const value = unsigned(this.retLow, this.retHigh);
    return typeof value === "number" ? value : 0;
  }

  /** The object that stands in that slot (argument index, Slot.Ret, Slot.Cwd). */
  object(slot: number): FdObject | undefined {
    return refObject(this.batch, this.i, this.trace, slot);
  }

  /** A descriptor found in memory or in an argument, with its object. */
  fd(fd: number, slot: number = Slot.Nested): FdValue {
    if (fd === AT_FDCWD) {
      const cwd = (slot === Slot.Nested ? undefined : this.object(slot)) ?? this.object(Slot.Cwd);
      return { kind: "fd", fd, name: "AT_FDCWD", ...(cwd && { object: cwd }) };
    }
    const object = this.#fdObject(fd, slot);
    return object === undefined ? { kind: "fd", fd } : { kind: "fd", fd, object };
  }

  #fdObject(fd: number, slot: number): FdObject | undefined {
    if (fd < 0) return undefined;
    const { batch, i } = this;
    const end = Math.min(batch.refStart[i + 1] ?? 0, batch.refSlot.length);
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      if (batch.refSlot[r] === slot && (slot !== Slot.Nested || batch.refFd[r] === fd)) {
        return this.trace.objects[batch.refObject[r] ?? -1];
      }
    }
    return undefined;
  }
}

/** The object that a reference of event `i` names for `slot`. */
export function refObject(
  batch: EventBatch,
  i: number,
  trace: TraceContext,
  slot: number,
): FdObject | undefined {
  const end = Math.min(batch.refStart[i + 1] ?? 0, batch.refSlot.length);
  for (let r = batch.refStart[i] ?? 0; r < end; r++) {
    if (batch.refSlot[r] === slot) return trace.objects[batch.refObject[r] ?? -1];
  }
  return undefined;
}
