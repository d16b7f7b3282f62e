/**
 * From events that have no equal to differences: each is decoded, compared part by part, and left out when a rule explains all of
 * it. Only what is reported is ever decoded whole.
 */

import type { Call } from "../decode/value.js";
import type { Row } from "../replay/rows.js";
import { humanDuration } from "../report/units.js";
import { type Canonical, nameText, type Side } from "./canon/canonical.js";
import { LOOKING, TIMED } from "./canon/forms.js";
import { NameKind } from "./canon/names.js";
import { type Entry, hashesOf } from "./chains.js";
import { Chance, type ChanceSide, type Source } from "./chance.js";
import type { ComparedProcess, RawDifference } from "./compare.js";
import { Cut } from "./cut.js";
import { Events, type Leaves, MOST_BYTES_TEXT, type Moved } from "./events.js";
import { dataAspect, firstDifference, soleData } from "./payload.js";
import type { Aspect, Difference, ProcessRef } from "./result.js";
import { KERNEL_FILE, type RuleName } from "./rules.js";
import { Streams } from "./streams.js";

/** Differences that are looked at one by one. */
const MOST_EXAMINED = 20_000;

/** Bytes of a whole stream that are compared. */
const MOST_WHOLE = 2 << 20;

/** Processes whose questions are kept. */
const MOST_KEPT = 64;

/** Events of one kind among which those that moved the same are looked for. */
const MOST_CROSSING = 64;

/** Processes that are looked at, from one to who started it. */
const MOST_DEPTH = 1000;

/** An event that is there and could not be read again. */
const UNREAD = Symbol("unread");

/** A difference, the rule that explains it, or nothing. */
type Found = Difference | RuleName | typeof UNREAD | undefined;

export interface Explained {
  readonly differences: Difference[];
  /** Of each: whether it may be chance that another thread or worker was first, as nothing from outside is. */
  readonly isRacy: readonly boolean[];
  readonly explained: Map<string, number>;
  /** Differences that were not looked at: too many, or their events could not be read again. */
  readonly more: number;
}

/** What two events differ in by the bytes that they moved, or the rule that explains it; where in them that begins. */
interface DataDifference {
  readonly aspect?: Aspect;
  readonly rule?: RuleName;
  readonly seqA?: number;
  readonly seqB?: number;
}

interface Both {
  readonly a: Events;
  readonly b: Events;
}

export class Explainer {
  readonly events: Both;
  readonly #c: Canonical;
  readonly #cut: Cut;
  readonly #chance: Chance;
  readonly #streams: Streams;
  /** By verb and names: whether all that went through is the same. */
  readonly #elsewhere = new Map<string, boolean>();
  readonly #explained = new Map<string, number>();
  #examined = 0;
  readonly #questions = new Map<number, ReadonlyMap<number, number>>();
  readonly #writers: {
    a?: ReadonlyMap<number, ReadonlySet<number>>;
    b?: ReadonlyMap<number, ReadonlySet<number>>;
  } = {};

  constructor(c: Canonical) {
    this.#c = c;
    this.#cut = new Cut(c);
    this.#streams = new Streams(c);
    this.#chance = new Chance(c.rules, chanceSide(c, "a"), chanceSide(c, "b"));
    this.events = { a: new Events(c.a, c.rules), b: new Events(c.b, c.rules) };
  }

  /** `isOwn`: what runs of one side differ in from each other. */
  async all(
    compared: readonly ComparedProcess[],
    isOwn: (one: Difference) => boolean,
  ): Promise<Explained> {
    const differences: Difference[] = [];
    const racy = new Set<Difference>();
    const moving: { raw: RawDifference; found: Difference }[] = [];
    let more = compared.reduce((sum, one) => sum + one.more, 0);
    const raw = compared.flatMap(({ differences: own }) => own);
    raw.sort((x, y) => placeOf(x) - placeOf(y));
    // What was drawn at random is known by who put it out: a reader may be noted before the writer.
    const isMade = (one: RawDifference) => WRITING.has(this.#verbOf(one));
    for (const one of [...raw.filter(isMade), ...raw.filter((one) => !isMade(one))]) {
      if (this.#examined >= MOST_EXAMINED) {
        more += 1;
        continue;
      }
      if (this.#cut.isBeyond(one)) continue;
      this.#examined += 1;
      const found = await this.#one(one);
      if (found === UNREAD) {
        more += 1;
        continue;
      }
      if (found === undefined) continue;
      if (typeof found === "string") this.#explain(found);
      else if (this.#isIgnored(found)) this.#explain("project");
      else if (isOwn(found)) this.#explain("like");
      else {
        differences.push(found);
        if (STREAMING.has(found.verb)) moving.push({ raw: one, found });
        if (!this.#isFromOutside(one, found) && this.#isRacy(one.pair)) racy.add(found);
      }
    }
    const crossed = await this.#crossed(moving);
    const rest = differences.filter((one) => !crossed.has(one)).sort((x, y) => x.at - y.at);
    const left = withoutStalls(rest, this.#explained);
    return {
      differences: left,
      isRacy: left.map((one) => racy.has(one)),
      explained: this.#explained,
      more,
    };
  }

  #explain(by: string, count = 1): void {
    this.#explained.set(by, (this.#explained.get(by) ?? 0) + count);
  }

  /**
   * What threads or workers moved was put beside what has its place in the other trace. Where another of them moved the same, by
   * the rules, both are taken out; what is left of two pairs is a pair.
   */
  async #crossed(
    moving: readonly { readonly raw: RawDifference; readonly found: Difference }[],
  ): Promise<ReadonlySet<Difference>> {
    const crossed = new Set<Difference>();
    if (!this.#c.rules.has("pools") || !this.#c.payload) return crossed;
    const groups = new Map<string, { raw: RawDifference; found: Difference }[]>();
    for (const { raw, found } of moving) {
      if (!this.#isRacy(raw.pair)) continue;
      const own = raw.a ?? raw.b;
      const side = raw.a === undefined ? this.#c.b : this.#c.a;
      const hash = own === undefined ? 0 : side.names.hash[own.stream.name.at(own.entry)];
      const key = `${found.verb} ${hash}`;
      const group = groups.get(key) ?? [];
      if (group.length < MOST_CROSSING) group.push({ raw, found });
      groups.set(key, group);
    }
    for (const group of groups.values()) {
      if (group.length < 2 || !(await this.#isCrossed(group.map(({ raw }) => raw)))) continue;
      for (const { found } of group) crossed.add(found);
      this.#explain("pools", group.length);
    }
    return crossed;
  }

  /** Each event of the one side has one on the other that moved the same. */
  async #isCrossed(group: readonly RawDifference[]): Promise<boolean> {
    const left = group.flatMap(({ a }) => a ?? []);
    const right = group.flatMap(({ b }) => b ?? []);
    if (left.length !== right.length) return false;
    const texts: Buffer[] = [];
    for (const at of right) texts.push((await this.events.b.bytes(at)).data);
    for (const at of left) {
      const { data } = await this.events.a.bytes(at);
      const source = sourceOfStream(this.#c.verbs.names[at.stream.verb.at(at.entry)] ?? "");
      const other = texts.findIndex((text) => this.#chance.explains(data, text, source, false));
      if (other < 0) return false;
      texts.splice(other, 1);
    }
    return true;
  }

  /** Told otherwise by a file that no traced process makes, writes or deletes, or by whoever started the program. */
  #isFromOutside({ a, b, pair }: RawDifference, { side, verb, kind, object }: Difference): boolean {
    if (side !== "input" || kind !== "changed" || a === undefined || b === undefined) return false;
    if (verb === "exec") return this.isFirst(pair);
    if (!object.startsWith("/") || verb === "list" || KERNEL_FILE.test(object)) return false;
    return this.#sourceOf(a, b, "read") === "outside";
  }

  /** A process that no traced one started. */
  isFirst(pair: number): boolean {
    const { a = 0 } = this.#c.lineage.pairs[pair] ?? {};
    return (this.#c.a.canon.infos.get(a)?.parent ?? 0) === 0;
  }

  /** Whether threads or workers race in the process, or in the one that started it. */
  #isRacy(pair: number): boolean {
    const { pools, pooled, pairs, ofA } = this.#c.lineage;
    for (let own = pair, depth = 0; depth < MOST_DEPTH; depth++) {
      if (this.#hasThreads(own) || pooled.has(pools[own] ?? own)) return true;
      const parent = this.#c.a.canon.infos.get(pairs[own]?.a ?? 0)?.parent ?? 0;
      const next = ofA.get(parent);
      if (next === undefined) return false;
      own = next;
    }
    return false;
  }

  /** All paths of it are what the project does not compare. */
  #isIgnored({ object }: Difference): boolean {
    const paths = object.split(", ").filter((part) => part.startsWith("/"));
    return paths.length > 0 && paths.every((path) => this.#c.rules.ignoresPath(path));
  }

  #one(raw: RawDifference): Promise<Found> {
    if (raw.a !== undefined && raw.b !== undefined) return this.#pair(raw, raw.a, raw.b);
    return this.#sole(raw);
  }

  /** An event that changed, moved, or took longer. */
  async #pair(raw: RawDifference, a: Entry, b: Entry): Promise<Found> {
    const base = await this.#base(raw);
    if (raw.kind === "moved") return { ...base, side: "action", aspects: [] };
    if (raw.kind === "time") return this.#slower(base, a, b);
    const [rowA, rowB] = [
      await this.events.a.row(base.a?.seq ?? -1),
      await this.events.b.row(base.b?.seq ?? -1),
    ];
    if (rowA === undefined || rowB === undefined) return UNREAD;
    const aspects = this.#aspects(rowA, rowB, base.verb);
    const moved = await this.#data(a, b);
    if (moved.rule !== undefined && aspects.length === 0) return moved.rule;
    if (moved.aspect !== undefined) aspects.push(moved.aspect);
    if (aspects.length === 0) {
      const left = this.#undecoded(rowA, rowB, base);
      if (typeof left === "string") return left;
      aspects.push(left);
    }
    if (base.verb === "stat" && this.#isBeingWritten(aspects, a)) return "order";
    const at = moved.seqA ?? base.at;
    const refs = { a: base.a, b: base.b };
    if (moved.seqA !== undefined && moved.seqA !== base.a?.seq) {
      refs.a = await this.events.a.refAt(moved.seqA, a.thread);
    }
    if (moved.seqB !== undefined && moved.seqB !== base.b?.seq) {
      refs.b = await this.events.b.refAt(moved.seqB, b.thread);
    }
    const opens = opensFor(this.events.a.call(rowA));
    const side = sideOf(base.verb, aspects);
    return { ...base, ...refs, at, side, aspects, ...(opens !== undefined && { opens }) };
  }

  /** What differs of two events besides their bytes, and is no chance. */
  #aspects(rowA: Row, rowB: Row, verb: string): Aspect[] {
    const { a, b } = this.events;
    const aspects = leafAspects(a.leaves(rowA), b.leaves(rowB), verb);
    if (aspects.length === 0 || verb === "exec") return aspects;
    const [plainA, plainB] = [a.plainLeaves(rowA), b.plainLeaves(rowB)];
    const isChance = ({ what }: Aspect): boolean => {
      const [one, other] = [plainA.get(what), plainB.get(what)];
      return one !== undefined && other !== undefined && this.#chance.sameWords(one, other);
    };
    return aspects.filter((aspect) => !isChance(aspect));
  }

  /** Of events that differ though all that is decoded of them is equal: the rule that made it so, or what is not decoded. */
  #undecoded(rowA: Row, rowB: Row, { verb, a, b }: Pick<Difference, "verb" | "a" | "b">) {
    const { a: one, b: other } = this.events;
    const plain = leafAspects(one.plainLeaves(rowA), other.plainLeaves(rowB), verb);
    if (plain.length > 0) return "numbers-in-text" as const;
    if (verb === "exec") {
      const order = { a: one.variablesInOrder(rowA), b: other.variablesInOrder(rowB) };
      if (order.a !== order.b) return { what: "order of variables", ...order };
    }
    return { what: "call", a: a?.text ?? null, b: b?.text ?? null };
  }

  /** The size of a file that several processes write to. */
  #isBeingWritten(aspects: readonly Aspect[], { stream, entry }: Entry): boolean {
    const isSize = aspects.every(({ what }) => /\.stx?_size$/.test(what));
    if (!isSize || !this.#c.rules.has("order")) return false;
    const hash = this.#c.a.names.hash[stream.name.at(entry)] ?? 0;
    return (this.#writersOf("a").get(hash)?.size ?? 0) > 1;
  }

  #slower(base: Omit<Difference, "side" | "aspects">, a: Entry, b: Entry): Difference | undefined {
    const kind = objectKind(this.#c.a, a);
    if (!TIMED.has(base.verb) || ["pipe", "socket", "chr", "fifo"].includes(kind)) return undefined;
    const text = ({ stream, entry }: Entry) => humanDuration(stream.micros.at(entry) * 1000);
    const aspects = [{ what: "time", a: text(a), b: text(b) }];
    return { ...base, side: "input", aspects };
  }

  /** Bytes that two events moved, or how many where those are not recorded; nothing when they moved the same. */
  async #data(a: Entry, b: Entry): Promise<DataDifference> {
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
    const source = this.#sourceOf(a, b, verb);
    if (this.#chance.explains(one.data, other.data, source, sorted))
      return { rule: "numbers-in-text" };
    const elsewhere = await this.#isElsewhere(a, b, verb);
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
  async #isElsewhere(a: Entry, b: Entry, verb: string): Promise<RuleName | undefined> {
    const { rules } = this.#c;
    if (!STREAMING.has(verb) || !this.#c.payload) return undefined;
    const isFile = this.#streams.isFile(a, "a");
    const shared = (["a", "b"] as const).every((key) => {
      const { stream, entry } = key === "a" ? a : b;
      const hash = this.#c[key].names.hash[stream.name.at(entry)] ?? 0;
      return (this.#writersOf(key).get(hash)?.size ?? 0) > 1;
    });
    if (isFile && (!rules.has("order") || verb !== "write" || !shared)) return undefined;
    if (!isFile && !rules.has("chunks")) return undefined;
    const key = `${verb} ${a.stream.name.at(a.entry)} ${b.stream.name.at(b.entry)}`;
    let isSame = this.#elsewhere.get(key);
    if (isSame === undefined) {
      const [one, other] = [await this.#whole(a, "a", verb), await this.#whole(b, "b", verb)];
      const source = sourceOfStream(verb);
      isSame = this.#chance.explains(one, other, source, isFile);
      this.#elsewhere.set(key, isSame);
    }
    if (!isSame) return undefined;
    return isFile ? "order" : "chunks";
  }

  /** All bytes that go through a stream, or that are written to a file. */
  async #whole(at: Entry, key: "a" | "b", verb: string): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let length = 0;
    for (const own of this.#streams.alike(at, key, verb)) {
      const { data } = await this.events[key].bytes(own);
      pieces.push(data);
      length += data.length;
      if (length > MOST_WHOLE) break;
    }
    return Buffer.concat(pieces);
  }

  /** A file that no traced process writes to comes from outside; who is at the other end of a stream is not known. */
  #sourceOf(a: Entry, b: Entry, verb: string): Source {
    if (WRITING.has(verb)) return "made";
    const isOutside = ([key, { stream, entry }]: readonly ["a" | "b", Entry]): boolean => {
      const { canon, names } = this.#c[key];
      const name = stream.name.at(entry);
      const isFile = canon.names.kind.at(name) === NameKind.Path && !canon.names.made.has(name);
      return isFile && !this.#writersOf(key).has(names.hash[name] ?? 0);
    };
    const isInput = verb === "read" || verb === "pread";
    return isInput &&
      (
        [
          ["a", a],
          ["b", b],
        ] as const
      ).every(isOutside)
      ? "outside"
      : "inside";
  }

  #writersOf(key: "a" | "b"): ReadonlyMap<number, ReadonlySet<number>> {
    const known = this.#writers[key] ?? writersOf(this.#c[key]);
    this.#writers[key] = known;
    return known;
  }

  #verbOf({ a, b }: RawDifference): string {
    const own = a ?? b;
    return this.#c.verbs.names[own?.stream.verb.at(own.entry) ?? -1] ?? "?";
  }

  /** What the calls gave, where their bytes are equal or not recorded. */
  async #results(a: Entry, b: Entry): Promise<DataDifference> {
    const [one, other] = [await this.events.a.result(a), await this.events.b.result(b)];
    if (one === undefined || other === undefined || one === other) return {};
    if (this.#cut.endsWithin(one, other, Math.min(one, other))) return { rule: "chunks" };
    return { aspect: { what: "result", a: String(one), b: String(other) } };
  }

  /** Long streams that are equal as far as they are looked at. */
  async #beyond(a: Entry, b: Entry): Promise<DataDifference> {
    const [one = 0, other = 0] = [await this.events.a.result(a), await this.events.b.result(b)];
    if (this.#cut.endsWithin(one, other, Math.min(one, other))) return { rule: "chunks" };
    const text = (length: number) => `${length} bytes, differs after the first ${MOST_BYTES_TEXT}`;
    return { aspect: { what: "data", a: text(one), b: text(other) } };
  }

  /** The bytes of an event; of a directory the names that are not those of recordings. */
  async #bytes(key: "a" | "b", at: Entry): Promise<Moved & { readonly isFiltered: boolean }> {
    const found = await this.events[key].bytes(at);
    const isList = at.stream.verb.at(at.entry) === this.#c.verbs.of("list");
    if (!isList || !this.#c.rules.has("recordings")) return { ...found, isFiltered: false };
    const names = found.data.toString("latin1").split("\n");
    const kept = names.filter((name) => !/\.trace(?:\.new)?$/.test(name));
    const data = Buffer.from(kept.join("\n"), "latin1");
    return { ...found, data, isFiltered: kept.length < names.length };
  }

  /** An event that only one trace has. */
  async #sole(raw: RawDifference): Promise<Found> {
    const [own, key] = raw.a === undefined ? [raw.b, "b" as const] : [raw.a, "a" as const];
    if (own === undefined) return undefined;
    const events = this.events[key];
    const base = await this.#base(raw);
    const row = await events.row(own.stream.seq.at(own.entry));
    if (row === undefined) return UNREAD;
    const rule = await this.#soleRule(raw, own, key, row, base.verb);
    if (rule !== undefined) return rule;
    const other = this.#streams.counterpart(own, key);
    if (other !== undefined) {
      const [a, b] = key === "a" ? [own, other] : [other, own];
      const elsewhere = await this.#isElsewhere(a, b, base.verb);
      if (elsewhere !== undefined) return elsewhere;
    }
    const call = events.call(row);
    const aspects: Aspect[] = [];
    const opens = opensFor(call);
    if (["write", "send"].includes(base.verb) && this.#c.payload) {
      const lines = soleData((await events.bytes(own)).data);
      const sign = key === "a" ? "-" : "+";
      if (lines.length > 0) {
        aspects.push({ what: "data", a: null, b: null, lines: lines.map((line) => sign + line) });
      }
    }
    const failed = call?.result.status === "error";
    if (failed) {
      const errno = events.leaves(row).get("errno") ?? "";
      aspects.push({ what: "errno", a: key === "a" ? errno : null, b: key === "b" ? errno : null });
    }
    return {
      ...base,
      side: base.verb === "end" ? "end" : "action",
      aspects,
      ...(opens !== undefined && { opens }),
    };
  }

  async #soleRule(
    raw: RawDifference,
    own: Entry,
    key: "a" | "b",
    row: Row,
    verb: string,
  ): Promise<RuleName | undefined> {
    const { rules } = this.#c;
    const call = this.events[key].call(row);
    const failed = call?.result.status === "error";
    const side = this.#c[key];
    const object = nameText(side, own.stream.name.at(own.entry));
    if (failed && rules.has("probing") && /\.so(?:\.\d+)*$/.test(object)) {
      if (this.#isFoundElsewhere(raw.pair, object)) return "probing";
    }
    if (verb === "read" && rules.has("chunks")) {
      const { data } = await this.events[key].bytes(own);
      if (data.length === 0 && !failed) return "chunks";
    }
    if (rules.has("repeats") && QUESTIONS.has(verb) && this.#isAskedElsewhere(raw.pair, own, key))
      return "repeats";
    if (rules.has("repeats") && LOOKING.has(verb) && this.#isImage(raw.pair, own, key)) {
      return "repeats";
    }
    if (
      rules.has("unread-input") &&
      verb === "dup" &&
      (await this.#isUnreadInput(raw.pair, key, row))
    ) {
      return "unread-input";
    }
    if (rules.has("wake-ups") && (await this.#isToken(own, key, verb))) return "wake-ups";
    const isKernelFile = KERNEL_FILE.test(object) && !["write", "unlink"].includes(verb);
    if (isKernelFile && rules.has("kernel-files") && this.#hasThreads(raw.pair))
      return "kernel-files";
    return undefined;
  }

  /** The same byte over and over, through a pipe that the process both reads and writes: tokens, as many as it takes. */
  async #isToken(own: Entry, key: "a" | "b", verb: string): Promise<boolean> {
    if ((verb !== "read" && verb !== "write") || !this.#c.payload) return false;
    const { names, trace } = this.#c[key].canon;
    if (names.objectOf(own.stream.name.at(own.entry))?.kind !== "pipe") return false;
    const processOf = ({ thread }: Entry) => trace.threads[thread]?.process;
    const isOwn = (other: Entry) => processOf(other) === processOf(own);
    const isBoth = ["read", "write"].every((way) => this.#streams.alike(own, key, way).some(isOwn));
    if (!isBoth) return false;
    const { data } = await this.events[key].bytes(own);
    return data.length > 0 && data.every((byte) => byte === data[0]);
  }

  /** A file that the process has mapped as its program, or a library of it, in both traces. */
  #isImage(pair: number, { stream, entry }: Entry, key: "a" | "b"): boolean {
    const hash = this.#c[key].names.hash[stream.name.at(entry)];
    return (["a", "b"] as const).every((side) => {
      const process = this.#c[side].canon.processes.get(this.#c.lineage.pairs[pair]?.[side] ?? 0);
      return [...(process?.images ?? [])].some((name) => this.#c[side].names.hash[name] === hash);
    });
  }

  /** A library of that name is opened by the process in both traces. */
  #isFoundElsewhere(pair: number, object: string): boolean {
    const base = object.slice(object.lastIndexOf("/") + 1);
    return (["a", "b"] as const).every((key) => {
      const side = this.#c[key];
      const process = side.canon.processes.get(this.#c.lineage.pairs[pair]?.[key] ?? 0);
      return [...(process?.images ?? [])].some((name) =>
        side.canon.names.text(name).endsWith(`/${base}`),
      );
    });
  }

  /** The same question with the same answer is asked by the process in both traces. */
  #isAskedElsewhere(pair: number, own: Entry, side: "a" | "b"): boolean {
    const wanted = own.stream.rest.at(own.entry);
    return (["a", "b"] as const).every((key) => {
      const times = this.#questionsOf(key, pair).get(wanted) ?? 0;
      return times > (key === side ? 1 : 0);
    });
  }

  /** How often the process asks each of its questions, by hash. */
  #questionsOf(key: "a" | "b", pair: number): ReadonlyMap<number, number> {
    const number = pair * 2 + (key === "a" ? 0 : 1);
    let counts = this.#questions.get(number);
    if (counts !== undefined) return counts;
    const asked = new Map<number, number>();
    const verbs = new Set([...QUESTIONS].map((verb) => this.#c.verbs.of(verb)));
    for (const { stream, entry } of this.#entries(key, pair)) {
      if (!verbs.has(stream.verb.at(entry))) continue;
      const hash = stream.rest.at(entry);
      asked.set(hash, (asked.get(hash) ?? 0) + 1);
    }
    counts = asked;
    if (this.#questions.size >= MOST_KEPT) this.#questions.clear();
    this.#questions.set(number, counts);
    return counts;
  }

  *#entries(key: "a" | "b", pair: number): Generator<Entry> {
    const { canon } = this.#c[key];
    const number = this.#c.lineage.pairs[pair]?.[key] ?? 0;
    for (const thread of canon.infos.get(number)?.threads ?? []) {
      const stream = canon.streams[thread];
      if (stream === undefined) continue;
      for (let entry = 0; entry < stream.length; entry++) yield { stream, thread, entry };
    }
  }

  /** A duplicate becomes the standard input of a process that reads none. */
  async #isUnreadInput(pair: number, key: "a" | "b", { batch, i }: Row): Promise<boolean> {
    if ((batch.args[12 * i + 2] ?? -1) !== 0) return false;
    const read = this.#c.verbs.of("read");
    const { names } = this.#c[key].canon;
    for (const { stream, entry } of this.#entries(key, pair)) {
      if (stream.verb.at(entry) !== read) continue;
      const kind = names.kind.at(stream.name.at(entry));
      if (kind !== NameKind.Inherited && kind !== NameKind.Object) continue;
      const row = await this.events[key].row(stream.seq.at(entry));
      if (row === undefined || row.batch.args[12 * row.i] === 0) return false;
    }
    return true;
  }

  /** Libraries look at the machine when a thread first needs memory of its own. */
  #hasThreads(pair: number): boolean {
    return (["a", "b"] as const).some((key) => {
      const number = this.#c.lineage.pairs[pair]?.[key] ?? 0;
      const info = this.#c[key].canon.infos.get(number);
      return (info?.threads.length ?? 0) > 1;
    });
  }

  async #base(raw: RawDifference): Promise<Omit<Difference, "side" | "aspects">> {
    const { a, b, pair, kind } = raw;
    const own = a ?? b;
    const verb = this.#verbOf(raw);
    const side = a === undefined ? this.#c.b : this.#c.a;
    const object = own === undefined ? "" : nameText(side, own.stream.name.at(own.entry));
    return {
      kind,
      verb,
      object,
      process: this.processOf(pair, own?.stream.seq.at(own.entry) ?? 0),
      a: a === undefined ? undefined : await this.events.a.ref(a),
      b: b === undefined ? undefined : await this.events.b.ref(b),
      at: placeOf(raw),
      ...(b === undefined && { after: raw.after }),
    };
  }

  /** The processes of a pair, with the program that they run. */
  processOf(pair: number, seq = Number.POSITIVE_INFINITY): ProcessRef {
    const { a = 0, b = 0 } = this.#c.lineage.pairs[pair] ?? {};
    const side = a > 0 ? this.#c.a : this.#c.b;
    return {
      a: a > 0 ? `p${a}` : undefined,
      b: b > 0 ? `p${b}` : undefined,
      command: commandOf(side, a > 0 ? a : b, seq),
    };
  }
}

/** When several processes are slow at one time, the machine was. */
function withoutStalls(differences: Difference[], explained: Map<string, number>): Difference[] {
  const slow = differences.filter(({ kind }) => kind === "time");
  const processes = new Set(slow.map(({ process }) => `${process.a} ${process.b}`));
  if (processes.size < 2) return differences;
  explained.set("times", slow.length);
  return differences.filter(({ kind }) => kind !== "time");
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
function sourceOfStream(verb: string): Source {
  return WRITING.has(verb) ? "made" : "inside";
}

/** Processes that write, by the hash of what they write to; a new name for something is written too. */
function writersOf({ canon, names }: Side): Map<number, Set<number>> {
  const found = new Map<number, Set<number>>();
  const writes = new Set(MAKING.map((name) => canon.verbs.of(name)));
  canon.streams.forEach((stream, thread) => {
    for (let entry = 0; entry < (stream?.length ?? 0); entry++) {
      if (stream === undefined || !writes.has(stream.verb.at(entry))) continue;
      const process = canon.trace.threads[thread]?.process ?? 0;
      for (const hash of hashesOf({ canon, names }, { stream, thread, entry })) {
        const own = found.get(hash) ?? new Set();
        own.add(process);
        found.set(hash, own);
      }
    }
  });
  return found;
}

/** What a file is opened for; undefined for calls that open none. */
export function opensFor(call: Call | undefined): Difference["opens"] {
  if (call === undefined || !/^(?:open|openat|openat2|creat)$/.test(call.name)) return undefined;
  if (call.name === "creat") return "create";
  const flags = call.args.find(({ name }) => name === "flags")?.value;
  const names = flags?.kind === "flags" ? flags.names : [];
  if (names.includes("O_CREAT")) return "create";
  return names.some((name) => name === "O_WRONLY" || name === "O_RDWR") ? "write" : "read";
}

/** Arguments of the program that a process ran last before that event, its own or its parent's. */
export function commandOf({ canon, names }: Side, number: number, seq: number): readonly string[] {
  let own = number;
  for (let depth = 0; depth < 10_000 && own > 0; depth++) {
    const programs = canon.processes.get(own)?.programs ?? [];
    const program = programs.findLast((one) => one.seq <= seq) ?? programs[0];
    if (program !== undefined) return program.argv.map((word) => names.texts.words(word));
    own = canon.infos.get(own)?.parent ?? 0;
  }
  return [];
}

/** Calls that only ask. */
const QUESTIONS: ReadonlySet<string> = new Set([
  ...[
    "stat",
    "access",
    "readlink",
    "getcwd",
    "uname",
    "getrlimit",
    "prlimit64",
    "getuid",
    "geteuid",
  ],
  ...[
    "rt_sigaction",
    "getgid",
    "getegid",
    "statfs",
    "fstatfs",
    "fcntl",
    "ioctl",
    "getgroups",
    "umask",
    "lseek",
  ],
]);

function placeOf({ a, b, after }: RawDifference): number {
  if (a !== undefined) return a.stream.seq.at(a.entry);
  return after >= 0 || b === undefined ? after + 0.5 : 0.5;
}

function objectKind({ canon: { names } }: Side, { stream, entry }: Entry): string {
  return names.objectOf(stream.name.at(entry))?.kind ?? "file";
}

/** Input is what came from outside: results, and what was read. All else is what the program did. */
function sideOf(verb: string, aspects: readonly Aspect[]): Difference["side"] {
  if (verb === "end") return "end";
  if (verb === "exec" || verb === "image" || verb === "signal") return "input";
  const isInput = ({ what }: Aspect): boolean =>
    what === "errno" ||
    (what === "result" && !WRITING.has(verb)) ||
    what.includes(".") ||
    (what === "data" && READING.has(verb));
  return aspects.every(isInput) ? "input" : "action";
}

const READING: ReadonlySet<string> = new Set([
  ...["read", "receive", "pread", "readlink", "list", "getcwd"],
]);

/** Calls of which any number may make one stream of bytes. */
const STREAMING: ReadonlySet<string> = new Set(["read", "receive", "write", "send"]);

/** Calls that change what is under a name. */
const MAKING = [
  ...["write", "pwrite", "copy", "rename", "link", "truncate", "ftruncate"],
  ...["unlink", "mkdir", "symlink", "mknod", "chmod", "fchmod", "chown", "fchown"],
];

/** Their results say how much the program wrote. */
const WRITING: ReadonlySet<string> = new Set(["write", "pwrite", "send"]);

/** What the leaves of two events differ in. */
function leafAspects(a: Leaves, b: Leaves, verb: string): Aspect[] {
  const aspects: Aspect[] = [];
  const failed = a.has("errno") !== b.has("errno");
  for (const what of new Set([...a.keys(), ...b.keys()])) {
    const [one, other] = [a.get(what), b.get(what)];
    if (one === other) continue;
    // Outputs of a call that failed once are there once.
    if (failed && what !== "errno" && (one === undefined || other === undefined)) continue;
    if (what === "errno") aspects.push({ what, a: one ?? "success", b: other ?? "success" });
    else aspects.push({ what, a: one ?? null, b: other ?? null });
  }
  if (verb !== "exec") return aspects;
  // Another program says more than its arguments.
  const isProgram = ({ what }: Aspect) => what === "program";
  return [
    ...aspects.filter(isProgram),
    ...movedArguments(aspects.filter((one) => !isProgram(one))),
  ];
}

/** An argument that was put in shifts the others: only what is new or gone is said. */
function movedArguments(aspects: Aspect[]): Aspect[] {
  const isArgument = ({ what }: Aspect) => what.startsWith("argument ");
  const shifted = aspects.filter(isArgument);
  if (shifted.length < 2) return aspects;
  const [gone, come] = (["a", "b"] as const).map((key) =>
    shifted.flatMap((aspect) => aspect[key] ?? []),
  );
  const found: Aspect[] = [];
  const rest = [...(come ?? [])];
  for (const word of gone ?? []) {
    const at = rest.indexOf(word);
    if (at >= 0) rest.splice(at, 1);
    else found.push({ what: "argument", a: word, b: null });
  }
  for (const word of rest) found.push({ what: "argument", a: null, b: word });
  const others = aspects.filter((aspect) => !isArgument(aspect));
  return found.length === 0
    ? [
        ...others,
        { what: "order of arguments", a: (gone ?? []).join(" "), b: (come ?? []).join(" ") },
      ]
    : [...found, ...others];
}
