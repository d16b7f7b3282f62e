/**
 * `npm run compare:stacks`: records programs that were built in many ways, and compares the frames of all their calls, which a replay
 * takes, with what gdb shows at the same calls of a run of its own: function, file, line, what is inlined. Then compares the
 * functions and lines at sampled addresses with `addr2line -i`. `--min=N` programs, or `--places=PERCENT` of the places, fewer
 * than which end it with 1; `--write` puts the result into bench/stacks.md; words name the programs that are wanted.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builds } from "./builds.js";
import { compare } from "./compare.js";
import { Opinions } from "./opinions.js";
import { comparePlaces } from "./places.js";
import { type Line, write } from "./report.js";
import { gdbStacks, replayedStacks } from "./taken.js";

const LONGEST_LIST = 4;

function isGood({ score }: Line): boolean {
  return score !== undefined && score.frames > 0 && score.differences.length === 0;
}

function print(line: Line, longest: number): void {
  const { name, score, failure } = line;
  if (score === undefined) {
    process.stdout.write(`FAIL ${name}: ${failure}\n`);
    return;
  }
  const classes = Object.entries(score.classes).map(([reason, frames]) => `${frames} ${reason}`);
  const alone = score.alone > 0 ? [`${score.alone} calls of one run alone`] : [];
  const notes = [...classes, ...alone].map((note) => `, ${note}`).join("");
  process.stdout.write(
    `${isGood(line) ? "same" : "DIFF"} ${name}: ${score.same} of ${score.frames} frames at ${score.calls} calls${notes}\n`,
  );
  for (const difference of score.differences.slice(0, longest))
    process.stdout.write(`    ${difference}\n`);
}

async function comparePrograms(
  folder: string,
  only: readonly string[],
  longest: number,
): Promise<Line[]> {
  const lines: Line[] = [];
  const isWanted = (name: string) => only.length === 0 || only.includes(name);
  for (const build of builds(folder, isWanted)) {
    let line: Line;
    try {
      const [theirs, own] = await Promise.all([
        gdbStacks(build, folder),
        replayedStacks(build, folder),
      ]);
      const opinions = new Opinions(own.flat().map((call) => call.frames));
      line = { name: build.name, score: compare(theirs, own, opinions, build.isParallel === true) };
    } catch (error) {
      line = { name: build.name, failure: String(error) };
    }
    lines.push(line);
    print(line, longest);
  }
  return lines;
}

async function main(): Promise<number> {
  const words = process.argv.slice(2);
  const option = (name: string) =>
    Number(new RegExp(`--${name}=(\\d+)`).exec(words.join(" "))?.[1] ?? 0);
  const only = words.filter((word) => !word.startsWith("--"));
  const folder = mkdtempSync(join(tmpdir(), "trace-stacks-"));
  try {
    const lines = await comparePrograms(folder, only, option("differences") || LONGEST_LIST);
    const good = lines.filter(isGood).length;
    const sum = (of: "same" | "frames" | "calls") =>
      lines.reduce((total, { score }) => total + (score?.[of] ?? 0), 0);
    process.stdout.write(
      `stacks: ${good} of ${lines.length} programs, ${sum("same")} of ${sum("frames")} frames at ${sum("calls")} calls as gdb says\n`,
    );
    const places = only.length === 0 || only.includes("places") ? await comparePlaces(folder) : [];
    for (const { name, same, all, classes } of places) {
      const notes = Object.entries(classes).map(([reason, count]) => `, ${count} ${reason}`);
      process.stdout.write(
        `places: ${name}: ${same} of ${all} as addr2line says${notes.join("")}\n`,
      );
    }
    if (words.includes("--write")) write(lines, places);
    const isExact = places.every(({ same, all, classes }) => {
      const known = Object.values(classes).reduce((total, count) => total + count, 0);
      return (same + known) * 100 >= all * option("places");
    });
    return good >= option("min") && isExact ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main();
