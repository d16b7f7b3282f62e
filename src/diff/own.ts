/**
 * What runs of one side differ in from each other: chance that no rule knows. A difference is known again by what it is, without
 * the numbers and names of a run. Of files the bytes count too: another line is another difference. What processes say to each other
 * through pipes and sockets is known by who says it.
 */

import { patternOf } from "./learn.js";
import type { Aspect, Difference, DiffResult, LoneProcess } from "./result.js";

export class OwnDifferences {
  readonly #known = new Set<string>();

  /** Takes in how another run of that side differs from it. */
  add({ differences, programs }: DiffResult): void {
    for (const one of differences) this.#known.add(keyOf(one));
    for (const lone of programs) this.#known.add(loneKey(lone));
  }

  has(one: Difference): boolean {
    return this.#known.has(keyOf(one));
  }

  hasProcess(lone: LoneProcess): boolean {
    return this.#known.has(loneKey(lone));
  }
}

/** `changed` and the like say as much as which of the two runs was first. */
function keyOf({ kind, verb, object, process, aspects }: Difference): string {
  const isSole = kind === "added" || kind === "removed";
  const who = commandKey(process.command);
  if (!object.startsWith("/")) {
    const end = verb === "end" ? aspects.map(({ b }) => b).join() : "";
    return [verb, plain(object), who, end].join("\0");
  }
  const parts = aspects.map(aspectKey).sort();
  return [isSole ? "sole" : kind, verb, patternOf(plain(object)), who, ...parts].join("\0");
}

/** Of errors which, of bytes where they begin to differ or which lines do, of all else only what it is. */
function aspectKey({ what, a, b, lines }: Aspect): string {
  if (what === "errno") return `${what}=${[a, b].sort().join()}`;
  if (what !== "data") return what;
  if (lines !== undefined) {
    const changed = lines.filter((line) => /^[+-]/.test(line)).map((line) => plain(line.slice(1)));
    return `${what} ${[...new Set(changed)].sort().join("\n")}`;
  }
  return `${what} ${/byte \d+/.exec(a ?? "")?.[0] ?? ""}`;
}

function loneKey({ path, process }: LoneProcess): string {
  return `process\0${path}\0${commandKey(process.command)}`;
}

function commandKey(command: readonly string[]): string {
  return plain(command.join(" "));
}

/** Without numbers, and without ids in hexadecimal. */
function plain(text: string): string {
  return text.replace(/\b[0-9a-f]{12,}\b/gi, "#").replace(/\d+/g, "#");
}
