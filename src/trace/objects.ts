/** The objects of a trace as an array that fills itself, a stretch at a time, where it is looked at. */

import type { FdObject } from "./batch.js";

const STRETCH = 256;

/**
 * What was fetched stands in the array itself and costs no more than any element. What is missing is
 * looked for in the array's prototype, which fetches it.
 */
export function lazyObjects(
  length: number,
  fetch: (from: number, to: number) => readonly FdObject[],
): ArrayLike<FdObject> {
  const objects: FdObject[] = [];
  objects.length = length;
  const missing = new Proxy(Array.prototype, {
    get(target, key, receiver): unknown {
      const index = typeof key === "string" && /^\d{1,9}$/.test(key) ? Number(key) : -1;
      if (index < 0 || index >= length) return Reflect.get(target, key, receiver);
      const from = index - (index % STRETCH);
      for (const object of fetch(from, Math.min(from + STRETCH, length))) {
        objects[object.id] = object;
      }
      return Object.hasOwn(objects, index) ? objects[index] : undefined;
    },
  });
  Object.setPrototypeOf(objects, missing);
  return objects;
}
