/**
 * Objects that get another name, by rename or link. Under the new name they must not be open to more than they were under the
 * old one (native/engine/src/enforce/rules.rs refuses that), so that a program that writes a file beside the one that it
 * replaces needs the grants of that one on both.
 */

import type { ObservedRole } from "./collect.js";
import { type Draft, firstRung } from "./generalise.js";
import { PATH_VERBS, type Verb } from "./model.js";
import { belowPath, coversPath, PathPattern, plainPath } from "./object.js";
import { expanded, type Tokens } from "./tokens.js";

/** Drafts of the old name and of the new one, whose objects are generalised later. */
export interface Move {
  readonly from: Draft;
  readonly to: Draft;
  /** The new name as it was seen. */
  readonly name: string;
}

/** Verbs that are about an object, whatever its name. */
const OF_OBJECTS: readonly Verb[] = ["read", "write", "exec", "list", "stat", "chmeta"];
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
          moves.push({ from, to, name: to.object });
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

/** All directories above the objects, as they are written. */
function directoriesOf(drafts: readonly Draft[]): ReadonlySet<string> {
  const directories = new Set<string>();
  for (const { object } of drafts) {
    let end = object.lastIndexOf("/");
    while (end > 0 && !directories.has(object.slice(0, end))) {
      directories.add(object.slice(0, end));
      end = object.lastIndexOf("/", end - 1);
    }
  }
  return directories;
}

/** Drafts of paths, asked which of them cover an object. */
class Covering {
  readonly #drafts: readonly {
    readonly draft: Draft;
    readonly text: string;
    readonly pattern: PathPattern;
  }[];
  readonly #tokens: Tokens;

  constructor(drafts: readonly Draft[], tokens: Tokens) {
    this.#tokens = tokens;
    this.#drafts = drafts.map((draft) => {
      const text = expanded(draft.object, tokens);
      return { draft, text, pattern: new PathPattern(text) };
    });
  }

  /** Those that grant something on all that the object stands for. */
  of(object: string): Draft[] {
    const text = expanded(object, this.#tokens);
    const path = plainPath(text);
    return this.#drafts
      .filter(({ text: own, pattern }) =>
        path === undefined ? coversPath(own, text) : pattern.matches(path),
      )
      .map(({ draft }) => draft);
  }

  /** Those that grant something below a directory, each with the names that follow the directory's. */
  below(directory: string): { draft: Draft; rest: string }[] {
    const text = expanded(directory, this.#tokens);
    return this.#drafts.flatMap(({ draft, text: own }) => {
      const rest = belowPath(own, text);
      return rest === undefined ? [] : [{ draft, rest }];
    });
  }
}

/** What a draft grants on an object, whatever its name. Whoever may do anything with an object may look at it. */
function ofObject({ verb }: Draft): Verb {
  return OF_OBJECTS.includes(verb) ? verb : "stat";
}

/** Whether a draft grants what another one does, on what both cover. */
function includes(own: Draft, draft: Draft): boolean {
  const verb = ofObject(draft);
  return (own.verb === verb || verb === "stat") && (own.phases & draft.phases) === draft.phases;
}

/** Most moves of one object, from name to name, whose grants are followed back. */
const MAX_MOVES = 8;

/** Grants that old names lack of those that their new names have, after `drafts` were generalised. */
export function gainedByMoves(
  moves: readonly Move[],
  drafts: readonly Draft[],
  tokens: Tokens,
): Draft[] {
  const all: Draft[] = [];
  // What one move gains another one may have to have had before.
  for (let round = 0; round < MAX_MOVES && moves.length > 0; round++) {
    const gained = gainedOnce(moves, [...drafts, ...all], tokens);
    if (gained.length === 0) break;
    all.push(...gained);
  }
  return all;
}

function gainedOnce(moves: readonly Move[], drafts: readonly Draft[], tokens: Tokens): Draft[] {
  const paths = drafts.filter(({ verb }) => PATH_VERBS.has(verb));
  const covering = new Covering(paths, tokens);
  const directories = directoriesOf(paths);
  const gained = new Map<string, Draft>();
  const needs = (own: readonly Draft[], draft: Draft, object: string, rung: Draft["rung"]) => {
    if (own.some((one) => includes(one, draft))) return;
    const { phases } = draft;
    const verb = ofObject(draft);
    const key = `${verb} ${object}`;
    const known = gained.get(key) ?? drafts.find((one) => `${one.verb} ${one.object}` === key);
    if (known !== undefined) known.phases |= phases;
    else gained.set(key, movedDraft({ ...draft, verb }, { object, rung }));
  };
  const pairs = new Map(
    moves.map((move) => [`${move.from.object}\n${move.to.object}\n${move.name}`, move]),
  );
  for (const { from, to, name } of pairs.values()) {
    // What stands for all of a directory stands for this name only here.
    const target = to.because === "replaced" ? name : to.object;
    const own = covering.of(from.object);
    for (const draft of covering.of(target)) needs(own, draft, from.object, from.rung);
    // What a directory holds gets another name as well.
    if (!directories.has(from.object) && !directories.has(target)) continue;
    for (const { draft, rest } of covering.below(target)) {
      const object = `${from.object}/${rest}`;
      needs(covering.of(object), draft, object, draft.rung);
    }
  }
  return [...gained.values()];
}
