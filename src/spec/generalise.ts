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
import { PATH_VERBS, type Reason, type Rung, type Verb } from "./model.js";
import { PathPattern } from "./object.js";
import { directoryOf, protection } from "./places.js";
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
}

export interface Ladder {
  /** The highest rung that may be climbed without a need. */
  readonly highest: Rung;
  /** Used names of one directory from which on the directory is granted, when `highest` is `directory`. */
  readonly crowd: number;
}

export const DEFAULT_LADDER: Ladder = { highest: "sibling", crowd: 24 };

/** The object of a plain access, as far up as tokens go. */
export function firstRung(
  { verb, object }: Pick<Observed, "verb" | "object">,
  tokens: Tokens,
): { object: string; rung: Rung } {
  const isUnix = object.startsWith("unix:/");
  if (!isPathVerb(verb) && !isUnix) return { object, rung: "literal" };
  const path = isUnix ? object.slice("unix:".length) : object;
  const scheme = isUnix ? "unix:" : "";
  const named = `${scheme}${tokenised(path, tokens)}`.replaceAll(PID_MARK, "@{pid}");
  const plainDevice = named.replace(/^\/dev\/pts\/\d+$/, "/dev/pts/*");
  if (plainDevice !== named) return { object: plainDevice, rung: "sibling" };
  const isToken = /^(?:unix:)?\$/.test(named) || named.includes("@{pid}");
  return { object: named, rung: isToken ? "token" : "literal" };
}

export function isPathVerb(verb: string): boolean {
  return PATH_VERBS.has(verb) || verb.startsWith("ioctl:");
}

/** A name that was made up at run time: six characters of mkstemp(3), hexadecimal hashes, uuids, long numbers. */
const MADE_UP: readonly RegExp[] = [
  /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/,
  /[0-9a-f]{16,}/,
  /(?<=^|[^0-9])[0-9]{5,}/,
];

/** mkstemp(3) and its like: the last six characters of the stem are random. */
const RANDOM_TAIL = /^(.*?)([A-Za-z0-9_]{6})((?:\.[A-Za-z0-9]{1,8}){0,2})$/;

/** The name with its made-up part as `*`; undefined when it shows none. */
export function siblingName(name: string, isTemporary: boolean): string | undefined {
  for (const form of MADE_UP) {
    if (form.test(name)) return name.replace(new RegExp(form, "g"), "*").replace(/\*+/g, "*");
  }
  if (/^[0-9a-f]{2}$/.test(name) && isTemporary) return "*";
  if (!isTemporary) return undefined;
  const found = RANDOM_TAIL.exec(name);
  if (found === null) return undefined;
  const [, head = "", tail = "", end = ""] = found;
  if (!looksRandom(tail) && !name.startsWith("tmp")) return undefined;
  // gcc and python put fixed letters in front of six and eight random ones. Longer random names reach into the head.
  const fixed =
    /^(?:cc|tmp)/.exec(name)?.[0] ??
    (looksRandom(head) ? head.replace(/[A-Za-z0-9_]+$/, "") : head);
  return `${fixed}*${end}`;
}

/** Letters of both cases mixed within, or letters and digits. */
function looksRandom(text: string): boolean {
  const classes = [/[a-z]/, /[A-Z]/, /[0-9]/].filter((one) => one.test(text)).length;
  return classes >= 2 && !/^[A-Z]?[a-z]+\d*$/.test(text);
}

/** One role's drafts, climbed. */
export class Climber {
  readonly #tokens: Tokens;
  readonly #ladder: Ladder;
  readonly #runs: number;
  readonly #choosesPorts: boolean;
  readonly remarks = new Set<string>();

  constructor(tokens: Tokens, ladder: Ladder, runs: number, choosesPorts: boolean) {
    this.#tokens = tokens;
    this.#ladder = ladder;
    this.#runs = runs;
    this.#choosesPorts = choosesPorts;
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
    const made = new Set(
      paths
        .filter(({ verb }) => verb === "create" || verb === "rename" || verb === "bind")
        .map(({ object }) => object),
    );
    const renames = this.#names(paths, made);
    this.#acrossRuns(paths, renames);
    for (const draft of paths) {
      const object = renames.get(draft.object);
      if (object !== undefined && this.#may(object)) {
        draft.object = object;
        draft.rung = "sibling";
      }
    }
    this.#replacements(paths, replaced);
    if (this.#ladder.highest === "directory") for (const own of roles) this.#crowds(own);
    this.#ports(drafts);
    return roles.map(merged);
  }

  /** Objects of made-up names, with the object that stands for all of their form. */
  #names(paths: readonly Draft[], made: ReadonlySet<string>): Map<string, string> {
    const found = new Map<string, string>();
    if (this.#ladder.highest === "literal" || this.#ladder.highest === "token") return found;
    for (const { object } of paths) {
      if (found.has(object) || isPattern(object)) continue;
      const parts = object.split("/");
      // A directory that the programs made is as new in each run as a file.
      const changed = parts.map((name, k) => {
        const path = parts.slice(0, k + 1).join("/");
        return made.has(path) && k > 0 ? (siblingName(name, true) ?? name) : name;
      });
      const general = changed.join("/");
      if (general !== object) found.set(object, general);
    }
    return found;
  }

  /** Objects that some runs have and others have not, when they differ from one of another run in one or two names. */
  #acrossRuns(paths: readonly Draft[], renames: Map<string, string>): void {
    if (this.#runs < 2 || this.#ladder.highest === "literal" || this.#ladder.highest === "token")
      return;
    const lonely = paths.filter(
      ({ runs, object }) => runs.size < this.#runs && !renames.has(object) && !isPattern(object),
    );
    const groups = new Map<string, Draft[]>();
    for (const draft of lonely) {
      const parts = draft.object.split("/");
      const key = `${draft.verb} ${parts.length} ${parts[0]} ${parts[1]}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [draft]);
      else group.push(draft);
    }
    for (const group of groups.values()) {
      if (group.length <= MAX_GROUP) this.#pairUp(group, renames);
    }
  }

  #pairUp(group: readonly Draft[], renames: Map<string, string>): void {
    for (const one of group) {
      const other = group.find(
        (candidate) =>
          candidate !== one &&
          disjoint(one.runs, candidate.runs) &&
          commonForm(one.object, candidate.object) !== undefined,
      );
      const form = other && commonForm(one.object, other.object);
      if (form !== undefined) renames.set(one.object, form);
    }
  }

  #may(object: string): boolean {
    const plain = expanded(object, this.#tokens).replace(/^unix:/, "");
    const at = plain.indexOf("*");
    const directory = directoryOf(at < 0 ? plain : plain.slice(0, at + 1));
    const why = protection(directory, this.#tokens.HOME);
    if (why === undefined) return true;
    this.remarks.add(
      `${object} was not generalised, since ${why}: later runs may ask for other names there`,
    );
    return false;
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

  /** Ports that the kernel chose, where a program of the tree bound to port 0. */
  #ports(drafts: readonly Draft[]): void {
    if (!this.#choosesPorts) return;
    for (const draft of drafts) {
      const found = /^((?:tcp|udp):.*:)(\d+)$/.exec(draft.object);
      if (found === null || Number(found[2]) < FIRST_EPHEMERAL) continue;
      draft.object = `${found[1]}*`;
      draft.rung = "sibling";
    }
  }
}

/** First port that Linux gives out by itself (ip(7), ip_local_port_range). */
const FIRST_EPHEMERAL = 32768;
/** Larger groups would take long to compare, and are no few names that differ. */
const MAX_GROUP = 512;

function isPattern(object: string): boolean {
  return /(?<!\\)\*/.test(object);
}

function disjoint(one: ReadonlySet<number>, other: ReadonlySet<number>): boolean {
  for (const run of one) if (other.has(run)) return false;
  return true;
}

/** The form of two objects that differ in at most two names; undefined when they have none. */
export function commonForm(one: string, other: string): string | undefined {
  const left = one.split("/");
  const right = other.split("/");
  if (left.length !== right.length || one === other) return undefined;
  let differences = 0;
  const parts: string[] = [];
  for (let k = 0; k < left.length; k++) {
    const a = left[k] ?? "";
    const b = right[k] ?? "";
    if (a === b) parts.push(a);
    else {
      differences++;
      if (differences > 2 || k <= 1) return undefined;
      const name = commonName(a, b);
      if (name === undefined) return undefined;
      parts.push(name);
    }
  }
  return parts.join("/");
}

/** Names of about one length, and with digits or mixed letters where they differ. */
function commonName(a: string, b: string): string | undefined {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  const most = Math.min(a.length, b.length) - head;
  while (tail < most && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const middles = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  if (Math.abs(a.length - b.length) > 2 || middles.some((text) => /\.[a-z]|\\/.test(text)))
    return undefined;
  const hasFrame = head + tail > 0 && middles.every((text) => text.length >= 6);
  const isRandom = middles.every(
    (text) => /\d|[A-Z]/.test(text) || /^[0-9a-f]{2,}$/.test(text) || hasFrame,
  );
  return isRandom ? `${a.slice(0, head)}*${tail === 0 ? "" : a.slice(-tail)}` : undefined;
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
      known.because ??= draft.because;
    }
  }
  return [...found.values()];
}

/** Largest directory that is listed to count what a pattern adds. */
const MAX_LISTED = 100_000;

/** How many names that exist now match the object, beyond those that were used. Only for patterns in one directory. */
export function namesAdded(object: string, used: number): number | undefined {
  const directory = directoryOf(object);
  if (isPattern(directory) || !directory.startsWith("/")) return undefined;
  try {
    const pattern = new PathPattern(object);
    const names = readdirSync(directory).slice(0, MAX_LISTED);
    const base = directory === "/" ? "" : directory;
    const matching = names.filter((name) => pattern.matches(`${base}/${name}`)).length;
    return Math.max(0, matching - used);
  } catch {
    return undefined;
  }
}
