/**
 * What the names of both traces are called. A name that both traces have is itself, whatever it looks like; only what one
 * of them has alone is asked whether a rule explains it. So no rule can hide that a fixed name has changed into another.
 */

import type { FdObject } from "../../trace/batch.js";
import type { Places } from "../places.js";
import type { RuleSet } from "../rules.js";
import { HashIndex } from "./columns.js";
import { mixed, mixed2, textHash } from "./hash.js";
import { NameKind } from "./names.js";
import { chosenPort } from "./ports.js";
import { CanonicalTexts, UUID } from "./texts.js";
import type { CanonicalTrace } from "./trace.js";

/** Names of one trace, settled. */
export interface SettledNames {
  /** Hash of each name. */
  readonly hash: Float64Array;
  /** What stands for a name where that is not its text. */
  readonly stands: ReadonlyMap<number, string>;
  readonly texts: CanonicalTexts;
}

interface Side {
  readonly canon: CanonicalTrace;
  readonly texts: CanonicalTexts;
  readonly pids: ReadonlySet<string>;
  readonly places: Places | undefined;
  /** Paths by number of the name, as the first trace would call them. */
  readonly mapped: Map<number, string>;
  /** Hash of each such path. */
  readonly hash: Float64Array;
  readonly known: HashIndex;
  /** Directories of all paths, and theirs. */
  readonly folders: Folders;
}

export interface PathNames {
  readonly a: SettledNames;
  readonly b: SettledNames;
}

/** Settles paths and texts. Objects and processes come later (`settleRest`): those need to know which processes are the same. */
export function settlePaths(
  a: CanonicalTrace,
  b: CanonicalTrace,
  places: Places,
  rules: RuleSet,
): PathNames {
  const one = sideOf(a, undefined, rules);
  const other = sideOf(b, places, rules);
  const fixed = new FixedWords(one, other);
  const skeletons = [one, other].map((side, k) =>
    skeletonsOf(side, k === 0 ? other : one, fixed, rules),
  );
  const others = new Set(skeletons[1]?.values());
  const both = new Set([...(skeletons[0]?.values() ?? [])].filter((text) => others.has(text)));
  return {
    a: settled(one, skeletons[0] ?? new Map(), both),
    b: settled(other, skeletons[1] ?? new Map(), both),
  };
}

function sideOf(canon: CanonicalTrace, places: Places | undefined, rules: RuleSet): Side {
  const pids = new Set<string>();
  for (const { tid, pid } of canon.trace.threads) pids.add(String(tid)).add(String(pid));
  const { startSeconds: from, duration } = canon.trace;
  const to = from + Math.ceil(duration / 1e9);
  const texts = new CanonicalTexts({
    ...{ rules, places, pids, ports: portsOf(canon), ids: canon.ids },
    ...{ from, to },
  });
  const mapped = new Map<number, string>();
  const { names } = canon;
  const hash = names.textHash.view().slice();
  const known = new HashIndex(names.count);
  const folders = new Folders();
  for (let name = 1; name < names.count; name++) {
    if (names.kind.at(name) !== NameKind.Path) continue;
    const text = names.text(name);
    const other = places === undefined ? text : places.text(text);
    if (other !== text) {
      mapped.set(name, other);
      hash[name] = textHash(other);
    }
    known.set(hash[name] as number, name);
    folders.add(other);
  }
  return { canon, texts, pids, places, mapped, hash, known, folders };
}

/** Whether the path is one of a directory, which ends with a slash, and of none below it. */
function isDirectlyIn(path: string, folder: string): boolean {
  return path.startsWith(folder) && path.indexOf("/", folder.length) < 0;
}

/** Directories of paths, and theirs. */
class Folders {
  readonly #known = new HashIndex();
  /** Of the path that was added last, with its slash: the next is often in the same. */
  #last = "/";

  add(path: string): void {
    if (isDirectlyIn(path, this.#last)) return;
    let end = path.lastIndexOf("/");
    this.#last = path.slice(0, end + 1);
    for (; end > 0; end = path.lastIndexOf("/", end - 1)) {
      const hash = textHash(path.slice(0, end));
      if (this.#known.get(hash) >= 0) return;
      this.#known.set(hash, 0);
    }
  }

  has(hash: number): boolean {
    return this.#known.get(hash) >= 0;
  }
}

/** Ports that addresses of the trace name and that are in the range from which the kernel chooses. */
function portsOf({ names, ports: told }: CanonicalTrace): Set<string> {
  const ports = new Set(told);
  for (let name = 1; name < names.count; name++) {
    if (names.kind.at(name) !== NameKind.Text) continue;
    const port = chosenPort(names.text(name));
    if (port !== undefined) ports.add(port);
  }
  return ports;
}

function pathOf({ canon, mapped }: Side, name: number): string {
  return mapped.get(name) ?? canon.names.text(name);
}

/** For each path that this trace has alone and that a rule may explain: what would stand for it. */
function skeletonsOf(
  side: Side,
  other: Side,
  fixed: FixedWords,
  rules: RuleSet,
): Map<number, string> {
  const found = new Map<number, string>();
  const { names } = side.canon;
  const made = new Set([...names.made].map((name) => pathOf(side, name)));
  const bound = new Set([...names.bound].map((name) => pathOf(side, name)));
  for (let name = 1; name < names.count; name++) {
    if (names.kind.at(name) !== NameKind.Path) continue;
    if (other.known.get(side.hash[name] as number) >= 0) continue;
    const path = pathOf(side, name);
    const { texts, pids } = side;
    const skeleton = skeletonOf(path, { made, bound, pids, texts, fixed, other, rules });
    if (skeleton !== path) found.set(name, skeleton);
  }
  return found;
}

interface SkeletonFacts {
  readonly made: ReadonlySet<string>;
  readonly bound: ReadonlySet<string>;
  readonly pids: ReadonlySet<string>;
  readonly texts: CanonicalTexts;
  readonly fixed: FixedWords;
  readonly other: Side;
  readonly rules: RuleSet;
}

/** Words of names, with what is hyphened to them. */
const WORD = /[A-Za-z0-9_-]+/g;
/** What may be random in them. */
const RUN = /[A-Za-z0-9_]{6,}/g;

/**
 * Words with digits in names that both traces have: `poly1305` and `cpython-311` are what they are, also in other names, and in
 * a trace with a process 1305.
 */
class FixedWords {
  readonly #one: Side;
  readonly #other: Side;
  #words: Set<string> | undefined;
  #runs: Set<string> | undefined;

  constructor(one: Side, other: Side) {
    this.#one = one;
    this.#other = other;
  }

  /** Looks through all names when it is asked first: two runs that did the same never ask. */
  has(word: string): boolean {
    this.#words ??= this.#find();
    return this.#words.has(word);
  }

  /** Whether both have it in a name that only one of them has: below a directory with a random name `python` is what it is. */
  isInBoth(run: string): boolean {
    this.#runs ??= this.#findRuns();
    return this.#runs.has(run);
  }

  #findRuns(): Set<string> {
    const one = runsOf(this.#one, this.#other);
    const other = runsOf(this.#other, this.#one);
    return new Set([...one].filter((run) => other.has(run)));
  }

  #find(): Set<string> {
    const fixed = new Set<string>();
    const { names } = this.#one.canon;
    let folder = "/";
    for (let name = 1; name < names.count; name++) {
      if (names.kind.at(name) !== NameKind.Path) continue;
      const path = pathOf(this.#one, name);
      // The words of the directory have been looked at with a path before.
      const from = path.startsWith(folder) ? folder.length : 0;
      if (!hasDigit(path, from)) continue;
      if (this.#other.known.get(this.#one.hash[name] as number) < 0) continue;
      if (!isDirectlyIn(path, folder)) folder = path.slice(0, path.lastIndexOf("/") + 1);
      for (const word of path.slice(from).match(WORD) ?? []) {
        if (/\d/.test(word) && /[A-Za-z]/.test(word)) fixed.add(word);
      }
    }
    return fixed;
  }
}

/** Runs of letters and digits in the names that the other trace does not have. */
function runsOf(side: Side, other: Side): Set<string> {
  const found = new Set<string>();
  const { names } = side.canon;
  for (let name = 1; name < names.count; name++) {
    if (names.kind.at(name) !== NameKind.Path) continue;
    if (other.known.get(side.hash[name] as number) >= 0) continue;
    for (const run of pathOf(side, name).match(RUN) ?? []) found.add(run);
  }
  return found;
}

function hasDigit(text: string, from: number): boolean {
  for (let at = from; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0x30 && unit <= 0x39) return true;
  }
  return false;
}

const TEMPORARY_PLACES = /^(?:\/tmp|\/var\/tmp|\/dev\/shm|\/run|\/var\/run)\//;
const TEMPORARY_WORD = /tmp|temp/i;

/** The path with its random and numbered parts replaced. */
function skeletonOf(
  path: string,
  { made, bound, pids, texts, fixed, other, rules }: SkeletonFacts,
): string {
  const parts = path.split("/");
  let prefix = "";
  for (let k = 1; k < parts.length; k++) {
    const part = parts[k] ?? "";
    prefix += `/${part}`;
    // A directory that both traces have is fixed, whatever it looks like.
    if (k < parts.length - 1 && isKnown(other, prefix)) continue;
    const isMade = made.has(prefix);
    const isTemporary = TEMPORARY_PLACES.test(path) || TEMPORARY_WORD.test(part);
    const isNew = isMade || bound.has(prefix);
    const mayBeRandom = rules.has("temp-names") && (isNew || isTemporary);
    if (mayBeRandom && /^#\d+$/.test(part)) {
      parts[k] = "<temp>";
      continue;
    }
    const timeless = rules.has("times") ? texts.name(part) : part;
    const known = mayBeRandom ? timeless.replace(UUID, "<temp>") : timeless;
    parts[k] = known.replace(WORD, (word) => {
      if (fixed.has(word)) return word;
      const named = rules.has("pids")
        ? word.replace(/\d{2,}/g, (n) => (pids.has(n) ? "<pid>" : n))
        : word;
      return mayBeRandom ? withoutRandom(named, isMade && isTemporary, fixed) : named;
    });
  }
  return parts.join("/");
}

function isKnown({ known, folders }: Side, path: string): boolean {
  const hash = textHash(path);
  return known.get(hash) >= 0 || folders.has(hash);
}

/** `ccgqGEZC.s` is `<temp>.s`. `sure`: what is made new among temporary files may also look like a word. */
function withoutRandom(name: string, sure: boolean, fixed: FixedWords): string {
  return name.replace(RUN, (run) =>
    (sure || isRandom(run)) && !fixed.isInBoth(run) ? "<temp>" : run,
  );
}

function isRandom(run: string): boolean {
  // A word that is numbered is none: socket0, worker12.
  if (/\d/.test(run) && /[A-Za-z]/.test(run) && !/^[A-Za-z_]+\d{1,3}$/.test(run)) return true;
  if (/^\d+$/.test(run)) return true;
  // Upper case behind lower case more often than in CamelCase.
  return (
    (run.match(/[a-z][A-Z]|[A-Z]{2}[a-z]/g) ?? []).length >= 2 ||
    /^[a-z]+[A-Z]+[a-z]*[A-Z]/.test(run)
  );
}

function settled(
  side: Side,
  skeletons: ReadonlyMap<number, string>,
  both: ReadonlySet<string>,
): SettledNames {
  const { names } = side.canon;
  const hash = new Float64Array(names.count);
  const stands = new Map<number, string>();
  const temporary = new Map<string, string>();
  for (let name = 1; name < names.count; name++) {
    const kind = names.kind.at(name);
    if (kind !== NameKind.Path && kind !== NameKind.Text && kind !== NameKind.Inherited) continue;
    if (kind === NameKind.Path && !side.mapped.has(name) && !skeletons.has(name)) {
      hash[name] = mixed2(NameKind.Path, side.hash[name] as number);
      continue;
    }
    let text = kind === NameKind.Path ? pathOf(side, name) : names.text(name);
    const skeleton = skeletons.get(name);
    if (skeleton !== undefined && both.has(skeleton)) {
      if (!/<pid>/.test(skeleton)) temporary.set(text, skeleton);
      text = skeleton;
    }
    if (kind === NameKind.Text) text = side.texts.words(text);
    if (text !== names.text(name)) stands.set(name, text);
    const isAsItWas = kind === NameKind.Path && skeletons.get(name) !== text;
    const own = isAsItWas ? (side.hash[name] as number) : textHash(text);
    hash[name] = mixed2(kind === NameKind.Text ? NameKind.Text : NameKind.Path, own);
  }
  side.texts.temporary = temporary;
  return { hash, stands, texts: side.texts };
}

/** `pipe`, `socket TCP`, `anon_inode:[inotify]`. */
export function kindText(object: FdObject | undefined): string {
  if (object === undefined) return "?";
  const { kind, path, detail } = object;
  return kind === "anon" ? path : `${kind} ${detail.replace(/[[ ].*/, "")}`.trimEnd();
}

/**
 * Settles objects without paths, processes and pairs of names. `pairOf` gives the number that a process has in both traces, and
 * whether it has several threads.
 */
export function settleRest(
  canon: CanonicalTrace,
  { hash }: SettledNames,
  pairOf: (process: number) => { readonly pair: number; readonly threads: boolean },
): void {
  const { names, origins, trace } = canon;
  for (let name = 1; name < names.count; name++) {
    const kind = names.kind.at(name);
    if (kind === NameKind.Pair) {
      hash[name] = mixed2(hash[names.x.at(name)] ?? 0, hash[names.y.at(name)] ?? 0);
    } else if (kind === NameKind.Task) {
      const thread = trace.threads[names.x.at(name)];
      hash[name] = mixed(NameKind.Task, pairOf(thread?.process ?? 0).pair + 1, 0);
    } else if (kind === NameKind.Object) {
      const index = names.x.at(name);
      const object = trace.objects[index];
      const what = textHash(kindText(object));
      const origin = origins.get(index);
      if (origin === undefined) {
        hash[name] = mixed(NameKind.Object, what);
        continue;
      }
      const { pair, threads } = pairOf(origin.process);
      const ordinal = threads || object?.kind === "socket" ? 0 : origin.ordinal;
      hash[name] = mixed(NameKind.Object, what, pair + 1, ordinal);
    }
  }
}
