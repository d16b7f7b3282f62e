/**
 * An open trace: its definitions, and its events block by block. Blocks are decoded on a thread of
 * the addon's pool, one ahead of the block that is being looked at. Nothing here decodes a call.
 */

import type { TraceContext } from "../decode/context.js";
import { TraceError } from "../errors.js";
import {
  type NativeBlocks,
  type NativeChoice,
  type NativeChoiceParts,
  type NativeCopiedStacks,
  type NativeElfFacts,
  type NativeFileUsage,
  type NativeHeader,
  type NativeMissingFile,
  type NativePacking,
  type NativeReplay,
  type NativeReplayOptions,
  type NativeReplayOutput,
  type NativeStackRequest,
  type NativeTally,
  type NativeTrace,
  native,
} from "../native.js";
import type { EventSource, SpanningCalls } from "../show/source.js";
import { StackTable } from "../stacks/table.js";
import type { ColumnGroup, EventBatch, FdObject, ThreadInfo } from "./batch.js";
import { ALL_COLUMNS, CALL_COLUMNS, columnBits, sliceBatch } from "./columns.js";
import { traceError, unwrap } from "./failure.js";
import { type TraceInfo, traceInfo } from "./info.js";
import { LazyObjects } from "./objects.js";
import { type ProcessInfo, processesOf } from "./process.js";

export interface ReadOptions {
  /** Groups of columns to decode; those that are left out are empty arrays. Default: all. */
  readonly columns?: readonly ColumnGroup[];
  /** First and last event number, both included. */
  readonly from?: number;
  readonly to?: number;
  /** Leaves out blocks in which nothing happened in this time (nanoseconds); others come whole. */
  readonly fromTime?: number;
  readonly toTime?: number;
  /** Leaves out blocks without events of these kinds; others come whole. */
  readonly kinds?: readonly number[];
  /**
   * Reads `CALL_COLUMNS` with digests, whatever `columns` says. Three bytes say where a syscall moves bytes: argument (255:
   * nowhere); 0 at entry, 1 at exit; 0 in one piece, 1 in a list, 2 in a message. First those of x86-64 by number, then as
   * many of i386. What only moves speak of is digested and not handed over.
   */
  readonly moves?: Uint8Array;
  /** @internal Leaves out events that are not this: `seqs` of a batch says which are left. */
  readonly choice?: NativeChoiceParts;
}

export type TraceState = "complete" | "cut" | "recording";

/** Blocks that `eventAt` keeps in any case, and the bytes up to which it keeps more: it is asked for events here and there. */
const KEPT_BLOCKS = 4;
const KEPT_BYTES = 128 << 20;
/** Bytes of the columns of an event, about. */
const EVENT_BYTES = 256;

export class Trace implements TraceContext, EventSource {
  readonly path: string;
  /**
   * `recording`: somebody is still writing; what was there when it was opened can be read. `cut`:
   * the recorder ended early; everything up to the last whole block can be read.
   */
  readonly state: TraceState;
  readonly eventCount: number;
  /** Nanoseconds from the start to the end of the last event. */
  readonly duration: number;
  readonly startSeconds: number;
  readonly startNanos: number;
  readonly objects: ArrayLike<FdObject>;
  readonly info: TraceInfo;
  /** Why the file can be read only in part, when that is so. */
  readonly damage: TraceError | undefined;
  readonly #native: NativeTrace;
  readonly #blocks: NativeBlocks;
  readonly #lazyObjects: LazyObjects;
  #threads: readonly ThreadInfo[] | undefined;
  #processes: readonly ProcessInfo[] | undefined;
  readonly #kept = new Map<number, Promise<EventBatch>>();
  readonly #sizes = new Map<number, number>();
  #keptBytes = 0;
  #closed = false;

  /** @internal Made by `openTrace`. */
  constructor(path: string, native: NativeTrace) {
    const header: NativeHeader = native.header();
    this.path = path;
    this.#native = native;
    this.#blocks = native.blocks();
    this.state = header.state;
    this.eventCount = header.totals.events;
    this.duration = header.totals.duration;
    this.startSeconds = header.startSeconds;
    this.startNanos = header.startNanos;
    this.info = traceInfo(header);
    const damage = header.definitionsDamage ?? header.damage;
    this.damage = damage === null ? undefined : traceError(damage);
    this.#lazyObjects = new LazyObjects(header.objects, (from, to) =>
      this.native.objects(from, to),
    );
    this.objects = this.#lazyObjects.array();
  }

  /** Itself, for what takes an `EventSource`. */
  get trace(): TraceContext {
    return this;
  }

  get threads(): readonly ThreadInfo[] {
    this.#threads ??= threadsOf(this.native);
    return this.#threads;
  }

  /** `objects[index]?.path`, at less cost when the rest of the object is not wanted. */
  objectPath(index: number): string | undefined {
    return this.#lazyObjects.path(index);
  }

  /** The processes by number: `processes[0]` is p1. */
  get processes(): readonly ProcessInfo[] {
    this.#processes ??= processesOf(this.threads);
    return this.#processes;
  }

  /** How many events of each block there are, and of which kinds. */
  get blocks(): Readonly<NativeBlocks> {
    return this.#blocks;
  }

  /**
   * The events in their order. A damaged block ends them with an error; what was before it has been
   * handed over by then.
   */
  async *batches(options: ReadOptions = {}): AsyncGenerator<EventBatch> {
    const read = this.#reader(options);
    const wanted = [...this.#wanted(options)];
    // Begun one ahead. Its failure waits in the outcome until somebody comes for it.
    let next = wanted.length > 0 ? read(wanted[0] as number) : undefined;
    for (let k = 0; k < wanted.length; k++) {
      const outcome = await next;
      next = k + 1 < wanted.length ? read(wanted[k + 1] as number) : undefined;
      const batch = unwrap(outcome ?? notThere());
      const from = placeOf(batch, options.from ?? 0);
      const to = placeOf(batch, (options.to ?? Number.POSITIVE_INFINITY) + 1);
      if (from < to) yield sliceBatch(batch, from, to);
    }
    if (this.info.definitionsDamaged && this.damage !== undefined) throw this.damage;
  }

  /** Starts to decode a block as the options say. */
  #reader({ columns = ALL_COLUMNS, moves, choice }: ReadOptions) {
    const bits = columnBits(columns);
    if (moves !== undefined) return (block: number) => this.native.digestBlock(block, moves);
    if (choice === undefined) return (block: number) => this.native.readBlock(block, bits);
    const made: NativeChoice = native().makeChoice(choice);
    return (block: number) => this.native.readChosen(block, bits, made);
  }

  *#wanted(options: ReadOptions): Generator<number> {
    const { from = 0, to = Number.POSITIVE_INFINITY } = options;
    const { fromTime = 0, toTime = Number.POSITIVE_INFINITY } = options;
    const kinds = options.kinds?.reduce((bits, kind) => bits | (1 << kind), 0) ?? 0xffff;
    const { firstSeq, count, minStart, maxEnd, kinds: has } = this.#blocks;
    for (let k = 0; k < count.length; k++) {
      const first = firstSeq[k] ?? 0;
      if (first > to || first + (count[k] ?? 0) <= from) continue;
      if ((maxEnd[k] ?? 0) < fromTime || (minStart[k] ?? 0) > toTime) continue;
      if (((has[k] ?? 0) & kinds) !== 0) yield k;
    }
  }

  /** Where the entries of calls stand during which other events were committed. */
  async spanningCalls(): Promise<SpanningCalls> {
    return this.native.spanningCalls();
  }

  /** The event of that number with all that showing a call needs. */
  async eventAt(
    seq: number,
  ): Promise<{ readonly batch: EventBatch; readonly i: number } | undefined> {
    const block = this.#blockOf(seq);
    if (block < 0) return undefined;
    let kept = this.#kept.get(block);
    const isNew = kept === undefined;
    this.#kept.delete(block);
    kept ??= this.native.readBlock(block, columnBits(CALL_COLUMNS)).then(unwrap);
    this.#kept.set(block, kept);
    const batch = await kept;
    if (isNew) this.#drop(block, batch);
    return { batch, i: seq - batch.firstSeq };
  }

  /** Lets go of the blocks that were asked for longest ago, now that there is one more. */
  #drop(block: number, { count, bytes }: EventBatch): void {
    const size = count * EVENT_BYTES + bytes.length;
    this.#keptBytes += size;
    this.#sizes.set(block, size);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= KEPT_BLOCKS || this.#keptBytes <= KEPT_BYTES) break;
      this.#kept.delete(oldest);
      this.#keptBytes -= this.#sizes.get(oldest) ?? 0;
      this.#sizes.delete(oldest);
    }
  }

  #blockOf(seq: number): number {
    const { firstSeq, count } = this.#blocks;
    let low = 0;
    let high = count.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((firstSeq[middle] ?? 0) <= seq) low = middle + 1;
      else high = middle;
    }
    const block = low - 1;
    const inside = seq - (firstSeq[block] ?? 0) < (count[block] ?? 0);
    return block >= 0 && inside ? block : -1;
  }

  /** @internal All calls by syscall, without a batch; null when there are too many different ones: `trace stat` knows what to do. */
  tally(): Promise<NativeTally | null> {
    return this.native.tally();
  }

  /** @internal What calls did with each path: table `file` is for everybody. */
  fileUsage(): Promise<NativeFileUsage> {
    return this.native.fileUsage();
  }

  /** The mapped files that are packed into the trace, by their BLAKE3 hashes. */
  packedFiles(): readonly { readonly hash: string; readonly bytes: number }[] {
    return this.native.packed();
  }

  /**
   * The mapped files that a replay needs and that are neither in the trace nor in this user's object store.
   *
   * @throws TraceError `CORRUPT`, `IO`
   */
  async missingFiles(): Promise<readonly NativeMissingFile[]> {
    return unwrap(await this.native.missing());
  }

  /**
   * Puts the mapped files into the trace, or into a copy of it at `output`.
   *
   * @throws TraceError `BUSY` while it is being recorded, `EXISTS`, `DISK_FULL`, `CORRUPT`, `IO`
   */
  async pack(output?: string, force = false): Promise<NativePacking> {
    return unwrap(await this.native.pack(output, force));
  }

  /** Writes the text form of the trace to a file, or to the standard output. */
  async dumpText(path?: string, force = false): Promise<void> {
    unwrap(await this.native.dumpText(path, force));
  }

  /** @internal The addon's side, for what hands the trace back to it. */
  get native(): NativeTrace {
    if (this.#closed) throw new TraceError("CLOSED", `${this.path} was closed`);
    return this.#native;
  }

  /** @internal `replay` of src/replay.ts is for everybody. */
  startReplay(options: NativeReplayOptions, output?: NativeReplayOutput): NativeReplay {
    return this.native.startReplay(options, output);
  }

  /**
   * The stacks that are in the trace (`trace enrich` puts them there), of the events `from` to `to`; undefined when it has none.
   *
   * @throws TraceError `CORRUPT` when they are damaged
   */
  async stacks(from: number, to: number): Promise<StackTable | undefined> {
    const found = unwrap(await this.native.stacks(from, to));
    return found === null ? undefined : new StackTable(found);
  }

  /**
   * The stacks of threads that were copied while they were recorded (`trace record --stacks`); undefined when none were.
   *
   * @throws TraceError `CORRUPT` when the trace is damaged
   */
  async copiedStacks(request: NativeStackRequest): Promise<NativeCopiedStacks | undefined> {
    return unwrap(await this.native.copiedStacks(request)) ?? undefined;
  }

  /**
   * The functions at an offset of a mapped file, innermost first, with their lines where debug information is at hand. Empty
   * when the file (by the hexadecimal hash of its content; `path` is where it was) has no name there, or is not there any more.
   */
  async sourcesAt(
    hash: string,
    path: string,
    offset: number,
  ): ReturnType<NativeTrace["sourcesAt"]> {
    return this.native.sourcesAt(hash, path, offset);
  }

  /**
   * What ELF files say about themselves, by the hash of their content, read from the trace or the object store. `paths` says
   * where each was. Files whose content is not at hand, and those that are no ELF files, are left out.
   */
  async elfFacts(paths: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, NativeElfFacts>> {
    const found = await this.native.elfFacts([...paths.keys()], [...paths.values()]);
    return new Map(Object.entries(found));
  }

  /** Lets go of the file and of what is kept of it. Reading a closed trace is an error. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#kept.clear();
    this.#native.close();
  }
}

/** How many events of a batch are before the one of that number. */
function placeOf({ seqs, firstSeq, count }: EventBatch, seq: number): number {
  if (seqs === undefined) return Math.min(Math.max(seq - firstSeq, 0), count);
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((seqs[middle] ?? 0) < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

function notThere(): never {
  throw new TraceError("NO_BLOCK", "the block is not there");
}

function threadsOf(native: NativeTrace): ThreadInfo[] {
  const { process, ordinal, tid, pid, parent, createdBy } = native.threads();
  const threads: ThreadInfo[] = [];
  for (let index = 0; index < process.length; index++) {
    threads.push({
      index,
      process: process[index] ?? 0,
      ordinal: ordinal[index] ?? 0,
      tid: tid[index] ?? 0,
      pid: pid[index] ?? 0,
      parent: parent[index] ?? -1,
      createdBy: createdBy[index] ?? 0,
    });
  }
  return threads;
}
