/** Events that only one trace has, and the rules that explain them. */

import type { Call } from "../decode/value.js";
import type { Row } from "../replay/rows.js";
import { type Canonical, nameText } from "./canon/canonical.js";
import { LOOKING } from "./canon/forms.js";
import { NameKind } from "./canon/names.js";
import type { Entry } from "./chains.js";
import type { RawDifference } from "./compare.js";
import type { Contents } from "./contents.js";
import type { BothEvents } from "./events.js";
import { entriesOf, hasThreads } from "./pairs.js";
import { KERNEL_FILE, type RuleName } from "./rules.js";
import type { Streams } from "./streams.js";
import { QUESTIONS } from "./verbs.js";

/** Processes whose questions, and whose mapped files, are kept. */
const MOST_KEPT = 64;

export class SoleRules {
  readonly #c: Canonical;
  readonly #events: BothEvents;
  readonly #contents: Contents;
  readonly #streams: Streams;
  readonly #mapped = new Map<number, ReadonlySet<number>>();
  /** By process and side, how often each question is asked. */
  readonly #questions = new Map<number, ReadonlyMap<number, number>>();

  constructor(c: Canonical, events: BothEvents, contents: Contents) {
    this.#c = c;
    this.#events = events;
    this.#contents = contents;
    this.#streams = contents.streams;
  }

  /** The rule that explains an event of one side; undefined when none does. */
  async ruleOf(
    raw: RawDifference,
    own: Entry,
    key: "a" | "b",
    row: Row,
    verb: string,
  ): Promise<RuleName | undefined> {
    const { rules } = this.#c;
    const call = this.#events[key].call(row);
    const failed = call?.result.status === "error";
    const side = this.#c[key];
    const object = nameText(side, own.stream.name.at(own.entry));
    if (failed && rules.has("probing") && /\.so(?:\.\d+)*$/.test(object)) {
      if (this.#isFoundElsewhere(raw.pair, object)) return "probing";
    }
    if (verb === "read" && rules.has("chunks")) {
      const { data } = await this.#events[key].bytes(own);
      if (data.length === 0 && !failed) return "chunks";
    }
    if (rules.has("repeats") && QUESTIONS.has(verb) && this.#isAskedElsewhere(raw.pair, own, key))
      return "repeats";
    if (rules.has("repeats") && LOOKING.has(verb) && this.#isImage(raw.pair, own, key)) {
      return "repeats";
    }
    const isLook = verb === "stat" || verb === "access";
    // A thread is called something when it begins, which it may not do before its process runs another program.
    if (rules.has("scheduler") && isNaming(call) && hasThreads(this.#c, raw.pair))
      return "scheduler";
    if (rules.has("repeats") && this.#isLookedUp(raw.pair, own, key, verb)) return "repeats";
    if (rules.has("session") && isLook && this.#isOfSession(raw.pair, own, key)) return "session";
    if (
      rules.has("unread-input") &&
      verb === "dup" &&
      (await this.#isUnreadInput(raw.pair, key, row))
    ) {
      return "unread-input";
    }
    if (rules.has("wake-ups") && (await this.#isToken(own, key, verb))) return "wake-ups";
    const isKernelFile = KERNEL_FILE.test(object) && !["write", "unlink"].includes(verb);
    // Libraries look at the machine when a thread first needs memory of its own.
    if (isKernelFile && rules.has("kernel-files") && hasThreads(this.#c, raw.pair))
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
    const { data } = await this.#events[key].bytes(own);
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

  /**
   * A read of a file that the process has mapped as well in both traces, and that nobody writes: its threads look up in it what they
   * need next, as those of Java do with classes, and two that need one thing at a time both read it.
   */
  #isLookedUp(pair: number, { stream, entry }: Entry, key: "a" | "b", verb: string): boolean {
    if (!["read", "pread"].includes(verb) || !hasThreads(this.#c, pair)) return false;
    const { canon, names } = this.#c[key];
    const name = stream.name.at(entry);
    const hash = names.hash[name] ?? 0;
    return (
      canon.names.kind.at(name) === NameKind.Path &&
      (["a", "b"] as const).every(
        (side) => this.#mappedBy(side, pair).has(hash) && !this.#contents.writersOf(side).has(hash),
      )
    );
  }

  /** What a variable of the session names: shells look whether OLDPWD is still there. */
  #isOfSession(pair: number, { stream, entry }: Entry, key: "a" | "b"): boolean {
    const { canon } = this.#c[key];
    const path = canon.names.text(stream.name.at(entry));
    const process = canon.processes.get(this.#c.lineage.pairs[pair]?.[key] ?? 0);
    return (process?.programs ?? []).some(({ env }) =>
      env.some((variable) => variable.endsWith(`=${path}`) && this.#c.rules.isOfSession(variable)),
    );
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

  /** Hashes of the files that the process maps. */
  #mappedBy(key: "a" | "b", pair: number): ReadonlySet<number> {
    const number = pair * 2 + (key === "a" ? 0 : 1);
    const known = this.#mapped.get(number);
    if (known !== undefined) return known;
    const found = new Set<number>();
    const map = this.#c.verbs.of("map");
    for (const { stream, entry } of entriesOf(this.#c, key, pair)) {
      if (stream.verb.at(entry) === map)
        found.add(this.#c[key].names.hash[stream.name.at(entry)] ?? 0);
    }
    if (this.#mapped.size >= MOST_KEPT) this.#mapped.clear();
    this.#mapped.set(number, found);
    return found;
  }

  /** How often the process asks each of its questions, by hash. */
  #questionsOf(key: "a" | "b", pair: number): ReadonlyMap<number, number> {
    const number = pair * 2 + (key === "a" ? 0 : 1);
    let counts = this.#questions.get(number);
    if (counts !== undefined) return counts;
    const asked = new Map<number, number>();
    const verbs = new Set([...QUESTIONS].map((verb) => this.#c.verbs.of(verb)));
    for (const { stream, entry } of entriesOf(this.#c, key, pair)) {
      if (!verbs.has(stream.verb.at(entry))) continue;
      const hash = stream.rest.at(entry);
      asked.set(hash, (asked.get(hash) ?? 0) + 1);
    }
    counts = asked;
    if (this.#questions.size >= MOST_KEPT) this.#questions.clear();
    this.#questions.set(number, counts);
    return counts;
  }

  /** A duplicate becomes the standard input of a process that reads none. */
  async #isUnreadInput(pair: number, key: "a" | "b", { batch, i }: Row): Promise<boolean> {
    if ((batch.args[12 * i + 2] ?? -1) !== 0) return false;
    const read = this.#c.verbs.of("read");
    const { names } = this.#c[key].canon;
    for (const { stream, entry } of entriesOf(this.#c, key, pair)) {
      if (stream.verb.at(entry) !== read) continue;
      const kind = names.kind.at(stream.name.at(entry));
      if (kind !== NameKind.Inherited && kind !== NameKind.Object) continue;
      const row = await this.#events[key].row(stream.seq.at(entry));
      if (row === undefined || row.batch.args[12 * row.i] === 0) return false;
    }
    return true;
  }
}

function isNaming(call: Call | undefined): boolean {
  const option = call?.name === "prctl" ? call.args[0]?.value : undefined;
  return option?.kind === "choice" && option.name === "PR_SET_NAME";
}
