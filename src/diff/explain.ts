/**
 * From events that have no equal to differences: each is decoded, compared part by part, and left out when a rule explains all of
 * it. Only what is reported is ever decoded whole.
 */

import type { Call } from "../decode/value.js";
import type { Row } from "../replay/rows.js";
import { humanDuration } from "../report/units.js";
import { aboutOf, leafAspects, opensFor, sideOf } from "./aspects.js";
import { type Canonical, nameText, type Side } from "./canon/canonical.js";
import { TIMED } from "./canon/forms.js";
import type { Entry } from "./chains.js";
import type { ComparedProcess, RawDifference } from "./compare.js";
import { Contents } from "./contents.js";
import { crossedOf, type Moving } from "./crossed.js";
import { Cut } from "./cut.js";
import { type BothEvents, Events } from "./events.js";
import { isFirst, isRacy, processOf } from "./pairs.js";
import { soleData } from "./payload.js";
import type { Aspect, Difference } from "./result.js";
import { KERNEL_FILE, type RuleName } from "./rules.js";
import { SoleRules } from "./sole.js";
import { STREAMING, WRITING } from "./verbs.js";

/** Differences that are looked at one by one. */
const MOST_EXAMINED = 20_000;

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

export class Explainer {
  readonly events: BothEvents;
  readonly #c: Canonical;
  readonly #cut: Cut;
  readonly #contents: Contents;
  readonly #soleRules: SoleRules;
  readonly #explained = new Map<string, number>();

  constructor(c: Canonical) {
    this.#c = c;
    this.#cut = new Cut(c);
    this.events = { a: new Events(c.a, c.rules), b: new Events(c.b, c.rules) };
    this.#contents = new Contents(c, this.events, this.#cut);
    this.#soleRules = new SoleRules(c, this.events, this.#contents);
  }

  /** `isOwn`: what runs of one side differ in from each other. */
  async all(
    compared: readonly ComparedProcess[],
    isOwn: (one: Difference) => boolean,
  ): Promise<Explained> {
    const differences: Difference[] = [];
    const racy = new Set<Difference>();
    const moving: Moving[] = [];
    let more = compared.reduce((sum, one) => sum + one.more, 0);
    const raw = compared.flatMap(({ differences: own }) => own);
    raw.sort((x, y) => placeOf(x) - placeOf(y));
    const within = raw.filter((one) => !this.#cut.isBeyond(one));
    // The earliest: what comes of a cause may be millions.
    const looked = within.slice(0, MOST_EXAMINED);
    more += within.length - looked.length;
    // What was drawn at random is known by who put it out: a reader may be noted before the writer.
    const isMade = (one: RawDifference) => WRITING.has(this.#verbOf(one));
    for (const one of [...looked.filter(isMade), ...looked.filter((one) => !isMade(one))]) {
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
        if (!this.#isFromOutside(one, found) && isRacy(this.#c, one.pair)) racy.add(found);
      }
    }
    const crossed = await crossedOf(this.#c, moving, this.events, this.#contents);
    if (crossed.size > 0) this.#explain("pools", crossed.size);
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

  /** Told otherwise by a file that no traced process makes, writes or deletes, or by whoever started the program. */
  #isFromOutside({ a, b, pair }: RawDifference, { side, verb, kind, object }: Difference): boolean {
    if (side !== "input" || kind !== "changed" || a === undefined || b === undefined) return false;
    if (verb === "exec") return isFirst(this.#c, pair);
    if (!object.startsWith("/") || verb === "list" || KERNEL_FILE.test(object)) return false;
    return this.#contents.sourceOf(a, b, "read") === "outside";
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
    const isExact = base.verb === "image" && this.#contents.sourceOf(a, b, "read") === "outside";
    const aspects = this.#aspects(rowA, rowB, base.verb, isExact);
    const moved = await this.#contents.compare(a, b);
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
    const side = sideOf(base.verb, aspects);
    return { ...base, ...refs, at, side, aspects, ...kindOf(this.events.a.call(rowA), base) };
  }

  /**
   * What differs of two events besides their bytes, and is no chance. `isExact`: nothing of it can be. Sums of two files look random,
   * and so they are where the run made the files; of a program that was there before they say that it is another one.
   */
  #aspects(rowA: Row, rowB: Row, verb: string, isExact: boolean): Aspect[] {
    const { a, b } = this.events;
    const aspects = leafAspects(a.leaves(rowA), b.leaves(rowB), verb);
    if (aspects.length === 0 || isExact || verb === "exec") return aspects;
    const [plainA, plainB] = [a.plainLeaves(rowA), b.plainLeaves(rowB)];
    const isChance = ({ what }: Aspect): boolean => {
      const [one, other] = [plainA.get(what), plainB.get(what)];
      return (
        one !== undefined && other !== undefined && this.#contents.chance.sameWords(one, other)
      );
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
    return (this.#contents.writersOf("a").get(hash)?.processes.size ?? 0) > 1;
  }

  #slower(base: Omit<Difference, "side" | "aspects">, a: Entry, b: Entry): Difference | undefined {
    const kind = objectKind(this.#c.a, a);
    if (!TIMED.has(base.verb) || ["pipe", "socket", "chr", "fifo"].includes(kind)) return undefined;
    const text = ({ stream, entry }: Entry) => humanDuration(stream.micros.at(entry) * 1000);
    const aspects = [{ what: "time", a: text(a), b: text(b) }];
    return { ...base, side: "input", aspects };
  }

  /** An event that only one trace has. */
  async #sole(raw: RawDifference): Promise<Found> {
    const [own, key] = raw.a === undefined ? [raw.b, "b" as const] : [raw.a, "a" as const];
    if (own === undefined) return undefined;
    const events = this.events[key];
    const base = await this.#base(raw);
    const row = await events.row(own.stream.seq.at(own.entry));
    if (row === undefined) return UNREAD;
    const rule = await this.#soleRules.ruleOf(raw, own, key, row, base.verb);
    if (rule !== undefined) return rule;
    const other = this.#contents.streams.counterpart(own, key);
    if (other !== undefined) {
      const [a, b] = key === "a" ? [own, other] : [other, own];
      const elsewhere = await this.#contents.isElsewhere(a, b, base.verb);
      if (elsewhere !== undefined) return elsewhere;
    }
    const call = events.call(row);
    const aspects: Aspect[] = [];
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
      ...kindOf(call, base),
    };
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
      process: processOf(this.#c, pair, own?.stream.seq.at(own.entry) ?? 0),
      a: a === undefined ? undefined : await this.events.a.ref(a),
      b: b === undefined ? undefined : await this.events.b.ref(b),
      at: placeOf(raw),
      ...(b === undefined && { after: raw.after }),
    };
  }

  #verbOf({ a, b }: RawDifference): string {
    const own = a ?? b;
    return this.#c.verbs.names[own?.stream.verb.at(own.entry) ?? -1] ?? "?";
  }
}

/** What a file is opened for, and what a call is about that is on nothing with a name. */
function kindOf(
  call: Call | undefined,
  { object }: Pick<Difference, "object">,
): Pick<Difference, "opens" | "about"> {
  const opens = opensFor(call);
  const about = aboutOf(call, object);
  return { ...(opens !== undefined && { opens }), ...(about !== undefined && { about }) };
}

/** When several processes are slow at one time, the machine was. */
function withoutStalls(differences: Difference[], explained: Map<string, number>): Difference[] {
  const slow = differences.filter(({ kind }) => kind === "time");
  const processes = new Set(slow.map(({ process }) => `${process.a} ${process.b}`));
  if (processes.size < 2) return differences;
  explained.set("times", slow.length);
  return differences.filter(({ kind }) => kind !== "time");
}

function placeOf({ a, b, after }: RawDifference): number {
  if (a !== undefined) return a.stream.seq.at(a.entry);
  return after >= 0 || b === undefined ? after + 0.5 : 0.5;
}

function objectKind({ canon: { names } }: Side, { stream, entry }: Entry): string {
  return names.objectOf(stream.name.at(entry))?.kind ?? "file";
}
