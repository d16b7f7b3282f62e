/**
 * Objects that get another name, by rename or link. Under the new name they must not be open to more than they were under the
 * old one (native/engine/src/enforce/rules.rs refuses that), so that a program that writes a file beside the one that it
 * replaces needs the grants of that one on both.
 */

import type { ObservedRole } from "./collect.js";
import { type Draft, firstRung } from "./generalise.js";
import type { Verb } from "./model.js";
import { PathPattern } from "./object.js";
import { expanded, type Tokens } from "./tokens.js";

/** Drafts of the old name and of the new one, whose objects are generalised later. */
export interface Move {
  readonly from: Draft;
  readonly to: Draft;
}

/** Verbs that are about an object, whatever its name. `stat` comes with each of them. */
const OF_OBJECTS: readonly Verb[] = ["read", "write", "exec", "list", "chmeta"];
/** Verbs that a rename and a link ask for on the old name and on the new one. */
const ASKED = [
  ["rename", "rename"],
  ["write", "create"],
] as const;

/** What was given another name, by the drafts of one role. */
export function movesOf(
  seen: ObservedRole,
  drafts: ReadonlyMap<string, Draft>,
  tokens: Tokens,
): Move[] {
  const draftOf = (verb: Verb, object: string) =>
    drafts.get(`${verb} ${firstRung({ verb, object }, tokens).object}`);
  const moves: Move[] = [];
  for (const [old, names] of seen.moved) {
    for (const name of names) {
      for (const [fromVerb, toVerb] of ASKED) {
        const from = draftOf(fromVerb, old);
        const to = draftOf(toVerb, name);
        if (from !== undefined && to !== undefined) {
          moves.push({ from, to });
          break;
        }
      }
    }
  }
  return moves;
}

/** The grant of `on` for the object of `from`; no call used it. */
function movedDraft(on: Draft, { object, rung }: Pick<Draft, "object" | "rung">): Draft {
  return { ...on, object, rung, because: "moved", count: 0, runs: new Set(on.runs) };
}

/** Grants that old names lack of those that their new names have, after `drafts` were generalised. */
export function gainedByMoves(
  moves: readonly Move[],
  drafts: readonly Draft[],
  tokens: Tokens,
): Draft[] {
  const about = drafts.filter(({ verb }) => OF_OBJECTS.includes(verb));
  const patterns = about.map(({ object }) => new PathPattern(expanded(object, tokens)));
  /** A pattern is covered by what covers its text: a wildcard in it stands for less than the one that takes it in. */
  const covering = (object: string) => {
    const text = expanded(object, tokens);
    return about.filter((draft, k) => draft.object === object || patterns[k]?.matches(text));
  };
  const gained = new Map<string, Draft>();
  const needs = (own: readonly Draft[], draft: Draft, object: string, rung: Draft["rung"]) => {
    const { verb, phases } = draft;
    if (own.some((one) => one.verb === verb && (one.phases & phases) === phases)) return;
    const key = `${verb} ${object}`;
    const known = gained.get(key) ?? drafts.find((one) => `${one.verb} ${one.object}` === key);
    if (known !== undefined) known.phases |= phases;
    else gained.set(key, movedDraft(draft, { object, rung }));
  };
  const pairs = new Map(moves.map((move) => [`${move.from.object}\n${move.to.object}`, move]));
  for (const { from, to } of pairs.values()) {
    const own = covering(from.object);
    for (const draft of covering(to.object)) needs(own, draft, from.object, from.rung);
    // What a directory holds gets another name as well.
    for (const draft of about) {
      if (!draft.object.startsWith(`${to.object}/`)) continue;
      const object = `${from.object}${draft.object.slice(to.object.length)}`;
      needs(covering(object), draft, object, draft.rung);
    }
  }
  return [...gained.values()];
}
