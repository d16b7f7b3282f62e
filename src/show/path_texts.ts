/** The paths of objects as JSON strings, made once for many events, in one stretch of memory. */

import type { TraceContext } from "../decode/context.js";
import { PLAIN, piece, QUOTE } from "./sink.js";

/** Paths that are kept at a time; each has one place, by the low bits of its object's index. */
const PLACES = 1 << 12;
const WORDS = 1 << 16;

export class PathTexts {
  readonly #trace: TraceContext;
  /** Index of the object whose path is there, plus 1; 0 where there is none. */
  readonly #held = new Float64Array(PLACES);
  readonly #starts = new Uint32Array(PLACES);
  readonly #lengths = new Uint32Array(PLACES);
  #words = new Uint32Array(WORDS);
  #bytes = new Uint8Array(this.#words.buffer);
  #used = 0;

  /** The paths of the objects of `trace`. */
  constructor(trace: TraceContext) {
    this.#trace = trace;
  }

  /** The words of all texts. To be asked for after `place`. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** The word at which the text of a place begins. */
  start(place: number): number {
    return this.#starts[place] as number;
  }

  /** Its bytes. */
  length(place: number): number {
    return this.#lengths[place] as number;
  }

  /** The place of the path of object `index`, good until the next call; -1 when there is no such object. */
  place(index: number): number {
    const place = index & (PLACES - 1);
    return this.#held[place] === index + 1 ? place : this.#make(index, place);
  }

  #make(index: number, place: number): number {
    const path = pathOf(this.#trace, index);
    if (path === undefined) return -1;
    const length = this.#plain(path) ? path.length + 2 : this.#escaped(path);
    this.#starts[place] = this.#used;
    this.#lengths[place] = length;
    this.#held[place] = index + 1;
    this.#used += (length + 3) >>> 2;
    return place;
  }

  /** Writes the text of a path that needs no escapes; false when it does. */
  #plain(path: string): boolean {
    this.#room(path.length + 2);
    const bytes = this.#bytes;
    let at = 4 * this.#used;
    bytes[at++] = QUOTE;
    for (let k = 0; k < path.length; k++) {
      const code = path.charCodeAt(k);
      if (PLAIN[code] !== 1) return false;
      bytes[at++] = code;
    }
    bytes[at] = QUOTE;
    return true;
  }

  /** Writes the text of any path; its length in bytes. */
  #escaped(path: string): number {
    const { words, length } = piece(JSON.stringify(path));
    this.#room(length);
    this.#words.set(words, this.#used);
    return length;
  }

  /** Makes room for so many bytes, if need be by forgetting all texts. */
  #room(bytes: number): void {
    const count = (bytes + 3) >>> 2;
    if (this.#used + count <= this.#words.length) return;
    this.#held.fill(0);
    this.#used = 0;
    if (count <= this.#words.length) return;
    this.#words = new Uint32Array(count);
    this.#bytes = new Uint8Array(this.#words.buffer);
  }
}

function pathOf(trace: TraceContext, index: number): string | undefined {
  return trace.objectPath === undefined ? trace.objects[index]?.path : trace.objectPath(index);
}
