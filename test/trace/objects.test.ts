/** The objects of a trace: fetched where they are looked at, and no more often than needed. */

import { describe, expect, test } from "vitest";
import type { NativeObjects } from "../../src/native.js";
import { LazyObjects } from "../../src/trace/objects.js";

const path = (index: number) => `/dir/${"ä".repeat(index % 3)}${index}`;
const detail = (index: number) => (index % 5 === 0 ? `TCP:[${index}]` : "");

/** Columns as the reader makes them, of `there` objects; `asked` gets what was asked for. */
function source(there: number, asked: [number, number][] = []) {
  return (from: number, to: number): NativeObjects => {
    asked.push([from, to]);
    const indexes = Array.from(
      { length: Math.max(0, Math.min(to, there) - from) },
      (_, k) => from + k,
    );
    let text = "";
    const ends = indexes.map((index) => {
      const pathEnd = text.length + path(index).length;
      text += path(index) + detail(index);
      return [pathEnd, text.length] as const;
    });
    return {
      kind: Uint8Array.from(indexes, (index) => index % 12),
      dev: Float64Array.from(indexes, (index) => 2 ** 40 + index),
      ino: Float64Array.from(indexes, (index) => 2 * index),
      createdBy: Float64Array.from(indexes, (index) => index - 1),
      pathEnd: Uint32Array.from(ends, ([end]) => end),
      detailEnd: Uint32Array.from(ends, ([, end]) => end),
      text,
      strays: new Uint32Array(),
    };
  };
}

const INDEXES = [0, 1, 2, 5, 1023, 1024, 1025, 2047, 2048, 2499];

describe("the array", () => {
  test("has each object at its index", () => {
    const objects = new LazyObjects(2500, source(2500)).array();
    expect(objects.length).toBe(2500);
    for (const index of [...INDEXES, ...INDEXES]) {
      expect(objects[index]).toEqual({
        id: index,
        kind: expect.any(String),
        path: path(index),
        dev: 2 ** 40 + index,
        ino: 2 * index,
        detail: detail(index),
        createdBy: index - 1,
      });
    }
    expect([1, 5, 11].map((index) => objects[index]?.kind)).toEqual(["file", "socket", "unknown"]);
  });

  test("has names that are no UTF-8", () => {
    const [one, other] = ["/a\ufffd", "/\ufffd\ufffd"];
    const objects = new LazyObjects(2, () => ({
      ...source(2)(0, 2),
      pathEnd: Uint32Array.of(3, 6),
      detailEnd: Uint32Array.of(3, 6),
      text: one + other,
      strays: Uint32Array.of(2, 0xff, 5, 0x80),
    })).array();
    expect([objects[0]?.path, objects[1]?.path]).toEqual(["/a\udcff", "/\ufffd\udc80"]);
  });

  test("asks for a stretch once, and for nothing outside", () => {
    const asked: [number, number][] = [];
    const objects = new LazyObjects(2500, source(2500, asked)).array();
    expect([objects[2500], objects[-1], objects[1.5], objects[2 ** 32]]).toEqual(
      Array.from({ length: 4 }, () => undefined),
    );
    expect(asked).toEqual([]);
    const first = objects[2400];
    expect(objects[2400]).toBe(first);
    expect(objects[2499]?.id).toBe(2499);
    expect(asked).toEqual([[2048, 2500]]);
  });

  test("is an array in all other respects", () => {
    const objects = new LazyObjects(3, source(3)).array();
    expect(Array.isArray(objects)).toBe(true);
    expect(Array.from(objects, ({ id }) => id)).toEqual([0, 1, 2]);
  });

  test("has nothing where fewer objects came than were promised", () => {
    const objects = new LazyObjects(10, source(4)).array();
    expect(objects[3]?.path).toBe(path(3));
    expect(objects[4]).toBeUndefined();
    expect(objects[9]).toBeUndefined();
  });
});

describe("paths", () => {
  test("are those of the array", () => {
    const lazy = new LazyObjects(2500, source(2500));
    const objects = lazy.array();
    for (const index of INDEXES) expect(lazy.path(index)).toBe(path(index));
    for (const index of INDEXES) expect(lazy.path(index)).toBe(objects[index]?.path);
  });

  test("ask for a stretch once, which then fills the array, too", () => {
    const asked: [number, number][] = [];
    const lazy = new LazyObjects(2500, source(2500, asked));
    for (const index of INDEXES) lazy.path(index);
    const objects = lazy.array();
    for (const index of INDEXES) expect(objects[index]?.path).toBe(path(index));
    expect(asked).toEqual([
      [0, 1024],
      [1024, 2048],
      [2048, 2500],
    ]);
  });

  test("are undefined outside, and where nothing came", () => {
    const lazy = new LazyObjects(10, source(4));
    expect([-1, 4, 9, 10, Number.NaN].map((index) => lazy.path(index))).toEqual(
      Array.from({ length: 5 }, () => undefined),
    );
  });
});
