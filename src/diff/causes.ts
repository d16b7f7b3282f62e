/**
 * Where two runs parted: the earliest difference whose inputs were equal. Events are numbered in the order in which they
 * happened, so nothing that differs comes before it; only a writer and its reader may be noted in either order, and there the edge
 * between them decides: through a pipe, socket or file, and from a parent to what it started.
 */

import { syscallName } from "../decode/context.js";
import { neighboursOf } from "../replay/neighbours.js";
import { type Row, seqOf } from "../replay/rows.js";
import { EventKind } from "../trace/batch.js";
import { threadName } from "../trace/process.js";
import type { Canonical } from "./canon/canonical.js";
import { NEAR } from "./contents.js";
import type { Explainer } from "./explain.js";
import { changedTimes } from "./file_times.js";
import type { Cause, ContextLine, Difference, LoneProcess } from "./result.js";
import { lonePhrase, phrase, processText, QUIET, weightOf } from "./words.js";

/** Events of context on each side. */
const CONTEXT = 3;
/** So many times more are looked through for those that are compared. */
const WIDER = 8;
const MOST_OTHERS = 5;
const MOST_CONSEQUENCES = 4;
const WRITES: ReadonlySet<string> = new Set([
  "write",
  "send",
  "pwrite",
  "copy",
  "rename",
  "unlink",
  "chmod",
  "chown",
]);

/** By which the bytes of a file come. */
const READS: ReadonlySet<string> = new Set(["read", "pread"]);

export interface Causes {
  readonly first: Cause | undefined;
  readonly others: readonly Cause[];
}

interface Candidate {
  readonly at: number;
  readonly difference: number | undefined;
  readonly lone: LoneProcess | undefined;
}

export async function causesOf(
  c: Canonical,
  explainer: Explainer,
  differences: readonly Difference[],
  isRacy: readonly boolean[],
  lones: readonly LoneProcess[],
): Promise<Causes> {
  const finder = new Finder(differences, isRacy, lones);
  const first = finder.first();
  if (first === undefined) return { first: undefined, others: [] };
  const then = finder.consequences(first);
  const others: Cause[] = [];
  for (const other of finder.others(first)) {
    others.push(await describe(c, explainer, other, differences, []));
  }
  const found = await describe(c, explainer, first, differences, then);
  return { first: await withFileTimes(c, explainer, found, differences), others };
}

class Finder {
  readonly #differences: readonly Difference[];
  readonly #isRacy: readonly boolean[];
  readonly #lones: readonly LoneProcess[];

  constructor(
    differences: readonly Difference[],
    isRacy: readonly boolean[],
    lones: readonly LoneProcess[],
  ) {
    this.#differences = differences;
    this.#isRacy = isRacy;
    this.#lones = lones;
  }

  /** The earliest; what may be chance between threads, orders and times of calls only when nothing else differs. */
  first(): Candidate | undefined {
    const all: Candidate[] = [
      ...this.#differences.map((one, k) => ({ at: one.at, difference: k, lone: undefined })),
      ...this.#lones.map((lone) => ({ at: lone.at, difference: undefined, lone })),
    ];
    const weight = ({ difference }: Candidate): number => {
      const kind = difference === undefined ? "" : this.#differences[difference]?.kind;
      if (kind === "time") return 3;
      if (kind === "moved") return 2;
      return difference !== undefined && this.#isRacy[difference] === true ? 1 : 0;
    };
    all.sort((x, y) => weight(x) - weight(y) || x.at - y.at);
    const earliest = all[0];
    return earliest === undefined ? undefined : this.#behind(earliest, new Set());
  }

  /** Follows what was read to who wrote it, as long as that differs too. */
  #behind(candidate: Candidate, seen: Set<number>): Candidate {
    const index = candidate.difference;
    const own = index === undefined ? undefined : this.#differences[index];
    if (index === undefined || own === undefined || own.side !== "input" || seen.has(index))
      return candidate;
    seen.add(index);
    const writer = this.#differences.findIndex(
      (other) =>
        WRITES.has(other.verb) &&
        other.object === own.object &&
        other.object !== "" &&
        !isSameProcess(other, own) &&
        other.at < own.at + NEAR,
    );
    const write = this.#differences[writer];
    if (write === undefined) return candidate;
    const start = this.#differences.findIndex(
      (other) => isSameProcess(other, write) && other.at <= write.at,
    );
    const at = this.#differences[start]?.at ?? write.at;
    return this.#behind({ at, difference: start, lone: undefined }, seen);
  }

  /** Other things from outside that differ: no traced process with differences wrote them. */
  others(first: Candidate): Candidate[] {
    const found = new Map<string, Candidate>();
    const firstObject =
      first.difference === undefined ? "" : this.#differences[first.difference]?.object;
    const written = new Set(
      this.#differences.filter(({ verb }) => WRITES.has(verb)).map(({ object }) => object),
    );
    for (const [k, one] of this.#differences.entries()) {
      if (found.size >= MOST_OTHERS) break;
      const isOutside =
        one.side === "input" && one.object.startsWith("/") && one.kind === "changed";
      if (!isOutside || one.object === firstObject || written.has(one.object)) continue;
      if (one.verb === "exec" && one.process.a !== "p1") continue;
      if (!found.has(one.object))
        found.set(one.object, { at: one.at, difference: k, lone: undefined });
    }
    return [...found.values()];
  }

  /** What came of it: what the program did next, what it said, and how it ended. */
  consequences(first: Candidate): string[] {
    const later = this.#differences.filter(
      (one, k) =>
        k !== first.difference &&
        one.at >= first.at &&
        one.kind !== "moved" &&
        weightOf(one) < QUIET,
    );
    const own = first.difference === undefined ? undefined : this.#differences[first.difference];
    const wanted: (Difference | undefined)[] = [
      own?.verb === "image" ? firstDone(own, this.#differences) : undefined,
      later.find((one) => one.side === "action" && own !== undefined && isSameProcess(one, own)),
      later.find((one) => one.side === "action"),
      later.find(({ verb, object }) => verb === "write" && /^std(?:out|err)$/.test(object)),
      later.findLast(({ verb }) => verb === "end"),
    ];
    const told = new Set<string>();
    for (const one of wanted) {
      if (one === undefined) continue;
      const who =
        own !== undefined && isSameProcess(one, own) ? "" : `${processText(one.process)}: `;
      told.add(who + phrase(one));
    }
    for (const lone of this.#lones)
      if (lone !== first.lone && told.size < MOST_CONSEQUENCES) told.add(lonePhrase(lone));
    return [...told].slice(0, MOST_CONSEQUENCES);
  }
}

function isSameProcess(one: Difference, other: Difference): boolean {
  return one.process.a === other.process.a && one.process.b === other.process.b;
}

async function describe(
  c: Canonical,
  explainer: Explainer,
  { difference, lone }: Candidate,
  differences: readonly Difference[],
  consequences: readonly string[],
): Promise<Cause> {
  const own = difference === undefined ? undefined : differences[difference];
  if (own === undefined) {
    const where = lone?.parent ?? lone?.process ?? { a: undefined, b: undefined, command: [] };
    return {
      summary: lone === undefined ? "" : lonePhrase(lone),
      difference: undefined,
      process: where,
      object: lone?.path ?? "",
      lines: [],
      contextA: lone?.only === "a" ? await contextOf(c, explainer, "a", where.a, lone.seq) : [],
      contextB: lone?.only === "b" ? await contextOf(c, explainer, "b", where.b, lone.seq) : [],
      consequences,
    };
  }
  // That a program was mapped says nothing of what is new in it.
  const shown = (own.verb === "image" ? firstDone(own, differences) : undefined) ?? own;
  const [a, b] = [shown.a?.seq ?? seqOfPlace(shown, "a"), shown.b?.seq ?? seqOfPlace(shown, "b")];
  return {
    summary: `${processText(own.process)}: ${phrase(own)}`,
    difference,
    process: own.process,
    object: objectOf(own),
    lines: linesOf(shown, differences),
    contextA: await contextOf(c, explainer, "a", shown.process.a, a, shown.a !== undefined),
    contextB: await contextOf(c, explainer, "b", shown.process.b, b, shown.b !== undefined),
    consequences,
  };
}

/** What a process with another program, or another library, does otherwise first. */
function firstDone(image: Difference, differences: readonly Difference[]): Difference | undefined {
  return differences.find(
    (one) =>
      isSameProcess(one, image) &&
      one.at > image.at &&
      one.verb !== "image" &&
      one.kind !== "moved" &&
      one.kind !== "time",
  );
}

/** Of an event that one side lacks: the event there after which it would come. */
function seqOfPlace(own: Difference, side: "a" | "b"): number {
  if (side === "a") return Math.floor(own.at);
  return own.after ?? -1;
}

/** Lines of the event itself; of a file whose size or status differs those of what is read from it later. */
function linesOf(own: Difference, differences: readonly Difference[]): readonly string[] {
  const lines = ({ aspects }: Difference) => aspects.flatMap(({ lines: some = [] }) => some);
  const first = lines(own);
  if (first.length > 0 || !["stat", "open", "access"].includes(own.verb)) return first;
  const read = differences.find(
    (one) => one.object === own.object && READS.has(one.verb) && lines(one).length > 0,
  );
  return read === undefined ? [] : lines(read);
}

/** Variables and arguments are the objects of a start. */
function objectOf({ verb, object, aspects }: Difference): string {
  if (verb !== "exec") return object;
  return aspects.map(({ what }) => what.replace(/^variable /, "")).join(", ");
}

/** Compared in part only: threads, and anonymous memory. */
const QUIET_CALLS: ReadonlySet<string> = new Set(["mmap", "clone", "clone3", "prlimit64"]);

/** Calls that are not compared say little of what the program was about. */
function isCompared({ rules }: Canonical, { batch, i }: Row): boolean {
  if (batch.kind[i] === EventKind.Task) return false;
  if (batch.kind[i] !== EventKind.Call) return true;
  const name = syscallName(batch.arch[i] ?? 0, batch.code[i] ?? -1);
  return !rules.setsAside(name) && !QUIET_CALLS.has(name);
}

async function contextOf(
  c: Canonical,
  explainer: Explainer,
  key: "a" | "b",
  process: string | undefined,
  seq: number,
  isThere = true,
): Promise<ContextLine[]> {
  if (process === undefined || seq < 0) return [];
  const { trace } = c[key].canon;
  const events = explainer.events[key];
  const number = Number(process.slice(1));
  const { before, at, after } = await neighboursOf(trace, number, seq, WIDER * CONTEXT);
  const isTelling = (row: Row) => isCompared(c, row);
  const first = before.filter(isTelling).slice(-CONTEXT);
  const last = after.filter(isTelling).slice(0, CONTEXT);
  const rows = at === undefined ? [...first, ...last] : [...first, at, ...last];
  return rows.map((row) => {
    const thread = trace.threads[row.batch.thread[row.i] ?? -1];
    return {
      seq: seqOf(row),
      thread: thread === undefined ? "p?" : threadName(thread),
      text: events.text(row),
      mark: isThere && seqOf(row) === seq,
    };
  });
}

/**
 * Times of files are not compared. But when the first difference is one of what a program does, though all that it was
 * told was equal, and only few of the files that it looked at have another time in the other run, that is what it saw.
 */
async function withFileTimes(
  c: Canonical,
  explainer: Explainer,
  cause: Cause,
  differences: readonly Difference[],
): Promise<Cause> {
  const own = cause.difference === undefined ? undefined : differences[cause.difference];
  if (own !== undefined && (own.side !== "action" || own.kind === "time" || own.kind === "moved"))
    return cause;
  const seqA =
    own?.a?.seq ?? cause.contextA.at(-1)?.seq ?? Math.ceil(own?.at ?? Number.POSITIVE_INFINITY);
  const files = await changedTimes(c, explainer, cause.process, seqA);
  const [file] = files;
  if (file === undefined) return cause;
  const more = files.length > 1 ? ` (and so of ${files.length - 1} more)` : "";
  return {
    ...cause,
    summary: `${processText(cause.process)}: stat ${file.path} finds another time of its last change${more}: ${file.a} in A, ${file.b} in B`,
    object: files.map(({ path }) => path).join(", "),
    consequences: [own === undefined ? cause.summary : phrase(own), ...cause.consequences].slice(
      0,
      MOST_CONSEQUENCES,
    ),
  };
}
