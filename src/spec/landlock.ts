/**
 * Grants as a Landlock ruleset. Rules stand on files and directories that exist now: what the programs make anew is granted by the
 * directory that it comes to stand in, and of opens it is told which are held to the letter all the same.
 */

import { existsSync, lstatSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { callNumber } from "./calls.js";
import { canonical, isOfThisProcess } from "./canonical.js";
import {
  coversPath,
  literalPath,
  PathPattern,
  parseAddress,
  plainPath,
  subtreeOf,
} from "./object.js";
import type { FsRight, Policy, PolicyGrant, PolicyRole } from "./policy.js";

const READS: readonly FsRight[] = ["read_file"];

const MAKES: readonly FsRight[] = ["make_reg", "make_dir", "make_sym", "make_fifo"];

const REMOVES: readonly FsRight[] = ["remove_file", "remove_dir"];

/** Rights on the object itself, and on the directory that it stands in. */
const RIGHTS: Readonly<Record<string, { own?: readonly FsRight[]; parent?: readonly FsRight[] }>> =
  {
    read: { own: READS },
    write: { own: ["write_file", "truncate"] },
    exec: { own: ["execute", "read_file"] },
    list: { own: ["read_dir"] },
    create: { parent: MAKES },
    delete: { parent: REMOVES },
    rename: { parent: [...MAKES, ...REMOVES, "refer"] },
    bind: { parent: ["make_sock"] },
  };

/** How the end of what is made without a name is written, by `AccessReader` and files.rs. */
const NAMELESS = "/#tmpfile";

export function landlockOf(roles: readonly PolicyRole[]): Policy["landlock"] {
  const rules = new Map<string, Set<FsRight>>();
  const grants = roles.flatMap((role) => role.grants);
  const places = new Places(grants);
  const add = (path: string | undefined, rights: readonly FsRight[]) => {
    if (path === undefined) return;
    const known = rules.get(path) ?? new Set();
    for (const right of rights) known.add(right);
    rules.set(path, known);
  };
  const links = roles.some(({ calls }) =>
    ["link", "linkat"].some((name) => calls.includes(callNumber(name) ?? -1)),
  );
  for (const grant of grants) {
    const { verb } = grant;
    const path = pathOf(grant);
    if (path === undefined) continue;
    const rights = verb.startsWith("ioctl:") ? { own: ["ioctl_dev"] as const } : RIGHTS[verb];
    if (rights?.own !== undefined) add(places.own(grant, path), rights.own);
    if (rights?.parent !== undefined) add(places.parent(path), rights.parent);
    // A file without a name is one of its directory to Landlock, whatever is in it (O_TMPFILE).
    if (isNameless(grant)) add(places.parent(path), ["read_file", "write_file"]);
    // Links to another directory move rights between them.
    if (links && (verb === "create" || verb === "write")) add(places.parent(path), ["refer"]);
  }
  const connect = portsOf(grants, "connect");
  const bind = portsOf(grants, "bind");
  return {
    rules: [...rules].map(([path, rights]) => ({ path, rights: [...rights].sort() })),
    ...(connect && { connect }),
    ...(bind && { bind }),
    scopeAbstract: !grants.some(({ object }) => object.startsWith("unix:@")),
    scopeSignal: !grants.some(
      ({ verb, object }) => verb === "signal" && /^(?:any|outside)$/.test(object),
    ),
  };
}

function pathOf({ object }: PolicyGrant): string | undefined {
  const path = object.startsWith("unix:/") ? object.slice("unix:".length) : object;
  return path.startsWith("/") ? path : undefined;
}

function isNameless({ verb, object }: PolicyGrant): boolean {
  return verb === "create" && object.endsWith(NAMELESS);
}

/** Where the rules of grants stand: on files as they are now. What the programs make anew is granted by its directory. */
class Places {
  readonly #made: ReadonlySet<string>;
  readonly #makes: PathSet;
  readonly #leaves: PathSet;

  constructor(grants: readonly PolicyGrant[]) {
    this.#made = new Set(grants.filter(isAboutName).map(({ object }) => object));
    this.#makes = new PathSet([...this.#made]);
    this.#leaves = new PathSet(
      grants.filter(({ verb }) => /^(?:delete|rename)$/.test(verb)).map(({ object }) => object),
    );
  }

  /** For rights on the object itself; `path` is its path. */
  own({ object }: PolicyGrant, path: string): string | undefined {
    return this.#existing(placeOf(path, this.#made.has(object)));
  }

  /** For rights on the directory that it stands in. */
  parent(path: string): string | undefined {
    return this.#existing(placeOf(path, true));
  }

  /**
   * What is not there and is not made is not granted by what is there: its directory would give everything else in it. A directory
   * that is made and that may be removed can be another one later.
   */
  #existing(wanted: string): string | undefined {
    if (isOfThisProcess(wanted)) return undefined;
    let place = wanted;
    while (place !== "/") {
      const isAnother = isDirectory(place) && this.#makes.has(place) && this.#leaves.has(place);
      if (existsSync(place) && !isAnother) break;
      if (!this.#makes.has(place)) return undefined;
      place = dirname(place);
    }
    return place;
  }
}

/**
 * Whether Landlock lets a role open, remove or replace files that were not granted: all below the directory of one that is made or
 * removed, since rules stand on what is there already, and below that of a file without a name.
 */
export function reachesOthers({ grants }: PolicyRole): boolean {
  const places = new Places(grants);
  const known = new Map<string, boolean>();
  const isGranted = (verb: string, place: string) => {
    const key = `${verb} ${place}`;
    const tree = `${literalPath(place).replace(/\/$/, "")}/**`;
    const found =
      known.get(key) ??
      grants.some((grant) => grant.verb === verb && coversPath(grant.object, tree));
    known.set(key, found);
    return found;
  };
  return grants.some((grant) => {
    const { verb, object } = grant;
    if (isNameless(grant)) {
      const place = places.parent(object);
      return place !== undefined && !["read", "write"].every((one) => isGranted(one, place));
    }
    const plain = plainPath(object);
    if (plain === undefined || !(OPENS_FILES.has(verb) || isAboutName(grant))) return false;
    const place = isAboutName(grant) ? places.parent(object) : places.own(grant, object);
    return place !== undefined && place !== plain && !isGranted(verb, place);
  });
}

/** Whether the rule of a grant `DIR/*` gives what is in the directories that stand in it by now, and is not granted. */
export function opensBelow({ grants }: PolicyRole): boolean {
  return grants.some(({ verb, object }) => {
    const plain = object.endsWith("/*") ? plainPath(object.slice(0, -2)) : undefined;
    if (plain === undefined || RIGHTS[verb]?.own === undefined) return false;
    const isGranted = (name: string) => {
      const tree = `${literalPath(`${plain}/${name}`)}/**`;
      return grants.some((grant) => grant.verb === verb && coversPath(grant.object, tree));
    };
    return directoriesIn(plain === "" ? "/" : plain).some((name) => !isGranted(name));
  });
}

/** Names of the directories in one; none when it is not there, or keeps them to itself. */
function directoriesIn(directory: string): string[] {
  try {
    const all = readdirSync(directory, { withFileTypes: true });
    return all.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}

const OPENS_FILES: ReadonlySet<string> = new Set(["read", "write", "exec"]);

/** TCP ports; undefined when one grant allows any. */
function portsOf(grants: readonly PolicyGrant[], verb: string): number[] | undefined {
  const ports = new Set<number>();
  for (const { verb: own, object } of grants) {
    if (own !== verb || !object.startsWith("tcp:")) continue;
    const port = parseAddress(object)?.port;
    if (port === "*") return undefined;
    if (port !== undefined) ports.add(port);
  }
  return [...ports].sort((a, b) => a - b);
}

/**
 * The path that a Landlock rule has to stand on: the object itself, or the directory that holds all that a pattern matches.
 * `parent`: where it is made and removed.
 */
function placeOf(object: string, parent: boolean): string {
  const tree = subtreeOf(object);
  const plain = plainPath(tree ?? object);
  if (plain === undefined) return directoryOf(object);
  return parent && tree === undefined ? dirname(plain) : plain;
}

/** The part of a pattern before its first wildcard, up to a whole name. */
function directoryOf(object: string): string {
  const at = object.search(/(?<!\\)\*|@\{pid\}/);
  const fixed = at < 0 ? object : object.slice(0, at);
  return plainPath(fixed.slice(0, Math.max(1, fixed.lastIndexOf("/")))) ?? "/";
}

/** Whether it is about a name: what is called so is made, removed or gets another name. */
export function isAboutName({ verb }: PolicyGrant): boolean {
  return /^(?:create|delete|rename)$/.test(verb);
}

/** Whether the rule of a grant stands on a directory that holds more than was granted. */
export function holdsMore(verb: string, object: string): boolean {
  if (object.endsWith("/*")) return true;
  const plain = RIGHTS[verb]?.own === undefined ? undefined : plainPath(object);
  if (plain === undefined) return false;
  return isDirectory(plain);
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

export const NO_OPENS: Policy["opens"] = { reading: false, writing: false };

const OPENS_FOR_READING = /^(?:read|exec|list)$/;

const OPENS_FOR_WRITING = /^write$/;

/**
 * Which opens Landlock holds to the letter: there is one role, with the same grants in every phase, and every object is a file
 * that stands there and stays, or a whole tree. (Its rules stand on files themselves, and on directories with all below.)
 * Of several roles none: Landlock lets each open what another one holds, by its descriptors in /proc.
 */
export function heldOpens(roles: readonly PolicyRole[]): Policy["opens"] {
  const [role] = roles;
  if (role === undefined || roles.length > 1) return NO_OPENS;
  const made = new PathSet(role.grants.filter(isAboutName).map(({ object }) => object));
  const holds = (verbs: RegExp) =>
    withoutLinks(role.grants.filter(({ verb }) => verbs.test(verb))).every(
      (grant) => grant.phase === undefined && isHeld(grant, made),
    );
  const reading = holds(OPENS_FOR_READING);
  const isNamed = role.grants.every(({ object }) => !object.endsWith(NAMELESS));
  return { reading, writing: reading && isNamed && holds(OPENS_FOR_WRITING) };
}

/** Without links to what is granted by its own name. */
function withoutLinks(grants: readonly PolicyGrant[]): readonly PolicyGrant[] {
  const names = new Set(grants.map(({ object }) => object));
  return grants.filter(({ object }) => {
    const plain = plainPath(object);
    const real = plain === undefined ? undefined : literalPath(canonical(plain));
    return real === undefined || real === object || !names.has(real);
  });
}

function isHeld({ object }: PolicyGrant, made: PathSet): boolean {
  if (subtreeOf(object) !== undefined) {
    const tree = plainPath(subtreeOf(object) ?? "");
    return tree !== undefined && tree !== "/" && canonical(tree) === tree;
  }
  const plain = plainPath(object);
  if (plain === undefined || made.has(plain)) return false;
  // The rule of a link would stand on what it leads to; what is not there has no rule.
  const facts = lstatSync(plain, { throwIfNoEntry: false });
  return facts !== undefined && !facts.isDirectory() && !facts.isSymbolicLink();
}

/** Objects of grants, asked for paths. */
class PathSet {
  readonly #patterns: readonly PathPattern[];

  constructor(objects: readonly string[]) {
    this.#patterns = objects.map((object) => new PathPattern(object));
  }

  has(path: string): boolean {
    return this.#patterns.some((pattern) => pattern.matches(path));
  }
}
