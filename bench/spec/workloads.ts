/** What it costs a workload that the kernel alone enforces its spec: CPU time, natively and enforced in turns. */

import { median, quartiles } from "../numbers.js";
import type { Prepared } from "../workload.js";
import { enforced, learn } from "./enforced.js";
import type { Meter } from "./meter.js";

/** A ratio with how far it may be off. */
export interface Ratio {
  readonly value: number;
  /** Half of the interval that holds the median in 19 of 20 cases. */
  readonly off: number;
}

export interface Cost {
  readonly title: string;
  /** CPU seconds of one run. */
  readonly native: number;
  readonly enforced: number;
  /** To native, by rounds. */
  readonly ratio: Ratio;
  /** Of the same program below one filter that allows every call: what the kernel takes for that there is any. */
  readonly floor: Ratio;
  readonly rounds: number;
}

export interface Effort {
  /** Least and most rounds. */
  readonly least: number;
  readonly most: number;
  /** Seconds from which on no round is begun beyond the least ones. */
  readonly seconds: number;
}

/** A ratio that is known to that is measured no more. */
const PRECISE = 0.005;
/** CPU seconds that one turn should take at least: short programs are run several times, and the fastest counts. */
const TURN = 0.3;
const MOST_TIMES = 20;

/** The middle ratio of the rounds; `off` as in the notches of box plots. */
function ratioOf(values: readonly number[], to: readonly number[]): Ratio {
  const ratios = values.map((value, k) => value / (to[k] ?? Number.NaN));
  const [low, high] = quartiles(ratios);
  return { value: median(ratios), off: (1.57 * (high - low)) / Math.sqrt(ratios.length) };
}

/** The ways to run it; in each round one starts that did not start the one before. */
const WAYS = ["native", "floor", "enforced"] as const;
type Way = (typeof WAYS)[number];

class Turns {
  readonly #meter: Meter;
  readonly #workload: Prepared;
  readonly #spec: string;
  /** How often it is run in one turn: once where its folder has to be brought back. */
  readonly #times: number;
  readonly best: Record<Way, number[]> = { native: [], floor: [], enforced: [] };

  constructor(meter: Meter, workload: Prepared, base: string) {
    this.#meter = meter;
    this.#workload = workload;
    workload.reset?.();
    this.#spec = learn(workload.dir, base, workload.name, meter.words(workload.argv));
    workload.reset?.();
    // The first run warms the caches up.
    const [first = TURN] = meter.run(workload.dir, meter.words(workload.argv)).seconds;
    const times = Math.min(MOST_TIMES, Math.ceil(TURN / Math.max(first, 1e-6)));
    this.#times = workload.reset === undefined ? times : 1;
  }

  #words(way: Way): string[] {
    const { argv } = this.#workload;
    const times = this.#times;
    if (way === "enforced")
      return enforced(this.#spec, "never", this.#meter.words(argv, { times }));
    return this.#meter.words(argv, { times, filters: way === "floor" ? 1 : 0 });
  }

  round(): void {
    const first = this.best.native.length % WAYS.length;
    for (const way of [...WAYS.slice(first), ...WAYS.slice(0, first)]) {
      this.#workload.reset?.();
      const { seconds, complaints } = this.#meter.run(this.#workload.dir, this.#words(way));
      // It would not do what it does natively.
      if (/^trace: .*: (?:refused|ended:) /m.test(complaints)) {
        throw new Error(`${this.#workload.title}: ${complaints}`);
      }
      this.best[way].push(Math.min(...seconds));
    }
  }
}

export function workloadCost(
  meter: Meter,
  workload: Prepared,
  base: string,
  { least, most, seconds }: Effort,
): Cost {
  const turns = new Turns(meter, workload, base);
  const { best } = turns;
  const start = performance.now();
  let rounds = 0;
  let ratio: Ratio;
  do {
    turns.round();
    ratio = ratioOf(best.enforced, best.native);
    rounds++;
  } while (
    rounds < least ||
    (rounds < most && ratio.off > PRECISE && performance.now() - start < seconds * 1000)
  );
  return {
    title: workload.title,
    native: median(best.native),
    enforced: median(best.enforced),
    ratio,
    floor: ratioOf(best.floor, best.native),
    rounds,
  };
}
