/** What it costs a workload that the kernel alone enforces its spec: CPU time, natively and enforced in turns. */

import { median, quartiles } from "../numbers.js";
import type { Prepared } from "../workload.js";
import { enforced, learn } from "./enforced.js";
import { Metered, type makeMeter } from "./meter.js";

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
  readonly filter: Ratio;
  /** The same, in a domain of Landlock too that grants everything, as near to each file as a directory can. */
  readonly both: Ratio;
  /** The same with a rule for each file as well. */
  readonly named: Ratio;
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
const PRECISE = 0.003;

/** The ways to run it. */
const WAYS = ["native", "filter", "both", "named", "enforced"] as const;
type Way = (typeof WAYS)[number];
type Times = Record<Way, number[]>;

/** The middle ratio of the rounds; `off` as in the notches of box plots. */
function ratioOf(values: readonly number[], to: readonly number[]): Ratio {
  const ratios = values.map((value, k) => value / (to[k] ?? Number.NaN));
  const [low, high] = quartiles(ratios);
  return { value: median(ratios), off: (1.57 * (high - low)) / Math.sqrt(ratios.length) };
}

/** Runs it in all ways, round after round; in each another way comes first. */
async function measure(
  { reset }: Prepared,
  meters: Readonly<Record<Way, Metered>>,
  { least, most, seconds }: Effort,
): Promise<Times> {
  const times: Times = { native: [], filter: [], both: [], named: [], enforced: [] };
  const run = async (way: Way): Promise<number> => {
    reset?.();
    return meters[way].run();
  };
  // The first runs start the sandbox, and warm the caches up.
  for (const way of WAYS) await run(way);
  const start = performance.now();
  for (let round = 0; round < most; round++) {
    const isLate = performance.now() - start > seconds * 1000;
    const isKnown = () => ratioOf(times.enforced, times.native).off <= PRECISE;
    if (round >= least && (isLate || isKnown())) break;
    for (let k = 0; k < WAYS.length; k++) {
      const way = WAYS[(round + k) % WAYS.length] ?? "native";
      times[way].push(await run(way));
    }
  }
  return times;
}

export async function workloadCost(
  metered: ReturnType<typeof makeMeter>,
  workload: Prepared,
  base: string,
  effort: Effort,
): Promise<Cost> {
  const { dir, argv, name, title } = workload;
  workload.reset?.();
  const words = metered(argv, "nothing");
  const spec = learn(dir, base, name, words, ".");
  workload.reset?.();
  const meters = {
    native: new Metered(dir, words),
    filter: new Metered(dir, metered(argv, "filter")),
    both: new Metered(dir, metered(argv, "both")),
    named: new Metered(dir, metered(argv, "named")),
    enforced: new Metered(dir, enforced(spec, "never", words)),
  };
  try {
    const times = await measure(workload, meters, effort);
    return {
      title,
      native: median(times.native),
      enforced: median(times.enforced),
      ratio: ratioOf(times.enforced, times.native),
      filter: ratioOf(times.filter, times.native),
      both: ratioOf(times.both, times.native),
      named: ratioOf(times.named, times.native),
      rounds: times.native.length,
    };
  } finally {
    for (const meter of Object.values(meters)) await meter.close();
  }
}
