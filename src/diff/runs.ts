/**
 * Many runs: what do all that failed have that none that passed has? Each run is compared with the first one that passed; what
 * differs from it is named by what it is, so that the same difference in two runs is one.
 */

import { cut, printable } from "../report/text.js";
import { counted } from "../report/units.js";
import { type DiffOptions, diff } from "./diff.js";
import type { Difference, DiffResult, LoneProcess } from "./result.js";
import { lonePhrase, phrase, processText } from "./words.js";

export interface Sign {
  /** A sentence. */
  readonly text: string;
  /** Runs that have it. */
  readonly failed: number;
  readonly passed: number;
  /** Where to look: the first failed run that has it, and its event there. */
  readonly trace: string;
  readonly seq: number | undefined;
  /** How early it comes in that run, from 0 to 1. */
  readonly place: number;
}

export interface RankedRuns {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  /** In every failed run and in no passed one; the earliest first. */
  readonly always: readonly Sign[];
  /** In more of the failed runs than of the passed ones. */
  readonly often: readonly Sign[];
}

interface Found {
  readonly text: string;
  readonly runs: Set<string>;
  readonly first: {
    readonly trace: string;
    readonly seq: number | undefined;
    readonly place: number;
  };
}

export async function rankRuns(
  passed: readonly string[],
  failed: readonly string[],
  options: DiffOptions,
): Promise<RankedRuns> {
  const [reference = "", ...others] = passed;
  const found = new Map<string, Found>();
  for (const run of [...failed, ...others]) {
    const result = await diff(reference, run, options);
    for (const [key, one] of signsOf(result)) {
      const known = found.get(key);
      if (known === undefined)
        found.set(key, { text: one.text, runs: new Set([run]), first: { trace: run, ...one } });
      else known.runs.add(run);
    }
  }
  const signs = [...found.values()].map(({ text, runs, first }): Sign => {
    const count = (list: readonly string[]) => list.filter((run) => runs.has(run)).length;
    return {
      text,
      failed: count(failed),
      passed: count(others),
      trace: first.trace,
      seq: first.seq,
      place: first.place,
    };
  });
  const always = signs.filter((sign) => sign.failed === failed.length && sign.passed === 0);
  const often = signs.filter((sign) => !always.includes(sign) && sign.failed > 0);
  always.sort((x, y) => x.place - y.place);
  const excess = (sign: Sign) =>
    sign.failed / failed.length - sign.passed / Math.max(1, others.length);
  often.sort((x, y) => excess(y) - excess(x) || x.place - y.place);
  return { passed, failed, always, often: often.filter((sign) => excess(sign) > 0) };
}

function* signsOf(
  result: DiffResult,
): Generator<[string, { text: string; seq: number | undefined; place: number }]> {
  const size = Math.max(1, result.a.events);
  for (const one of result.differences) {
    yield [
      keyOf(one),
      {
        text: `${processText(one.process)}: ${phrase(one)}`,
        seq: one.b?.seq,
        place: one.at / size,
      },
    ];
  }
  for (const lone of result.programs) {
    const text = lonePhrase(lone);
    yield [
      loneKey(lone),
      { text, seq: lone.only === "b" ? lone.seq : undefined, place: lone.at / size },
    ];
  }
}

/** What it is, without the numbers of this run: the same in another run is the same. */
function keyOf({ kind, verb, object, process, aspects }: Difference): string {
  const parts = aspects.map(({ what, b }) =>
    what === "errno" || verb === "end" ? `${what}=${b}` : what,
  );
  return [kind, verb, object, process.command.join(" "), ...parts].join("\0");
}

function loneKey({ only, process, path }: LoneProcess): string {
  return ["process", only, path, process.command.join(" ")].join("\0");
}

export function rankedText(
  { passed, failed, always, often }: RankedRuns,
  width: number,
  limit: number,
): string {
  const runs = `${counted(failed.length, "failed run")}, ${counted(passed.length, "passed run")}`;
  let out = `${runs}: ${counted(always.length, "thing")} in every failed run and in no other\n`;
  const rows = (signs: readonly Sign[]) => {
    for (const { text, failed: bad, passed: good, trace, seq } of signs.slice(0, limit)) {
      const share = `${bad}/${failed.length} failed, ${good}/${passed.length - 1} passed`;
      out += `  ${cut(printable(text), width - 2)}\n`;
      out += `      ${share}${seq === undefined ? "" : `: trace show ${trace} @${seq}`}\n`;
    }
    if (signs.length > limit) out += `  ${signs.length - limit} more: --limit ${signs.length}\n`;
  };
  rows(always);
  if (often.length > 0) {
    out += "\nmore often in failed runs\n";
    rows(often);
  }
  return out;
}

export function rankedJson(ranked: RankedRuns): string {
  return `${JSON.stringify({ schema: "trace.diff.runs", version: 1, ...ranked }, undefined, 2)}\n`;
}
