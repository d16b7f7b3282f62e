/** Paths of calls as absolute names, straight from the columns. */

import { normalPath } from "../../query/facts.js";
import { CaptureSide, type DigestedBatch, NO_CONTENT, Slot } from "../../trace/batch.js";
import { byteText, writeText } from "../../trace/byte_text.js";
import type { Trace } from "../../trace/trace.js";
import { HashIndex } from "./columns.js";
import { bytesHash, Hasher, mixed2, textHash } from "./hash.js";
import { type Names, NO_NAME } from "./names.js";
import { captureAt } from "./pieces.js";

const AT_FDCWD = -100;
const SLASH = 0x2f;
const DOT = 0x2e;
const IN = CaptureSide.In;
const CWD = Slot.Cwd;
const NONE = NO_CONTENT;

/** In place of a name: the path is empty, and the call is about the descriptor that it would be relative to (AT_EMPTY_PATH). */
export const ITSELF = -1;

/** Makes paths absolute, by the directories that they are relative to. */
export class PathJoiner {
  readonly #trace: Trace;
  readonly #names: Names;
  /** Names by the digest of the path as it was given, with that of its directory where it is relative. */
  readonly #known = new HashIndex();
  /** Hash of the path of each object that was a directory, or 0. */
  readonly #directories: Float64Array;
  #buffer = Buffer.alloc(16_384);
  /** The directory that is in the buffer, with its slash. */
  #base = -1;
  #baseLength = 0;
  #isBaseNormal = true;
  /** The hash of what is in the buffer up to here: whole words. */
  readonly #baseHasher = new Hasher();
  #baseHashed = 0;
  readonly #hasher = new Hasher();

  constructor(trace: Trace, names: Names) {
    this.#trace = trace;
    this.#names = names;
    this.#directories = new Float64Array(Math.min(trace.info.objectCount, 1 << 24));
  }

  /** Name of the path in argument `k`, or `ITSELF`; `base` is the argument with its directory. */
  path(batch: DigestedBatch, i: number, k: number, base: number): number {
    const capture = captureAt(batch, i, k, IN);
    if (capture < 0) return NO_NAME;
    const content = batch.capContent[capture] as number;
    const isThere = content !== NONE;
    const from = isThere ? (batch.contentStart[content] as number) : 0;
    const to = isThere ? (batch.contentStart[content + 1] as number) : 0;
    const first = from < to ? batch.bytes[from] : 0;
    if (first === SLASH) {
      const digest = batch.digests.content[content] as number;
      const known = this.#known.get(digest);
      return known >= 0 ? known : this.#remember(digest, this.#absolute(batch.bytes, from, to));
    }
    const fd = base < 0 ? AT_FDCWD : (batch.args[12 * i + 2 * base] as number) | 0;
    if (first === 0 && fd !== AT_FDCWD) return ITSELF;
    const object = objectAt(batch, i, fd === AT_FDCWD ? CWD : base);
    if (object < 0) return this.#names.path(textUpToNul(batch.bytes, from, to));
    if (first === 0) return this.#names.object(object, fd);
    const digest = mixed2(this.#directory(object), batch.digests.content[content] as number);
    const known = this.#known.get(digest);
    return known >= 0 ? known : this.#remember(digest, this.#joined(object, batch.bytes, from, to));
  }

  #remember(digest: number, name: number): number {
    this.#known.set(digest, name);
    return name;
  }

  #directory(object: number): number {
    const known = this.#directories[object];
    if (known !== undefined && known !== 0) return known;
    const hash =
      this.#names.knownPathHash(object) || textHash(this.#trace.objectPath(object) ?? "");
    if (object < this.#directories.length) this.#directories[object] = hash;
    return hash;
  }

  #absolute(data: Uint8Array, from: number, to: number): number {
    const end = nulAt(data, from, to);
    if (isNormal(data, from, end))
      return this.#names.pathBytes(data, from, end, bytesHash(data, from, end));
    return this.#names.path(normalPath(textUpToNul(data, from, end)));
  }

  #joined(object: number, data: Uint8Array, from: number, to: number): number {
    if (object !== this.#base) this.#begin(object);
    const buffer = this.#buffer;
    const end = Math.min(nulAt(data, from, to), from + 8000);
    let total = this.#baseLength;
    for (let at = from; at < end; at++) buffer[total++] = data[at] as number;
    const isNormal =
      this.#isBaseNormal &&
      buffer[total - 1] !== SLASH &&
      arePartsNormal(buffer, this.#baseLength, total);
    if (!isNormal) return this.#names.path(normalPath(byteText(buffer.subarray(0, total))));
    const hasher = this.#hasher.from(this.#baseHasher);
    const hashed = hasher.words(buffer, this.#baseHashed, total);
    return this.#names.pathBytes(buffer, 0, total, hasher.rest(buffer, hashed, total, total).value);
  }

  /** Puts a directory into the buffer. */
  #begin(object: number): void {
    const buffer = this.#buffer;
    const text = (this.#trace.objectPath(object) ?? "").replace(/\/$/, "");
    const length = Math.min(8192, writeText(buffer, text, 8192));
    buffer[length] = SLASH;
    this.#base = object;
    this.#baseLength = length + 1;
    this.#isBaseNormal = arePartsNormal(buffer, 1, length + 1);
    this.#baseHashed = this.#baseHasher.reset().words(buffer, 0, length + 1);
  }
}

function nulAt(data: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to && data[at] !== 0) at += 1;
  return at;
}

function textUpToNul(data: Uint8Array, from: number, to: number): string {
  return byteText(data.subarray(from, nulAt(data, from, to)));
}

function objectAt(batch: DigestedBatch, i: number, slot: number): number {
  const end = batch.refStart[i + 1] as number;
  for (let r = batch.refStart[i] as number; r < end; r++) {
    if (batch.refSlot[r] === slot) return batch.refObject[r] as number;
  }
  return -1;
}

/** False where there may be `//`, `/./`, `/../` or a slash at the end. */
function isNormal(data: Uint8Array, from: number, end: number): boolean {
  if (end - from > 1 && data[end - 1] === SLASH) return false;
  return arePartsNormal(data, from + 1, end);
}

/** The same of what follows from `start` on, with the byte before; a slash at the end is none of its business. */
function arePartsNormal(data: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (data[at - 1] !== SLASH) continue;
    if (data[at] === SLASH) return false;
    if (data[at] !== DOT) continue;
    const next = at + 1 < end ? data[at + 1] : SLASH;
    if (next === SLASH || next === DOT) return false;
  }
  return true;
}
