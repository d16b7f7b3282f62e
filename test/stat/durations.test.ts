import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUCKETS, bucketOf, bucketStart, Durations } from "../../src/stat/durations.js";

const nanos = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 31 }),
  fc.maxSafeInteger().filter((value) => value >= 0),
  fc.nat(53).map((power) => 2 ** power),
);

describe("buckets", () => {
  it("hold the durations from their start up to the next", () => {
    fc.assert(
      fc.property(nanos, (value) => {
        const bucket = bucketOf(value);
        expect(bucket).toBeLessThan(BUCKETS);
        expect(bucketStart(bucket)).toBeLessThanOrEqual(value);
        expect(bucketStart(bucket + 1)).toBeGreaterThan(value);
      }),
      { numRuns: 2000 },
    );
  });

  it("are never wider than a sixteenth of what they hold", () => {
    for (let bucket = 16; bucket < BUCKETS; bucket++) {
      const start = bucketStart(bucket);
      expect(bucketStart(bucket + 1) - start).toBeLessThanOrEqual(Math.max(1, start / 16));
    }
  });
});

describe("Durations", () => {
  it("counts, sums, and knows both ends", () => {
    const durations = new Durations();
    for (const value of [5, 100, 7]) durations.add(value);
    expect(durations).toMatchObject({ count: 3, total: 112, min: 5, max: 100 });
    expect(durations.mean).toBeCloseTo(112 / 3);
  });

  it("gives percentiles within a sixteenth of the exact ones", () => {
    fc.assert(
      fc.property(
        fc.array(nanos, { minLength: 1, maxLength: 200 }),
        fc.constantFrom(0.5, 0.9, 0.99, 1),
        (values, share) => {
          const durations = new Durations();
          for (const value of values) durations.add(value);
          const sorted = [...values].sort((a, b) => a - b);
          const exact = sorted[Math.ceil(share * values.length) - 1] ?? 0;
          expect(Math.abs(durations.percentile(share) - exact)).toBeLessThanOrEqual(exact / 16);
        },
      ),
    );
  });

  it("puts every call into one power of two", () => {
    fc.assert(
      fc.property(fc.array(nanos, { maxLength: 100 }), (values) => {
        const durations = new Durations();
        for (const value of values) durations.add(value);
        const bars = durations.octaves();
        expect(bars.reduce((sum, bar) => sum + bar.count, 0)).toBe(values.length);
        for (const [k, bar] of bars.entries()) {
          if (k > 0) expect(bar.from).toBe(bars[k - 1]?.to);
          const inside = values.filter((value) => value >= bar.from && value < bar.to);
          expect(bar.count).toBe(inside.length);
        }
      }),
    );
  });

  it("is empty before the first call", () => {
    const durations = new Durations();
    expect([durations.mean, durations.percentile(0.5), durations.octaves()]).toEqual([0, 0, []]);
  });
});
