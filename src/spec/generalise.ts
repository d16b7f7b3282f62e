/**
 * From what was seen to what is granted: a ladder of rungs, climbed only as far as there is a reason to.
 *
 * - token: heads of paths that differ between users and runs.
 * - sibling: names that the programs themselves made up (temporary files, hashes), and names that differ between runs and
 *   have one form.
 * - directory: where a file is replaced by rename, since a grant of the old file would not fit the new one; and, when
 *   asked for, where many files of one directory were used.
 *
 * Places that are protected (`places.ts`) stay literal; what that may cost is said in the spec.
 */

import { groupBy } from "../group.js";
import { formsAcrossRuns } from "./across_runs.js";
import { anyKeyOf } from "./choices.js";
import { type Observed, PID_MARK } from "./collect.js";
import { changedNames, fanOuts, madeName, SCRATCH } from "./made_up.js";
import { isPathVerb, type Reason, type Rung, type Verb } from "./model.js";
import { isPattern } from "./object.js";
import { directoryOf, protection } from "./places.js";
import { ephemeralPort } from "./ports.js";
import { type Stamps, withoutStamps } from "./stamps.js";
import { expanded, type Tokens, tokenised } from "./tokens.js";

/** A grant in the making: what one run's role asked for. */
export interface Draft {
  readonly verb: Verb;
  object: string;
  rung: Rung;
  because: Reason | undefined;
  count: number;
  readonly runs: Set<number>;
  first: string;
  phases: number;
  /** The objects that it stands for, as they were used. */
  used?: Set<string>;
}

export interface Ladder {
  /** The highest rung that may be climbed without a need. */
  readonly highest: Rung;
  /** Used names of one directory from which on the directory is granted, when `highest` is `directory`. */
  readonly crowd: number;
}

export const DEFAULT_LADDER: Ladder = { highest: "sibling", crowd: 24 };

/** Line ends, and what stands for bytes that are no text (UTF-8): a spec has no words for them. */
const UNWRITABLE = /[\n\uFFFD\p{Cs}]+/gu;

/** Of a process that is not in the recording, which is another one in the next. The first one is there always. */
const OTHER_PROCESS = /^\/proc\/(?!1(?:\/|$))\d+(?=\/|$)/;

/** The object of a plain access, as far up as tokens go. */
export function firstRung(
  { verb, object }: Pick<Observed, "verb" | "object">,
  tokens: Tokens,
): { object: string; rung: Rung } {
  const isUnix = object.startsWith("unix:/");
  if (!isPathVerb(verb) && !isUnix) return { object, rung: "literal" };
  const path = isUnix ? object.slice("unix:".length) : object;
  const scheme = isUnix ? "unix:" : "";
  const named = `${scheme}${tokenised(path, tokens)}`
    .replaceAll(PID_MARK, "@{pid}")
    .replace(OTHER_PROCESS, "/proc/@{pid}");
  const general = named.replace(/^\/dev\/pts\/\d+$/, "/dev/pts/*").replace(UNWRITABLE, "*");
  if (general !== named) return { object: general, rung: "sibling" };
  const isToken = /^(?:unix:)?\$/.test(named) || named.includes("@{pid}");
  return { object: named, rung: isToken ? "token" : "literal" };
}

/** How many directories a remark names. */
const MOST_TOLD = 3;

/** One role's drafts, climbed. */
export class Climber {
  readonly #tokens: Tokens;
  readonly #ladder: Ladder;
  readonly #runs: number;
  readonly #choosesPorts: boolean;
  readonly #stamps: ReadonlyMap<string, Stamps>;
  readonly remarks = new Set<string>();

  /** `stamps`: of names that were made, by their objects. */
  constructor(
    tokens: Tokens,
    ladder: Ladder,
    runs: number,
    choosesPorts: boolean,
    stamps: ReadonlyMap<string, Stamps>,
  ) {
    this.#tokens = tokens;
    this.#ladder = ladder;
    this.#runs = runs;
    this.#choosesPorts = choosesPorts;
    this.#stamps = stamps;
  }

  /**
   * All drafts of all roles: what one program made up another may only read. `replaced` are the targets of renames. Gives
   * back the drafts of each role, those that became equal as one.
   */
  climb(roles: readonly (readonly Draft[])[], replaced: ReadonlySet<string>): Draft[][] {
    const drafts = roles.flat();
    const paths = drafts.filter(
      ({ verb, object }) => isPathVerb(verb) || /^unix:[/$]/.test(object),
    );
    for (const draft of paths) draft.used ??= new Set([draft.object]);
    const made = new Set(
      paths
        .filter(({ verb }) => verb === "create" || verb === "rename" || verb === "bind")
        .map(({ object }) => object),
    );
    const renames = this.#madeUp(paths, made);
    if (this.#runs > 1 && this.#mayBeSiblings()) {
      const stamplessOf = (object: string) => this.#stampless(object);
      formsAcrossRuns(paths, { made, runs: this.#runs, stamplessOf, renames });
    }
    for (const draft of paths) {
      const object = renames.get(draft.object);
      if (object !== undefined && this.#may(object)) {
        draft.object = object;
        draft.rung = rungOf(object);
      }
    }
    this.#wholes(paths);
    this.#replacements(paths, replaced);
    if (this.#ladder.highest === "directory") for (const own of roles) this.#crowds(own);
    for (const own of roles) this.#ports(own);
    for (const own of roles) this.#keys(own);
    return roles.map(merged);
  }

  #mayBeSiblings(): boolean {
    return this.#ladder.highest !== "literal" && this.#ladder.highest !== "token";
  }

  /** Objects of made-up names, with the object that stands for all of their form. */
  #madeUp(paths: readonly Draft[], made: ReadonlySet<string>): Map<string, string> {
    const found = new Map<string, string>();
    if (!this.#mayBeSiblings()) return found;
    const spread = fanOuts(made);
    for (const { object } of paths) {
      if (found.has(object) || isPattern(object)) continue;
      // A directory that the programs made is as new in each run as a file.
      const general = this.#changed(object, (name, path, directory) => {
        if (!made.has(path)) return undefined;
        return spread.has(path) ? "*" : madeName(name, directory);
      });
      if (general !== object) found.set(object, general);
    }
    return found;
  }

  /** An object without the stamps of its names, and then changed name by name, where `change` says how. */
  #changed(
    object: string,
    change: (name: string, path: string, directory: string) => string | undefined,
  ): string {
    return changedNames(object, (name, path, directory) => {
      const stamps = this.#stamps.get(path.replace(/^unix:/, ""));
      const stampless =
        stamps === undefined ? name : withoutStamps(name, stamps, SCRATCH.test(directory));
      return change(stampless, path, directory) ?? stampless;
    });
  }

  #stampless(object: string): string {
    return this.#changed(object, () => undefined);
  }

  #may(object: string): boolean {
    const why = mayStand(object, this.#tokens);
    if (why === undefined) return true;
    this.remarks.add(
      `${object} was not generalised, since ${why}: later runs may ask for other names there`,
    );
    return false;
  }

  /** Says where names have so little in common that all of a directory that others use as well are granted. */
  #wholes(paths: readonly Draft[]): void {
    const wholes = paths.filter(
      ({ object, rung }) =>
        rung === "directory" &&
        !isPattern(directoryOf(object)) &&
        !SCRATCH.test(directoryOf(object)),
    );
    const verbs = [...new Set(wholes.map(({ verb }) => verb))].sort().join(", ");
    const objects = [...new Set(wholes.map(({ object }) => object))].sort();
    const more = objects.length - MOST_TOLD;
    const told = objects.slice(0, MOST_TOLD).join(", ") + (more > 0 ? ` and ${more} more` : "");
    if (objects.length > 0)
      this.remarks.add(
        `${told} ${objects.length > 1 ? "are" : "is"} granted whole (${verbs}): the programs make names there that are new in each run and have nothing in common`,
      );
  }

  /** What is replaced by rename is another file each time: its directory is granted. */
  #replacements(paths: readonly Draft[], replaced: ReadonlySet<string>): void {
    for (const draft of paths) {
      if (!replaced.has(draft.object) || draft.rung === "directory") continue;
      const directory = directoryOf(draft.object);
      const why = protection(expanded(directory, this.#tokens), this.#tokens.HOME);
      if (why !== undefined) {
        this.remarks.add(
          `${draft.object} is replaced by rename and was granted by its name only, since ${why}: Landlock will refuse the new file`,
        );
        continue;
      }
      draft.object = `${directory === "/" ? "" : directory}/*`;
      draft.rung = "directory";
      draft.because = "replaced";
    }
  }

  #crowds(drafts: readonly Draft[]): void {
    const named = drafts.filter(({ verb, rung }) => rung !== "directory" && isPathVerb(verb));
    const groups = groupBy(named, ({ verb, object }) => `${verb} ${directoryOf(object)}`);
    for (const group of groups.values()) {
      const directory = directoryOf(group[0]?.object ?? "");
      if (group.length < this.#ladder.crowd) continue;
      if (protection(expanded(directory, this.#tokens), this.#tokens.HOME) !== undefined) continue;
      for (const draft of group) {
        draft.object = `${directory}/*`;
        draft.rung = "directory";
      }
    }
  }

  /**
   * Ports that the kernel chose, where a program of the tree bound to port 0, and those that a server of datagrams answers to:
   * clients seldom bind.
   */
  #ports(drafts: readonly Draft[]): void {
    const answers = drafts.some(({ verb, object }) => verb === "bind" && object.startsWith("udp:"));
    for (const draft of drafts) {
      const port = ephemeralPort(draft.object);
      if (port === undefined) continue;
      if (!this.#choosesPorts && !(answers && port.protocol === "udp")) continue;
      draft.object = `${port.head}*`;
      draft.rung = "sibling";
    }
  }

  /** Keys of System V that are others in each run: some come from files (ftok(3)) or are agreed upon, others are random. */
  #keys(drafts: readonly Draft[]): void {
    const groups = groupBy(drafts, ({ object }) => anyKeyOf(object) ?? "");
    for (const [object, group] of groups) {
      const runs = new Set(group.flatMap((draft) => [...draft.runs]));
      const own = group.filter((draft) => draft.runs.size === 1);
      const withOwn = new Set(own.flatMap((draft) => [...draft.runs]));
      if (object === "" || runs.size < 2 || withOwn.size < runs.size) continue;
      for (const draft of own) {
        draft.object = object;
        draft.rung = "sibling";
      }
      this.remarks.add(`${object} is granted with any key: the programs use others in each run`);
    }
  }
}

/** How far up a pattern of names is: all names of a directory are no siblings any more. */
export function rungOf(object: string): Rung {
  return object.endsWith("/*") ? "directory" : "sibling";
}

/** Why a pattern may not stand where it does; undefined when it may. */
export function mayStand(object: string, tokens: Tokens): string | undefined {
  const plain = expanded(object, tokens).replace(/^unix:/, "");
  const at = plain.indexOf("*");
  return protection(directoryOf(at < 0 ? plain : plain.slice(0, at + 1)), tokens.HOME);
}

/** Whether what was done makes a name. */
export function makesName({ verb }: Pick<Draft, "verb">): boolean {
  return verb === "create" || verb === "rename";
}

/** Drafts of one verb and object as one. */
function merged(drafts: readonly Draft[]): Draft[] {
  const found = new Map<string, Draft>();
  for (const draft of drafts) {
    const key = `${draft.verb} ${draft.object}`;
    const known = found.get(key);
    if (known === undefined) found.set(key, draft);
    else {
      known.count += draft.count;
      known.phases |= draft.phases;
      for (const run of draft.runs) known.runs.add(run);
      for (const object of draft.used ?? []) known.used?.add(object);
      known.because ??= draft.because;
    }
  }
  return [...found.values()];
}
