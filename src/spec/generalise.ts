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

import { readdirSync } from "node:fs";
import type { Observed } from "./collect.js";
import { PID_MARK } from "./collect.js";
import { type Grant, PATH_VERBS, type Reason, type Rung, type Spec, type Verb } from "./model.js";
import { literalPath, PathPattern, plainPath } from "./object.js";
import { directoryOf, protection } from "./places.js";
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
const UNWRITABLE = /[\n\uFFFD]+/g;

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

export function isPathVerb(verb: string): boolean {
  return PATH_VERBS.has(verb) || verb.startsWith("ioctl:");
}

/** What was made up at run time in a name: uuids, dates with or without a time, hashes, long numbers. */
const MADE_UP: readonly RegExp[] = [
  /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g,
  /(?<!\d)\d{4}-\d\d-\d\d(?:[T_ .-]?\d\d[:._h-]?\d\d(?:[:._m-]?\d\d(?:[.,_]\d{1,9})?)?Z?)?(?!\d)/g,
  /[0-9a-f]{16,}/g,
  // Shorter ones hold letters and digits, and stand alone.
  /(?<![0-9A-Za-z])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}(?![0-9A-Za-z])/g,
  // In base 36, with digits here and there.
  /(?<![0-9A-Za-z])(?=(?:[a-z]*\d+[a-z]+){3})[0-9a-z]{20,}(?![0-9A-Za-z])/g,
  /(?<!\d)\d{5,}/g,
];

/** mkstemp(3) and its like: the last six characters of the stem are random. Shorter endings are tried first. */
const RANDOM_TAILS: readonly RegExp[] = [0, 1, 2].map(
  (endings) => new RegExp(`^(.*?)([A-Za-z0-9_]{6})((?:\\.[A-Za-z0-9]{1,8}){${endings}})$`),
);

/** `name.tmp1a2b3`, which is renamed to `name` when it is whole. */
const TEMPORARY_TAIL = /^(.*[._-](?:tmp|TMP|temp)[._-]?)[A-Za-z0-9]*\d[A-Za-z0-9]*$/;

/** gcc: six random letters and digits behind `cc`, whatever words they look like. */
const GCC_NAME = /^cc[A-Za-z0-9]{6}((?:\.[A-Za-z0-9_]{1,8}){1,3})$/;

/** tempfile of python: eight small letters, digits and underscores behind the prefix. */
const PYTHON_TAIL = /^(|.*[-._])([a-z0-9_]{8})((?:\.[A-Za-z0-9]{1,8}){0,2})$/;

/** Directories for what is made and removed again. */
const SCRATCH = /^(?:\$TMP|\/tmp|\/var\/tmp|\/dev\/shm)(?:\/|$)/;

/**
 * The name with its made-up parts as `*`; undefined when it shows none. `isTemporary`: the programs have made it; `isScratch`:
 * in a directory for temporary files.
 */
export function siblingName(
  name: string,
  isTemporary: boolean,
  isScratch = false,
): string | undefined {
  const gcc = isTemporary && isScratch ? GCC_NAME.exec(name) : null;
  if (gcc !== null) return `cc*${gcc[1]}`;
  const general = MADE_UP.reduce((text, form) => text.replace(form, "*"), name);
  if (general !== name) {
    // `x-1305hl4vv4hi`: of a name that was made, what stands next to the number may be random as well.
    const plain = asOne(
      general.replace(/\*([A-Za-z0-9_]{6,})(?![A-Za-z0-9_])/g, (whole, rest: string) =>
        isTemporary && looksRandom(rest, isScratch) ? "*" : whole,
      ),
    );
    // `rb20261127-27887-q1qamy`: there may be random letters behind.
    return (isTemporary ? siblingName(plain, true, isScratch) : undefined) ?? plain;
  }
  if (/^[0-9a-f]{2}$/.test(name) && isTemporary) return "*";
  if (!isTemporary) return undefined;
  const python = isScratch ? PYTHON_TAIL.exec(name) : null;
  // Words with a number at their end are no such names.
  if (python !== null && /\d[a-z]/.test(python[2] ?? "")) return asOne(`${python[1]}*${python[3]}`);
  const temporary = TEMPORARY_TAIL.exec(name);
  if (temporary !== null) return asOne(`${temporary[1]}*`);
  const found = RANDOM_TAILS.map((form) => form.exec(name)).find(
    (found) => found !== null && (looksRandom(found[2] ?? "", isScratch) || name.startsWith("tmp")),
  );
  if (found === undefined || found === null) return undefined;
  const [, head = "", , end = ""] = found;
  // gcc and python put fixed letters in front of random ones. Longer random names reach into the head.
  const fixed =
    /^(?:cc|tmp)/.exec(name)?.[0] ??
    (looksRandom(head, isScratch) ? head.replace(/[A-Za-z0-9_]+$/, "") : head);
  return asOne(`${fixed}*${end}`);
}

/** Wildcards that stand side by side as one. */
function asOne(name: string): string {
  return name.replace(/(?<!\\)\*{2,}/g, "*");
}

/**
 * Letters of both cases mixed within, or letters and digits. A word with a number at its end is not; nor are several,
 * `likeThis_one2`, but among temporary files.
 */
function looksRandom(text: string, isScratch: boolean): boolean {
  const classes = [/[a-z]/, /[A-Z]/, /[0-9]/].filter((one) => one.test(text)).length;
  const word = isScratch ? /^[A-Z]?[a-z]+\d*$/ : /^[A-Za-z]?[a-z]*(?:[A-Z_][a-z]{2,})*_?\d*$/;
  return classes >= 2 && !word.test(text);
}

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
    const renames = this.#names(paths, made);
    this.#acrossRuns(paths, made, renames);
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
    return roles.map(merged);
  }

  /** Objects of made-up names, with the object that stands for all of their form. */
  #names(paths: readonly Draft[], made: ReadonlySet<string>): Map<string, string> {
    const found = new Map<string, string>();
    if (this.#ladder.highest === "literal" || this.#ladder.highest === "token") return found;
    for (const { object } of paths) {
      if (found.has(object) || isPattern(object)) continue;
      // A directory that the programs made is as new in each run as a file.
      const general = this.#changed(object, (name, path, directory) =>
        made.has(path) ? madeName(name, directory) : undefined,
      );
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

  /**
   * Objects that some runs have and others have not, when they differ from one of another run in one or two names. What was
   * found in `renames` to be made up is compared as well: there may be more to it than shows in one run.
   */
  #acrossRuns(
    paths: readonly Draft[],
    made: ReadonlySet<string>,
    renames: Map<string, string>,
  ): void {
    if (this.#runs < 2 || this.#ladder.highest === "literal" || this.#ladder.highest === "token")
      return;
    const lonely = seenInSome(paths, renames, this.#runs, (object) => this.#stampless(object));
    const rootOf = (one: Lonely) => {
      const parts = one.object.split("/");
      return [one.verb, parts.length, ...parts.slice(0, rootLength(parts))].join(" ");
    };
    for (const group of groupBy(lonely, rootOf)) {
      if (group.length <= MAX_GROUP) pairUp(group, made, renames);
      else
        for (const part of groupBy(group, ({ verb, object }) => `${verb} ${directoryOf(object)}`))
          if (part.length <= MAX_GROUP) pairUp(part, made, renames);
    }
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
    const groups = new Map<string, Draft[]>();
    for (const draft of drafts) {
      if (draft.rung === "directory" || !isPathVerb(draft.verb)) continue;
      const key = `${draft.verb} ${directoryOf(draft.object)}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [draft]);
      else group.push(draft);
    }
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
}

/** How far up a pattern of names is: all names of a directory are no siblings any more. */
function rungOf(object: string): Rung {
  return object.endsWith("/*") ? "directory" : "sibling";
}

/** How many directories a remark names. */
const MOST_TOLD = 3;

/** First port that Linux gives out by itself (ip(7), ip_local_port_range). */
const FIRST_EPHEMERAL = 32768;
/** Larger groups would take long to compare, and are no few names that differ. */
const MAX_GROUP = 512;

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

  /** `grants`: of the spec that is to be completed. */
  constructor(tokens: Tokens, grants: readonly Pick<Draft, "verb" | "object">[]) {
    this.#tokens = tokens;
    this.#choosesPorts = grants.some(choosesPort);
    this.#forms = grants
      .filter(
        (grant) => makesName(grant) && isPattern(grant.object) && !/\/\*+$/.test(grant.object),
      )
      .map(({ object }) => ({ object, pattern: new PathPattern(expanded(object, tokens)) }));
    const plain = grants.filter((grant) => makesName(grant) && !isPattern(grant.object));
    this.#before = new Map(
      groupBy(plain, ({ object }) => directoryOf(object)).map((own) => [
        directoryOf(own[0]?.object ?? ""),
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
      this.#made.set(object, this.#formOf(object, makesName(grant)));
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

/** A grant that would do, with its rung where it allows more than was asked for, and the names that are there which it takes in. */
export interface Proposal extends Pick<Grant, "verb" | "object" | "rung" | "adds"> {
  /** What a name that is new in each run would need, and why that is not proposed. */
  readonly beyond?: string;
}

/** What programs do with files that they have made. */
const OF_MADE: ReadonlySet<Verb> = new Set<Verb>(["write", "delete", "chmeta"]);

/** Whether what was done makes a name. */
export function makesName({ verb }: Pick<Draft, "verb">): boolean {
  return verb === "create" || verb === "rename";
}

function choosesPort({ verb, object }: Pick<Draft, "verb" | "object">): boolean {
  return verb === "bind" && object.endsWith(":0");
}

/** An address with a port that the kernel may have chosen: what stands before it. */
function ephemeralPort(object: string): { head: string; protocol: string } | undefined {
  const found = /^((tcp|udp):.*:)(\d+)$/.exec(object);
  if (found === null || Number(found[3]) < FIRST_EPHEMERAL) return undefined;
  return { head: found[1] ?? "", protocol: found[2] ?? "" };
}

/** An object whose names are changed, but for the first one, where `change` says how. */
function changedNames(
  object: string,
  change: (name: string, path: string, directory: string) => string | undefined,
): string {
  const parts = object.split("/");
  const changed = parts.map((name, k) =>
    k === 0
      ? name
      : (change(name, parts.slice(0, k + 1).join("/"), parts.slice(0, k).join("/")) ?? name),
  );
  return changed.join("/");
}

/** The form of a name that a program has made; undefined when nothing in it is made up. */
function madeName(name: string, directory: string): string | undefined {
  return siblingName(name, true, SCRATCH.test(directory));
}

/** Whether an object has a name that looks made up, of those that the programs have made. */
export function isMadeUp(object: string, made: ReadonlySet<string>): boolean {
  const general = changedNames(object, (name, path, directory) =>
    made.has(path) ? madeName(name, directory) : undefined,
  );
  return general !== object;
}

/** Why a pattern may not stand where it does; undefined when it may. */
function mayStand(object: string, tokens: Tokens): string | undefined {
  const plain = expanded(object, tokens).replace(/^unix:/, "");
  const at = plain.indexOf("*");
  return protection(directoryOf(at < 0 ? plain : plain.slice(0, at + 1)), tokens.HOME);
}

function isPattern(object: string): boolean {
  return /(?<!\\)\*/.test(object);
}

/** Whether it stands for several names, of which some hold the number of a process. */
function isForm(object: string): boolean {
  return isPattern(object) || /(?<!\\)@\{pid\}/.test(object);
}

/** Parts of a path that are no names of runs: those of the root directory, or a token, which is a directory. */
function rootLength(parts: readonly string[]): number {
  return /^(?:unix:)?$/.test(parts[0] ?? "") ? 2 : 1;
}

function groupBy<T>(all: readonly T[], keyOf: (one: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return [...groups.values()];
}

/** A draft of an object that not all runs have, and what is known of its form. */
interface Lonely extends Pick<Draft, "verb" | "object" | "runs"> {
  readonly general: string;
  /** As far as it is certain. */
  readonly stampless: string;
}

/** Those that not all runs have, by the general object where there is one. */
function seenInSome(
  paths: readonly Draft[],
  renames: ReadonlyMap<string, string>,
  runs: number,
  stamplessOf: (object: string) => string,
): Lonely[] {
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
function pairUp(
  group: readonly Lonely[],
  made: ReadonlySet<string>,
  renames: Map<string, string>,
): void {
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

/** That of them which says most. */
function longest(forms: readonly (string | undefined)[]): string | undefined {
  const plain = (form: string) => form.replaceAll("*", "").length;
  return forms.reduce<string | undefined>(
    (best, form) =>
      form !== undefined && (best === undefined || plain(form) > plain(best)) ? form : best,
    undefined,
  );
}

function disjoint(one: ReadonlySet<number>, other: ReadonlySet<number>): boolean {
  for (const run of one) if (other.has(run)) return false;
  return true;
}

/**
 * The form of two objects that differ in at most two names; undefined when they have none. `isMade`: both were made in a
 * directory for temporary files.
 */
export function commonForm(one: string, other: string, isMade = false): string | undefined {
  const left = one.split("/");
  const right = other.split("/");
  if (left.length !== right.length || one === other) return undefined;
  const names = rootLength(left);
  let differences = 0;
  const parts: string[] = [];
  for (let k = 0; k < left.length; k++) {
    const a = left[k] ?? "";
    const b = right[k] ?? "";
    if (a === b) parts.push(a);
    else {
      differences++;
      if (differences > 2 || k < names) return undefined;
      const name = commonName(a, b, isMade);
      if (name === undefined) return undefined;
      parts.push(name);
    }
  }
  return parts.join("/");
}

/** Names of about one length, and with digits or mixed letters where they differ. */
function commonName(a: string, b: string, isMade: boolean): string | undefined {
  if (Math.abs(a.length - b.length) > 2) return undefined;
  const [head, tail] = commonEnds(a, b);
  const middles = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  if (middles.some((text) => /\.[a-z]|[\\*]/.test(text))) return undefined;
  const isLong = middles.every((text) => text.length >= 6);
  const hasFrame = isLong && (head + tail > 0 || (isMade && a.length === b.length));
  const isRandom = middles.every(
    (text) => /\d|[A-Z]/.test(text) || /^[0-9a-f]{2,}$/.test(text) || hasFrame,
  );
  if (!isRandom) return undefined;
  return asOne(`${a.slice(0, head)}*${a.slice(a.length - tail)}`);
}

/** Lengths of what two names begin and end with alike. What two numbers share by chance does not count. */
function commonEnds(a: string, b: string): [head: number, tail: number] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  const most = Math.min(a.length, b.length) - head;
  while (tail < most && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const isHexadecimal = [a, b].every((name) => {
    const word = wordAround(name, head, name.length - tail);
    return /^[0-9a-f]+$/.test(word) && /\d/.test(word);
  });
  const [before, behind] = isHexadecimal ? [/[0-9a-f]*$/, /^[0-9a-f]*/] : [/\d*$/, /^\d*/];
  const differ = (at: (name: string) => string | undefined) =>
    isHexadecimal || /\d/.test(`${at(a) ?? ""}${at(b) ?? ""}`);
  const first = (name: string) => name.slice(head, name.length - tail)[0];
  const last = (name: string) => name.slice(head, name.length - tail).at(-1);
  const chance = [
    differ(first) ? (before.exec(a.slice(0, head))?.[0].length ?? 0) : 0,
    differ(last) ? (behind.exec(a.slice(a.length - tail))?.[0].length ?? 0) : 0,
  ] as const;
  const random = chanceInWord(a, b, head, tail);
  return [head - Math.max(chance[0], random[0]), tail - Math.max(chance[1], random[1])];
}

/**
 * How many letters and digits two random words of one length begin and end with alike by chance: few, next to four or more that
 * differ. Letters at the beginning are mostly meant.
 */
function chanceInWord(a: string, b: string, head: number, tail: number): [number, number] {
  const own = [a, b].map((name) => name.slice(head, name.length - tail));
  const before = /[0-9A-Za-z]*$/.exec(a.slice(0, head))?.[0] ?? "";
  const behind = /^[0-9A-Za-z]*/.exec(a.slice(a.length - tail))?.[0] ?? "";
  const isRandom = (edge: RegExp, shared: string) => {
    const words = own.map((text) => edge.exec(text)?.[0] ?? "");
    return (
      words.every((word) => word.length >= 4 && word.length === words[0]?.length) &&
      words.every((word) => /\d/.test(word + shared) && /[A-Za-z]/.test(word + shared))
    );
  };
  const isChance = /^(?:\d.?|.\d)$/;
  const hasTail = isChance.test(behind) || behind.length === 1;
  const isOneWord = own.every((text) => /^[0-9A-Za-z]*$/.test(text));
  const around = isOneWord ? before + behind : "";
  // Of words of letters one at an end is alike in every thirteenth pair.
  if (own.every((text) => /^[A-Za-z]{5,}$/.test(text)) && own[0]?.length === own[1]?.length)
    return [before.length === 1 ? 1 : 0, behind.length === 1 ? 1 : 0];
  return [
    isChance.test(before) && isRandom(/^[0-9A-Za-z]*/, before + around) ? before.length : 0,
    hasTail && isRandom(/[0-9A-Za-z]*$/, behind + around) ? behind.length : 0,
  ];
}

/** The letters and digits from `from` to `to`, and those next to them. */
function wordAround(name: string, from: number, to: number): string {
  const before = /[0-9A-Za-z]*$/.exec(name.slice(0, from))?.[0] ?? "";
  const behind = /^[0-9A-Za-z]*/.exec(name.slice(to))?.[0] ?? "";
  return before + name.slice(from, to) + behind;
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

/** Largest directory that is listed to count what a pattern adds. */
const MAX_LISTED = 100_000;

/** How many names that exist now match the object and are none of the objects that were used. Only for patterns in one directory. */
export function namesAdded(object: string, used: ReadonlySet<string>): number | undefined {
  const directory = directoryOf(object);
  if (isPattern(directory) || !directory.startsWith("/")) return undefined;
  try {
    const pattern = new PathPattern(object);
    const names = readdirSync(directory).slice(0, MAX_LISTED);
    const base = directory === "/" ? "" : directory;
    const forms = [...used].filter(isForm).map((form) => new PathPattern(form));
    const paths = names.map((name) => `${base}/${name}`).filter((path) => pattern.matches(path));
    return paths.filter(
      (path) => !used.has(literalPath(path)) && !forms.some((form) => form.matches(path)),
    ).length;
  } catch {
    return undefined;
  }
}
