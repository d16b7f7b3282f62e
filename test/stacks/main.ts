/**
 * `npm run compare:stacks`: records programs that were built in many ways, and compares the frames of all their calls, which a replay
 * takes, with what gdb shows at the same calls of a run of its own: function, file, line, what is inlined. Then compares the
 * functions and lines at sampled addresses with `addr2line -i`. `--min=N` programs, or `--places=PERCENT` of the places, fewer
 * than which end it with 1; `--write` puts the result into bench/stacks.md; words name the programs that are wanted.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Build, builds } from "./builds.js";
import { compare } from "./compare.js";
import { Opinions } from "./opinions.js";
import { comparePlaces } from "./places.js";
import { type Line, write } from "./report.js";
import { gdbStacks, replayedStacks } from "./taken.js";

const LONGEST_LIST = 4;
/** Programs that are compared at one time: gdb and the replay wait for each other's stops most of it. */
const AT_ONCE = 4;

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

async function compareProgram(build: Build, folder: string): Promise<Line> {
  const { name } = build;
  const own = mkdtempSync(join(folder, "run-"));
  try {
    const [theirs, taken] = await Promise.all([gdbStacks(build, own), replayedStacks(build, own)]);
    const opinions = new Opinions(taken.flat().map((call) => call.frames));
    return { name, score: compare(theirs, taken, opinions, build.isParallel === true) };
  } catch (error) {
    return { name, failure: String(error) };
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

async function comparePrograms(
  folder: string,
  only: readonly string[],
  longest: number,
  keep: (lines: readonly Line[]) => void,
): Promise<void> {
  const lines: Line[] = [];
  const isWanted = (name: string) => only.length === 0 || only.includes(name);
  const all = builds(folder, isWanted);
  const takeTurns = async () => {
    for (let next = all.next(); next.done !== true; next = all.next()) {
      const line = await compareProgram(next.value, folder);
      lines.push(line);
      print(line, longest);
      keep(lines.sort((one, other) => one.name.localeCompare(other.name)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, takeTurns));
}

async function main(): Promise<number> {
  const words = process.argv.slice(2);
  const option = (name: string) =>
    Number(new RegExp(`--${name}=(\\d+)`).exec(words.join(" "))?.[1] ?? 0);
  const only = words.filter((word) => !word.startsWith("--"));
  const folder = mkdtempSync(join(tmpdir(), "trace-stacks-"));
  try {
    let lines: readonly Line[] = [];
    const isWritten = words.includes("--write");
    await comparePrograms(folder, only, option("differences") || LONGEST_LIST, (known) => {
      lines = known;
      // What is there is kept when the rest takes too long.
      if (isWritten) write(lines, []);
    });
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
    if (isWritten) write(lines, places);
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
