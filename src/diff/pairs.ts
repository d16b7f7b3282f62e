/** Pairs of processes, one of each trace: what they are called, where they come from, and who races in them. */

import type { Canonical, Side } from "./canon/canonical.js";
import type { Entry } from "./chains.js";
import type { ProcessRef } from "./result.js";

/** Processes that are looked at, from one to who started it. */
const MOST_DEPTH = 1000;

/** The processes of a pair, with the program that they run. */
export function processOf(c: Canonical, pair: number, seq = Number.POSITIVE_INFINITY): ProcessRef {
  const { a = 0, b = 0 } = c.lineage.pairs[pair] ?? {};
  const side = a > 0 ? c.a : c.b;
  return {
    a: a > 0 ? `p${a}` : undefined,
    b: b > 0 ? `p${b}` : undefined,
    command: commandOf(side, a > 0 ? a : b, seq),
  };
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

/** A process that no traced one started. */
export function isFirst(c: Canonical, pair: number): boolean {
  const { a = 0 } = c.lineage.pairs[pair] ?? {};
  return (c.a.canon.infos.get(a)?.parent ?? 0) === 0;
}

/** Whether threads or workers race in the process, or in the one that started it. */
export function isRacy(c: Canonical, pair: number): boolean {
  const { pools, pooled, pairs, ofA } = c.lineage;
  for (let own = pair, depth = 0; depth < MOST_DEPTH; depth++) {
    if (hasThreads(c, own) || pooled.has(pools[own] ?? own)) return true;
    const parent = c.a.canon.infos.get(pairs[own]?.a ?? 0)?.parent ?? 0;
    const next = ofA.get(parent);
    if (next === undefined) return false;
    own = next;
  }
  return false;
}

/** Whether the process has several threads in one of the traces. */
export function hasThreads(c: Canonical, pair: number): boolean {
  return (["a", "b"] as const).some((key) => {
    const number = c.lineage.pairs[pair]?.[key] ?? 0;
    const info = c[key].canon.infos.get(number);
    return (info?.threads.length ?? 0) > 1;
  });
}

/** Events of a process of one trace, thread by thread. */
export function* entriesOf(c: Canonical, key: "a" | "b", pair: number): Generator<Entry> {
  const { canon } = c[key];
  const number = c.lineage.pairs[pair]?.[key] ?? 0;
  for (const thread of canon.infos.get(number)?.threads ?? []) {
    const stream = canon.streams[thread];
    if (stream === undefined) continue;
    for (let entry = 0; entry < stream.length; entry++) yield { stream, thread, entry };
  }
}
