/**
 * `npm run diff:same -- [options]`: 20 programs, each recorded again and again; neighbours are compared with the default rules.
 *
 *   --pairs N      pairs of each program; default 20
 *   --only NAME    programs whose name contains it; may be repeated
 *   --observe      recorded with --observe, where threads run freely
 *   -v             print what differed
 *
 * Prints the table, and writes bench/diff-same.md when all programs were compared 20 times. Exits with 1 when fewer than 18
 * of 20 were always the same.
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { diff } from "../../src/diff/diff.js";
import { diffText } from "../../src/diff/render/text.js";
import { tableMarkdown } from "../../src/report/table.js";
import { findProgram } from "../support/tools.js";
import { PROGRAMS, type Program } from "./programs.js";
import { leave, makePlace, prepare, record } from "./recording.js";

const TABLE = fileURLToPath(new URL("../../bench/diff-same.md", import.meta.url));
const FULL = 20;
const WANTED = 0.9;

export interface SameRow {
  readonly name: string;
  readonly pairs: number;
  readonly same: number;
  readonly events: number;
  readonly processes: number;
  readonly threads: number;
  /** Reports of the pairs that differed. */
  readonly reports: readonly string[];
  readonly note: string;
}

/** Records a program `pairs + 1` times and compares each run with the one before. */
export async function compareRuns(
  program: Program,
  pairs: number,
  options: readonly string[],
): Promise<SameRow> {
  const empty = {
    name: program.name,
    pairs: 0,
    same: 0,
    events: 0,
    processes: 0,
    threads: 0,
    reports: [],
  };
  const missing = program.needs.filter((name) => findProgram(name) === undefined);
  if (missing.length > 0) return { ...empty, note: `not installed: ${missing.join(", ")}` };
  const place = makePlace();
  const beside = await program.beside?.();
  try {
    if (program.setup !== undefined) prepare(place, program.setup);
    const argv = [...program.argv, ...(beside?.words ?? [])];
    const once = async (name: string) => {
      if (program.reset !== undefined) prepare(place, program.reset);
      return record(place, name, { argv, options });
    };
    // The first run fills caches of the program's own.
    await once("first");
    let before = await once("0");
    let row: SameRow = { ...empty, note: "" };
    for (let k = 1; k <= pairs; k++) {
      const now = await once(String(k % 2));
      const result = await diff(before, now);
      const isSame = result.verdict === "same";
      const { events, processes, threads } = result.b;
      row = {
        ...{ ...row, pairs: k, events, processes, threads },
        same: row.same + (isSame ? 1 : 0),
        reports: isSame ? row.reports : [...row.reports, diffText(result)],
      };
      before = now;
    }
    return row;
  } finally {
    beside?.end();
    leave(place);
  }
}

function table(rows: readonly SameRow[]): string {
  const columns = ["program", "events", "processes", "threads", "pairs", "same", ""].map(
    (head, k) => ({
      head,
      align: k === 0 || k === 6 ? ("left" as const) : ("right" as const),
    }),
  );
  return tableMarkdown(
    columns,
    rows.map((row) => [
      row.name,
      ...[row.events, row.processes, row.threads, row.pairs, row.same].map(String),
      row.note,
    ]),
  );
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      pairs: { type: "string", default: String(FULL) },
      only: { type: "string", multiple: true, default: [] },
      observe: { type: "boolean", default: false },
      verbose: { type: "boolean", short: "v", default: false },
    },
  });
  const pairs = Number(values.pairs);
  const chosen = PROGRAMS.filter(
    ({ name }) => values.only.length === 0 || values.only.some((word) => name.includes(word)),
  );
  const rows: SameRow[] = [];
  for (const program of chosen) {
    const row = await compareRuns(program, pairs, values.observe ? ["--observe"] : []);
    rows.push(row);
    process.stderr.write(`${row.name}: ${row.same} of ${row.pairs} the same ${row.note}\n`);
    if (values.verbose) for (const report of row.reports) process.stderr.write(report);
  }
  const always = rows.filter((row) => row.pairs > 0 && row.same === row.pairs).length;
  const mode = values.observe ? "recorded with --observe" : "recorded so that they can be replayed";
  const text =
    "# The same program twice\n\nMade by `npm run diff:same`: each program is recorded again and again, and each recording compared with the one " +
    `before, with the default rules; ${mode}.\n\n${table(rows)}\n${always} of ${rows.length} programs were the same in every pair.\n`;
  process.stdout.write(text);
  if (pairs >= FULL && chosen.length === PROGRAMS.length && !values.observe)
    writeFileSync(TABLE, text);
  return always >= WANTED * rows.length ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
