/**
 * The questions of docs/fleet.md over a hundred recorded runs, asked of DuckDB, of a Spark cluster, of `trace query`, and counted
 * from what `trace show` prints.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { folder, record } from "../record/support.js";
import { runCommand } from "../support/run.js";
import { type ShownEvent, shownEvents } from "../support/shown.js";
import { lackingPython, readBack, titled } from "./python.js";

const RUNS = 100;

const text = readFileSync(new URL("../../docs/fleet.md", import.meta.url), "utf8");
const blocks = (kind: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${kind}\\n(.*?)^\`\`\``, "gms"))].map(
    ([, sql]) => sql ?? "",
  );
const questions = blocks("sql");
const withRuns = blocks("sql with-runs");

/** Four programs that do different things; each run of one is a little different too. */
const scripts: readonly ((k: number) => string)[] = [
  (k) => `cat /etc/hostname missing-${k % 5} > /dev/null || true`,
  (k) => `ls /etc | head -${k} | wc -l`,
  () => "true",
  (k) => `sh -c 'exit ${k % 3}' || true`,
];

async function recordRuns(): Promise<string[]> {
  const files: string[] = [];
  for (let k = 0; k < RUNS; k++) {
    const script = scripts[k % scripts.length]?.(k) ?? "";
    const { file, code } = await record(["sh", "-c", script], { options: ["--observe"] });
    expect(code, script).toBe(0);
    files.push(file);
  }
  return files;
}

/** `trace query` names runs by their files, which are all called the same here: by their paths. */
async function asked(files: readonly string[], question: string): Promise<unknown[][]> {
  const words = ["query", ...files, question, "--format", "json", "--limit", "0"];
  const { rows } = JSON.parse((await runCommand(words)).stdout) as {
    rows: Record<string, unknown>[];
  };
  return rows.map((row) => Object.values(row));
}

describe.skipIf(lackingPython !== undefined)(titled("a hundred runs"), () => {
  let files: string[] = [];
  let duck: unknown[][][] = [];
  let spark: unknown[][][] = [];

  beforeAll(async () => {
    files = await recordRuns();
    const tables = join(folder(), "fleet");
    const chosen = ["event", "exec", "fd", "run"].flatMap((table) => ["--table", table]);
    await runCommand(["export", "--to", "parquet", "-o", tables, ...files, ...chosen]);
    const statements = [...questions, ...withRuns];
    duck = readBack("duck.py", tables, ...statements);
    spark = readBack("spark.py", tables, ...statements);
  }, 900_000);

  it("give the same answers in DuckDB and Spark", () => {
    expect(questions.length).toBe(4);
    expect(withRuns.length).toBe(1);
    for (const rows of duck) expect(rows.length).toBeGreaterThan(0);
    expect(spark).toEqual(duck);
  });

  it("give the same answers in trace query", { timeout: 600_000 }, async () => {
    for (const [k, question] of questions.entries()) {
      expect(await asked(files, question), question).toEqual(duck[k]);
    }
  });

  it("are as many calls as show prints", { timeout: 600_000 }, async () => {
    const counts = new Map<string, [calls: number, failed: number, total: number]>();
    let events = 0;
    for (const file of files) {
      const shown: ShownEvent[] = await shownEvents(file);
      events += shown.length;
      for (const { kind, call = "", err, dur = 0 } of shown) {
        if (kind !== "call") continue;
        const [calls, failed, total] = counts.get(call) ?? [0, 0, 0];
        counts.set(call, [calls + 1, failed + (err === undefined ? 0 : 1), total + dur]);
      }
    }
    const first = [...counts]
      .map(([name, numbers]) => [name, ...numbers] as const)
      .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
      .slice(0, 10);
    expect(duck[0]).toEqual(first);
    const last = duck.at(-1)?.map(([, runs, count]) => [Number(runs), Number(count)]) ?? [];
    expect(last.reduce((sum, [runs = 0]) => sum + runs, 0)).toBe(RUNS);
    expect(last.reduce((sum, [, count = 0]) => sum + count, 0)).toBe(events);
  });
});
