/**
 * One block of events as typed columns, as the native reader hands it over.
 *
 * This is the contract between the reader and everything that looks at events: no object per event exists until
 * somebody asks for one. 64-bit values are pairs of 32-bit words (low word first), since a BigInt per access would
 * cost more than the rest of the decoding; `trace/word.ts` reads them.
 */

/** What an event is. The codes are those of `native/format/src/event.rs`. */
export const EventKind = {
  /** A syscall, entry and exit in one. `code` is the syscall number. */
  Call: 0,
  /** A signal was delivered. `code` is the signal; In capture 0 holds the siginfo; args[0] si_code, args[1] sender pid. */
  Signal: 1,
  /** A thread or process came to be. args[0] = thread index of the parent + 1 (0: none), args[1] = clone flags. */
  Task: 2,
  /**
   * A program was started in the process. Captures by slot: 0 executable path (resolved), 1 argv (each NUL-ended),
   * 2 environment (each NUL-ended), 3 cwd, 4 interpreter path or empty, 5 auxv bytes, 6 credentials text, 7 mount namespace.
   */
  Exec: 3,
  /**
   * The thread ended. `code` = wait status as waitpid returns it; args[0] = 1 when the whole process ended with it, 2 when it
   * executed a program and goes on as the first thread of its process; args[1], [2] = user and system time of the process in microseconds, [3] = peak
   * resident size in KiB.
   */
  Exit: 4,
  /**
   * A file was mapped executable. args: base, length, file offset, prot, inode, device. Captures by slot: 0 path,
   * 1 build id bytes, 2 content hash (32 bytes).
   */
  Map: 5,
  /** Group-stop (`code` = signal). */
  Stop: 6,
  /** Something could not be captured. Capture 0 is the text; `code` says which counter; args[0] = how many. */
  Note: 7,
  /**
   * An instruction was answered by the recorder. `code` = 0 rdtsc, 1 rdtscp, 2 cpuid, 3 rdrand, 4 rdseed, 5 rdpid, 6 guard. args of the first
   * two: 0 the counter, 1 what rdtscp puts into ecx; of cpuid: 0 eax and 1 ecx before, 2 to 5 eax, ebx, ecx, edx after; of the
   * next three: 0 the value, 1 the carry flag, 2 to 4 register and lengths; of guard, which is any instruction that touches shared
   * memory: 0 the address, 1 whether it was touched (0), is guarded no more (1) or from now on (2), 2 and 3 length and protection.
   */
  Trap: 8,
  /** A thread that ran long without a call was stopped at `ip`, to let others run or to deliver a signal. */
  Preempt: 9,
} as const;
export type EventKind = (typeof EventKind)[keyof typeof EventKind];

/** Names of the kinds by their codes, as filters and JSON have them: `call`, `signal`, ... */
export const KIND_NAMES: readonly string[] = Object.keys(EventKind).map((name) =>
  name.toLowerCase(),
);

/** Bits of the `flags` column. */
export const EventFlag = {
  /** The call never returned: the thread ended, or the recording did, inside it. `duration` runs to that moment. */
  NoReturn: 1,
  /** Interrupted before and restarted by the kernel: `start` is that of the first part, so this event is the whole call. */
  Restarted: 2,
  /** Some memory of this event could not be read or was left out; its captures say which. */
  Partial: 4,
  /** The call failed: `ret` is the negative errno. */
  Error: 8,
  /** The result was not observed (notify backend, or lost). */
  NoResult: 16,
  /**
   * A part of a call that the kernel restarts (result ERESTART*): the later event with `Restarted` tells the whole call.
   * Only the strace format shows it; everything else skips it.
   */
  Interrupted: 32,
} as const;

/** Which side of the call a capture shows. */
export const CaptureSide = {
  /** Memory at entry. */
  In: 0,
  /** Memory at exit. */
  Out: 1,
  /** The resolved path (canonical, absolute) of the path argument in that slot, where it differs from the plain join. */
  Resolved: 2,
} as const;

export const CaptureStatus = {
  /** All wanted bytes are there. */
  Whole: 0,
  /** Fewer bytes than wanted: a limit of the recording (`wanted` says how many there were). */
  Truncated: 1,
  /** The memory could not be read beyond what is there (a bad pointer, or the tracee was gone). */
  Unreadable: 2,
  /** Left out on request (`--data=paths|none`); `wanted` says how many bytes there were. */
  Omitted: 3,
} as const;

/** Slots of captures and object references: 0..5 are the arguments. */
export const Slot = { Ret: 6, Cwd: 7, Nested: 8 } as const;

/** `capContent` of a capture without bytes. */
export const NO_CONTENT = 0xffff_ffff;

/**
 * Column groups that a reader can leave out (`batches({ columns })`) when nobody looks at them. `core` is always there:
 * what happened, when, in which thread, and whether it failed. `base` adds results and spans, `results` the former only. `contents` are captures
 * without addresses and wanted sizes, at a fraction of the cost of `captures`.
 */
export type ColumnGroup =
  | "core"
  | "base"
  | "results"
  | "args"
  | "place"
  | "captures"
  | "contents"
  | "refs";

export interface EventBatch {
  /** Number of events. Row `i` is event number `firstSeq + i`, unless there are `seqs`. */
  readonly count: number;
  readonly firstSeq: number;
  /** @internal Event numbers of the rows, in a batch that has only some events of a block: ask `seqOf`. */
  readonly seqs?: Float64Array | undefined;

  // core
  readonly kind: Uint8Array;
  readonly flags: Uint8Array;
  /** 0 x86-64, 1 i386 (calls only). */
  readonly arch: Uint8Array;
  /** Syscall number, signal, wait status: see {@link EventKind}. */
  readonly code: Int32Array;
  /** Index into `trace.threads`. */
  readonly thread: Uint32Array;
  /** Nanoseconds since the start of the recording at entry. */
  readonly start: Float64Array;
  /** Nanoseconds from entry to exit. */
  readonly duration: Float64Array;

  // base
  /** How many events were committed between this event's entry and its commit: its entry stands before event seq - span. */
  readonly span: Uint32Array;
  /** Low and high word of the result of event i at 2i and 2i+1. */
  readonly ret: Int32Array;

  // args: six pairs per event, argument k of event i at 12i + 2k (low) and 12i + 2k + 1 (high)
  readonly args: Uint32Array;

  // place: instruction and stack pointer, pairs
  readonly ip: Uint32Array;
  readonly sp: Uint32Array;

  // captures of event i are capStart[i] .. capStart[i + 1] - 1, in the order in which they were taken
  readonly capStart: Uint32Array;
  readonly capSlot: Uint8Array;
  readonly capSide: Uint8Array;
  readonly capStatus: Uint8Array;
  /** Address in the tracee, pairs. */
  readonly capAddr: Uint32Array;
  /** Bytes that the call spoke of. */
  readonly capWanted: Float64Array;
  /** Index into this batch's contents, or {@link NO_CONTENT}. Equal contents of one batch share an index. */
  readonly capContent: Uint32Array;

  /** Contents: bytes of content c are `bytes.subarray(contentStart[c], contentStart[c + 1])`. */
  readonly contentStart: Uint32Array;
  readonly bytes: Uint8Array;

  // refs: the objects behind file descriptors (and the cwd), refStart[i] .. refStart[i + 1] - 1
  readonly refStart: Uint32Array;
  /** Argument index, Slot.Ret or Slot.Cwd; Slot.Nested for a descriptor inside memory (`refFd` says which). */
  readonly refSlot: Uint8Array;
  readonly refFd: Int32Array;
  /** Index into `trace.objects`. */
  readonly refObject: Uint32Array;

  /** Of batches that were read with `moves`. */
  readonly digests?: Digests;
}

/** The number of event `i` of a batch. */
export function seqOf({ seqs, firstSeq }: EventBatch, i: number): number {
  return seqs === undefined ? firstSeq + i : (seqs[i] ?? 0);
}

/** A batch that was read with `moves`. */
export type DigestedBatch = EventBatch & { readonly digests: Digests };

/** What stands for the bytes of a batch. Equal bytes have equal digests, in all traces. */
export interface Digests {
  /** 53 bits for each content; 0 for those that only moves speak of, which are empty in the batch. */
  readonly content: Float64Array;
  /** Bytes that each event moved, as far as they were captured; 0 for events that are no moves. */
  readonly movedLength: Float64Array;
  /** CRC-32 and CRC-32C of these bytes, at 2i and 2i+1. */
  readonly moved: Uint32Array;
}

/** What a file descriptor stands for: one open file description (or a directory as cwd). */
export interface FdObject {
  readonly id: number;
  /** file, dir, pipe, socket, chr, blk, fifo, anon, memfd, unknown */
  readonly kind: string;
  /** As /proc/PID/fd shows it: a path, `pipe:[17]`, `socket:[18]`, `anon_inode:[eventpoll]`. Bytes that are not UTF-8 are replaced. */
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
  /** For sockets: protocol and addresses as far as known, e.g. `TCP:[127.0.0.1:80->127.0.0.1:4711]`; else empty. */
  readonly detail: string;
  /** Event number that made it, or -1 when it was there before. */
  readonly createdBy: number;
}

/** A thread of the trace, shown as p3.2 (`process` 3, `ordinal` 2; the first thread of a process has ordinal 1, shown as p3). */
export interface ThreadInfo {
  readonly index: number;
  readonly process: number;
  readonly ordinal: number;
  readonly tid: number;
  readonly pid: number;
  /** Index of the thread that made it, or -1. */
  readonly parent: number;
  /** Event number of its Task event. */
  readonly createdBy: number;
}
