/** What the rules leave of each event of one trace: what `trace diff --show-canonical` prints. */

import { threadName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { canonical, nameText, type Side } from "./canon/canonical.js";
import { type DiffOptions, givenMaps, ruleSet } from "./diff.js";
import { Events } from "./events.js";
import { maskedPart } from "./mask.js";

const CHUNK = 1 << 16;

/**
 * One line for each canonical event, in the order of the trace: number, thread, verb, what it is done to, and the parts that are
 * compared. Events of which nothing is compared are left out.
 */
export async function* canonicalLines(trace: Trace, options: DiffOptions): AsyncGenerator<string> {
  const rules = ruleSet(options);
  // Compared with itself, every name is one that both have.
  const c = await canonical(trace, trace, { rules, maps: givenMaps(options) });
  const events = new Events(c.a, rules);
  let text = "";
  for (const { thread, entry, stream, seq } of inOrder(c.a)) {
    const info = trace.threads[thread];
    const verb = c.verbs.names[stream.verb.at(entry)] ?? "?";
    const row = await events.row(seq);
    const leaves = row === undefined ? [] : [...events.leaves(row)];
    const parts = stream.partsOf(entry).length;
    const shown = ([part, value]: readonly [string, string]) =>
      options.maskSecrets === true ? maskedPart(part, value) : value;
    const what = leaves.map((leaf) => `${leaf[0]}=${JSON.stringify(shown(leaf))}`);
    if (parts > 1) what.push(`calls=${parts}`);
    const hash = stream.rest.at(entry).toString(16).padStart(14, "0");
    const name = nameText(c.a, stream.name.at(entry));
    const head = `@${seq}`.padEnd(9) + (info === undefined ? "p?" : threadName(info)).padEnd(7);
    text += `${`${head}${hash} ${verb} ${name} ${what.join(" ")}`.trimEnd()}\n`;
    if (text.length < CHUNK) continue;
    yield text;
    text = "";
  }
  if (c.a.canon.failure !== undefined) throw c.a.canon.failure;
  yield text;
}

function inOrder({ canon }: Side) {
  return canon.streams
    .flatMap((stream, thread) => {
      if (stream === undefined) return [];
      return Array.from({ length: stream.length }, (_, entry) => ({
        ...{ stream, thread, entry },
        seq: stream.seq.at(entry),
      }));
    })
    .sort((x, y) => x.seq - y.seq);
}
