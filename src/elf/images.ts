/**
 * What was mapped to be executed, by the events of a trace: one list for each program that ran, with the calls by which
 * each file was found. Nothing here looks into the files.
 */

import { refObject, rowIndex, syscallName } from "../decode/context.js";
import { captureText, decodeExec } from "../decode/event.js";
import { captureBytes, findCapture } from "../decode/memory.js";
import { ERRNO_NAMES } from "../decode/names.generated.js";
import type { Num } from "../decode/value.js";
import { baseName } from "../report/path.js";
import { CaptureSide, type EventBatch, EventFlag, EventKind, Slot } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import type { Trace } from "../trace/trace.js";
import { unsigned } from "../trace/word.js";

/** A call that looked for a file and failed. */
export interface Probe {
  readonly seq: number;
  readonly call: string;
  readonly path: string;
  /** `ENOENT`, ... */
  readonly error: string;
}

export interface CodeMapping {
  readonly seq: number;
  readonly address: Num;
  readonly length: Num;
  /** In the file. */
  readonly offset: number;
}

/** A file (or `[vdso]`) of which a process has executable memory. */
export interface Image {
  /** As the kernel names it; of the vDSO and the like: `[vdso]`. */
  readonly path: string;
  /** BLAKE3 of the content in hexadecimal, empty when that is not known. */
  readonly hash: string;
  readonly buildId: string;
  /** Came with the program itself: the program, its interpreter, what the kernel adds. */
  readonly initial: boolean;
  /** The event of its first mapping, which is the first of these. */
  readonly seq: number;
  readonly mappings: readonly CodeMapping[];
  /** The call that opened it, with the name that was asked for. */
  readonly opened: { readonly seq: number; readonly path: string } | undefined;
  /** Calls that looked for a file of that name elsewhere before. */
  readonly probes: readonly Probe[];
  /** The event that unmapped its code. */
  readonly unloaded: number | undefined;
}

/** Executable memory that no file stands behind. */
export interface Generated {
  /** How often such memory was mapped, or made executable. */
  readonly regions: number;
  readonly bytes: number;
  /** `/tmp/perf-PID.map`, when the process wrote one. */
  readonly perfMap: string | undefined;
}

/** One program of one process; of a process that was forked and started none: what it loaded since. */
export interface Loaded {
  readonly process: number;
  readonly pid: number;
  /** The event that started it. */
  readonly seq: number;
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly interpreter: string;
  /** True of a fork without exec: the images of its parent are in front, and it has no own program. */
  readonly forked: boolean;
  /** How many of the images were there when it was forked. */
  readonly inherited: number;
  readonly images: readonly Image[];
  readonly generated: Generated;
  /** It read /etc/ld.so.cache. */
  readonly usedCache: boolean;
}

type Draft = { -readonly [K in keyof Image]: Image[K] };

type SpaceFacts = Omit<Loaded, "images" | "generated">;
type Space = { -readonly [K in keyof SpaceFacts]: SpaceFacts[K] };

/** What is known of an address space while the events are read. */
class Memory {
  readonly facts: Space;
  images: Draft[] = [];
  /** By the path to which it was resolved: the call that opened it last. */
  readonly opened = new Map<string, { seq: number; path: string }>();
  /** Failed searches by the last part of the path. */
  readonly probes = new Map<string, Probe[]>();
  regions = 0;
  bytes = 0;
  perfMap: string | undefined;
  /** It has made a call that concerns files or mappings: what comes now did not come with the program. */
  isRunning = false;

  constructor(facts: Space) {
    this.facts = facts;
  }

  done(): Loaded {
    const { regions, bytes, perfMap, images } = this;
    return { ...this.facts, images, generated: { regions, bytes, perfMap } };
  }
}

/** Most failed searches that are kept of one name. */
const MOST_PROBES = 256;
const CLONE_THREAD = 0x10000n;
const CLONE_VM = 0x100n;
const PROT_EXEC = 4;
const MAP_ANONYMOUS = 0x20;

/** What a call means here; by architecture and number, so that a row costs one look. */
type Meaning = "search" | "map" | "unmap" | "protect";

const MEANINGS: ReadonlyMap<string, readonly [Meaning, slot: number]> = new Map([
  ["open", ["search", 0]],
  ["openat", ["search", 1]],
  ["openat2", ["search", 1]],
  ["access", ["search", 0]],
  ["faccessat", ["search", 1]],
  ["faccessat2", ["search", 1]],
  ["stat", ["search", 0]],
  ["stat64", ["search", 0]],
  ["newfstatat", ["search", 1]],
  ["fstatat64", ["search", 1]],
  ["statx", ["search", 1]],
  ["mmap", ["map", 0]],
  ["mmap2", ["map", 0]],
  ["munmap", ["unmap", 0]],
  ["mprotect", ["protect", 0]],
]);

class Reader {
  readonly #trace: Trace;
  readonly #spaces = new Map<number, Memory>();
  readonly #all: Memory[] = [];
  readonly #meanings = new Map<number, readonly [Meaning, number] | undefined>();

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  get all(): Loaded[] {
    return this.#all.map((memory) => memory.done());
  }

  note(batch: EventBatch, i: number): void {
    const process = this.#trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
    switch (batch.kind[i]) {
      case EventKind.Call:
        this.#call(batch, i, process);
        return;
      case EventKind.Task:
        this.#task(batch, i, process);
        return;
      case EventKind.Exec:
        this.#exec(batch, i, process);
        return;
      case EventKind.Map:
        noteMap(this.#space(process), batch, i);
    }
  }

  /** A process that was there before the recording has a space without a program. */
  #space(process: number): Memory {
    const known = this.#spaces.get(process);
    return known ?? this.#begin(process, { seq: 0, forked: false, inherited: 0 });
  }

  #begin(
    process: number,
    facts: Pick<Space, "seq" | "forked" | "inherited"> & Partial<Space>,
  ): Memory {
    const pid = this.#trace.processes.find(({ number }) => number === process)?.pid ?? 0;
    const empty = { path: "", argv: [], env: [], interpreter: "", usedCache: false };
    const memory = new Memory({ ...empty, ...facts, process, pid });
    this.#spaces.set(process, memory);
    this.#all.push(memory);
    return memory;
  }

  #task(batch: EventBatch, i: number, process: number): void {
    const flags = BigInt(argument(batch, i, 1));
    if ((flags & CLONE_THREAD) !== 0n) return;
    const parent = this.#trace.threads[Number(argument(batch, i, 0)) - 1]?.process ?? 0;
    const from = this.#spaces.get(parent);
    if (from === undefined) return;
    const { path, argv, env, interpreter } = from.facts;
    const seq = batch.firstSeq + i;
    const inherited = from.images.length;
    const facts = { seq, forked: true, inherited, path, argv, env, interpreter };
    const memory = this.#begin(process, facts);
    // A vfork child has the same memory, and execs soon: what it sees of it is the same.
    memory.images =
      (flags & CLONE_VM) !== 0n ? from.images : from.images.map((own) => ({ ...own }));
  }

  #exec(batch: EventBatch, i: number, process: number): void {
    const { path, argv, env, interpreter } = decodeExec(batch, i);
    const seq = batch.firstSeq + i;
    this.#begin(process, { seq, forked: false, inherited: 0, path, argv, env, interpreter });
  }

  #meaning(batch: EventBatch, i: number): readonly [Meaning, number] | undefined {
    const arch = batch.arch[i] ?? 0;
    const code = batch.code[i] ?? -1;
    const key = rowIndex(arch, code);
    if (!this.#meanings.has(key)) {
      this.#meanings.set(key, MEANINGS.get(syscallName(arch, code)));
    }
    return this.#meanings.get(key);
  }

  #call(batch: EventBatch, i: number, process: number): void {
    const meaning = this.#meaning(batch, i);
    if (meaning === undefined) return;
    const failed = ((batch.flags[i] ?? 0) & EventFlag.Error) !== 0;
    const [kind, slot] = meaning;
    const memory = this.#space(process);
    memory.isRunning = true;
    if (kind === "search") noteSearch(this.#trace, memory, batch, i, slot, failed);
    else if (!failed) noteLayout(memory, batch, i, kind);
  }
}

function argument(batch: EventBatch, i: number, k: number): Num {
  const at = 12 * i + 2 * k;
  return unsigned(batch.args[at] ?? 0, batch.args[at + 1] ?? 0);
}

function noteSearch(
  trace: Trace,
  memory: Memory,
  batch: EventBatch,
  i: number,
  slot: number,
  failed: boolean,
): void {
  const path = captureText(batch, i, slot)?.split("\0")[0] ?? "";
  const seq = batch.firstSeq + i;
  if (!failed) {
    const object = refObject(batch, i, trace, Slot.Ret);
    if (object === undefined) return;
    if (path === "/etc/ld.so.cache") memory.facts.usedCache = true;
    if (/^\/tmp\/perf-\d+\.map$/.test(path)) memory.perfMap = path;
    if (path.includes(".so") || object.path.includes(".so") || memory.opened.size < MOST_PROBES) {
      memory.opened.set(object.path, { seq, path });
    }
    return;
  }
  const name = baseName(path);
  if (!name.includes(".so")) return;
  const list = memory.probes.get(name) ?? [];
  memory.probes.set(name, list);
  const errno = -(batch.ret[2 * i] ?? 0);
  const call = syscallName(batch.arch[i] ?? 0, batch.code[i] ?? -1);
  const error = ERRNO_NAMES[errno] ?? String(errno);
  if (list.length < MOST_PROBES) list.push({ seq, call, path, error });
}

/** Unmapped code, and code that is no file's. */
function noteLayout(memory: Memory, batch: EventBatch, i: number, kind: Meaning): void {
  const length = Number(argument(batch, i, 1));
  if (kind === "unmap") {
    noteUnmap(memory, batch.firstSeq + i, Number(argument(batch, i, 0)), length);
    return;
  }
  if ((Number(argument(batch, i, 2)) & PROT_EXEC) === 0) return;
  const isAnonymous = kind === "map" && (Number(argument(batch, i, 3)) & MAP_ANONYMOUS) !== 0;
  const start = Number(argument(batch, i, 0));
  const isOwn = (image: Draft) =>
    image.mappings.some(({ address, length: own }) => {
      const behind = start - Number(address);
      return behind >= 0 && behind < Number(own);
    });
  if (!isAnonymous && (kind === "map" || memory.images.some(isOwn))) return;
  memory.regions += 1;
  memory.bytes += length;
}

function noteUnmap(memory: Memory, seq: number, start: number, length: number): void {
  for (const image of memory.images) {
    if (image.unloaded !== undefined) continue;
    const first = Number(image.mappings[0]?.address ?? 0);
    if (first >= start && first < start + length) image.unloaded = seq;
  }
}

function hexOf(batch: EventBatch, i: number, slot: number): string {
  const capture = findCapture(batch, i, slot, CaptureSide.In);
  return capture < 0 ? "" : Buffer.from(captureBytes(batch, capture)).toString("hex");
}

function noteMap(memory: Memory, batch: EventBatch, i: number): void {
  const seq = batch.firstSeq + i;
  const path = captureText(batch, i, 0) ?? "";
  const mapping: CodeMapping = {
    seq,
    address: argument(batch, i, 0),
    length: argument(batch, i, 1),
    offset: Number(argument(batch, i, 2)),
  };
  const opened = memory.opened.get(path);
  const last = memory.images.findLast((image) => image.path === path);
  if (last !== undefined && last.unloaded === undefined && last.opened?.seq === opened?.seq) {
    last.mappings = [...last.mappings, mapping];
    return;
  }
  const name = baseName(opened?.path ?? path);
  const probes = opened === undefined ? [] : (memory.probes.get(name) ?? []);
  if (opened !== undefined) memory.probes.delete(name);
  memory.images.push({
    path,
    hash: hexOf(batch, i, 2),
    buildId: hexOf(batch, i, 1),
    initial: !memory.isRunning,
    seq,
    mappings: [mapping],
    opened,
    probes,
    unloaded: undefined,
  });
}

const KINDS: readonly number[] = [EventKind.Call, EventKind.Task, EventKind.Exec, EventKind.Map];

/** All programs of a trace with what they loaded, in the order in which they began. `failure`: why not all was read. */
export async function loadedImages(
  trace: Trace,
  to?: number,
): Promise<{ readonly programs: readonly Loaded[]; readonly failure: unknown }> {
  const reader = new Reader(trace);
  let failure: unknown;
  try {
    const range = to === undefined ? {} : { to };
    for await (const batch of trace.batches({ columns: CALL_COLUMNS, kinds: KINDS, ...range })) {
      for (let i = 0; i < batch.count; i++) reader.note(batch, i);
    }
  } catch (error) {
    failure = error;
  }
  return { programs: reader.all, failure };
}
