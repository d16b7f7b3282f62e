/**
 * Objects that some runs have and others have not: those that differ from one of another run in one or two names get the form
 * that the two have in common.
 */

import { groupBy } from "../group.js";
import { commonForm, longest, rootLength } from "./common_form.js";
import { SCRATCH } from "./made_up.js";
import { isPattern } from "./object.js";
import { directoryOf } from "./places.js";

/** Larger groups would take long to compare, and are no few names that differ. */
const MAX_GROUP = 512;

/** An object, what was done with it, and in which runs. */
export interface Seen {
  readonly verb: string;
  readonly object: string;
  readonly runs: ReadonlySet<number>;
}

export interface KnownNames {
  /** Objects that programs made. */
  readonly made: ReadonlySet<string>;
  /** How many runs there are. */
  readonly runs: number;
  /** An object without what tells the run by itself, as process ids and times do. */
  readonly stamplessOf: (object: string) => string;
  /** Objects of which each by itself shows that it is made up, with their forms. What is found is put there. */
  readonly renames: Map<string, string>;
}

/** What was found to be made up is compared as well: there may be more to it than shows in one run. */
export function formsAcrossRuns(paths: readonly Seen[], names: KnownNames): void {
  const rootOf = (one: Lonely) => {
    const parts = one.object.split("/");
    return [one.verb, parts.length, ...parts.slice(0, rootLength(parts))].join(" ");
  };
  for (const group of groupBy(seenInSome(paths, names), rootOf).values()) {
    const small =
      group.length <= MAX_GROUP
        ? [group]
        : groupBy(group, ({ verb, object }) => `${verb} ${directoryOf(object)}`).values();
    for (const part of small) if (part.length <= MAX_GROUP) pairUp(part, names);
  }
}

/** An object that not all runs have, and what is known of its form. */
interface Lonely extends Seen {
  readonly general: string;
  /** As far as it is certain. */
  readonly stampless: string;
}

/** Those that not all runs have, by the general object where there is one. */
function seenInSome(paths: readonly Seen[], { renames, runs, stamplessOf }: KnownNames): Lonely[] {
  const seen = new Map<string, Set<number>>();
  const all = paths
    .filter(({ object }) => !isPattern(object))
    .map(({ verb, object, runs }) => {
      const general = renames.get(object) ?? object;
      const key = `${verb} ${general}`;
      const own = seen.get(key) ?? new Set();
      for (const run of runs) own.add(run);
      seen.set(key, own);
      return { verb, object, general, stampless: stamplessOf(object), runs: own };
    });
  return all.filter((one) => one.runs.size < runs);
}

/** Gives each the form that it has in common with the nearest of another run. */
function pairUp(group: readonly Lonely[], { made, renames }: KnownNames): void {
  for (const one of group) {
    const others = group.filter((other) => disjoint(one.runs, other.runs));
    if (others.length === 0) continue;
    // What is known of each by itself comes first: two that are not alike may have more letters in common by chance.
    const best =
      longest(others.map((other) => commonForm(one.general, other.general))) ??
      longest(others.map((other) => commonForm(one.stampless, other.stampless))) ??
      longest(
        others.map((other) => {
          const isMade = made.has(one.object) && made.has(other.object) && SCRATCH.test(one.object);
          return commonForm(one.object, other.object, isMade);
        }),
      );
    if (best !== undefined) renames.set(one.object, best);
  }
}

function disjoint(one: ReadonlySet<number>, other: ReadonlySet<number>): boolean {
  for (const run of one) if (other.has(run)) return false;
  return true;
}
