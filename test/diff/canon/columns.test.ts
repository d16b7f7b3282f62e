/** Columns, and the index of hashes. */

import fc from "fast-check";
import { expect, it } from "vitest";
import { HashIndex } from "../../../src/diff/canon/columns.js";

/** Hashes of which many have the same low word, or the same place in a small table. */
const hash = fc.oneof(
  fc.integer({ min: 0, max: 3000 }),
  fc.integer({ min: 0, max: 2 ** 21 - 1 }).map((high) => high * 2 ** 32 + 7),
  fc.integer({ min: 0, max: 2 ** 53 - 2 }),
);
const step = fc.record({ hash, value: fc.option(fc.integer({ min: 0, max: 2 ** 31 - 1 })) });

it("an index has for each hash what was set last", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 4000, size: "max" }), (steps) => {
      const index = new HashIndex();
      const expected = new Map<number, number>();
      for (const { hash, value } of steps) {
        expect(index.get(hash)).toBe(expected.get(hash) ?? -1);
        if (value === null) continue;
        index.set(hash, value);
        expected.set(hash, value);
      }
      // In the order in which they were set, in another one, and those next to them.
      const all = [...expected];
      for (const [own, value] of [...all, ...all.reverse()]) {
        expect(index.get(own)).toBe(value);
        expect(index.get(own + 1)).toBe(expected.get(own + 1) ?? -1);
      }
    }),
    { numRuns: 30 },
  );
});
