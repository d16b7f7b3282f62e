/**
 * Programs that copy files set the times of what they made where these differ from those of the original, which is a matter of the
 * second in which either was made: a recording shows it of some files, and the next run does it to others.
 */

import type { Draft } from "./generalise.js";

/** How what is made without a name is written, by `AccessReader`: nobody finds it again by that. */
const NAMELESS = "/#tmpfile";

/**
 * What is told of a file may be changed, for all that a role made, where it did so with some of it. `drafts`: of one role,
 * generalised.
 */
export function changesOfMade(drafts: readonly Draft[]): Draft[] {
  const changed = new Set(
    drafts.filter(({ verb }) => verb === "chmeta").map(({ object }) => object),
  );
  const made = drafts.filter(({ verb, object }) => verb === "create" && !object.endsWith(NAMELESS));
  if (!made.some(({ object }) => changed.has(object))) return [];
  const others = made.filter(({ object }) => !changed.has(object));
  return others.map((draft) => ({
    ...draft,
    verb: "chmeta",
    because: "needed",
    count: 0,
    runs: new Set(draft.runs),
  }));
}
