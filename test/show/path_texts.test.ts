/** Paths of objects as JSON strings, however many and however long. */

import { describe, expect, test } from "vitest";
import { PathTexts } from "../../src/show/path_texts.js";
import { Sink } from "../../src/show/sink.js";
import type { FdObject } from "../../src/trace/batch.js";
import { object, trace } from "../support/batch.js";

function textOf(paths: PathTexts, index: number): string | undefined {
  const place = paths.place(index);
  if (place < 0) return undefined;
  const sink = new Sink();
  sink.words(paths.words, paths.start(place), paths.length(place));
  return sink.take().toString();
}

const texts = (objects: readonly FdObject[]) => new PathTexts(trace({ objects }));

describe("paths of objects", () => {
  test("are JSON", () => {
    const all = ["", "/", "/a/b", "/tmp/ä", '/with "quotes"', "/back\\slash\n", "/\u007f", "/😀"];
    const paths = texts(all.map((path, index) => object(index, path)));
    for (let round = 0; round < 2; round++) {
      all.forEach((path, index) => {
        expect(textOf(paths, index)).toBe(JSON.stringify(path));
      });
    }
  });

  test("of no object are nothing", () => {
    const paths = texts([object(0, "/a")]);
    expect([1, 4096, 0xffff_ffff].map((index) => textOf(paths, index))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("are right when objects share a place, and when there are more than are kept", () => {
    const count = 10_000;
    const all = Array.from({ length: count }, (_, index) =>
      object(index, `/a/long/path/to/${index}`),
    );
    const paths = texts(all);
    for (let k = 0; k < 2 * count; k++) {
      const index = k % 3 === 0 ? k % count : (k * 7919) % count;
      paths.place(index);
      if (k % 37 === 0) expect(textOf(paths, index)).toBe(`"/a/long/path/to/${index}"`);
    }
    expect(textOf(paths, 0)).toBe('"/a/long/path/to/0"');
    expect(textOf(paths, 4096)).toBe('"/a/long/path/to/4096"');
    expect(textOf(paths, 0)).toBe('"/a/long/path/to/0"');
  });

  test("may be longer than everything that is kept at first", () => {
    const long = `/${"x".repeat(3 << 18)}`;
    const odd = `/${"\u0001".repeat(1 << 18)}`;
    const paths = texts([object(0, "/a"), object(1, long), object(2, odd), object(3, "/b")]);
    for (const index of [0, 1, 3, 2, 0, 1, 3]) {
      const path = ["/a", long, odd, "/b"][index];
      expect(textOf(paths, index) === JSON.stringify(path)).toBe(true);
    }
  });

  test("come from the trace's own way to paths, where it has one", () => {
    const paths = new PathTexts({
      ...trace({ objects: [] }),
      objectPath: (index) => (index === 7 ? "/seven" : undefined),
    });
    expect([textOf(paths, 7), textOf(paths, 6)]).toEqual(['"/seven"', undefined]);
  });
});
