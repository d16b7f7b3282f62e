/**
 * Grants that would complete a spec, proposed for one refused access after the other: as a recording would show them, though
 * nobody knows what comes next.
 */

import { groupBy } from "../group.js";
import { commonForm, longest } from "./common_form.js";
import { makesName, mayStand, rungOf } from "./generalise.js";
import { changedNames, madeName, SCRATCH } from "./made_up.js";
import { type Grant, isPathVerb, type Spec, type Verb } from "./model.js";
import { namesAdded } from "./names_added.js";
import { isPattern, PathPattern, plainPath } from "./object.js";
import { directoryOf } from "./places.js";
import { choosesPort, ephemeralPort } from "./ports.js";
import { expanded, type Tokens } from "./tokens.js";

/** A grant that would do, with its rung where it allows more than was asked for, and the names that are there which it takes in. */
export interface Proposal extends Pick<Grant, "verb" | "object" | "rung" | "adds"> {
  /** What a name that is new in each run would need, and why that is not proposed. */
  readonly beyond?: string;
}

/** What programs do with files that they have made. */
const OF_MADE: ReadonlySet<Verb> = new Set<Verb>(["write", "delete", "chmeta"]);

/** Most names that are remembered, and most characters of them. */
const MOST_MADE = 100_000;
const MOST_CHARACTERS = 1 << 24;

/** What `--learn` proposes: as a recording would show it, one access after the other. */
export class Learner {
  readonly #tokens: Tokens;
  /** Objects that the program has made, with the form of their names where they have one. */
  readonly #made = new Map<string, string | undefined>();
  /** Forms of names that programs make, as the spec grants them already. */
  readonly #forms: readonly { readonly object: string; readonly pattern: PathPattern }[];
  /** By directory, names that were made when the spec was recorded. */
  readonly #before: ReadonlyMap<string, readonly string[]>;
  #choosesPorts: boolean;
  #characters = 0;
  #isFull = false;

  /** Names that are made are not remembered any more. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** `grants`: of the spec that is to be completed. */
  constructor(tokens: Tokens, grants: readonly Pick<Grant, "verb" | "object">[]) {
    this.#tokens = tokens;
    this.#choosesPorts = grants.some(choosesPort);
    this.#forms = grants
      .filter(
        (grant) => makesName(grant) && isPattern(grant.object) && !/\/\*+$/.test(grant.object),
      )
      .map(({ object }) => ({ object, pattern: new PathPattern(expanded(object, tokens)) }));
    const plain = grants.filter((grant) => makesName(grant) && !isPattern(grant.object));
    this.#before = new Map(
      [...groupBy(plain, ({ object }) => directoryOf(object))].map(([directory, own]) => [
        directory,
        own.map(({ object }) => object),
      ]),
    );
  }

  /** What to grant in place of what was found to be missing, and how much more that allows. */
  proposal(grant: Pick<Grant, "verb" | "object">): Proposal {
    const { verb, object } = grant;
    if (!isPathVerb(verb)) return { verb, object: this.#addressOf(grant) };
    // Where it may be made it is not told that it was.
    if ((makesName(grant) || OF_MADE.has(verb)) && !this.#made.has(object))
      this.#remember(object, this.#formOf(object, makesName(grant)));
    const made = changedNames(object, (_, path) => this.#made.get(path));
    const granted = this.#grantedForm(object, made);
    const general = granted ?? made;
    if (general === object) return { verb, object };
    // What the spec grants in such a place somebody has wanted there.
    const why = granted === undefined ? mayStand(general, this.#tokens) : undefined;
    if (why !== undefined) return { verb, object, beyond: `${general}, but ${why}` };
    const own = new Set([expanded(object, this.#tokens)]);
    const adds = namesAdded(expanded(general, this.#tokens), own);
    return { verb, object: general, rung: rungOf(general), ...(adds !== undefined && { adds }) };
  }

  #remember(object: string, form: string | undefined): void {
    this.#isFull ||=
      this.#made.size >= MOST_MADE || this.#characters + object.length > MOST_CHARACTERS;
    if (this.#isFull) return;
    this.#characters += object.length;
    this.#made.set(object, form);
  }

  /** An address, with any port where the kernel chooses them. */
  #addressOf(grant: Pick<Grant, "verb" | "object">): string {
    this.#choosesPorts ||= choosesPort(grant);
    const port = ephemeralPort(grant.object);
    return port !== undefined && this.#choosesPorts ? `${port.head}*` : grant.object;
  }

  /** An object whose name has a form that the spec grants, or that stands below a directory that has; `made` says the rest of it. */
  #grantedForm(object: string, made: string): string | undefined {
    const parts = object.split("/");
    for (let end = parts.length; end > 1; end--) {
      const path = plainPath(expanded(parts.slice(0, end).join("/"), this.#tokens));
      const form = this.#forms.find(({ pattern }) => path !== undefined && pattern.matches(path));
      if (form !== undefined) return [form.object, ...made.split("/").slice(end)].join("/");
    }
    return undefined;
  }

  /** The form of a name that is made: by its looks, or by one that another run made in its place. */
  #formOf(object: string, isMade: boolean): string | undefined {
    const directory = directoryOf(object);
    const name = object.slice(object.lastIndexOf("/") + 1);
    const isScratch = SCRATCH.test(directory);
    const alike = (this.#before.get(directory) ?? []).map((other) =>
      commonForm(other, object, isScratch),
    );
    const form =
      (isMade ? madeName(name, directory) : undefined) ??
      longest(alike)?.slice(directory.length + 1);
    return form === name ? undefined : form;
  }
}

/** What completes that spec. */
export function learnerOf({ roles }: Pick<Spec, "roles">, tokens: Tokens): Learner {
  return new Learner(
    tokens,
    roles.flatMap(({ grants }) => grants),
  );
}
