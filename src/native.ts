/**
 * Loads the addon, and is the only file that does. The declarations here are what `native/src`
 * exports to JavaScript; they convert nothing.
 */

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { TraceError } from "./errors.js";
import type { EventBatch } from "./trace/batch.js";
import type { NativeFailure, Outcome } from "./trace/failure.js";

/** What the addon exports. Numbers are exact up to 2^53; larger values cross as bigint. */
export interface NativeAddon {
  /** Ends this process by the signal's default action, without a core file. */
  dieBySignal(signal: number): void;
  /** Ends this process at once, without node's clean-up (which would reset the terminal). */
  exitNow(code: number): never;
  /** `<program>-<n>.trace` with the smallest free n, in the working directory. */
  freeName(program: string): string;
  /** Starts a recording on a thread of its own. `onRefusal` gets what the policy refuses, as JSON. */
  startRecording(
    options: NativeRecordOptions,
    onRefusal?: (refusal: string) => void,
  ): NativeRecording;
  /** Starts a program under a policy; `onRefusal` gets what is refused, as JSON. */
  startEnforced(
    options: NativeEnforceOptions,
    onRefusal: (refusal: string) => void,
  ): Outcome<NativeEnforced>;
  /** Version of Landlock that the kernel offers; 0: none. */
  landlockVersion(): number;
  /** Reads the list of blocks and the definitions. */
  openTrace(path: string): Promise<Outcome<NativeTrace>>;
  /** For `readChosen`. */
  makeChoice(parts: NativeChoiceParts): NativeChoice;
  /** Makes a trace of its text form; the number of its events. */
  assembleText(text: string, path: string, force: boolean): Promise<Outcome<number>>;
  /** Begins to write a table as Parquet into a folder that is there; `time` and `ascending` are numbers of columns. */
  writeParquet(
    folder: string,
    columns: readonly NativeColumn[],
    time: number | undefined,
    ascending: readonly number[],
    facts: readonly NativeFact[],
  ): NativeParquet;
  /** Begins to write a SQLite file, which must not be there. */
  writeSqlite(path: string): Outcome<NativeSqlite>;
  /** Tries what a recorder needs on a child of this process. */
  probe(): Promise<NativeCheck[]>;
}

/** Options of a recording: `native/src/record.rs` says what they mean. */
export interface NativeRecordOptions {
  readonly argv: readonly Uint8Array[];
  readonly attach?: readonly number[];
  readonly env?: readonly Uint8Array[];
  readonly cwd?: Uint8Array;
  readonly output: Uint8Array;
  readonly force: boolean;
  readonly data: string;
  readonly only?: readonly string[];
  readonly detachOnExit: boolean;
  readonly unpinned: boolean;
  readonly observe: boolean;
  readonly backend?: string;
  readonly chaos: number | undefined;
  readonly cpu: string;
  readonly user?: {
    readonly uid: number;
    readonly gid: number;
    readonly groups: readonly number[];
  };
  readonly nofile?: number;
  readonly inherit: boolean;
  readonly ignoreHangup: boolean;
  readonly policy?: string;
  readonly stacks?: { readonly calls?: readonly string[]; readonly bytes?: number };
}

/** `native/src/enforce.rs` says what they mean. */
export interface NativeEnforceOptions {
  readonly argv: readonly Uint8Array[];
  readonly env?: readonly Uint8Array[];
  readonly cwd?: Uint8Array;
  readonly policy: string;
  readonly notify: boolean;
  readonly inherit: boolean;
  /** Processes that lose their parents become children of this one, which has no others. */
  readonly adopt: boolean;
  readonly nofile?: number;
  readonly attempt?: NativeAttempt;
}

/** What is tried in place of a program; the exit code is the errno. */
export interface NativeAttempt {
  readonly kind: string;
  readonly path?: Uint8Array;
  /** The new name, of what is given one. */
  readonly to?: Uint8Array;
  readonly port?: number;
}

export interface NativeEnforced {
  readonly pid: number;
  wait(): Promise<Outcome<number>>;
  letGo(): void;
}

export interface NativeRecording {
  wait(): Promise<Outcome<NativeRecordResult>>;
  abort(): void;
  /** To be called again until the recording has ended: the first call can come too early to wake the recorder. */
  detach(): void;
  signal(signal: number): boolean;
  stopAlong(signal: number): void;
}

export interface NativeRecordResult {
  readonly status: number;
  readonly processes: number;
  readonly threads: number;
  readonly durationNs: number;
  readonly events: number;
  readonly bytes: number;
  readonly bytesEvents: number;
  readonly bytesContent: number;
  readonly lostEvents: number;
  readonly lost: readonly number[];
  readonly notes: readonly string[];
  /** What was recorded, in one line. */
  readonly line: string;
  readonly failure?: string;
  readonly failureCode?: string;
}

/** Options of a replay: `native/src/replay.rs` says what they mean. */
export interface NativeReplayOptions {
  readonly process: number | undefined;
  readonly until: number | undefined;
  readonly execOnly: boolean;
  readonly jobs: number;
  readonly toDescriptors: boolean;
  readonly warnOnly: boolean;
  readonly stuckAfter: number | undefined;
  /** Of which events stacks are wanted. */
  readonly stacks: NativeStackRequest | undefined;
  readonly backend: string;
  /** Where a debugger connects (a socket to make, or a port of 127.0.0.1), and before which event it has the word first. */
  readonly debug: NativeDebugRequest | undefined;
}

export interface NativeDebugRequest {
  readonly socket: string | undefined;
  readonly port: number | undefined;
  readonly at: number | undefined;
  /** Milliseconds of replay from one state that is kept to the next; 0 for none. */
  readonly checkpointEvery: number | undefined;
}

export interface NativeStackRequest {
  readonly from: number;
  readonly to: number;
  /** In ascending order. */
  readonly only?: Float64Array;
  /** Write them into the trace, or into a copy at `output`, instead of handing them over. */
  readonly write: boolean;
  readonly output?: string;
  readonly force: boolean;
}

export interface NativeAddedStacks {
  readonly stacks: number;
  readonly places: number;
  readonly bytesTotal: number;
}

/** `native/engine/src/stacks.rs` says what the columns mean. */
export interface NativeStacks {
  readonly seqs: Float64Array;
  readonly frameEnd: Uint32Array;
  readonly ends: Uint8Array;
  readonly frames: Uint32Array;
  readonly placeFile: Uint32Array;
  readonly placeOffset: Float64Array;
  /** Low and high word. */
  readonly placeAddress: Uint32Array;
  readonly placeBits: Uint8Array;
  readonly placeBehind: Float64Array;
  readonly sourceEnd: Uint32Array;
  readonly sourceFunction: Uint32Array;
  readonly sourceFile: Uint32Array;
  readonly sourceLine: Uint32Array;
  readonly sourceColumn: Uint32Array;
  readonly fileHashes: readonly string[];
  readonly filePaths: readonly string[];
  readonly strings: readonly string[];
}

/** Stacks of copied threads, or what was written of them. */
export interface NativeCopiedStacks {
  readonly stacks?: NativeStacks;
  readonly added?: NativeAddedStacks;
  /** Paths of files of code that are not at hand any more. */
  readonly gone: readonly string[];
}

/** Gets the output of the replayed program: stream 1 or 2, and at last stream 0 without bytes. */
export type NativeReplayOutput = (stream: number, bytes: Uint8Array) => void;

export interface NativeReplay {
  /** Whether a debugger can connect. */
  readonly listens: boolean;
  wait(): Promise<Outcome<NativeReplayResult>>;
  abort(): void;
}

export interface NativeReplayResult {
  readonly status: number;
  readonly events: number;
  readonly processes: number;
  readonly threads: number;
  readonly desyncs: readonly NativeDesync[];
  readonly cutAt?: number;
  readonly notes: readonly string[];
  readonly durationNs: number;
  readonly outputErrno: number;
  readonly stacks?: NativeStacks;
  readonly addedStacks?: NativeAddedStacks;
  readonly answered: number;
  readonly repeated: boolean;
}

export interface NativeDesync {
  readonly seq: number;
  readonly thread: number;
  readonly reason: string;
  readonly argument?: number;
  readonly slot?: number;
  readonly address?: bigint;
  readonly offset?: number;
  readonly result?: bigint;
  readonly actual?: {
    readonly kind: string;
    readonly code: number;
    /** The stop as a batch of one event. */
    readonly batch: EventBatch;
  };
  readonly expectedBytes?: Uint8Array;
  readonly actualBytes?: Uint8Array;
  readonly window: number;
  readonly maps: string;
  readonly frames: readonly bigint[];
  /** Functions of an interpreter, innermost first. */
  readonly script: readonly {
    readonly function?: string;
    readonly file?: string;
    readonly line: number;
  }[];
}

/** The reader of one trace: `native/src/reader.rs`. */
export interface NativeTrace {
  /** Lets go of the file and what is kept of it; every other call fails from then on. */
  close(): void;
  header(): NativeHeader;
  blocks(): NativeBlocks;
  threads(): NativeThreads;
  /** The objects `from` (included) to `to` (excluded), as far as they exist. */
  objects(from: number, to: number): NativeObjects;
  /** Decodes one block; `columns` are the bits of trace/columns.ts. */
  readBlock(block: number, columns: number): Promise<Outcome<EventBatch>>;
  /** Those events of the block that a choice leaves: `seqs` says which. */
  readChosen(block: number, columns: number, choice: NativeChoice): Promise<Outcome<EventBatch>>;
  /** All but the column `place`, with digests. `moves`: three bytes per syscall of x86-64, then of as many of i386. */
  digestBlock(block: number, moves: Uint8Array): Promise<Outcome<EventBatch>>;
  spanningCalls(): Promise<{ readonly entry: Float64Array; readonly seq: Float64Array }>;
  /** All calls by syscall; null when there are too many different ones. */
  tally(): Promise<NativeTally | null>;
  /** What calls did with each path. */
  fileUsage(): Promise<NativeFileUsage>;
  packed(): { readonly hash: string; readonly bytes: number }[];
  /** Puts mapped files into the trace, or into a copy of it. */
  missing(): Promise<Outcome<readonly NativeMissingFile[]>>;
  pack(output: string | undefined, force: boolean): Promise<Outcome<NativePacking>>;
  /** Writes the trace as text, to the standard output when there is no path. */
  dumpText(path: string | undefined, force: boolean): Promise<Outcome<boolean>>;
  /** Starts a replay on a thread of its own. */
  startReplay(options: NativeReplayOptions, output?: NativeReplayOutput): NativeReplay;
  /** The stacks in the trace, of the events `from` to `to`; null when it has none. */
  stacks(from: number, to: number): Promise<Outcome<NativeStacks | null>>;
  /** Whether threads were copied while the trace was recorded. */
  hasCopiedStacks(): boolean;
  /** The stacks of threads that were copied while they were recorded; null when none were. */
  copiedStacks(request: NativeStackRequest): Promise<Outcome<NativeCopiedStacks | null>>;
  /** Functions and lines at an offset of a mapped file, which is named by its hash; `path` is where it was. */
  sourcesAt(
    hash: string,
    path: string,
    offset: number,
  ): Promise<{
    readonly frames: readonly {
      readonly function?: string;
      readonly file?: string;
      readonly line: number;
      readonly column: number;
    }[];
    readonly behind?: number;
  }>;
  /** What files say about themselves, by hash; `paths` are where they were, one for each hash. */
  elfFacts(
    hashes: readonly string[],
    paths: readonly string[],
  ): Promise<Readonly<Record<string, NativeElfFacts>>>;
}

/** `native/engine/src/elf.rs` says what the members mean. */
export interface NativeElfFacts {
  readonly bits: number;
  readonly machine: number;
  readonly kind: "executable" | "pie" | "shared" | "other";
  readonly entry: bigint;
  readonly interpreter?: string;
  readonly soname?: string;
  readonly needed: readonly string[];
  readonly rpath?: string;
  readonly runpath?: string;
  readonly buildId: string;
  readonly segments: readonly {
    readonly kind: string;
    readonly address: bigint;
    readonly size: bigint;
    readonly offset: number;
    readonly fileSize: number;
    /** `PROT_*` bits. */
    readonly prot: number;
  }[];
  readonly versions: readonly { readonly file: string; readonly versions: readonly string[] }[];
  readonly hardening: {
    readonly relro: "none" | "partial" | "full";
    readonly bindNow: boolean;
    readonly executableStack: boolean;
    readonly ibt: boolean;
    readonly shadowStack: boolean;
    readonly stackProtector: boolean;
    readonly fortified: boolean;
  };
  readonly debug: {
    readonly info: boolean;
    readonly lines: boolean;
    readonly split: boolean;
    readonly symbols: boolean;
    readonly mini: boolean;
    readonly link?: string;
    readonly supplement?: string;
  };
  /** A separate file with its debug information, on this machine. */
  readonly debugFile?: string;
}

/** Paths as they were captured, and numbers for each: those that src/tables/file.ts names. */
/** Made by `makeChoice`. */
export interface NativeChoice {
  readonly made: unique symbol;
}

/** What an event has to be; `Choice` of native/format says what each part means. */
export interface NativeChoiceParts {
  /** By number, of x86-64 and then of i386: 1 where calls may be wanted. */
  readonly calls: Uint8Array;
  readonly kinds: number;
  readonly flagsSet: number;
  readonly flagsClear: number;
  /** By index: 1 where the events of a thread may be wanted. */
  readonly threads?: Uint8Array;
  readonly leastDuration: number;
  readonly mostDuration: number;
  readonly leastStart: number;
  readonly mostStart: number;
}

/** An entry per syscall in each array, in the order of their first calls; times in nanoseconds. */
export interface NativeTally {
  readonly arch: Uint8Array;
  readonly code: Int32Array;
  readonly count: Float64Array;
  readonly errors: Float64Array;
  readonly total: Float64Array;
  readonly min: Float64Array;
  readonly max: Float64Array;
  /** A row of `BUCKETS` (src/stat/durations.ts) per syscall. */
  readonly buckets: Uint32Array;
  readonly failure: NativeFailure | null;
}

export interface NativeFileUsage {
  readonly keys: Uint8Array;
  /** Path k ends before this place of `keys`; the next begins there. */
  readonly keyEnd: Uint32Array;
  readonly sums: Float64Array;
  /** How often there was no room for a path. */
  readonly leftOut: number;
  /** Why a part of the trace was not counted. */
  readonly failure: NativeFailure | null;
}

/** A column of a table, `native/src/tables.rs`. */
export interface NativeColumn {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
}

/** The values of one column of a batch: one of the arrays, and what goes with it. */
export interface NativeValues {
  readonly ints?: Float64Array;
  readonly words?: BigInt64Array;
  readonly bools?: Uint8Array;
  readonly codes?: Uint32Array;
  readonly nulls?: Uint8Array;
  /** Of codes: whether they speak of another dictionary from now on, where its new values end, and their bytes. */
  readonly restart?: boolean;
  readonly ends?: Uint32Array;
  readonly bytes?: Uint8Array;
}

export interface NativeFact {
  readonly key: string;
  readonly value: string;
}

/** What the numbers in events mean, `native/src/tables.rs`. */
export interface NativeMeanings {
  readonly shapes: readonly {
    readonly name: string;
    readonly path: number;
    readonly base: number;
    readonly fds: readonly number[];
    readonly returnsFd: boolean;
    readonly addresses: readonly number[];
    readonly transfers: boolean;
  }[];
  readonly x8664: Int32Array;
  readonly i386: Int32Array;
  readonly x32: Int32Array;
  readonly kinds: readonly string[];
  readonly errors: readonly string[];
  readonly signals: readonly string[];
}

/** `damage`: why the rows end before the trace does. */
export interface NativeEventsWritten {
  readonly damage: NativeFailure | null;
}

/** Part files of one table of one trace. */
export interface NativeParquet {
  /** Adds all events of a trace as rows of table `event`. */
  writeEvents(
    trace: NativeTrace,
    columns: readonly string[],
    meanings: NativeMeanings,
  ): Promise<Outcome<NativeEventsWritten>>;
  write(batch: readonly NativeValues[]): Promise<Outcome<boolean>>;
  finish(): Promise<
    Outcome<{ readonly rows: number; readonly bytes: number; readonly parts: number }>
  >;
}

/** A SQLite file that is being made. */
export interface NativeSqlite {
  /** Makes a table unless it is there, with text columns of constants in front; its number. */
  table(
    name: string,
    columns: readonly NativeColumn[],
    constants: readonly NativeFact[],
  ): Outcome<number>;
  write(table: number, batch: readonly NativeValues[]): Promise<Outcome<boolean>>;
  writeEvents(
    table: number,
    trace: NativeTrace,
    columns: readonly string[],
    meanings: NativeMeanings,
  ): Promise<Outcome<NativeEventsWritten>>;
  finish(): Promise<Outcome<boolean>>;
}

export interface NativeMissingFile {
  readonly hash: string;
  readonly path: string;
}

export interface NativePacking {
  readonly added: number;
  readonly addedBytes: number;
  readonly present: number;
  readonly missing: readonly NativeMissingFile[];
  readonly bytesTotal: number;
}

/** One ability of this machine; `errno` is 0 when it works. */
export interface NativeCheck {
  readonly name: string;
  readonly errno: number;
  readonly value: number;
}

export interface NativeHeader {
  readonly versionMajor: number;
  readonly versionMinor: number;
  /** Nanoseconds of one unit of time. */
  readonly tick: number;
  readonly id: string;
  readonly startSeconds: number;
  readonly startNanos: number;
  readonly state: "complete" | "cut" | "recording";
  readonly damage: NativeFailure | null;
  readonly definitionsDamage: NativeFailure | null;
  readonly totals: {
    readonly events: number;
    readonly bytes: number;
    readonly bytesEvents: number;
    readonly bytesContent: number;
    readonly bytesDefinitions: number;
    readonly bytesObjects: number;
    readonly duration: number;
  };
  readonly metaKeys: readonly string[];
  readonly metaValues: readonly Uint8Array[];
  readonly objects: number;
}

/** One entry per block in each array; times in nanoseconds, `kinds` has bit `1 << kind`. */
export interface NativeBlocks {
  readonly firstSeq: Float64Array;
  readonly count: Uint32Array;
  readonly minStart: Float64Array;
  readonly maxEnd: Float64Array;
  readonly spanning: Uint32Array;
  readonly kinds: Uint16Array;
}

/** One entry per object in each array; path and detail are pieces of `text`, one after the other. */
export interface NativeObjects {
  /** Codes of `ObjectKind` in native/engine/src/raw.rs. */
  readonly kind: Uint8Array;
  readonly dev: Float64Array;
  readonly ino: Float64Array;
  readonly createdBy: Float64Array;
  readonly pathEnd: Uint32Array;
  readonly detailEnd: Uint32Array;
  readonly text: string;
  /** Of bytes that are part of no character: the unit of `text` that stands for it, and the byte, one after the other. */
  readonly strays: Uint32Array;
}

/** One entry per thread in each array. */
export interface NativeThreads {
  readonly process: Uint32Array;
  readonly ordinal: Uint32Array;
  readonly tid: Int32Array;
  readonly pid: Int32Array;
  readonly parent: Float64Array;
  readonly createdBy: Float64Array;
}

// Right both for the bundle (dist/*.cjs) and for the sources (src/native.ts).
const addonUrl = new URL("../dist/trace.linux-x64-gnu.node", import.meta.url);
let addon: NativeAddon | undefined;

/** The addon, loaded at the first call. */
export function native(): NativeAddon {
  addon ??= load();
  return addon;
}

function load(): NativeAddon {
  const { platform, arch } = process;
  if (platform !== "linux" || arch !== "x64") {
    throw new TraceError("UNSUPPORTED_PLATFORM", `cannot run on ${platform}-${arch}`, {
      hint: "trace needs Linux on x86-64",
    });
  }
  const path = fileURLToPath(addonUrl);
  try {
    return createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    throw loadError(path, cause);
  }
}

function loadError(path: string, cause: unknown): TraceError {
  const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
  const missing = (cause as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
  if (missing) {
    return new TraceError("ADDON_MISSING", `the native addon is not there: ${path}`, {
      hint: "in a clone run: npm run build:native (needs Rust); installed from a package: install it again",
      cause,
    });
  }
  const musl = /musl|__.*symbol not found|ld-linux/.test(reason);
  return new TraceError("ADDON_UNUSABLE", `the native addon cannot be loaded: ${reason}`, {
    hint: musl
      ? "the prebuilt addon needs glibc; on musl build it from a clone: npm ci"
      : "build it for this machine from a clone: npm ci (needs Rust)",
    cause,
  });
}
