/** How much of a recording the agent has captured, from the fact that the recorder leaves in the trace. */

import type { TraceInfo } from "./info.js";

/** A number of calls, or of sites, and what they are. */
export interface Counted {
  readonly count: number;
  readonly what: string;
}

export interface Coverage {
  /** Calls that were made and written down inside the program, without a stop. */
  readonly inProcess: number;
  /** Calls that stopped it. */
  readonly trapped: number;
  /** Places in the code of all processes that were patched. */
  readonly patched: number;
  /** How often a bad pointer of the program has stopped it while the agent looked there. */
  readonly faults: number;
  /** The calls that stopped it, the most frequent first; at most 32 of them. */
  readonly calls: readonly Counted[];
  /** Places that were left alone, by reason. */
  readonly refused: readonly Counted[];
  /** Processes that the agent has left, by what they did: from then on each of their calls stopped them. */
  readonly left: readonly Counted[];
}

/** Lines of the fact; a damaged or hostile file may have any. */
const MOST_LINES = 256;

/** The coverage of a trace that was recorded with the agent; undefined for others, and while they are being recorded. */
export function coverageOf(info: TraceInfo): Coverage | undefined {
  const fact = info.facts.get("agent");
  if (fact === undefined) return undefined;
  const lines = fact.split("\n", MOST_LINES);
  const number = (key: string) => {
    const line = lines.find((text) => text.startsWith(`${key}=`));
    return countOf(line?.slice(key.length + 1));
  };
  const list = (key: string) =>
    lines
      .map((line) => /^(\w+)=(\d+) (.*)$/.exec(line))
      .filter((match) => match?.[1] === key)
      .map((match) => ({ count: countOf(match?.[2]), what: match?.[3] ?? "" }));
  return {
    inProcess: number("in_process"),
    trapped: number("trapped"),
    patched: number("patched"),
    faults: number("faults"),
    calls: list("call"),
    refused: list("refused"),
    left: list("left"),
  };
}

function countOf(text: string | undefined): number {
  const value = Number(text);
  return Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
