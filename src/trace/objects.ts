/**
 * The objects of a trace, fetched a stretch at a time where they are looked at.
 *
 * Who wants whole objects finds them in an array, where they stay. Who wants only paths gets them from the columns in which
 * the reader hands a stretch over, and those stay: a long trace has millions of objects, and as columns they take a
 * fraction of the memory and give the garbage collector nothing to do.
 */

import type { NativeObjects } from "../native.js";
import type { FdObject } from "./batch.js";
import { strayUnit } from "./byte_text.js";

const STRETCH = 1024;

/** By the codes of `ObjectKind` in native/engine/src/raw.rs. */
const KINDS = [
  ...["unknown", "file", "dir", "pipe", "fifo"],
  ...["socket", "chr", "blk", "anon", "memfd"],
];

/** The objects `from` (included) to `to` (excluded), as far as they exist. */
type Fetch = (from: number, to: number) => NativeObjects;

export class LazyObjects {
  readonly #length: number;
  readonly #fetch: Fetch;
  /** Those of which paths were asked for. */
  readonly #stretches: (NativeObjects | undefined)[] = [];

  constructor(length: number, fetch: Fetch) {
    this.#length = length;
    this.#fetch = fetch;
  }

  /** The path of object `index`; undefined when there is no such object. */
  path(index: number): string | undefined {
    if (!(index >= 0 && index < this.#length)) return undefined;
    const number = Math.floor(index / STRETCH);
    const columns = this.#stretches[number] ?? this.#stretch(number);
    this.#stretches[number] ??= columns;
    const k = index % STRETCH;
    if (k >= columns.kind.length) return undefined;
    return columns.text.slice(textStart(columns, k), columns.pathEnd[k]);
  }

  /**
   * An array that fills itself. What was fetched stands in the array itself and costs no more than any element. What is
   * missing is looked for in the array's prototype, which fetches it.
   */
  array(): ArrayLike<FdObject> {
    const objects: FdObject[] = [];
    objects.length = this.#length;
    const missing = new Proxy(Array.prototype, {
      get: (target, key, receiver): unknown => {
        const index = typeof key === "string" && /^\d{1,9}$/.test(key) ? Number(key) : -1;
        if (index < 0 || index >= this.#length) return Reflect.get(target, key, receiver);
        const number = Math.floor(index / STRETCH);
        const columns = this.#stretches[number] ?? this.#stretch(number);
        // With the proxy in its chain, each new element would be offered to the proxy first.
        Object.setPrototypeOf(objects, Array.prototype);
        fill(objects, number * STRETCH, columns);
        const object = objects[index];
        Object.setPrototypeOf(objects, missing);
        return object;
      },
    });
    Object.setPrototypeOf(objects, missing);
    return objects;
  }

  #stretch(number: number): NativeObjects {
    const from = number * STRETCH;
    const columns = this.#fetch(from, Math.min(from + STRETCH, this.#length));
    return columns.strays.length === 0 ? columns : { ...columns, text: withStrays(columns) };
  }
}

/** The text with the units that stand for bytes which are part of no character. */
function withStrays({ text, strays }: NativeObjects): string {
  let out = "";
  let from = 0;
  for (let k = 0; k < strays.length; k += 2) {
    const at = strays[k] as number;
    out += text.slice(from, at) + strayUnit(strays[k + 1] as number);
    from = at + 1;
  }
  return out + text.slice(from);
}

function fill(objects: FdObject[], from: number, columns: NativeObjects): void {
  const { kind, dev, ino, createdBy, pathEnd, detailEnd, text } = columns;
  for (let k = 0; k < kind.length; k++) {
    const middle = pathEnd[k] ?? 0;
    objects[from + k] = {
      id: from + k,
      kind: KINDS[kind[k] ?? 0] ?? "unknown",
      path: text.slice(textStart(columns, k), middle),
      dev: dev[k] ?? 0,
      ino: ino[k] ?? 0,
      detail: text.slice(middle, detailEnd[k]),
      createdBy: createdBy[k] ?? -1,
    };
  }
}

/** Where path and detail of the k-th object of a stretch begin. */
function textStart({ detailEnd }: NativeObjects, k: number): number {
  return k === 0 ? 0 : (detailEnd[k - 1] ?? 0);
}
