/**
 * Chains: all events of a process that speak of one object, in their order. Threads may share out work as they like; what one file
 * meets, in which order, is behaviour.
 */

import { append } from "../group.js";
import type { Side } from "./canon/canonical.js";
import { LOOKING } from "./canon/forms.js";
import { NameKind, NO_NAME } from "./canon/names.js";
import type { Verbs } from "./canon/plan.js";
import type { Stream } from "./canon/run.js";

/** One canonical event. */
export interface Entry {
  readonly stream: Stream;
  /** Index of the thread. */
  readonly thread: number;
  readonly entry: number;
}

interface Link extends Entry {
  readonly seq: number;
  readonly hash: number;
  readonly verb: number;
  /** Of a name that many objects have, such as the sockets of a process and temporary files: which of them. */
  readonly object: number;
}

type Streams = readonly { readonly thread: number; readonly stream: Stream }[];
/** By the hash of the name. */
type Chains = ReadonlyMap<number, readonly Link[]>;

/** The names that a name is made of. */
function partsOf({ canon: { names } }: Side, name: number): number[] {
  if (name === NO_NAME) return [];
  if (names.kind.at(name) !== NameKind.Pair) return [name];
  const found: number[] = [];
  const work = [name];
  for (let next = work.pop(); next !== undefined; next = work.pop()) {
    if (names.kind.at(next) === NameKind.Pair) work.push(names.x.at(next), names.y.at(next));
    else found.push(next);
  }
  return found;
}

/** Hashes of the names of an event, those of a pair one by one. */
export function hashesOf(side: Side, { stream, entry }: Entry): number[] {
  return partsOf(side, stream.name.at(entry)).map((name) => side.names.hash[name] as number);
}

/** The chains of the names that are wanted, without the events to skip. */
export function chainsOf(
  side: Side,
  streams: Streams,
  skip: readonly Entry[],
  wanted: ReadonlySet<number>,
): Chains {
  const skipped = new Map<Stream, Set<number>>();
  for (const { stream, entry } of skip) {
    const own = skipped.get(stream) ?? new Set();
    own.add(entry);
    skipped.set(stream, own);
  }
  const found = new Map<number, Link[]>();
  for (const { stream, thread } of streams) {
    const own = skipped.get(stream);
    for (let entry = 0; entry < stream.length; entry++) {
      if (own?.has(entry) === true) continue;
      for (const name of partsOf(side, stream.name.at(entry))) {
        const hash = side.names.hash[name] as number;
        if (!wanted.has(hash)) continue;
        const isOneOfMany =
          side.canon.names.kind.at(name) === NameKind.Object || side.names.stands.has(name);
        const object = isOneOfMany ? name : NO_NAME;
        const link = { stream, thread, entry, seq: stream.seq.at(entry), object };
        const [rest, verb] = [stream.rest.at(entry), stream.verb.at(entry)];
        append(found, hash, { ...link, hash: rest, verb });
      }
    }
  }
  for (const chain of found.values()) chain.sort((x, y) => x.seq - y.seq);
  return found;
}

/**
 * Names whose chains are not the same, with the first two events that differ. Between threads, events that only look may come
 * in any order. Objects that have one name are looked at one by one, and so is what each process of a pool does, as any of them
 * may do it: there, two events that follow each other must not have changed places.
 */
export function disorderOf(
  verbs: Verbs,
  a: Chains,
  b: Chains,
  { threads, isPool }: { readonly threads: boolean; readonly isPool: boolean },
): Map<number, readonly [Entry, Entry]> {
  const looking = new Set([...LOOKING].map((verb) => verbs.of(verb)));
  const telling = (chain: readonly Link[]) =>
    threads ? chain.filter(({ verb }) => !looking.has(verb)) : chain;
  const found = new Map<number, readonly [Entry, Entry]>();
  for (const [name, all] of a) {
    const one = telling(all);
    const other = telling(b.get(name) ?? []);
    const areMany = isPool || (threads && one.some(({ object }) => object !== one[0]?.object));
    const pair = areMany ? swapped(one, other, isPool) : parted(one, other);
    if (pair !== undefined) found.set(name, pair);
  }
  return found;
}

type Two = readonly [Entry, Entry] | undefined;

function parted(one: readonly Link[], other: readonly Link[]): Two {
  const place = one.findIndex(({ hash }, k) => hash !== other[k]?.hash);
  const [left, right] = [one[place], other[place]];
  return left === undefined || right === undefined ? undefined : [left, right];
}

/** Two events that follow each other in one way on the one side, and in the other way on the other. */
function swapped(one: readonly Link[], other: readonly Link[], byThread: boolean): Two {
  const [a, b] = [neighbours(one, byThread), neighbours(other, byThread)];
  for (const [key, [first, second]] of a) {
    const [reverse, back] = [b.get(`${second.hash} ${first.hash}`), `${second.hash} ${first.hash}`];
    if (reverse !== undefined && !b.has(key) && !a.has(back)) return [first, reverse[0]];
  }
  return undefined;
}

/** Events of one object, and in a pool of one thread, that follow each other. */
function neighbours(chain: readonly Link[], byThread: boolean): Map<string, [Link, Link]> {
  const last = new Map<number, Link>();
  const found = new Map<string, [Link, Link]>();
  for (const link of chain) {
    const own = byThread && link.object === NO_NAME ? -1 - link.thread : link.object;
    const before = last.get(own);
    if (before !== undefined && before.hash !== link.hash)
      found.set(`${before.hash} ${link.hash}`, [before, link]);
    last.set(own, link);
  }
  return found;
}

/** Paths that more than one thread speaks of. */
export function sharedNames(
  { canon: { names }, names: settled }: Side,
  streams: Streams,
): Set<number> {
  const SHARED = -1;
  const users = new Int32Array(names.count);
  const found = new Set<number>();
  for (const { stream, thread } of streams) {
    for (let entry = 0; entry < stream.length; entry++) {
      const name = stream.name.at(entry);
      const user = users[name] as number;
      if (user === SHARED || names.kind.at(name) !== NameKind.Path) continue;
      if (user === 0) users[name] = thread + 1;
      else if (user !== thread + 1) {
        users[name] = SHARED;
        found.add(settled.hash[name] as number);
      }
    }
  }
  return found;
}
