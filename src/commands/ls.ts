/** `trace ls`: the traces in folders. */

import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { TraceError } from "../errors.js";
import { defaultTrace } from "../state.js";
import { explainedError } from "../trace/failure.js";
import { startsAsTrace } from "../trace/magic.js";
import type { Trace } from "../trace/trace.js";
import type { CommandContext, CommandDef } from "./command.js";
import { colorChoice, colorOption, terminalWidth } from "./selection.js";

interface Options {
  readonly format: "text" | "json" | "csv";
  readonly color?: string | true;
}

export const command: CommandDef<Options> = {
  name: "ls",
  summary: "list the traces in a folder, newest first",
  description:
    "Lists the trace files in the given folders (the current one by default; files may be named too). The latest trace, " +
    "which the other commands take when none is named, has a star.",
  arguments: [{ name: "[paths...]", help: "folders or files" }],
  options: [
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json", "csv"],
      default: "text",
    },
    colorOption,
  ],
  examples: [
    { line: "trace ls", help: "of the current folder" },
    { line: "trace ls ~/traces --format json", help: "for other programs" },
  ],
  run,
};

interface Entry {
  readonly path: string;
  readonly start: number;
  readonly command: readonly string[];
  readonly events: number;
  readonly bytes: number;
  readonly state: Trace["state"] | "unreadable";
  readonly problem?: string;
}

/** A line, and the nanoseconds of the second in which its recording began. */
interface Found {
  readonly entry: Entry;
  readonly nanos: number;
}

async function run(context: CommandContext<Options>): Promise<number> {
  const { args, options, stdout, env } = context;
  const paths: string[] = [];
  for (const path of args.length === 0 ? ["."] : args) paths.push(...(await tracesAt(path)));
  const found: Found[] = [];
  for (const path of new Set(paths)) found.push(await entryOf(path));
  found.sort(
    (a, b) =>
      b.entry.start - a.entry.start || b.nanos - a.nanos || (a.entry.path < b.entry.path ? -1 : 1),
  );
  const entries = found.map(({ entry }) => entry);
  const latest = defaultTrace(env);
  if (options.format === "json") {
    stdout.write(
      `${JSON.stringify({ schema: "trace.ls", version: 1, traces: entries }, undefined, 2)}\n`,
    );
  } else if (options.format === "csv") {
    const { csvText } = await import("../report/table.js");
    const rows = entries.map((e) => [
      e.path,
      e.start,
      e.state,
      e.events,
      e.bytes,
      e.command.join(" "),
    ]);
    stdout.write(csvText([["path", "start", "state", "events", "bytes", "command"], ...rows]));
  } else if (entries.length === 0) {
    const places = args.length === 0 ? "here" : `in ${args.join(", ")}`;
    context.stderr.write(`trace: no traces ${places}\n  make one with: trace record PROGRAM\n`);
  } else {
    stdout.write(
      await listText(context, entries, latest === undefined ? undefined : resolve(latest)),
    );
  }
  return 0;
}

/** A named file; of a folder the files whose names end in `.trace`, or that start as traces do. */
async function tracesAt(path: string): Promise<string[]> {
  let entries: Dirent[];
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    entries = await readdir(path, { withFileTypes: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") throw explainedError(error, "list", path);
    throw new TraceError("NO_FILE", `there is no file or folder ${path || "of an empty name"}`, {
      hint: "trace ls takes folders and trace files",
      cause: error,
    });
  }
  const found: string[] = [];
  for (const entry of entries) {
    const file = path === "." ? entry.name : join(path, entry.name);
    if (entry.isFile() && (entry.name.endsWith(".trace") || startsAsTrace(file))) found.push(file);
  }
  return found;
}

async function entryOf(path: string): Promise<Found> {
  const { openTrace } = await import("../trace/open.js");
  try {
    const trace = await openTrace(path);
    const { startSeconds: start, startNanos: nanos, eventCount: events, state, info } = trace;
    trace.close();
    const { command, bytes } = info;
    return { entry: { path, start, command, events, bytes: bytes.total, state }, nanos };
  } catch (error) {
    if (!(error instanceof TraceError)) throw error;
    const facts = await stat(path).catch(() => undefined);
    if (facts === undefined) throw error;
    const start = Math.floor(facts.mtimeMs / 1000);
    const entry: Entry = {
      path,
      start,
      command: [],
      events: 0,
      bytes: facts.size,
      state: "unreadable",
      problem: error.message,
    };
    return { entry, nanos: 0 };
  }
}

async function listText(
  context: CommandContext<Options>,
  entries: readonly Entry[],
  latest: string | undefined,
): Promise<string> {
  const [{ painter }, { tableText }, { humanBytes, humanCount, localTime }, { shellCommand }] =
    await Promise.all([
      import("../report/color.js"),
      import("../report/table.js"),
      import("../report/units.js"),
      import("../tree/shell.js"),
    ]);
  const columns = [
    { head: "recorded", align: "left" },
    { head: "state", align: "left" },
    { head: "events", align: "right" },
    { head: "size", align: "right" },
    { head: "file", align: "left" },
    { head: "command", align: "left", shrink: "end" },
  ] as const;
  const rows = entries.map((entry) => {
    const mark = resolve(entry.path) === latest ? "*" : "";
    const isBad = entry.state === "unreadable";
    const text = isBad ? (entry.problem ?? "") : shellCommand(entry.command);
    return [
      localTime(entry.start).slice(0, 16),
      entry.state === "complete"
        ? "complete"
        : ({ text: entry.state, style: isBad ? "red" : "yellow" } as const),
      isBad ? "" : humanCount(entry.events),
      humanBytes(entry.bytes),
      `${entry.path}${mark}`,
      text === "''" ? "" : text,
    ];
  });
  return tableText(columns, rows, {
    paint: painter(colorChoice(context.options.color), context.isTTY.stdout, context.env),
    width: terminalWidth(context),
  });
}
