/** `trace export`: traces in the formats of other tools. */

import { usageError } from "../errors.js";
import { type ExportFormat, FORMATS, formatOf } from "../export/formats.js";
import { WEIGHTS, type Weight } from "../export/stacks.js";
import type { Filter } from "../query/filter/index.js";
import type { Trace } from "../trace/trace.js";
import type { CommandContext, CommandDef, ExitStatus } from "./command.js";
import {
  type FilterFlags,
  filterOf,
  filterOptions,
  openNamed,
  splitTraces,
  stringSizeOption,
} from "./selection.js";
import { collect } from "./values.js";

interface Options extends FilterFlags {
  readonly to?: string;
  readonly output?: string;
  readonly force?: boolean;
  readonly table?: readonly string[];
  readonly weight: Weight;
  readonly s: number;
  readonly showSecrets?: boolean;
  readonly stacks?: boolean;
}

export const command: CommandDef<Options> = {
  name: "export",
  summary: "write traces for other tools: Parquet, SQLite, CSV, Perfetto",
  description:
    `Formats:\n${FORMATS.map(({ name, doc }) => `  ${name.padEnd(11)}${doc}`).join("\n")}\n\n` +
    "Words after the traces choose events, as with trace show. Several traces become one set of tables with a column run. " +
    "A file has its name only when it is whole; one that ends in .gz is compressed.",
  arguments: [
    {
      name: "[words...]",
      help: "traces (the latest one if left out), then which events: p3, @10..@200, 1s..2s, or a filter",
    },
  ],
  options: [
    {
      flags: "--to <format>",
      help: "the format; without it, that of the name of -o",
      choices: FORMATS.map(({ name }) => name),
    },
    {
      flags: "-o, --output <path>",
      help: "where to write: a file, of parquet a folder",
      defaultText: "standard output",
    },
    {
      flags: "--table <name>",
      help: "only this table; repeat for more (event for csv and jsonl, else all)",
      parse: collect,
    },
    {
      flags: "--weight <what>",
      help: "what folded stacks and speedscope add up",
      choices: WEIGHTS,
      default: "time",
    },
    {
      flags: "--stacks",
      help: "functions that made the calls (trace enrich): folded, speedscope, perfetto",
    },
    { flags: "--force", help: "replace what is there" },
    {
      flags: "--show-secrets",
      help: "environment values whose names look like secrets, too",
    },
    stringSizeOption,
    ...filterOptions,
  ],
  examples: [
    { line: "trace export --to perfetto -o build.pftrace", help: "open it at ui.perfetto.dev" },
    { line: "trace export -o fleet.parquet *.trace", help: "all tables of many traces" },
    { line: "trace export -o build.sqlite build.trace", help: "then: sqlite3 build.sqlite" },
    { line: "trace export --to csv build.trace %network", help: "rows for a spreadsheet" },
    { line: "trace export --to folded | flamegraph.pl > calls.svg", help: "where time went" },
    { line: "trace export --to speedscope --stacks -o calls.json", help: "by function" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<ExitStatus> {
  const { options } = context;
  const format = formatOf(options.to, options.output);
  const { paths, words } = splitTraces(context);
  checkOutput(format, paths, context);
  const filter = await filterOf(words, options);
  if (format.from === "tables") return exportRows(context, format, paths, filter);
  const trace = await openNamed(paths[0] ?? "", context);
  try {
    return await exportEvents(context, format, trace, filter);
  } finally {
    trace.close();
  }
}

function checkOutput(
  format: ExportFormat,
  paths: readonly string[],
  { options, isTTY }: CommandContext<Options>,
): void {
  const { name, output, from } = format;
  const toStream = options.output === undefined || options.output === "-";
  if (toStream && (output === "file" || output === "folder")) {
    throw usageError(
      `${name} needs -o: which ${output} to make`,
      `trace export --to ${name} -o OUT`,
    );
  }
  if (toStream && output === "bytes" && isTTY.stdout) {
    throw usageError(`${name} is no text for a terminal`, `trace export --to ${name} -o FILE`);
  }
  if (from === "events" && paths.length > 1) {
    throw usageError(`${name} takes one trace, not ${paths.length}`, "export them one by one");
  }
  if (from === "events" && options.table !== undefined) {
    throw usageError(`${name} is not made of tables`, "leave out --table");
  }
  if (options.stacks === true && !["folded", "speedscope", "perfetto"].includes(name)) {
    throw usageError(
      `${name} has no room for stacks`,
      from === "tables" ? "its tables stack and frame have them" : "leave out --stacks",
    );
  }
  if (output === "text" && from === "tables" && (options.table?.length ?? 1) > 1) {
    throw usageError(
      `${name} holds one table`,
      `one --table per file, or --to sqlite, --to parquet`,
    );
  }
}

async function exportEvents(
  context: CommandContext<Options>,
  format: ExportFormat,
  trace: Trace,
  filter: Filter | undefined,
): Promise<ExitStatus> {
  const { options } = context;
  const [{ openTarget }, { eventExport }, { whole }] = await Promise.all([
    import("../export/target.js"),
    import("./exporting.js"),
    import("../export/whole.js"),
  ]);
  const made = await eventExport(format.name, trace, filter, {
    weight: options.weight,
    stringLimit: options.s,
    showSecrets: options.showSecrets === true,
    stacks: options.stacks === true,
  });
  const open = () => openTarget(context, options.output, options.force === true);
  const ended = await whole(open, async (target) => {
    for await (const chunk of made.chunks) if (!(await target.write(chunk))) break;
  });
  if (ended !== undefined) return ended;
  // What could be read is there; that there is more is an error all the same.
  const failure = made.failure();
  if (failure !== undefined) throw failure;
  return 0;
}

async function exportRows(
  context: CommandContext<Options>,
  format: ExportFormat,
  paths: readonly string[],
  filter: Filter | undefined,
): Promise<ExitStatus> {
  const { options } = context;
  const [{ exportTables }, { openSink, tablesNamed }, { whole }] = await Promise.all([
    import("../export/tables.js"),
    import("../export/sinks.js"),
    import("../export/whole.js"),
  ]);
  const tables = tablesNamed(options.table, format);
  const open = () => openSink(context, format, options, paths.length > 1);
  let failure: unknown;
  const ended = await whole(open, async (sink) => {
    for (const path of paths) {
      const trace = await openNamed(path, context);
      const showSecrets = options.showSecrets === true;
      try {
        failure = (await exportTables(trace, sink, { tables, filter, showSecrets })) ?? failure;
      } finally {
        trace.close();
      }
    }
  });
  if (ended !== undefined) return ended;
  if (failure !== undefined) throw failure;
  return 0;
}
