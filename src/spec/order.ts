/** One order for grants wherever they are listed, so that two specs differ only where they say different things. */

import { VERBS, type Verb } from "./model.js";

const RANK: ReadonlyMap<string, number> = new Map(VERBS.map((verb, k) => [verb, k]));

function rank(verb: Verb): number {
  return RANK.get(verb) ?? (RANK.get("mount") ?? 0) + 0.5;
}

/** By verb in the order of `VERBS`, then by object. */
export function sortedGrants<G extends { readonly verb: Verb; readonly object: string }>(
  grants: readonly G[],
): G[] {
  return [...grants].sort(
    (a, b) => rank(a.verb) - rank(b.verb) || compare(a.verb, b.verb) || compare(a.object, b.object),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
