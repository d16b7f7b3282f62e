/** Processes that only one of the traces has: which they are, and what they did that the other trace does not know of. */

import { opensFor } from "./aspects.js";
import { type Canonical, nameText } from "./canon/canonical.js";
import { NameKind } from "./canon/names.js";
import type { Stream } from "./canon/run.js";
import { Cut } from "./cut.js";
import type { Explainer } from "./explain.js";
import { commandOf, processOf } from "./pairs.js";
import type { FileChange, LoneProcess, NetChange, ProcessRef } from "./result.js";
import { addressOf, FILE_VERBS, isMoreTelling, NET_VERBS, OPENS } from "./summary.js";

/** Files of one such process, at most. */
const MOST_FILES = 2000;

/** Of a tree of such, each. */
export function loneProcesses(c: Canonical): LoneProcess[] {
  const cut = new Cut(c);
  const found: LoneProcess[] = [];
  c.lineage.pairs.forEach(({ a, b }, pair) => {
    if (a > 0 && b > 0) return;
    const only = a > 0 ? "a" : "b";
    const side = c[only];
    const number = a > 0 ? a : b;
    const info = side.canon.infos.get(number);
    const parentPair = (only === "a" ? c.lineage.ofA : c.lineage.ofB).get(info?.parent ?? 0);
    if (cut.isBeyondProcess(only, parentPair)) return;
    const programs = side.canon.processes.get(number)?.programs ?? [];
    const [program] = programs;
    const seq = info?.createdBy ?? 0;
    const streams = (info?.threads ?? []).map((thread) => side.canon.streams[thread]);
    const process: ProcessRef = {
      ...processOf(c, pair),
      command: program === undefined ? [] : commandOf(side, number, program.seq),
    };
    found.push({
      only,
      process,
      parent: parentPair === undefined ? undefined : processOf(c, parentPair, seq),
      seq,
      at: only === "a" ? seq : placeInA(c, parentPair, seq),
      events: streams.reduce((sum, stream) => sum + (stream?.length ?? 0), 0),
      path: program?.path ?? "",
      paths: programs.map(({ path }) => path),
    });
  });
  return found;
}

/** Number in A of the last event that the parent had, in B, before event `seq`, as far as the two go along with each other. */
function placeInA(c: Canonical, pair: number | undefined, seq: number): number {
  const { a = 0, b = 0 } = pair === undefined ? {} : (c.lineage.pairs[pair] ?? {});
  const [threadA, threadB] = (["a", "b"] as const).map((key) => {
    const number = key === "a" ? a : b;
    return c[key].canon.infos.get(number)?.threads[0] ?? -1;
  });
  const [one, other] = [c.a.canon.streams[threadA ?? -1], c.b.canon.streams[threadB ?? -1]];
  if (one === undefined || other === undefined || one.length === 0) return seq;
  const entry = other.seq.firstNotBelow(seq);
  return one.seq.at(Math.min(entry, one.length - 1)) + 0.5;
}

/** What processes did that only one trace has, to what the other trace has no name for. */
export interface LoneEffects {
  readonly files: readonly FileChange[];
  readonly net: readonly NetChange[];
  /** Files beyond those that are listed. */
  readonly left: number;
}

export async function loneEffects(
  c: Canonical,
  explainer: Explainer,
  lones: readonly LoneProcess[],
): Promise<LoneEffects> {
  if (lones.length === 0) return { files: [], net: [], left: 0 };
  const known = { a: new Set(c.a.names.hash), b: new Set(c.b.names.hash) };
  const all: LoneScan[] = [];
  for (const lone of lones) {
    const scan = new LoneScan(c, explainer, lone.only, known[lone.only === "a" ? "b" : "a"]);
    await scan.read(Number((lone.process[lone.only] ?? "p0").slice(1)));
    all.push(scan);
  }
  return {
    files: all.flatMap(({ files }) => [...files.values()]),
    net: all.flatMap(({ net }) => net),
    left: all.reduce((sum, { left }) => sum + left.size, 0),
  };
}

class LoneScan {
  /** By the number of the name. */
  readonly files = new Map<number, FileChange>();
  readonly net: NetChange[] = [];
  readonly left = new Set<number>();
  readonly #c: Canonical;
  readonly #explainer: Explainer;
  readonly #only: "a" | "b";
  /** Hashes of the names that the other trace has. */
  readonly #known: ReadonlySet<number>;

  constructor(c: Canonical, explainer: Explainer, only: "a" | "b", known: ReadonlySet<number>) {
    this.#c = c;
    this.#explainer = explainer;
    this.#only = only;
    this.#known = known;
  }

  async read(process: number): Promise<void> {
    const { canon } = this.#c[this.#only];
    for (const thread of canon.infos.get(process)?.threads ?? []) {
      const stream = canon.streams[thread];
      for (let entry = 0; entry < (stream?.length ?? 0); entry++) {
        if (stream !== undefined) await this.#entry(stream, entry);
      }
    }
  }

  /** A promise only where the event itself has to be read. */
  #entry(stream: Stream, entry: number): Promise<void> | undefined {
    const verb = this.#c.verbs.names[stream.verb.at(entry)] ?? "";
    const [name, seq] = [stream.name.at(entry), stream.seq.at(entry)];
    if (NET_VERBS.has(verb)) this.#address(verb, name, seq);
    const path = this.#newPath(name);
    if (path === undefined) return undefined;
    if (verb === "open") return this.#open(path, seq);
    this.#file(path, FILE_VERBS[verb], seq);
    return undefined;
  }

  /** The path that a name stands for, or the first of two, when the other trace does not have it. */
  #newPath(name: number): number | undefined {
    const side = this.#c[this.#only];
    const { names } = side.canon;
    const path = names.kind.at(name) === NameKind.Pair ? names.x.at(name) : name;
    if (names.kind.at(path) !== NameKind.Path) return undefined;
    if (this.#known.has(side.names.hash[path] as number)) return undefined;
    if (this.#c.rules.ignoresPath(nameText(side, path))) return undefined;
    if (this.files.size < MOST_FILES || this.files.has(path)) return path;
    this.left.add(path);
    return undefined;
  }

  async #open(path: number, seq: number): Promise<void> {
    const events = this.#explainer.events[this.#only];
    const row = await events.row(seq);
    const call = row && events.call(row);
    const opens = opensFor(call);
    const failed = call?.result.status === "error";
    this.#file(path, failed ? "looked for" : opens && OPENS[opens], seq);
  }

  #file(name: number, what: FileChange["what"] | undefined, seq: number): void {
    if (what === undefined) return;
    const known = this.files.get(name);
    if (known !== undefined && !isMoreTelling(what, known.what)) return;
    const path = nameText(this.#c[this.#only], name);
    this.files.set(name, { path, what, ...this.#place(seq), note: "" });
  }

  #address(what: string, name: number, seq: number): void {
    const side = this.#c[this.#only];
    const { names } = side.canon;
    const own = names.kind.at(name) === NameKind.Pair ? names.y.at(name) : name;
    const kind = names.kind.at(own);
    if (kind !== NameKind.Text && (kind !== NameKind.Path || own === name)) return;
    if (this.#known.has(side.names.hash[own] as number)) return;
    const address = addressOf(nameText(side, own));
    if (address !== undefined) this.net.push({ address, what, ...this.#place(seq) });
  }

  #place(seq: number) {
    const only = this.#only;
    return only === "a" ? { only, a: seq, b: undefined } : { only, a: undefined, b: seq };
  }
}
