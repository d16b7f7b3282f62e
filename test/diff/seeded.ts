/**
 * `npm run diff:seeded -- [options]`: changes that are planted between two runs; the first cause has to name what was changed.
 *
 *   --only NAME    seeds whose name contains it; may be repeated
 *   -v             print the reports
 *
 * Prints the table, and writes bench/diff-seeded.md when all were tried. Exits with 1 when a change is called the same, or fewer
 * than nine in ten are named.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { diff } from "../../src/diff/diff.js";
import { diffText } from "../../src/diff/render/text.js";
import type { DiffResult } from "../../src/diff/result.js";
import { tableMarkdown } from "../../src/report/table.js";
import { findProgram } from "../support/tools.js";
import { leave, makePlace, type Place, prepare, record } from "./recording.js";
import { SEEDS, type Seed } from "./seeds.js";

const TABLE = fileURLToPath(new URL("../../bench/diff-seeded.md", import.meta.url));
const WANTED = 0.9;

export interface SeededRow {
  readonly name: string;
  readonly result: DiffResult | undefined;
  readonly named: boolean;
  /** Why it was not tried. */
  readonly missing: string;
}

/** Records before and after the change, and compares. */
export async function trySeed(seed: Seed): Promise<SeededRow> {
  const missing = (seed.needs ?? []).filter((name) => findProgram(name) === undefined).join(", ");
  if (missing !== "") return { name: seed.name, result: undefined, named: false, missing };
  const place = makePlace();
  try {
    if (seed.setup !== undefined) prepare(place, seed.setup);
    const first = await once(place, seed, 0);
    if (seed.change !== undefined) prepare(place, seed.change);
    const second = seed.rewrite?.(place, first) ?? (await again(place, seed));
    const result = await diff(first, second);
    return { name: seed.name, result, named: seed.object.test(told(result)), missing };
  } finally {
    leave(place);
  }
}

/** The second run; where the change is one of chance, the first one that came out otherwise. */
async function again(place: Place, seed: Seed): Promise<string> {
  const { differs } = seed;
  if (differs === undefined) return once(place, seed, 1);
  const file = join(place.work, differs);
  const before = readFileSync(file, "utf8");
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
    const options = [`--chaos=${attempt}`];
    const trace = await record(place, "1", { argv: seed.argv, ...seed.spec, options });
    if (readFileSync(file, "utf8") !== before) return trace;
  }
  throw new Error(`${seed.name}: ${MOST_ATTEMPTS} runs came out alike`);
}

const MOST_ATTEMPTS = 40;

async function once(place: Place, seed: Seed, run: number): Promise<string> {
  if (seed.reset !== undefined) prepare(place, seed.reset);
  const end = await seed.beside?.(place, run);
  try {
    const spec = { argv: seed.argv, ...seed.spec, ...(run === 1 ? seed.second : {}) };
    return await record(place, String(run), spec);
  } finally {
    end?.();
  }
}

/** What the report says first. */
function told({ firstCause }: DiffResult): string {
  if (firstCause === undefined) return "";
  const { summary, object, lines, consequences } = firstCause;
  return [summary, object, ...lines, ...consequences].join("\n");
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true, default: [] },
      verbose: { type: "boolean", short: "v", default: false },
    },
  });
  const chosen = SEEDS.filter(
    ({ name }) => values.only.length === 0 || values.only.some((word) => name.includes(word)),
  );
  const rows: SeededRow[] = [];
  for (const seed of chosen) {
    const row = await trySeed(seed);
    rows.push(row);
    const verdict = row.result?.verdict ?? row.missing;
    process.stderr.write(
      `${row.named ? "named" : "NOT NAMED"}: ${seed.name}: ${verdict}; ${row.result?.firstCause?.summary ?? ""}\n`,
    );
    if (row.result !== undefined && (values.verbose || !row.named))
      process.stderr.write(diffText(row.result));
  }
  const tried = rows.filter(({ result }) => result !== undefined);
  const named = tried.filter((row) => row.named).length;
  const missed = tried.filter(({ result }) => result?.verdict === "same").length;
  const columns = ["change", "verdict", "named", "first cause"].map((head) => ({
    head,
    align: "left" as const,
  }));
  const cells = rows.map(({ name, result, named: isNamed, missing }) => [
    name,
    result?.verdict ?? `not installed: ${missing}`,
    isNamed ? "yes" : "no",
    withoutPlace(result?.firstCause?.summary ?? ""),
  ]);
  const text =
    "# Planted changes\n\nMade by `npm run diff:seeded`: a program is recorded, one thing is changed, it is recorded again. Is the change seen, and does the " +
    `first cause name it?\n\n${tableMarkdown(columns, cells)}\n${named} of ${tried.length} are named; ${missed} are called the same.\n`;
  process.stdout.write(text);
  if (chosen.length === SEEDS.length) writeFileSync(TABLE, text);
  return missed === 0 && named >= WANTED * tried.length ? 0 : 1;
}

/** Temporary directories are of this run. */
function withoutPlace(text: string): string {
  return text.replace(/\/\S*trace-diff-\w+\/work/g, "...");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
