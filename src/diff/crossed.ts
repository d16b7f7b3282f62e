/**
 * What threads or workers moved was put beside what has its place in the other trace. Where another of them moved the same, both are
 * no differences; what is left of two pairs is a pair.
 */

import { append } from "../group.js";
import type { Canonical } from "./canon/canonical.js";
import type { Chance } from "./chance.js";
import type { RawDifference } from "./compare.js";
import { type Contents, sourceOfStream } from "./contents.js";
import type { BothEvents } from "./events.js";
import { isRacy } from "./pairs.js";
import type { Difference } from "./result.js";

/** Events of one kind among which those that moved the same are looked for. */
const MOST_CROSSING = 64;

/** A difference in what went through a stream. */
export interface Moving {
  readonly raw: RawDifference;
  readonly found: Difference;
}

/** Those of which each has one on the other side that moved the same. */
export async function crossedOf(
  c: Canonical,
  moving: readonly Moving[],
  events: BothEvents,
  { chance }: Contents,
): Promise<ReadonlySet<Difference>> {
  const crossed = new Set<Difference>();
  if (!c.rules.has("pools") || !c.payload) return crossed;
  const groups = new Map<string, Moving[]>();
  for (const one of moving) {
    const { raw, found } = one;
    if (!isRacy(c, raw.pair)) continue;
    const own = raw.a ?? raw.b;
    const side = raw.a === undefined ? c.b : c.a;
    const hash = own === undefined ? 0 : side.names.hash[own.stream.name.at(own.entry)];
    append(groups, `${found.verb} ${hash}`, one);
  }
  for (const group of groups.values()) {
    const looked = group.slice(0, MOST_CROSSING);
    if (looked.length < 2 || !(await isCrossed(c, looked, events, chance))) continue;
    for (const { found } of looked) crossed.add(found);
  }
  return crossed;
}

/** Each event of the one side has one on the other that moved the same. */
async function isCrossed(
  c: Canonical,
  group: readonly Moving[],
  events: BothEvents,
  chance: Chance,
): Promise<boolean> {
  const left = group.flatMap(({ raw }) => raw.a ?? []);
  const right = group.flatMap(({ raw }) => raw.b ?? []);
  if (left.length !== right.length) return false;
  const texts: Buffer[] = [];
  for (const at of right) texts.push((await events.b.bytes(at)).data);
  for (const at of left) {
    const { data } = await events.a.bytes(at);
    const source = sourceOfStream(c.verbs.names[at.stream.verb.at(at.entry)] ?? "");
    const other = texts.findIndex((text) => chance.explains(data, text, source, false));
    if (other < 0) return false;
    texts.splice(other, 1);
  }
  return true;
}
