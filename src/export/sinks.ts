/** The sink of a format of tables, and the tables that go into it. */

import type { CommandContext } from "../commands/command.js";
import { usageError } from "../errors.js";
import { nearestName } from "../query/nearest.js";
import { findTable, TABLES } from "../tables/registry.js";
import type { TableDef } from "../tables/table.js";
import type { ExportFormat } from "./formats.js";
import { run } from "./run_table.js";
import type { TableSink } from "./tables/sink.js";
import { draftOf, openTarget } from "./target.js";

/** The tables of those names; without names, what the format holds. @throws TraceError `USAGE` */
export function tablesNamed(
  names: readonly string[] | undefined,
  { output }: ExportFormat,
): TableDef[] {
  if (names !== undefined) return [...new Set(names)].map(tableNamed);
  return output === "text" ? [tableNamed("event")] : [run, ...TABLES];
}

function tableNamed(name: string): TableDef {
  const found = name === run.name ? run : findTable(name);
  if (found !== undefined) return found;
  const all = [run, ...TABLES].map((table) => table.name);
  const near = nearestName(name, all);
  throw usageError(
    `there is no table ${name}`,
    near === undefined ? `the tables are ${all.join(", ")}` : `did you mean ${near}?`,
  );
}

export async function openSink(
  context: Pick<CommandContext, "stdout">,
  format: ExportFormat,
  options: { readonly output?: string; readonly force?: boolean },
  withRun: boolean,
): Promise<TableSink> {
  const { output = "" } = options;
  const force = options.force === true;
  switch (format.name) {
    case "parquet": {
      const { ParquetSink } = await import("./tables/parquet.js");
      return new ParquetSink(output, force);
    }
    case "sqlite": {
      const { SqliteSink } = await import("./tables/sqlite.js");
      const { draft } = await draftOf(output, force);
      return new SqliteSink(output, draft);
    }
    default: {
      const { TextSink } = await import("./tables/text.js");
      const target = await openTarget(context, options.output, force);
      return new TextSink(target, format.name === "csv" ? "csv" : "jsonl", withRun);
    }
  }
}
