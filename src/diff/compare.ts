/**
 * Which events of two canonical traces have no equal in the other. Threads with equal hashes are passed over; others are aligned,
 * and what is left over is looked for elsewhere in the process, so that work that moved to another thread of a pool, or
 * changed places, is not two differences.
 */

import { append } from "../group.js";
import { align } from "./align.js";
import { type Canonical, type Side, shapeOf } from "./canon/canonical.js";
import { Words } from "./canon/columns.js";
import { NameKind } from "./canon/names.js";
import type { Stream } from "./canon/run.js";
import { chainsOf, disorderOf, type Entry, hashesOf, sharedNames } from "./chains.js";

export type RawKind = "removed" | "added" | "changed" | "moved" | "time";

export interface RawDifference {
  readonly kind: RawKind;
  /** Index of the pair of processes. */
  readonly pair: number;
  readonly a: Entry | undefined;
  readonly b: Entry | undefined;
  /** Number of the last matched event before it, on the side where it is not. */
  readonly after: number;
}

export interface CompareOptions {
  /** Microseconds by which one call has to be slower. */
  readonly slowCall: number;
}

export interface ComparedProcess {
  readonly differences: readonly RawDifference[];
  /** Canonical events that are equal. */
  readonly equal: number;
  /** Events that are elsewhere in the process and do not count as differences. */
  readonly moved: number;
  /** Events without an equal beyond those that are looked at. */
  readonly more: number;
}

/** Events without an equal that are kept, of each side of a process. */
const MOST_LEFT = 200_000;
/** How many times slower a call must be, besides. */
const SLOWER = 5;

interface Threads {
  readonly side: Side;
  readonly streams: readonly { readonly thread: number; readonly stream: Stream }[];
}

/** Compares the processes of a pair, or those of a pool as if they were threads of one. */
export function compareProcesses(
  canonical: Canonical,
  pairs: readonly number[],
  options: CompareOptions,
): ComparedProcess {
  const members = pairs.map((pair) => {
    const { a, b } = canonical.lineage.pairs[pair] ?? { a: 0, b: 0 };
    return { a: threadsOf(canonical.a, a), b: threadsOf(canonical.b, b) };
  });
  return new ProcessComparison(canonical, pairs, members, options).run();
}

function threadsOf(side: Side, process: number): Threads {
  const streams = (side.canon.infos.get(process)?.threads ?? []).flatMap((thread) => {
    const stream = side.canon.streams[thread];
    return stream === undefined ? [] : [{ thread, stream }];
  });
  return { side, streams };
}

interface Member {
  readonly a: Threads;
  readonly b: Threads;
}

/** An event without an equal so far, and the matched one before it on the other side. */
interface Left {
  readonly at: Entry;
  readonly after: number;
  /** Number of the gap between matched events in which it stands. */
  readonly gap: number;
}

class ProcessComparison {
  readonly #c: Canonical;
  readonly #pairs: readonly number[];
  readonly #members: readonly Member[];
  readonly #a: Threads;
  readonly #b: Threads;
  readonly #options: CompareOptions;
  readonly #found: RawDifference[] = [];
  #leftA: Left[] = [];
  #leftB: Left[] = [];
  #gap = 0;
  #equal = 0;
  #moved = 0;
  #more = 0;
  #parallel: boolean | undefined;
  #isPolling: boolean | undefined;
  /**
   * Numbers of the events of the first threads that are equal, by which events of other threads are placed: those of a pool may have
   * waited since the beginning.
   */
  readonly #placesA = new Words();
  readonly #placesB = new Words();

  constructor(
    c: Canonical,
    pairs: readonly number[],
    members: readonly Member[],
    options: CompareOptions,
  ) {
    this.#c = c;
    this.#pairs = pairs;
    this.#members = members;
    this.#a = { side: c.a, streams: members.flatMap(({ a }) => a.streams) };
    this.#b = { side: c.b, streams: members.flatMap(({ b }) => b.streams) };
    this.#options = options;
  }

  run(): ComparedProcess {
    for (const { a, b } of this.#members) {
      const length = Math.max(a.streams.length, b.streams.length);
      for (let k = 0; k < length; k++) this.#threads(a.streams[k], b.streams[k]);
    }
    const count = Math.max(this.#a.streams.length, this.#b.streams.length);
    if (this.#leftA.length > 0 && this.#leftB.length > 0) {
      // What one that is alone does at one place is the same call with another result, before it is one from far away.
      if (this.#isAlone()) this.#pairByShape((left) => left.gap);
      this.#rematch();
      this.#pairByShape((left) => left.gap);
      if (count > 1 && this.#c.rules.has("pools")) {
        // What one thread did in the one run, and another in the other, is in one order when all is in that of time.
        for (const left of [this.#leftA, this.#leftB]) left.sort((x, y) => seqOf(x) - seqOf(y));
        this.#pairByShape(() => 0);
      }
    }
    for (const member of this.#members) this.#races(member);
    for (const { at, after } of this.#leftA) this.#add("removed", at, undefined, after);
    for (const { at, after } of this.#leftB) this.#add("added", undefined, at, after);
    return { differences: this.#found, equal: this.#equal, moved: this.#moved, more: this.#more };
  }

  #add(kind: RawKind, a: Entry | undefined, b: Entry | undefined, after = -1): void {
    this.#found.push({ kind, pair: this.#pairOf(a, b), a, b, after });
  }

  /** The processes in which an event is. */
  #pairOf(a: Entry | undefined, b: Entry | undefined): number {
    const [first = -1] = this.#pairs;
    if (this.#pairs.length === 1) return first;
    const { lineage } = this.#c;
    const [{ canon }, index, thread] =
      a === undefined
        ? [this.#b.side, lineage.ofB, b?.thread]
        : [this.#a.side, lineage.ofA, a.thread];
    return index.get(canon.trace.threads[thread ?? -1]?.process ?? 0) ?? first;
  }

  #threads(
    one: Threads["streams"][number] | undefined,
    other: Threads["streams"][number] | undefined,
  ): void {
    this.#gap += 1;
    if (one === undefined || other === undefined) {
      this.#all(one, this.#leftA);
      this.#all(other, this.#leftB);
      return;
    }
    const a = one.stream;
    const b = other.stream;
    const matches = align(a.rest.view(), b.rest.view());
    const isFirst =
      one === this.#a.streams[0] && this.#a.streams.length + this.#b.streams.length > 2;
    // No event of a thread comes before the thread.
    const [madeA, madeB] = [madeBy(this.#a.side, one.thread), madeBy(this.#b.side, other.thread)];
    const leaveA = (entry: number, before: number): void => {
      const after = Math.max(before, madeB, this.#placeOf(a.seq.at(entry), false));
      this.#leave(this.#leftA, { at: { ...one, entry }, after, gap: this.#gap });
    };
    const leaveB = (entry: number, before: number): void => {
      const after = Math.max(before, madeA, this.#placeOf(b.seq.at(entry), true));
      this.#leave(this.#leftB, { at: { ...other, entry }, after, gap: this.#gap });
    };
    let y = 0;
    for (let x = 0; x < matches.length; x++) {
      const match = matches[x] as number;
      if (match < 0) {
        leaveA(x, y === 0 ? -1 : b.seq.at(y - 1));
        continue;
      }
      const before = x === 0 ? -1 : a.seq.at(x - 1);
      for (; y < match; y++) leaveB(y, before);
      y = match + 1;
      this.#gap += 1;
      this.#equal += 1;
      if (isFirst) this.#note(a.seq.at(x), b.seq.at(match));
      this.#time(a, x, b, match, one.thread, other.thread);
    }
    const before = a.length === 0 ? -1 : a.seq.at(a.length - 1);
    for (; y < b.length; y++) leaveB(y, before);
  }

  #note(a: number, b: number): void {
    this.#placesA.push(a);
    this.#placesB.push(b);
  }

  /** Number, in the other trace, of the last event of the first thread that is equal and comes before. */
  #placeOf(seq: number, inB: boolean): number {
    const [own, other] = inB ? [this.#placesB, this.#placesA] : [this.#placesA, this.#placesB];
    const next = own.firstNotBelow(seq + 1);
    return next === 0 ? -1 : other.at(next - 1);
  }

  #leave(into: Left[], left: Left): void {
    if (into.length < MOST_LEFT) into.push(left);
    else this.#more += 1;
  }

  #all(own: Threads["streams"][number] | undefined, into: Left[]): void {
    for (let entry = 0; entry < (own?.stream.length ?? 0); entry++) {
      if (own === undefined) continue;
      const after = this.#placeOf(own.stream.seq.at(entry), into === this.#leftB);
      this.#leave(into, { at: { ...own, entry }, after, gap: this.#gap });
    }
  }

  #time(a: Stream, x: number, b: Stream, y: number, threadA: number, threadB: number): void {
    const one = a.micros.at(x);
    const other = b.micros.at(y);
    const [low, high] = one < other ? [one, other] : [other, one];
    if (high - low < this.#options.slowCall || high < low * SLOWER) return;
    this.#add(
      "time",
      { stream: a, thread: threadA, entry: x },
      { stream: b, thread: threadB, entry: y },
    );
  }

  /** Equal events at other places of the process. */
  #rematch(): void {
    const waiting = new Map<number, Left[]>();
    for (let k = this.#leftB.length - 1; k >= 0; k--) {
      const left = this.#leftB[k] as Left;
      const hash = left.at.stream.rest.at(left.at.entry);
      append(waiting, hash, left);
    }
    const moves: [Left, Left][] = [];
    const takenA = new Set<Left>();
    const takenB = new Set<Left>();
    for (const left of this.#leftA) {
      const other = waiting.get(left.at.stream.rest.at(left.at.entry))?.pop();
      if (other === undefined) continue;
      moves.push([left, other]);
      takenA.add(left);
      takenB.add(other);
    }
    this.#leftA = this.#leftA.filter((left) => !takenA.has(left));
    this.#leftB = this.#leftB.filter((left) => !takenB.has(left));
    const wanted = new Set(moves.flatMap(([one]) => hashesOf(this.#a.side, one.at)));
    wanted.delete(0);
    const disorder = this.#disorder(wanted);
    for (const [one, other] of moves) {
      this.#equal += 1;
      if (this.#isHarmless(one, disorder)) this.#moved += 1;
      else this.#add("moved", one.at, other.at, one.after);
    }
  }

  #isHarmless(one: Left, disorder: ReadonlyMap<number, unknown>): boolean {
    const { rules } = this.#c;
    if (hashesOf(this.#a.side, one.at).some((hash) => disorder.has(hash))) return false;
    if (this.#hasThreads() && rules.has("pools")) return true;
    if (!rules.has("order")) return false;
    return this.#isParallel() || (this.#polls() && this.#isTalk(one.at));
  }

  /** Through pipes, sockets and standard streams: who waits for several of them goes by which is ready first. */
  #isTalk({ stream, entry }: Entry): boolean {
    const kind = this.#a.side.canon.names.kind.at(stream.name.at(entry));
    return kind === NameKind.Object || kind === NameKind.Inherited;
  }

  #polls(): boolean {
    const { a } = this.#c.lineage.pairs[this.#pairs[0] ?? -1] ?? {};
    this.#isPolling ??= [...(this.#a.side.canon.processes.get(a ?? 0)?.calls.keys() ?? [])].some(
      (call) => /^(?:p?poll|p?select|epoll_p?wait|_newselect)/.test(call),
    );
    return this.#isPolling;
  }

  /** Names on which the events that both have come in another order. */
  #disorder(
    wanted: ReadonlySet<number>,
    { a: one, b: other }: Member = { a: this.#a, b: this.#b },
  ): Map<number, readonly [Entry, Entry]> {
    const a = chainsOf(one.side, one.streams, entriesOf(this.#leftA), wanted);
    const b = chainsOf(other.side, other.streams, entriesOf(this.#leftB), wanted);
    const isPool = this.#members.length > 1 && one === this.#a;
    return disorderOf(this.#c.verbs, a, b, { threads: this.#hasThreads(), isPool });
  }

  #hasThreads(): boolean {
    return this.#a.streams.length > 1 || this.#b.streams.length > 1;
  }

  /** Each thread did the same, but one file met them in another order: told once for each file. */
  #races(member: Member): void {
    const { a: one, b: other } = member;
    if (one.streams.length < 2 && other.streams.length < 2) return;
    const told = this.#found.filter(({ kind }) => kind === "moved").flatMap(({ a }) => a ?? []);
    const known = new Set(told.flatMap((at) => hashesOf(this.#a.side, at)));
    const shared = sharedNames(one.side, one.streams);
    for (const hash of sharedNames(other.side, other.streams)) shared.add(hash);
    for (const hash of known) shared.delete(hash);
    if (shared.size === 0) return;
    for (const [a, b] of this.#disorder(shared, member).values()) this.#add("moved", a, b);
  }

  /** Nobody else's pace decides what it does when. */
  #isAlone(): boolean {
    return (
      this.#members.length === 1 && !this.#hasThreads() && !this.#isParallel() && !this.#polls()
    );
  }

  /** Whether the process ever had two children alive, in one of the traces. */
  #isParallel(): boolean {
    this.#parallel ??= [this.#a.side, this.#b.side].some((side) => this.#hasChildrenAtATime(side));
    return this.#parallel;
  }

  #hasChildrenAtATime(side: Side): boolean {
    const { a, b } = this.#c.lineage.pairs[this.#pairs[0] ?? -1] ?? {};
    const number = side === this.#c.a ? a : b;
    let lastEnd = -1;
    for (const child of side.canon.trace.processes) {
      if (child.parent !== number) continue;
      if (child.createdBy < lastEnd) return true;
      const end = side.canon.processes.get(child.number)?.end?.seq ?? Number.POSITIVE_INFINITY;
      lastEnd = Math.max(lastEnd, end);
    }
    return false;
  }

  /** Events that do the same to the same with another result, in one group each. */
  #pairByShape(group: (left: Left) => number): void {
    const groups = new Map<number, { a: Left[]; b: Left[] }>();
    const groupOf = (left: Left) => {
      const key = group(left);
      let own = groups.get(key);
      if (own === undefined) {
        own = { a: [], b: [] };
        groups.set(key, own);
      }
      return own;
    };
    for (const left of this.#leftA) groupOf(left).a.push(left);
    for (const left of this.#leftB) groupOf(left).b.push(left);
    const takenA = new Set<Left>();
    const takenB = new Set<Left>();
    for (const { a, b } of groups.values()) {
      if (a.length === 0 || b.length === 0) continue;
      const shapes = (side: Side, list: readonly Left[]) =>
        list.map(({ at }) => shapeOf(this.#c, side, at.stream, at.entry));
      const matches = align(shapes(this.#a.side, a), shapes(this.#b.side, b));
      matches.forEach((y, x) => {
        const [one, other] = [a[x], b[y]];
        if (y < 0 || one === undefined || other === undefined) return;
        this.#add("changed", one.at, other.at);
        takenA.add(one);
        takenB.add(other);
      });
    }
    this.#leftA = this.#leftA.filter((left) => !takenA.has(left));
    this.#leftB = this.#leftB.filter((left) => !takenB.has(left));
  }
}

/** Number of the event by which a thread was made; -1 of the first. */
function madeBy({ canon: { trace } }: Side, thread: number): number {
  return trace.threads[thread]?.createdBy ?? -1;
}

function seqOf({ at: { stream, entry } }: Left): number {
  return stream.seq.at(entry);
}

function entriesOf(left: readonly Left[]): Entry[] {
  return left.map(({ at }) => at);
}
