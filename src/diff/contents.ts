/**
 * The bytes that events moved, compared: what they differ in is chance, or went through the same stream in other calls, or counts.
 */

import { type Canonical, nameText, type Side } from "./canon/canonical.js";
import { NameKind } from "./canon/names.js";
import { type Entry, hashesOf } from "./chains.js";
import { Chance, type ChanceSide, type Source } from "./chance.js";
import type { Cut } from "./cut.js";
import { type BothEvents, MOST_BYTES_TEXT, type Moved } from "./events.js";
import { dataAspect, firstDifference } from "./payload.js";
import type { Aspect } from "./result.js";
import type { RuleName } from "./rules.js";
import { Streams } from "./streams.js";
import { MAKING, STREAMING, WRITING } from "./verbs.js";

/** Who writes to a file, and from which event on. */
interface Writers {
  readonly processes: ReadonlySet<number>;
  readonly first: number;
}

/** Events by which a reader may be noted before its writer. */
export const NEAR = 64;
/** Bytes of a whole stream that are compared. */
const MOST_WHOLE = 2 << 20;

/** What two events differ in by the bytes that they moved, or the rule that explains it; where in them that begins. */
export interface DataDifference {
  readonly aspect?: Aspect;
  readonly rule?: RuleName;
  readonly seqA?: number;
  readonly seqB?: number;
}

export class Contents {
  readonly chance: Chance;
  readonly streams: Streams;
  readonly #c: Canonical;
  readonly #cut: Cut;
  readonly #events: BothEvents;
  /** By verb and names: whether all that went through is the same. */
  readonly #elsewhere = new Map<string, boolean>();
  readonly #writers: {
    a?: ReadonlyMap<number, Writers>;
    b?: ReadonlyMap<number, Writers>;
  } = {};

  constructor(c: Canonical, events: BothEvents, cut: Cut) {
    this.#c = c;
    this.#events = events;
    this.#cut = cut;
    this.streams = new Streams(c);
    this.chance = new Chance(c.rules, chanceSide(c, "a"), chanceSide(c, "b"));
  }

  /** Bytes that two events moved, or how many where those are not recorded; nothing when they moved the same. */
  async compare(a: Entry, b: Entry): Promise<DataDifference> {
    const isList = a.stream.verb.at(a.entry) === this.#c.verbs.of("list");
    // Names in directories are compared in any case.
    if (!this.#c.payload && !isList) return this.#results(a, b);
    const [one, other] = [await this.#bytes("a", a), await this.#bytes("b", b)];
    const at = firstDifference(one.data, other.data);
    if (at < 0) {
      if (one.isCut || other.isCut) return this.#beyond(a, b);
      if (one.isFiltered || other.isFiltered) return { rule: "recordings" };
      return this.#results(a, b);
    }
    if (this.#cut.endsWithin(one.data.length, other.data.length, at)) return { rule: "chunks" };
    const verb = this.#c.verbs.names[a.stream.verb.at(a.entry)] ?? "";
    const texts = { a: this.#c.a.names.texts, b: this.#c.b.names.texts };
    const sorted = verb === "list" && this.#c.rules.has("directory-order");
    const source = this.sourceOf(a, b, verb);
    if (this.chance.explains(one.data, other.data, source, sorted))
      return { rule: "numbers-in-text" };
    const elsewhere = await this.isElsewhere(a, b, verb);
    if (elsewhere !== undefined) return { rule: elsewhere };
    const journal = /-(?:journal|wal|shm)$/.test(nameText(this.#c.a, a.stream.name.at(a.entry)));
    if (journal && this.#c.rules.has("journals") && one.data.length === other.data.length) {
      return { rule: "journals" };
    }
    const data = (bytes: Buffer) =>
      sorted ? Buffer.from(bytes.toString().split("\n").sort().join("\n").trimStart()) : bytes;
    const seqAt = (starts: readonly { offset: number; seq: number }[]) =>
      starts.findLast(({ offset }) => offset <= at)?.seq;
    const aspect = dataAspect(data(one.data), data(other.data), texts);
    const [seqA, seqB] = [seqAt(one.starts), seqAt(other.starts)];
    return { aspect, ...(seqA !== undefined && { seqA }), ...(seqB !== undefined && { seqB }) };
  }

  /**
   * Whether all bytes that go through a stream are the same, though other calls lie between them, or all lines that several
   * processes write to a file, in whatever order.
   */
  async isElsewhere(a: Entry, b: Entry, verb: string): Promise<RuleName | undefined> {
    const { rules } = this.#c;
    if (!STREAMING.has(verb) || !this.#c.payload) return undefined;
    const isFile = this.streams.isFile(a, "a");
    const shared = (["a", "b"] as const).every((key) => {
      const { stream, entry } = key === "a" ? a : b;
      const hash = this.#c[key].names.hash[stream.name.at(entry)] ?? 0;
      return (this.writersOf(key).get(hash)?.processes.size ?? 0) > 1;
    });
    if (isFile && (!rules.has("order") || verb !== "write" || !shared)) return undefined;
    if (!isFile && !rules.has("chunks")) return undefined;
    const key = `${verb} ${a.stream.name.at(a.entry)} ${b.stream.name.at(b.entry)}`;
    let isSame = this.#elsewhere.get(key);
    if (isSame === undefined) {
      const [one, other] = [await this.#whole(a, "a", verb), await this.#whole(b, "b", verb)];
      const source = sourceOfStream(verb);
      isSame = this.chance.explains(one, other, source, isFile);
      this.#elsewhere.set(key, isSame);
    }
    if (!isSame) return undefined;
    return isFile ? "order" : "chunks";
  }

  /** All bytes that go through a stream, or that are written to a file. */
  async #whole(at: Entry, key: "a" | "b", verb: string): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let length = 0;
    for (const own of this.streams.alike(at, key, verb)) {
      const { data } = await this.#events[key].bytes(own);
      pieces.push(data);
      length += data.length;
      if (length > MOST_WHOLE) break;
    }
    return Buffer.concat(pieces);
  }

  /** What no traced process wrote to a file before comes from outside; who is at the other end of a stream is not known. */
  sourceOf(a: Entry, b: Entry, verb: string): Source {
    if (WRITING.has(verb)) return "made";
    const isOutside = (key: "a" | "b", { stream, entry }: Entry): boolean => {
      const { canon, names } = this.#c[key];
      const name = stream.name.at(entry);
      const isFile = canon.names.kind.at(name) === NameKind.Path && !canon.names.made.has(name);
      const written =
        this.writersOf(key).get(names.hash[name] ?? 0)?.first ?? Number.POSITIVE_INFINITY;
      return isFile && written > stream.seq.at(entry) + NEAR;
    };
    const isInput = verb === "read" || verb === "pread";
    return isInput && isOutside("a", a) && isOutside("b", b) ? "outside" : "inside";
  }

  /** Processes that write, by the hash of what they write to. */
  writersOf(key: "a" | "b"): ReadonlyMap<number, Writers> {
    const known = this.#writers[key] ?? writersOf(this.#c[key]);
    this.#writers[key] = known;
    return known;
  }

  /** What the calls gave, where their bytes are equal or not recorded. */
  async #results(a: Entry, b: Entry): Promise<DataDifference> {
    const [one, other] = [await this.#events.a.result(a), await this.#events.b.result(b)];
    if (one === undefined || other === undefined || one === other) return {};
    if (this.#cut.endsWithin(one, other, Math.min(one, other))) return { rule: "chunks" };
    return { aspect: { what: "result", a: String(one), b: String(other) } };
  }

  /** Long streams that are equal as far as they are looked at. */
  async #beyond(a: Entry, b: Entry): Promise<DataDifference> {
    const [one = 0, other = 0] = [await this.#events.a.result(a), await this.#events.b.result(b)];
    if (this.#cut.endsWithin(one, other, Math.min(one, other))) return { rule: "chunks" };
    const text = (length: number) => `${length} bytes, differs after the first ${MOST_BYTES_TEXT}`;
    return { aspect: { what: "data", a: text(one), b: text(other) } };
  }

  /** The bytes of an event; of a directory the names that are not those of recordings. */
  async #bytes(key: "a" | "b", at: Entry): Promise<Moved & { readonly isFiltered: boolean }> {
    const found = await this.#events[key].bytes(at);
    const isList = at.stream.verb.at(at.entry) === this.#c.verbs.of("list");
    if (!isList || !this.#c.rules.has("recordings")) return { ...found, isFiltered: false };
    const names = found.data.toString("latin1").split("\n");
    const kept = names.filter((name) => !/\.trace(?:\.new)?$/.test(name));
    const data = Buffer.from(kept.join("\n"), "latin1");
    return { ...found, data, isFiltered: kept.length < names.length };
  }
}

function chanceSide(c: Canonical, key: "a" | "b"): ChanceSide {
  const { canon, names } = c[key];
  const { trace } = canon;
  const pairs = key === "a" ? c.lineage.ofA : c.lineage.ofB;
  const processes = new Map<number, number>();
  for (const { tid, process } of trace.threads) {
    const pair = pairs.get(process);
    if (pair !== undefined) processes.set(tid, pair);
  }
  const { startSeconds: from, duration } = trace;
  return {
    texts: names.texts,
    processes,
    inodes: canon.inodes,
    from,
    to: from + Math.ceil(duration / 1e9),
  };
}

/** Where the bytes of a stream come from, of which nobody knows who is at its other end. */
export function sourceOfStream(verb: string): Source {
  return WRITING.has(verb) ? "made" : "inside";
}

/** Processes that write, by the hash of what they write to; a new name for something is written too. */
function writersOf({ canon, names }: Side): Map<number, Writers> {
  const found = new Map<number, { processes: Set<number>; first: number }>();
  const writes = new Set(MAKING.map((name) => canon.verbs.of(name)));
  canon.streams.forEach((stream, thread) => {
    for (let entry = 0; entry < (stream?.length ?? 0); entry++) {
      if (stream === undefined || !writes.has(stream.verb.at(entry))) continue;
      const process = canon.trace.threads[thread]?.process ?? 0;
      for (const hash of hashesOf({ canon, names }, { stream, thread, entry })) {
        const seq = stream.seq.at(entry);
        const own = found.get(hash) ?? { processes: new Set(), first: seq };
        own.processes.add(process);
        own.first = Math.min(own.first, seq);
        found.set(hash, own);
      }
    }
  });
  return found;
}
