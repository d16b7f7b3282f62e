/** Traces that end early: what one did after the other was cut is not claimed to be a difference. */

import type { Canonical } from "./canon/canonical.js";
import type { CanonicalTrace } from "./canon/trace.js";
import type { RawDifference } from "./compare.js";

export function isCut(canon: CanonicalTrace): boolean {
  return canon.trace.state !== "complete" || canon.failure !== undefined;
}

export class Cut {
  readonly #c: Canonical;
  readonly #a: boolean;
  readonly #b: boolean;

  constructor(c: Canonical) {
    this.#c = c;
    this.#a = isCut(c.a.canon);
    this.#b = isCut(c.b.canon);
  }

  /** An event that only the other trace has, behind everything that this one has of the thread. */
  isBeyond({ a, b, pair, after }: RawDifference): boolean {
    if (a !== undefined && b !== undefined) return false;
    const [isCutOff, side] = a === undefined ? [this.#a, "a" as const] : [this.#b, "b" as const];
    if (!isCutOff) return false;
    const { canon } = this.#c[side];
    const number = this.#c.lineage.pairs[pair]?.[side] ?? 0;
    if (canon.processes.get(number)?.end !== undefined) return false;
    const threads = canon.infos.get(number)?.threads ?? [];
    return threads.some((thread) => {
      const stream = canon.streams[thread];
      const last =
        stream === undefined || stream.length === 0 ? -1 : stream.seq.at(stream.length - 1);
      return last === after;
    });
  }

  /** A process that only the other trace has: this one may have been about to start it. */
  isBeyondProcess(only: "a" | "b", parentPair: number | undefined): boolean {
    const side = only === "a" ? "b" : "a";
    if (!(side === "a" ? this.#a : this.#b)) return false;
    const number = parentPair === undefined ? 0 : (this.#c.lineage.pairs[parentPair]?.[side] ?? 0);
    return this.#c[side].canon.processes.get(number)?.end === undefined;
  }

  /** Bytes of a stream that ends in the trace that is cut, equal up to there. */
  endsWithin(lengthA: number, lengthB: number, firstDifference: number): boolean {
    return (
      (this.#a && firstDifference === lengthA && lengthA < lengthB) ||
      (this.#b && firstDifference === lengthB && lengthB < lengthA)
    );
  }
}
