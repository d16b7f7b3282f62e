/** Compares the fixture programs line by line; `main.ts` prints the score. */
import { diffLines, type Edit, formatDiff } from "./diff.js";
import { compareLabels, parseLog } from "./log.js";
import { maskTasks } from "./mask.js";
import { NEWER } from "./rules.js";
import { HarnessError, type Recording, type Tracer, workDirOf } from "./tracer.js";

export interface FixtureReport {
  readonly name: string;
  readonly lines: number;
  readonly differing: number;
  /** Lines that agree but for a constant that strace does not know yet, by rule. */
  readonly explained: ReadonlyMap<string, number>;
  readonly diff: readonly string[];
}

const TIMEOUT_MS = 30_000;

export function compareFixture(
  name: string,
  program: string,
  base: string,
  tracers: readonly [Tracer, Tracer],
): FixtureReport {
  const run = { argv: [program], timeoutMs: TIMEOUT_MS };
  const [first, second] = tracers.map((tracer) => tracer(base, run)) as [Recording, Recording];
  if (first.ended !== "exit 0") {
    throw new HarnessError(`${name} ends with ${first.ended} under strace`);
  }
  const workDir = workDirOf(base);
  const expected = maskTasks(parseLog(first.log), workDir);
  const actual = maskTasks(parseLog(second.log), workDir);
  const report = compareTasks(expected, actual);
  if (first.ended !== second.ended) {
    report.diff.push(`- ended: ${first.ended}`, `+ ended: ${second.ended}`);
    report.differing++;
  }
  return { name, ...report };
}

function compareTasks(
  expected: ReadonlyMap<string, readonly string[]>,
  actual: ReadonlyMap<string, readonly string[]>,
): { lines: number; differing: number; explained: Map<string, number>; diff: string[] } {
  const explained = new Map<string, number>();
  const report = { lines: 0, differing: 0, explained, diff: [] as string[] };
  const labels = [...new Set([...expected.keys(), ...actual.keys()])].sort(compareLabels);
  for (const label of labels) {
    const wanted = expected.get(label) ?? [];
    const edits = diffLines(wanted, asStrace(actual.get(label) ?? [], wanted, explained));
    report.lines += expected.get(label)?.length ?? 0;
    const differing = countDiffering(edits);
    if (differing === 0) continue;
    report.differing += differing;
    report.diff.push(`@@ ${label} @@`, ...formatDiff(edits));
  }
  return report;
}

/** The lines with newer constants written as strace has them, where strace has that very line. */
function asStrace(
  lines: readonly string[],
  wanted: readonly string[],
  explained: Map<string, number>,
): string[] {
  const known = new Set(wanted);
  return lines.map((line) => {
    if (known.has(line)) return line;
    for (const { id, ours, theirs } of NEWER) {
      const older = line.replace(ours, (found: string, head: string, kept?: string) =>
        typeof theirs === "function"
          ? theirs(found)
          : theirs
              .replace("$1", () => head)
              .replace("$2", () => (typeof kept === "string" ? kept : "ADDR")),
      );
      if (older === line || !known.has(older)) continue;
      explained.set(id, (explained.get(id) ?? 0) + 1);
      return older;
    }
    return line;
  });
}

/** A changed line is one difference, not two: the larger of what is missing and what is extra. */
function countDiffering(edits: readonly Edit[]): number {
  const count = (kind: Edit["kind"]): number => edits.filter((edit) => edit.kind === kind).length;
  return Math.max(count("missing"), count("extra"));
}
