/**
 * `trace replay`: runs a recorded program again from its trace, writes what it wrote, and ends as it ended. The program's
 * output is written by the engine; `context.stdout` is not used at all, and `context.stderr` not before the end, since opening
 * them would make shared pipes non-blocking.
 */

import { REPLAY_BACKENDS, type ReplayBackend } from "../backends.js";
import { usageError } from "../errors.js";
import type { DesyncReport } from "../replay/report.js";
import type { ReplayOptions, ReplayResult } from "../replay.js";
import type { Trace } from "../trace/trace.js";
import type { CommandContext, CommandDef, ExitStatus } from "./command.js";
import { colorChoice, colorOption, onlyTrace, openNamed } from "./selection.js";
import { timeSpan, wholeNumber } from "./values.js";

interface Options {
  readonly process?: number;
  readonly jobs?: number;
  readonly until?: number;
  readonly execOnly?: boolean;
  readonly repeat: number;
  /** Commander's way of `--no-output`. */
  readonly output: boolean;
  readonly onDesync: "stop" | "warn";
  readonly backend: ReplayBackend;
  readonly timeout?: number;
  readonly stuckAfter?: number;
  /** A port; true when gdb is to be started. */
  readonly gdb?: number | true;
  readonly at?: number;
  /** Milliseconds. */
  readonly checkpoints?: number;
  readonly format: "text" | "json";
  readonly report?: string;
  readonly color?: string | true;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

const EXIT_DESYNC = 3;
const EXIT_TIMEOUT = 124;
/** Differences that are explained one by one; a program that has gone another way differs at every event. */
const MOST_REPORTS = 5;

export const command: CommandDef<Options> = {
  name: "replay",
  summary: "run a recorded program again from its trace, exactly as it ran",
  description:
    "The program computes again; what it asks of the kernel is answered from the trace and compared with it. No file, " +
    "network, clock or device is touched. Its output comes as it was, and its exit code is that of the recording; 3 says " +
    "that the program did something else, and a report on stderr says what and where.",
  arguments: [
    { name: "[trace]", help: "trace file; the latest one if left out" },
    {
      name: "[gdb-args...]",
      help: "with --gdb, behind --: what gdb is given besides",
      complete: "none",
    },
  ],
  failureExitCode: 125,
  options: [
    {
      flags: "--process <process>",
      help: "this process of the tree alone (p7)",
      parse: processNumber,
    },
    {
      flags: "-j, --jobs <n>",
      help: "processes that are replayed at the same time",
      parse: wholeNumber(1, 1024),
      defaultText: "one for each processor",
    },
    { flags: "--until <event>", help: "stop after this event (@1234)", parse: eventNumber },
    { flags: "--exec-only", help: "only load the programs: are all files still to be had?" },
    {
      flags: "--repeat <n>",
      help: "replay so many times; the output is written once",
      parse: wholeNumber(1, 1_000_000),
      default: 1,
    },
    { flags: "--no-output", help: "do not write what the program wrote" },
    {
      flags: "--on-desync <action>",
      help: "at a difference stop, or warn and go on with what was recorded",
      choices: ["stop", "warn"],
      default: "stop",
    },
    {
      flags: "--backend <backend>",
      help: "what answers calls: agent inside the program where it can, or ptrace by stops",
      choices: REPLAY_BACKENDS,
      default: "agent",
    },
    { flags: "--timeout <time>", help: "give up after this time (30, 10m)", parse: timeSpan },
    {
      flags: "--stuck-after <time>",
      help: "time that a program may run without a call before it is stuck",
      parse: timeSpan,
      defaultText: "30s",
    },
    {
      flags: "--gdb [port]",
      help: "debug it with gdb, also backwards; with =PORT wait for a debugger there, on 127.0.0.1",
      attached: true,
      parse: portNumber,
    },
    {
      flags: "--at <event>",
      help: "with --gdb: stop first before this event (@1234)",
      parse: eventNumber,
    },
    {
      flags: "--checkpoints <time>",
      help: "with --gdb: keep a state to go back to for so much replay, as long as there is memory; 0 for none",
      parse: checkpointSpan,
      defaultText: "100ms",
    },
    {
      flags: "--format <format>",
      help: "how to report; json always reports, also when nothing differs",
      choices: ["text", "json"],
      default: "text",
    },
    { flags: "--report <file>", help: "where to report", defaultText: "standard error" },
    colorOption,
    { flags: "-q, --quiet", help: "no summary, no notes" },
    { flags: "-v, --verbose", help: "a summary also when stderr is no terminal" },
  ],
  examples: [
    { line: "trace replay", help: "the latest recording" },
    { line: "trace replay --process p3 build.trace", help: "one process of it" },
    { line: "trace replay --repeat 20 --no-output", help: "is it the same every time?" },
    { line: "trace replay --exec-only ci.trace", help: "is everything there that it needs?" },
    { line: "trace replay --gdb --at @1234", help: "look at it there, and go back from there" },
    { line: "trace replay --format=json --report=report.json", help: "for other programs" },
  ],
  run,
};

function processNumber(text: string): number {
  const number = Number(/^p(\d{1,9})$/.exec(text)?.[1] ?? 0);
  if (number > 0) return number;
  throw usageError("not a process", "processes are named p1, p2, ...: trace tree lists them");
}

function eventNumber(text: string): number {
  const number = /^@?(\d{1,15})$/.exec(text)?.[1];
  if (number !== undefined) return Number(number);
  throw usageError("not an event", "events are numbered @0, @1, ...: trace show lists them");
}

function checkpointSpan(text: string): number {
  return text === "0" ? 0 : timeSpan(text);
}

function portNumber(text: string): number | true {
  return text === "" ? true : wholeNumber(1, 65_535)(text);
}

async function run(context: CommandContext<Options>): Promise<ExitStatus> {
  const { gdb, at, checkpoints } = context.options;
  if (gdb !== undefined) return debug(context, gdb);
  if (checkpoints !== undefined) {
    throw usageError("--checkpoints is for --gdb", "a replay that nobody looks at keeps no states");
  }
  if (at !== undefined)
    throw usageError("--at is for --gdb", "trace replay --until @N stops there");
  const path = onlyTrace(context, "replay");
  const trace = await openNamed(path, context);
  checkRange(trace, context.options);
  const rounds = await replayAll(trace, context.options);
  if (rounds === "timeout") {
    const seconds = (context.options.timeout ?? 0) / 1000;
    context.stderr.write(
      `trace: the replay was not done after ${seconds} s\n  give it more time with --timeout, or replay a part: --until @N, --process pN\n`,
    );
    return { exitNow: EXIT_TIMEOUT };
  }
  await tell(trace, rounds, context);
  trace.close();
  const { result } = rounds;
  if (!result.faithful) return EXIT_DESYNC;
  if (result.exitSignal !== undefined) return { signal: result.exitSignal };
  return result.exitCode ?? 0;
}

/** Replays under a debugger, until that leaves. */
async function debug(context: CommandContext<Options>, gdb: number | true): Promise<ExitStatus> {
  const { options, args } = context;
  checkAlone(options);
  const [first, ...rest] = args;
  // What is for gdb begins with a dash, or there is a trace before it.
  const isNamed = first !== undefined && !first.startsWith("-");
  const gdbArgs = isNamed ? rest : args;
  if (gdb !== true && gdbArgs.length > 0) {
    throw usageError(
      `unexpected argument '${gdbArgs[0]}'`,
      "with --gdb=PORT gdb is yours to start; --gdb starts it",
    );
  }
  const path = onlyTrace({ ...context, args: isNamed ? [first] : [] }, "replay");
  const trace = await openNamed(path, context);
  checkRange(trace, options);
  checkEvent(trace, options.at);
  const { debugged } = await import("../replay/gdb.js");
  const { result, status } = await debugged(trace, {
    args: gdbArgs,
    stderr: context.stderr,
    replay: replayOptions(options, true, undefined),
    ...(gdb !== true && { port: gdb }),
    debug: {
      ...(options.at !== undefined && { at: options.at }),
      ...(options.checkpoints !== undefined && { checkpointEvery: options.checkpoints }),
    },
  });
  if (result !== undefined) await tell(trace, { result, replays: 1, duration: 0 }, context);
  trace.close();
  return result?.faithful === false ? EXIT_DESYNC : status;
}

/** Options that mean nothing to a debugger. */
function checkAlone(options: Options): void {
  const others: readonly [string, boolean][] = [
    ["--until", options.until !== undefined],
    ["--exec-only", options.execOnly === true],
    ["--repeat", options.repeat > 1],
    ["--jobs", options.jobs !== undefined],
    ["--on-desync=warn", options.onDesync === "warn"],
    ["--timeout", options.timeout !== undefined],
  ];
  const other = others.find(([, isGiven]) => isGiven);
  if (other === undefined) return;
  throw usageError(
    `--gdb does not go with ${other[0]}`,
    "in gdb a replay goes as far as you let it; --at @N stops there first",
  );
}

function checkRange(trace: Trace, { process, until }: Options): void {
  if (process !== undefined && !trace.processes.some(({ number }) => number === process)) {
    throw usageError(
      `the trace has no process p${process}`,
      `it has p1 to p${trace.processes.at(-1)?.number ?? 0}: trace tree ${trace.path}`,
    );
  }
  checkEvent(trace, until);
}

function checkEvent(trace: Trace, number: number | undefined): void {
  if (number === undefined || number < trace.eventCount) return;
  throw usageError(
    `the trace has no event @${number}`,
    trace.eventCount === 0 ? "it has none" : `its last one is @${trace.eventCount - 1}`,
  );
}

interface Rounds {
  /** Of the last round: the first that is not faithful, if any is. */
  readonly result: ReplayResult;
  readonly replays: number;
  /** Nanoseconds of all rounds. */
  readonly duration: number;
}

/** Replays as often as was asked for, or up to the first difference. */
async function replayAll(trace: Trace, options: Options): Promise<Rounds | "timeout"> {
  const { replay } = await import("../replay.js");
  const abort = new AbortController();
  const timer =
    options.timeout === undefined ? undefined : setTimeout(() => abort.abort(), options.timeout);
  const late = new Promise<"timeout">((resolve) => {
    // An engine that cannot end, because nobody reads the output, is not waited for.
    abort.signal.addEventListener("abort", () =>
      setTimeout(() => resolve("timeout"), 1000).unref(),
    );
  });
  const rounds = async (): Promise<Rounds> => {
    let duration = 0;
    for (let replays = 1; ; replays++) {
      const result = await replay(trace, replayOptions(options, replays === 1, abort.signal));
      duration += result.durationNs;
      if (replays >= options.repeat || !result.faithful) return { result, replays, duration };
    }
  };
  try {
    return await Promise.race([rounds(), late]);
  } catch (error) {
    if (abort.signal.aborted) return "timeout";
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function replayOptions(
  options: Options,
  first: boolean,
  signal: AbortSignal | undefined,
): ReplayOptions {
  const { process, until, jobs, stuckAfter } = options;
  return {
    execOnly: options.execOnly ?? false,
    inheritStreams: options.output && first,
    onDesync: options.onDesync,
    backend: options.backend,
    ...(signal && { signal }),
    ...(process !== undefined && { process }),
    ...(until !== undefined && { until }),
    ...(jobs !== undefined && { jobs }),
    ...(stuckAfter !== undefined && { stuckAfter }),
  };
}

/** Everything that is said at the end: differences, notes, the summary. */
async function tell(trace: Trace, rounds: Rounds, context: CommandContext<Options>): Promise<void> {
  const { result } = rounds;
  const { options, env, isTTY } = context;
  const reports = await explain(trace, result);
  await writeReport(trace, rounds, reports, context);
  const { addToSummary, annotation, runsInActions } = await import("../replay/github.js");
  let out = "";
  if (runsInActions(env)) {
    for (const report of reports) out += annotation(report);
    if (reports.length > 0) {
      const { reportText } = await import("../replay/text.js");
      const { plainPainter } = await import("../report/color.js");
      const texts = reports.map((report) => reportText(report, trace, plainPainter, false));
      addToSummary(env, texts.join("\n"));
    }
  }
  const isTalkative = !options.quiet && (options.verbose || isTTY.stderr);
  // They may be the reason of a difference.
  if (isTalkative || (!options.quiet && !result.faithful)) {
    for (const note of result.notes) out += `trace: note: ${note}\n`;
  }
  // How long somebody has looked at a program says nothing of it.
  if (isTalkative && options.gdb === undefined) out += await summary(trace, rounds, options);
  if (out !== "") context.stderr.write(out);
}

async function explain(trace: Trace, result: ReplayResult): Promise<DesyncReport[]> {
  if (result.faithful) return [];
  const { desyncReport } = await import("../replay/report.js");
  const reports: DesyncReport[] = [];
  for (const desync of result.desyncs.slice(0, MOST_REPORTS)) {
    reports.push(await desyncReport(trace, desync));
  }
  return reports;
}

async function writeReport(
  trace: Trace,
  { result, replays }: Rounds,
  reports: readonly DesyncReport[],
  context: CommandContext<Options>,
): Promise<void> {
  const { options, stderr, env, isTTY } = context;
  let text = "";
  if (options.format === "json") {
    const { replayJson } = await import("../replay/json.js");
    text = replayJson(trace, { result, replays, reports });
  } else if (reports.length > 0) {
    const [{ reportText }, { painter, wantsColor }] = await Promise.all([
      import("../replay/text.js"),
      import("../report/color.js"),
    ]);
    const choice = colorChoice(options.color);
    const isTerminal = isTTY.stderr && options.report === undefined;
    const paint = painter(choice, isTerminal, env);
    const colour = wantsColor(choice, isTerminal, env);
    text = reports.map((report) => reportText(report, trace, paint, colour)).join("\n");
    const more = result.desyncs.length - reports.length;
    if (more > 0) text += `\ntrace: ${more} more ${more === 1 ? "difference" : "differences"}\n`;
  }
  if (options.report === undefined) {
    if (text !== "") stderr.write(text);
    return;
  }
  const { report } = options;
  const [{ writeFile }, { explained }] = await Promise.all([
    import("node:fs/promises"),
    import("../trace/failure.js"),
  ]);
  await explained("create", report, () => writeFile(report, text));
}

async function summary(trace: Trace, rounds: Rounds, options: Options): Promise<string> {
  const { counted, humanDuration } = await import("../report/units.js");
  const { result, replays, duration } = rounds;
  const once = duration / replays;
  const isWhole = options.until === undefined && !options.execOnly && options.process === undefined;
  const tasks = [
    counted(trace.processes.length, "process", "processes"),
    counted(trace.threads.length, "thread"),
  ];
  const parts = [
    counted(result.events, "event"),
    ...(isWhole && result.faithful ? tasks : []),
    ...(replays > 1 ? [`${replays} times`] : []),
    result.faithful ? "no difference" : counted(result.desyncs.length, "difference", "differences"),
    humanDuration(once),
  ];
  const ratio =
    isWhole && result.faithful && trace.duration > 0
      ? ` (${(once / trace.duration).toFixed(2)} of the time of the recording)`
      : "";
  const cut = result.cutAt === undefined ? "" : `, up to the cut at @${result.cutAt}`;
  return `trace: replayed ${parts.join(", ")}${ratio}${cut}\n`;
}
