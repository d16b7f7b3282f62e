/** `trace info`: what a trace file is, how it was made, and what is in it. */

import type { NativeMissingFile } from "../native.js";
import { EventKind } from "../trace/batch.js";
import type { Coverage } from "../trace/coverage.js";
import { type LostCounts, replayability, statusText, type TraceInfo } from "../trace/info.js";
import type { Trace } from "../trace/trace.js";
import type { CommandContext, CommandDef } from "./command.js";
import { colorChoice, colorOption, onlyTrace, openNamed, terminalWidth } from "./selection.js";

interface Options {
  readonly format: "text" | "json";
  readonly color?: string | true;
  readonly coverage?: boolean;
}

export const command: CommandDef<Options> = {
  name: "info",
  summary: "say what a trace file is and what it holds",
  arguments: [{ name: "[trace]", help: "trace file; the latest one if left out" }],
  options: [
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json"],
      default: "text",
    },
    { flags: "--coverage", help: "also say which calls the agent has captured, and which not" },
    colorOption,
  ],
  examples: [
    { line: "trace info", help: "of the latest trace" },
    { line: "trace info build.trace --format json", help: "for other programs" },
  ],
  run,
};

const kindNames = Object.keys(EventKind).map((name) => name.toLowerCase());

interface Counts {
  /** Events of each kind; of a damaged trace those that can be read. */
  readonly kinds: Readonly<Record<string, number>>;
  readonly failure: unknown;
}

async function countKinds(trace: Trace): Promise<Counts> {
  const counts = new Float64Array(256);
  let failure: unknown;
  try {
    for await (const { kind, count } of trace.batches({ columns: ["core"] })) {
      for (let i = 0; i < count; i++) {
        const code = kind[i] ?? 0;
        counts[code] = (counts[code] ?? 0) + 1;
      }
    }
  } catch (error) {
    failure = error;
  }
  const kinds = Object.fromEntries(kindNames.map((name, code) => [name, counts[code] ?? 0]));
  return { kinds, failure };
}

async function run(context: CommandContext<Options>): Promise<number> {
  const { options, stdout } = context;
  const path = onlyTrace(context, "info");
  const trace = await openNamed(path, context);
  const counts = await countKinds(trace);
  const missing = counts.failure === undefined ? await missingFiles(trace) : [];
  if (options.format === "json") {
    const { coverageOf } = await import("../trace/coverage.js");
    stdout.write(infoJson(trace, counts, missing, coverageOf(trace.info)));
  } else stdout.write(await infoText(trace, counts, missing, context));
  trace.close();
  if (counts.failure !== undefined) throw counts.failure;
  return 0;
}

/** What keeps a trace from being replayed here that could be replayed elsewhere. */
async function missingFiles(trace: Trace): Promise<readonly NativeMissingFile[]> {
  const { mode, obstacles } = replayability(trace.info);
  return mode === "replayable" && obstacles.length === 0 ? trace.missingFiles() : [];
}

type Line = readonly [label: string, text: string];

/** Columns in front of the texts. */
const MARGIN = 13;

async function infoText(
  trace: Trace,
  counts: Counts,
  missing: readonly NativeMissingFile[],
  context: CommandContext<Options>,
): Promise<string> {
  const { painter } = await import("../report/color.js");
  const paint = painter(colorChoice(context.options.color), context.isTTY.stdout, context.env);
  const lines: Line[] = [
    ...(await recordingLines(trace)),
    ...(await replayLines(trace, missing)),
    ...(await contentLines(trace, counts)),
    ...(await fileLines(trace)),
    ...(context.options.coverage === true ? await coverageLines(trace.info) : []),
  ];
  const { wrap } = await import("../report/text.js");
  const room = Math.max(40, terminalWidth(context) - MARGIN);
  const indent = `\n${" ".repeat(MARGIN)}`;
  const state = trace.state === "complete" ? "green" : "yellow";
  let out = `${paint("bold", trace.path)}  ${paint(state, trace.state)}\n`;
  for (const [label, text] of lines) {
    const head = `  ${paint("dim", label.padEnd(MARGIN - 2))}`;
    // Elsewhere a line is one, however long a command is.
    const parts = Number.isFinite(room) ? wrap(text, room) : [text];
    out += `${head}${parts.join(indent)}\n`;
  }
  return out;
}

async function recordingLines(trace: Trace): Promise<Line[]> {
  const [{ shellCommand }, { printable }, { humanDuration, localTime }] = await Promise.all([
    import("../tree/shell.js"),
    import("../report/text.js"),
    import("../report/units.js"),
  ]);
  const { info } = trace;
  const fact = (key: string) => printable(info.facts.get(key) ?? "");
  const lines: Line[] = [];
  if (info.command.length > 0) lines.push(["command", printable(shellCommand(info.command))]);
  if (info.cwd !== undefined && info.cwd !== "") lines.push(["directory", printable(info.cwd)]);
  lines.push([
    "recorded",
    `${localTime(trace.startSeconds)}, for ${humanDuration(trace.duration)}`,
  ]);
  if (info.status !== undefined) lines.push(["ended", statusText(info.status)]);
  const system = [fact("host"), fact("kernel") && `Linux ${fact("kernel")}`].filter((part) => part);
  if (system.length > 0) lines.push(["system", system.join(", ")]);
  const why = fact("without_agent") && ` (${fact("without_agent")})`;
  const how = [
    fact("backend") && `${fact("backend")} backend${why}`,
    fact("mode") && `${fact("mode")} mode`,
    fact("data") && `data: ${fact("data")}`,
    fact("only") && `only: ${fact("only")}`,
    fact("chaos") && `order of threads varied with seed ${fact("chaos")}`,
  ].filter((part) => part);
  if (how.length > 0) lines.push(["captured", how.join(", ")]);
  if (fact("cpu") !== "") lines.push(["CPU", fact("cpu")]);
  return lines;
}

/** Whether the trace can be replayed, and why not. */
async function replayLines(
  { info, state }: Trace,
  missing: readonly NativeMissingFile[],
): Promise<Line[]> {
  const isCut = state !== "complete";
  const { printable } = await import("../report/text.js");
  const { mode, observedBy, obstacles } = replayability(info);
  const cannot = (reason: string): Line => ["replay", `cannot: ${printable(reason)}`];
  if (isCut && !info.facts.has("mode")) {
    return [cannot("the trace is cut before it says how it was recorded")];
  }
  if (mode !== "replayable") {
    const how =
      observedBy.length > 0
        ? observedBy.join(" ")
        : "--observe, or only in part (-p, -e, --data, --detach-on-exit)";
    return [cannot(`it was recorded with ${how}`)];
  }
  if (obstacles.length > 0) return obstacles.map(cannot);
  if (missing.length === 0) return [["replay", "can be replayed"]];
  const { counted } = await import("../report/units.js");
  const files = counted(missing.length, "mapped file is", "mapped files are");
  return [
    cannot(`${files} neither in the trace nor in the object store`),
    ...missing.map(({ path, hash }): Line => ["", `${printable(path)} (BLAKE3 ${hash})`]),
  ];
}

async function contentLines(trace: Trace, counts: Counts): Promise<Line[]> {
  const { counted, humanCount } = await import("../report/units.js");
  const kinds = Object.entries(counts.kinds)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${humanCount(count)} ${name}`);
  const lines: Line[] = [
    ["events", `${humanCount(trace.eventCount)}${kinds.length > 0 ? `: ${kinds.join(", ")}` : ""}`],
    [
      "processes",
      `${humanCount(trace.processes.length)}, with ${counted(trace.threads.length, "thread")}`,
    ],
    [
      "files",
      `${counted(trace.objects.length, "open file, socket or pipe", "open files, sockets, pipes")}`,
    ],
  ];
  const { lost } = trace.info;
  lines.push([
    "lost",
    lost === undefined ? "not known: the file has no end" : await lostText(lost),
  ]);
  for (const note of trace.info.notes) lines.push(["note", note]);
  return lines;
}

/** Which calls were captured inside the program, and why the others were not. */
async function coverageLines(info: TraceInfo): Promise<Line[]> {
  const [{ coverageOf }, { counted, humanCount }, { printable }] = await Promise.all([
    import("../trace/coverage.js"),
    import("../report/units.js"),
    import("../report/text.js"),
  ]);
  const coverage = coverageOf(info);
  if (coverage === undefined) {
    if (info.facts.get("backend") === "notify") {
      return [["coverage", "every call asked the recorder before it was made"]];
    }
    const why = info.facts.get("without_agent") ?? "by the ptrace backend";
    return [["coverage", `every call stopped the program (${why})`]];
  }
  const { inProcess, trapped, patched, faults, calls, refused, left } = coverage;
  const share = ((inProcess / Math.max(inProcess + trapped, 1)) * 100).toFixed(1);
  const lines: Line[] = [
    ["coverage", `${share} % of calls in the process: ${humanCount(inProcess)}`],
    ["", `${humanCount(trapped)} stopped it`],
    ["", `${counted(patched, "place", "places")} in code patched`],
  ];
  if (faults > 0) {
    lines.push(["", `${counted(faults, "pointer", "pointers")} to memory that is not there`]);
  }
  for (const { count, what } of refused) {
    lines.push(["", `${counted(count, "place", "places")} left alone: ${printable(what)}`]);
  }
  for (const { count, what } of left) {
    lines.push(["", `${counted(count, "process", "processes")} left: ${printable(what)}`]);
  }
  if (calls.length > 0) {
    const named = calls.map(({ count, what }) => `${printable(what)} ${humanCount(count)}`);
    lines.push(["stopped", named.join(", ")]);
  }
  return lines;
}

async function lostText(lost: LostCounts): Promise<string> {
  const { counted } = await import("../report/units.js");
  const parts: [count: number, one: string, several: string, what: string][] = [
    [lost.memory, "piece", "pieces", "of memory that could not be read"],
    [lost.tasks, "task", "tasks", "that ended unseen"],
    [lost.descriptors, "descriptor", "descriptors", "of unknown files"],
    [lost.unknownCalls, "call", "calls", "without a name (recorded raw)"],
  ];
  const said = parts
    .filter(([count]) => count > 0)
    .map(([count, one, several, what]) => `${counted(count, one, several)} ${what}`);
  return said.length === 0 ? "nothing" : said.join(", ");
}

async function fileLines(trace: Trace): Promise<Line[]> {
  const { counted, humanBytes } = await import("../report/units.js");
  const { bytes, version, tick, id } = trace.info;
  const parts = [
    `events ${humanBytes(bytes.events)}`,
    `payload ${humanBytes(bytes.content)}`,
    `definitions ${humanBytes(bytes.definitions)}`,
  ];
  const packed = trace.packedFiles();
  if (packed.length > 0)
    parts.push(`${counted(packed.length, "packed file")} ${humanBytes(bytes.objects)}`);
  const lines: Line[] = [["size", `${humanBytes(bytes.total)}: ${parts.join(", ")}`]];
  if (trace.eventCount > 0) {
    const perEvent = (bytes.events + bytes.definitions) / trace.eventCount;
    lines.push(["", `${perEvent.toFixed(1)} bytes per event without payload`]);
  }
  lines.push(["format", `version ${version}, times to ${tick} ns, id ${id}`]);
  return lines;
}

function infoJson(
  trace: Trace,
  counts: Counts,
  missing: readonly NativeMissingFile[],
  coverage: Coverage | undefined,
): string {
  const { info } = trace;
  const document = {
    schema: "trace.info",
    version: 1,
    path: trace.path,
    state: trace.state,
    damage: trace.damage?.message ?? null,
    format: info.version,
    id: info.id,
    tick: info.tick,
    command: info.command,
    cwd: info.cwd ?? null,
    start: { seconds: trace.startSeconds, nanos: trace.startNanos },
    duration: trace.duration,
    status: info.status ?? null,
    events: trace.eventCount,
    kinds: counts.kinds,
    processes: trace.processes.length,
    threads: trace.threads.length,
    objects: trace.objects.length,
    bytes: info.bytes,
    bytesPerEvent:
      trace.eventCount === 0
        ? null
        : (info.bytes.events + info.bytes.definitions) / trace.eventCount,
    packed: trace.packedFiles(),
    lost: info.lost ?? null,
    notes: info.notes,
    replay: { ...replayability(info), missing },
    coverage: coverage ?? null,
    facts: Object.fromEntries(info.facts),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}
