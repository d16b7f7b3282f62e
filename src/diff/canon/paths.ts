/** Paths of calls as absolute names, straight from the columns. */

import { captureBytes, findCapture } from "../../decode/memory.js";
import { normalPath } from "../../query/facts.js";
import { CaptureSide, type EventBatch, Slot } from "../../trace/batch.js";
import type { Trace } from "../../trace/trace.js";
import { type Names, NO_NAME } from "./names.js";

const AT_FDCWD = -100;
const SLASH = 0x2f;
const DOT = 0x2e;

/** Makes paths absolute, by the directories that they are relative to. */
export class PathJoiner {
  readonly #trace: Trace;
  readonly #names: Names;
  #buffer = Buffer.alloc(16_384);
  #base = -1;
  #baseLength = 0;

  constructor(trace: Trace, names: Names) {
    this.#trace = trace;
    this.#names = names;
  }

  /** Name of the path in argument `k`; `base` is the argument with its directory. */
  path(batch: EventBatch, i: number, k: number, base: number): number {
    const capture = findCapture(batch, i, k, CaptureSide.In);
    if (capture < 0) return NO_NAME;
    const data = captureBytes(batch, capture);
    let length = data.indexOf(0);
    if (length < 0) length = data.length;
    if (length > 0 && data[0] === SLASH) {
      if (isNormal(data, length)) return this.#names.pathBytes(data, 0, length);
      return this.#names.path(normalPath(Buffer.from(data.subarray(0, length)).toString()));
    }
    const fd = base < 0 ? AT_FDCWD : (batch.args[12 * i + 2 * base] as number) | 0;
    const object = objectAt(batch, i, fd === AT_FDCWD ? Slot.Cwd : base);
    if (object < 0) return this.#names.path(Buffer.from(data.subarray(0, length)).toString());
    if (length === 0) return this.#names.object(object, fd);
    return this.#joined(object, data, length);
  }

  /** Whether the call is about the descriptor in argument `base` itself: its path is empty (AT_EMPTY_PATH). */
  isEmpty(batch: EventBatch, i: number, k: number, base: number): boolean {
    if (base < 0 || ((batch.args[12 * i + 2 * base] as number) | 0) === AT_FDCWD) return false;
    const capture = findCapture(batch, i, k, CaptureSide.In);
    return capture >= 0 && (captureBytes(batch, capture)[0] ?? 0) === 0;
  }

  #joined(object: number, data: Uint8Array, length: number): number {
    if (object !== this.#base) {
      const text = (this.#trace.objectPath(object) ?? "").replace(/\/$/, "");
      this.#base = object;
      this.#baseLength = Math.min(8192, this.#buffer.write(text, 0, 8192));
      this.#buffer[this.#baseLength++] = SLASH;
    }
    const buffer = this.#buffer;
    const total = this.#baseLength + Math.min(length, 8000);
    buffer.set(data.subarray(0, Math.min(length, 8000)), this.#baseLength);
    if (isNormal(buffer, total)) return this.#names.pathBytes(buffer, 0, total);
    return this.#names.path(normalPath(buffer.toString("utf8", 0, total)));
  }
}

function objectAt(batch: EventBatch, i: number, slot: number): number {
  const end = batch.refStart[i + 1] as number;
  for (let r = batch.refStart[i] as number; r < end; r++) {
    if (batch.refSlot[r] === slot) return batch.refObject[r] as number;
  }
  return -1;
}

/** False where there may be `//`, `/./`, `/../` or a slash at the end. */
function isNormal(data: Uint8Array, length: number): boolean {
  if (length > 1 && data[length - 1] === SLASH) return false;
  for (let at = 1; at < length; at++) {
    if (data[at - 1] !== SLASH) continue;
    if (data[at] === SLASH) return false;
    if (data[at] !== DOT) continue;
    const next = at + 1 < length ? data[at + 1] : SLASH;
    if (next === SLASH || next === DOT) return false;
  }
  return true;
}
