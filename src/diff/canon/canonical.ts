/** Two traces in canonical form, side by side: read, settled, and ready to be compared hash by hash. */

import { replayability } from "../../trace/info.js";
import type { Trace } from "../../trace/trace.js";
import { type Lineage, matchProcesses } from "../lineage.js";
import { type PlaceMap, Places, placeMaps, startOf } from "../places.js";
import type { RuleSet } from "../rules.js";
import { mixed, mixed2 } from "./hash.js";
import { NameKind, NO_NAME } from "./names.js";
import { Plans, type Verbs } from "./plan.js";
import type { Stream } from "./run.js";
import { kindText, type SettledNames, settlePaths, settleRest } from "./settle.js";
import { CanonicalTrace } from "./trace.js";

export interface Side {
  readonly canon: CanonicalTrace;
  readonly names: SettledNames;
}

export interface Canonical {
  readonly a: Side;
  readonly b: Side;
  readonly verbs: Verbs;
  readonly rules: RuleSet;
  readonly places: Places;
  readonly lineage: Lineage;
  /** Whether transferred bytes are compared. */
  readonly payload: boolean;
}

export interface CanonicalOptions {
  readonly rules: RuleSet;
  readonly maps: readonly PlaceMap[];
}

export async function canonical(a: Trace, b: Trace, options: CanonicalOptions): Promise<Canonical> {
  const { rules } = options;
  const plans = new Plans(rules);
  const payload = [a, b].every((trace) => (trace.info.facts.get("data") ?? "all") === "all");
  const one = await new CanonicalTrace(a, { plans, payload }).read();
  // A trace beside itself is read once.
  const other = a === b ? one : await new CanonicalTrace(b, { plans, payload }).read();
  const starts = [one, other].map((canon) =>
    startOf(canon.processes.get(1)?.programs[0], canon.trace.info.cwd),
  );
  const [startA, startB] = starts;
  const places =
    startA === undefined || startB === undefined || !rules.has("places")
      ? new Places(options.maps)
      : new Places(placeMaps(startA, startB, options.maps));
  const names = settlePaths(one, other, places, rules);
  const lineage = matchProcesses(one, other, { a: names.a.texts, b: names.b.texts });
  finish(one, names.a, lineage, lineage.ofA, rules);
  if (other !== one) finish(other, names.b, lineage, lineage.ofB, rules);
  const sideA = { canon: one, names: names.a };
  const sideB = other === one ? sideA : { canon: other, names: names.b };
  return { a: sideA, b: sideB, verbs: plans.verbs, rules, places, lineage, payload };
}

/** Names processes and objects, puts the names into the hashes, and drops what only wakes threads. */
function finish(
  canon: CanonicalTrace,
  names: SettledNames,
  { pools, pooled }: Lineage,
  pairs: ReadonlyMap<number, number>,
  rules: RuleSet,
): void {
  const threads = new Map(
    canon.trace.processes.map(({ number, threads: own }) => [number, own.length]),
  );
  const arePooled = rules.has("pools");
  settleRest(canon, names, (process) => {
    const own = pairs.get(process) ?? -1;
    const pool = arePooled ? (pools[own] ?? own) : own;
    const isPool = arePooled && pooled.has(pool);
    return { pair: pool, threads: (threads.get(process) ?? 1) > 1 || isPool };
  });
  const own = rules.has("wake-ups") ? selfPipes(canon) : new Set<number>();
  for (const stream of canon.streams) {
    if (stream === undefined) continue;
    if (own.size > 0) stream.compact((entry) => own.has(stream.name.at(entry)));
    for (let entry = 0; entry < stream.length; entry++) {
      const name = stream.name.at(entry);
      if (name === NO_NAME) continue;
      stream.rest.set(entry, mixed2(stream.rest.at(entry), names.hash[name] as number));
    }
  }
}

/** Names of pipes that one process made and that no other uses. */
function selfPipes({ names, pipeUsers, origins }: CanonicalTrace): Set<number> {
  const own = new Set<number>();
  for (let name = 1; name < names.count; name++) {
    if (names.kind.at(name) !== NameKind.Object) continue;
    const object = names.x.at(name);
    const users = pipeUsers.get(object);
    if (users !== undefined && users >= 0 && origins.get(object)?.process === users) own.add(name);
  }
  return own;
}

/** What an event does to what, whatever came of it: events of one shape are versions of one another. */
export function shapeOf(c: Canonical, { names }: Side, stream: Stream, entry: number): number {
  const verb = stream.verb.at(entry);
  // The start of another program in the same place is another version of the start.
  const isStart = verb === c.verbs.of("exec");
  return mixed(verb, isStart ? 0 : (names.hash[stream.name.at(entry)] as number));
}

/** A name for people. */
export function nameText(side: Side, name: number): string {
  const { names } = side.canon;
  switch (names.kind.at(name)) {
    case NameKind.Path:
    case NameKind.Text:
    case NameKind.Inherited:
      return side.names.stands.get(name) ?? names.text(name);
    case NameKind.Pair:
      return `${nameText(side, names.x.at(name))}, ${nameText(side, names.y.at(name))}`;
    case NameKind.Task: {
      const thread = side.canon.trace.threads[names.x.at(name)];
      return `p${thread?.process ?? 0}`;
    }
    case NameKind.Object: {
      const index = names.x.at(name);
      const origin = side.canon.origins.get(index);
      const kind = kindText(side.canon.trace.objects[index]);
      return origin === undefined ? kind : `${kind} ${origin.ordinal + 1} of p${origin.process}`;
    }
    default:
      return "";
  }
}

/** Why two traces cannot be compared like two of a kind, in words. */
export function mismatches(a: Trace, b: Trace): string[] {
  const notes: string[] = [];
  const modes = [a, b].map((trace) => replayability(trace.info).mode);
  if (modes[0] !== modes[1]) {
    notes.push(
      `one was recorded with --observe, the other to be replayed: threads took turns in ${modes[0] === "replayable" ? "A" : "B"} only`,
    );
  }
  const data = [a, b].map((trace) => trace.info.facts.get("data") ?? "all");
  if (data.some((mode) => mode !== "all")) {
    notes.push("bytes that were read and written are not compared: they were not all recorded");
  }
  return notes;
}
