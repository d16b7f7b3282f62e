/** `trace stat`: how often and how long, per syscall, process, thread, path or peer. */

import { usageError } from "../errors.js";
import type { Filter } from "../query/filter/index.js";
import { GROUPINGS, type Grouping, type SortKey, sortKey } from "../stat/keys.js";
import type { TableFacts } from "../stat/report.js";
import type { Trace } from "../trace/trace.js";
import type { CommandContext, CommandDef } from "./command.js";
import {
  colorChoice,
  colorOption,
  type FilterFlags,
  filterOf,
  filterOptions,
  openNamed,
  splitTrace,
  terminalWidth,
} from "./selection.js";
import { wholeNumber } from "./values.js";

interface Options extends FilterFlags {
  readonly by: Grouping;
  readonly sort: SortKey;
  readonly top?: number;
  readonly histogram?: boolean;
  readonly c?: boolean;
  readonly C?: boolean;
  readonly format: "text" | "json" | "csv" | "md";
  readonly color?: string | true;
}

export const command: CommandDef<Options> = {
  name: "stat",
  summary: "count calls, errors and time per syscall, process, path or peer",
  description:
    "Times are those between entry and exit of a call, so waiting counts. p50 and p99 are the times that half, and 99 in " +
    "100, of the calls did not exceed. With --by process the CPU time of each process stands next to them.",
  arguments: [
    { name: "[trace]", help: "trace file; the latest one if left out" },
    {
      name: "[filter...]",
      help: "which calls: p3, @10..@200, 1s..2s, or a filter",
      complete: "none",
    },
  ],
  options: [
    { flags: "--by <what>", help: "what a row is", choices: GROUPINGS, default: "syscall" },
    {
      flags: "-S, --sort <column>",
      help: "time, calls, errors, name, mean, min, max, p50, p99, bytes, cpu or nothing",
      parse: readSortKey,
      default: "time",
    },
    {
      flags: "--top <rows>",
      help: "how many rows, 0 for all",
      parse: wholeNumber(0),
      defaultText: "30 for paths and peers, else all",
    },
    { flags: "--histogram", help: "how the times are spread, row by row" },
    { flags: "-c", help: "the table that strace -c prints" },
    { flags: "-C", help: "the calls first, then the table that strace -c prints" },
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json", "csv", "md"],
      default: "text",
      group: "Output",
    },
    colorOption,
    ...filterOptions,
    { flags: "-w", help: "wall time (always; accepted for strace's sake)", hidden: true },
    { flags: "-f", help: "all processes (always; accepted for strace's sake)", hidden: true },
  ],
  examples: [
    { line: "trace stat", help: "the latest trace, by syscall" },
    { line: "trace stat build.trace --by process", help: "where the time went in a build" },
    { line: "trace stat --by path -S errors", help: "files that are looked for in vain" },
    { line: "trace stat p3 'dur > 1ms' --histogram", help: "slow calls of one process" },
  ],
  run,
};

function readSortKey(text: string): SortKey {
  const key = sortKey(text);
  if (key !== undefined) return key;
  throw usageError(
    "no such column",
    "choose time, calls, errors, name, mean, min, max, p50, p99, bytes, cpu, nothing",
  );
}

async function run(context: CommandContext<Options>): Promise<number> {
  const { options } = context;
  const { path, words } = splitTrace(context);
  const filter = await filterOf(words, options);
  const trace = await openNamed(path, context);
  const [{ selectEvents }, { collectStatistics }, { sorted }] = await Promise.all([
    import("../query/select.js"),
    import("../stat/collect.js"),
    import("../stat/report.js"),
  ]);
  const selection = await selectEvents(trace, filter);
  if (options.C === true) await showCalls(context, trace, filter);
  const { by } = options;
  const statistics = await collectStatistics(trace, by, selection);
  const isBegun = trace.info.facts.get("backend") === "notify";
  const key = isBegun && options.sort === "time" ? "calls" : options.sort;
  const ordered = sorted(statistics.rows, key);
  const many = by === "path" || by === "peer";
  const top = options.top ?? (many && options.format === "text" ? 30 : 0);
  const rows = top === 0 ? ordered : ordered.slice(0, top);
  context.stdout.write(await reportText(context, { by, isBegun, statistics, rows }));
  trace.close();
  if (statistics.failure !== undefined) throw statistics.failure;
  return 0;
}

async function reportText(context: CommandContext<Options>, facts: TableFacts): Promise<string> {
  const { options, isTTY, env } = context;
  const report = await import("../stat/report.js");
  switch (options.format) {
    case "json":
      return report.statJson(facts, options.histogram === true);
    case "csv":
      return report.statCsv(facts);
    case "md":
      return report.statMarkdown(facts);
    case "text": {
      if (options.c === true || options.C === true) return report.straceSummary(facts);
      const { painter } = await import("../report/color.js");
      const paint = painter(colorChoice(options.color), isTTY.stdout, env);
      const width = terminalWidth(context);
      if (options.histogram !== true) return report.statText(facts, paint, width);
      return report.statHistograms(facts, paint, Math.min(width, 100));
    }
  }
}

/** What `show` prints of the same calls. */
async function showCalls(
  context: CommandContext<Options>,
  trace: Trace,
  filter: Filter | undefined,
): Promise<void> {
  const [{ eventChunks }, { streamOutput, writeAll }] = await Promise.all([
    import("./printing.js"),
    import("../report/output.js"),
  ]);
  const chunks = eventChunks(trace, filter, { format: "strace", time: "none", duration: false });
  await writeAll(streamOutput(context.stdout), chunks);
}
