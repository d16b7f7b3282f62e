/** Which tables and columns a statement looks at, so that no others have to be made. */

import type { Database } from "./database.js";

/** Names of columns by names of tables. A table of which only rows are counted has none. */
export type Needs = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * What the optimizer would do because tables are empty, or that takes columns out of the scans' own lists. Without these,
 * a plan says for each scan which columns leave it.
 */
const DISABLED = [
  ...["statistics_propagation", "filter_pushdown", "filter_pullup", "empty_result_pullup"],
  ...["late_materialization", "expression_rewriter", "top_n", "limit_pushdown", "join_order"],
  ...["cte_inlining", "common_subplan", "row_group_pruner"],
];

interface PlanNode {
  readonly name?: string;
  readonly children?: readonly PlanNode[];
  readonly extra_info?: {
    readonly Table?: string;
    readonly Projections?: string | readonly string[];
  };
}

/** What one statement needs, by its plan over empty tables. @throws the database's error when it has none. */
export async function needsOf(database: Database, statement: string): Promise<Needs> {
  const { connection } = database;
  const known = await optimizers(database);
  const list = DISABLED.filter((name) => known.has(name)).join(",");
  await connection.run(`SET disabled_optimizers = '${list}'`);
  try {
    const reader = await connection.runAndReadAll(`EXPLAIN (FORMAT json) ${statement}`);
    const text = String(reader.getRows().at(-1)?.[1] ?? "[]");
    const needs = new Map<string, Set<string>>();
    for (const node of JSON.parse(text) as PlanNode[]) collect(node, needs);
    return needs;
  } finally {
    await connection.run("RESET disabled_optimizers");
  }
}

async function optimizers({ connection }: Database): Promise<ReadonlySet<string>> {
  const reader = await connection.runAndReadAll("SELECT name FROM duckdb_optimizers()");
  return new Set(reader.getRows().map(([name]) => String(name)));
}

function collect(
  { children = [], extra_info: info = {} }: PlanNode,
  needs: Map<string, Set<string>>,
) {
  const table = /([^."]+)"?$/.exec(info.Table ?? "")?.[1];
  if (table !== undefined) {
    const found = needs.get(table) ?? new Set<string>();
    const columns =
      typeof info.Projections === "string" ? [info.Projections] : (info.Projections ?? []);
    for (const column of columns) if (column !== "") found.add(column);
    needs.set(table, found);
  }
  for (const child of children) collect(child, needs);
}
