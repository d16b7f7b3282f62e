/** The objects of a trace as an array that fills itself, a stretch at a time, where it is looked at. */

import type { NativeObjects } from "../native.js";
import type { FdObject } from "./batch.js";

const STRETCH = 256;

/** By the codes of `ObjectKind` in native/engine/src/raw.rs. */
const KINDS = [
  ...["unknown", "file", "dir", "pipe", "fifo"],
  ...["socket", "chr", "blk", "anon", "memfd"],
];

/**
 * What was fetched stands in the array itself and costs no more than any element. What is missing is
 * looked for in the array's prototype, which fetches it.
 */
export function lazyObjects(
  length: number,
  fetch: (from: number, to: number) => NativeObjects,
): ArrayLike<FdObject> {
  const objects: FdObject[] = [];
  objects.length = length;
  const missing = new Proxy(Array.prototype, {
    get(target, key, receiver): unknown {
      const index = typeof key === "string" && /^\d{1,9}$/.test(key) ? Number(key) : -1;
      if (index < 0 || index >= length) return Reflect.get(target, key, receiver);
      const from = index - (index % STRETCH);
      fill(objects, from, fetch(from, Math.min(from + STRETCH, length)));
      return Object.hasOwn(objects, index) ? objects[index] : undefined;
    },
  });
  Object.setPrototypeOf(objects, missing);
  return objects;
}

function fill(objects: FdObject[], from: number, columns: NativeObjects): void {
  const { kind, dev, ino, createdBy, pathEnd, detailEnd, text } = columns;
  let start = 0;
  for (let k = 0; k < kind.length; k++) {
    const middle = pathEnd[k] ?? start;
    const end = detailEnd[k] ?? middle;
    objects[from + k] = {
      id: from + k,
      kind: KINDS[kind[k] ?? 0] ?? "unknown",
      path: text.slice(start, middle),
      dev: dev[k] ?? 0,
      ino: ino[k] ?? 0,
      detail: text.slice(middle, end),
      createdBy: createdBy[k] ?? -1,
    };
    start = end;
  }
}
