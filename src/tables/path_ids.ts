/**
 * Paths by number, for what counts by path. A path that a block holds once, however often its calls name it, is looked at
 * once a block; one behind a descriptor, once an open file description.
 */

import { isUtf8 } from "node:buffer";
import { findCapture } from "../decode/memory.js";
import { CallFacts } from "../query/facts.js";
import { CaptureSide, type EventBatch, NO_CONTENT } from "../trace/batch.js";
import type { Trace } from "../trace/trace.js";

const UNKNOWN = -2;
const NONE = -1;
/** Objects of these kinds have paths that are names of files. */
const FILE_KINDS: ReadonlySet<string> = new Set(["file", "dir", "chr", "blk", "fifo"]);

export class PathIds {
  readonly #trace: Trace;
  readonly #facts: CallFacts;
  readonly #ids = new Map<string, number>();
  readonly #paths: string[] = [];
  /** Bytes of those that are not UTF-8. */
  readonly #bytes = new Map<number, Uint8Array>();
  readonly #objects: Int32Array;
  #batch: EventBatch | undefined;
  /** By content of the block: as a path that was given, and as one that was resolved. */
  #given = new Int32Array(0);

  constructor(trace: Trace) {
    this.#trace = trace;
    this.#facts = new CallFacts(trace);
    this.#objects = new Int32Array(trace.objects.length).fill(UNKNOWN);
  }

  get count(): number {
    return this.#paths.length;
  }

  path(id: number): string {
    return this.#paths[id] ?? "";
  }

  bytes(id: number): Uint8Array | undefined {
    return this.#bytes.get(id);
  }

  /** To be called with each block before its events are asked for. */
  begin(batch: EventBatch): void {
    this.#batch = batch;
    this.#given = new Int32Array(batch.contentStart.length).fill(UNKNOWN);
  }

  /** The resolved path `n` of event `i`; -1 when it has none, or one that is no name of a file. */
  given(i: number, n: number): number {
    const batch = this.#batch as EventBatch;
    const slot = this.#facts.pathSlot(batch, i, n);
    if (slot < 0) return NONE;
    const resolved = findCapture(batch, i, slot, CaptureSide.Resolved);
    const capture = resolved >= 0 ? resolved : findCapture(batch, i, slot, CaptureSide.In);
    const content = capture < 0 ? NO_CONTENT : (batch.capContent[capture] ?? NO_CONTENT);
    if (content === NO_CONTENT) return NONE;
    // A relative path means another file in another directory.
    const isAbsolute = batch.bytes[batch.contentStart[content] ?? 0] === SLASH;
    if (!isAbsolute) return this.#made(batch, i, n);
    const known = this.#given[content] ?? UNKNOWN;
    if (known !== UNKNOWN) return known;
    const id = this.#made(batch, i, n);
    this.#given[content] = id;
    return id;
  }

  #made(batch: EventBatch, i: number, n: number): number {
    const path = this.#facts.resolvedPath(batch, i, n);
    return path === undefined || !path.startsWith("/") ? NONE : this.#id(path, batch, i, n);
  }

  #id(path: string, batch: EventBatch, i: number, n: number): number {
    // Paths that differ only in what is no UTF-8 are different files.
    const bytes = path.includes("\ufffd") ? this.#facts.resolvedBytes(batch, i, n) : undefined;
    const raw = bytes === undefined || isUtf8(bytes) ? undefined : bytes;
    return this.#number(path, raw);
  }

  #number(path: string, raw: Uint8Array | undefined): number {
    const key = raw === undefined ? path : `\0${Buffer.from(raw).toString("latin1")}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#paths.push(path) - 1;
      this.#ids.set(key, id);
      if (raw !== undefined) this.#bytes.set(id, Uint8Array.from(raw));
    }
    return id;
  }

  /** The path behind a descriptor; -1 when it is no file. */
  object(index: number): number {
    const known = this.#objects[index] ?? NONE;
    if (known !== UNKNOWN) return known;
    const path = this.#trace.objectPath(index) ?? "";
    const isFile = path.startsWith("/") && FILE_KINDS.has(this.#trace.objects[index]?.kind ?? "");
    const id = isFile ? this.#number(path, undefined) : NONE;
    this.#objects[index] = id;
    return id;
  }
}

const SLASH = 0x2f;
