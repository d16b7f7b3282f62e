/**
 * Which events of two canonical traces have no equal in the other. Threads with equal hashes are passed over; others are aligned,
 * and what is left over is looked for elsewhere in the process, so that work that moved to another thread of a pool, or
 * changed places, is not two differences.
 */

import { align } from "./align.js";
import { type Canonical, type Side, shapeOf } from "./canon/canonical.js";
import { Words } from "./canon/columns.js";
import { LOOKING } from "./canon/forms.js";
import { NameKind, NO_NAME } from "./canon/names.js";
import type { Stream } from "./canon/stream.js";

/** One canonical event. */
export interface Entry {
  readonly stream: Stream;
  /** Index of the thread. */
  readonly thread: number;
  readonly entry: number;
}

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
  /** Canonical events of both, and those that are equal. */
  readonly eventsA: number;
  readonly eventsB: number;
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

export function compareProcesses(
  canonical: Canonical,
  pair: number,
  options: CompareOptions,
): ComparedProcess {
  const { a: processA, b: processB } = canonical.lineage.pairs[pair] ?? { a: 0, b: 0 };
  const a = threadsOf(canonical.a, processA);
  const b = threadsOf(canonical.b, processB);
  const work = new ProcessComparison(canonical, pair, a, b, options);
  const count = ({ streams }: Threads) =>
    streams.reduce((sum, { stream }) => sum + stream.length, 0);
  return { ...work.run(), eventsA: count(a), eventsB: count(b) };
}

function threadsOf(side: Side, process: number): Threads {
  const info = side.canon.trace.processes[process - 1];
  const own =
    info?.number === process ? info : side.canon.trace.processes.find((p) => p.number === process);
  const streams = (own?.threads ?? []).flatMap((thread) => {
    const stream = side.canon.streams[thread];
    return stream === undefined ? [] : [{ thread, stream }];
  });
  return { side, streams };
}

/** An event without an equal so far, and the matched one before it on the other side. */
interface Left {
  readonly at: Entry;
  readonly after: number;
  /** Number of the gap between matched events in which it stands. */
  readonly gap: number;
}

/** An event of the chain of all that speak of one name. */
interface Link {
  readonly seq: number;
  readonly hash: number;
  readonly verb: number;
}

class ProcessComparison {
  readonly #c: Canonical;
  readonly #pair: number;
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
  /** Numbers of the events of the first threads that are equal, by which events of other threads are placed. */
  readonly #placesA = new Words();
  readonly #placesB = new Words();

  constructor(c: Canonical, pair: number, a: Threads, b: Threads, options: CompareOptions) {
    this.#c = c;
    this.#pair = pair;
    this.#a = a;
    this.#b = b;
    this.#options = options;
  }

  run(): Omit<ComparedProcess, "eventsA" | "eventsB"> {
    const count = Math.max(this.#a.streams.length, this.#b.streams.length);
    for (let k = 0; k < count; k++) this.#threads(this.#a.streams[k], this.#b.streams[k]);
    if (this.#leftA.length > 0 && this.#leftB.length > 0) {
      this.#rematch();
      this.#pairByShape((left) => left.gap);
      if (count > 1 && this.#c.rules.has("pools")) this.#pairByShape(() => 0);
    }
    for (const { at, after } of this.#leftA) this.#add("removed", at, undefined, after);
    for (const { at, after } of this.#leftB) this.#add("added", undefined, at, after);
    return { differences: this.#found, equal: this.#equal, moved: this.#moved, more: this.#more };
  }

  #add(kind: RawKind, a: Entry | undefined, b: Entry | undefined, after = -1): void {
    this.#found.push({ kind, pair: this.#pair, a, b, after });
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
    let y = 0;
    for (let x = 0; x < matches.length; x++) {
      const match = matches[x] as number;
      if (match < 0) {
        const after = y === 0 ? -1 : b.seq.at(y - 1);
        this.#leave(this.#leftA, { at: { ...one, entry: x }, after, gap: this.#gap });
        continue;
      }
      const before = x === 0 ? -1 : a.seq.at(x - 1);
      for (; y < match; y++) {
        this.#leave(this.#leftB, { at: { ...other, entry: y }, after: before, gap: this.#gap });
      }
      y = match + 1;
      this.#gap += 1;
      this.#equal += 1;
      if (isFirst) this.#note(a.seq.at(x), b.seq.at(match));
      this.#time(a, x, b, match, one.thread, other.thread);
    }
    const before = a.length === 0 ? -1 : a.seq.at(a.length - 1);
    for (; y < b.length; y++) {
      this.#leave(this.#leftB, { at: { ...other, entry: y }, after: before, gap: this.#gap });
    }
  }

  #note(a: number, b: number): void {
    this.#placesA.push(a);
    this.#placesB.push(b);
  }

  /** Number, in the other trace, of the last event of the first thread that is equal and comes before. */
  #placeOf(seq: number, inB: boolean): number {
    const [own, other] = inB ? [this.#placesB, this.#placesA] : [this.#placesA, this.#placesB];
    let low = 0;
    let high = own.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (own.at(middle) <= seq) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? -1 : other.at(low - 1);
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
      const own = waiting.get(hash);
      if (own === undefined) waiting.set(hash, [left]);
      else own.push(left);
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
    const disorder = this.#disorder(moves);
    for (const [one, other] of moves) {
      this.#equal += 1;
      if (this.#isHarmless(one, other, disorder)) this.#moved += 1;
      else this.#add("moved", one.at, other.at, one.after);
    }
  }

  #isHarmless(one: Left, other: Left, disorder: ReadonlySet<number>): boolean {
    const { rules } = this.#c;
    if (this.#namesOf(this.#a.side, one).some((hash) => disorder.has(hash))) return false;
    const threads = this.#a.streams.length > 1 || this.#b.streams.length > 1;
    if (threads && rules.has("pools")) return true;
    if (one.at.thread !== other.at.thread && rules.has("pools") && threads) return true;
    return (
      rules.has("order") &&
      (this.#hasChildrenAtATime(this.#a.side) || this.#hasChildrenAtATime(this.#b.side))
    );
  }

  /** Hashes of the names, those of a pair one by one. */
  #namesOf(side: Side, { at }: Left): number[] {
    return partsOf(side, at.stream.name.at(at.entry)).map(
      (name) => side.names.hash[name] as number,
    );
  }

  /** Names on which the events that both have come in another order. */
  #disorder(moves: readonly (readonly [Left, Left])[]): Set<number> {
    const wanted = new Set(moves.flatMap(([one]) => this.#namesOf(this.#a.side, one)));
    wanted.delete(0);
    const a = this.#chains(this.#a, this.#leftA, wanted);
    const b = this.#chains(this.#b, this.#leftB, wanted);
    const found = new Set<number>();
    const looking = new Set([...LOOKING].map((verb) => this.#c.verbs.of(verb)));
    const threads = this.#a.streams.length > 1 || this.#b.streams.length > 1;
    for (const [name, one] of a) {
      const other = b.get(name) ?? [];
      if (threads && [...one, ...other].every(({ verb }) => looking.has(verb))) continue;
      if (one.length !== other.length || one.some(({ hash }, k) => hash !== other[k]?.hash))
        found.add(name);
    }
    return found;
  }

  /** By name: its events in their order, without those that the other side does not have. */
  #chains(
    { side, streams }: Threads,
    left: readonly Left[],
    wanted: ReadonlySet<number>,
  ): Map<number, Link[]> {
    const lone = new Map<Stream, Set<number>>();
    for (const { at } of left) {
      const own = lone.get(at.stream) ?? new Set();
      own.add(at.entry);
      lone.set(at.stream, own);
    }
    const found = new Map<number, Link[]>();
    for (const { stream } of streams) {
      const skipped = lone.get(stream);
      for (let entry = 0; entry < stream.length; entry++) {
        if (skipped?.has(entry) === true) continue;
        for (const name of partsOf(side, stream.name.at(entry))) {
          const hash = side.names.hash[name] as number;
          if (!wanted.has(hash)) continue;
          const chain = found.get(hash) ?? [];
          chain.push({
            seq: stream.seq.at(entry),
            hash: stream.rest.at(entry),
            verb: stream.verb.at(entry),
          });
          found.set(hash, chain);
        }
      }
    }
    for (const chain of found.values()) chain.sort((x, y) => x.seq - y.seq);
    return found;
  }

  /** Whether the process ever had two children alive. */
  #hasChildrenAtATime(side: Side): boolean {
    const number =
      side === this.#c.a
        ? this.#c.lineage.pairs[this.#pair]?.a
        : this.#c.lineage.pairs[this.#pair]?.b;
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
