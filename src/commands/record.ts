/**
 * `trace record`: runs a program under the recorder and ends as the program ended. It must not touch the
 * program's streams: `context.stdout` and `context.stderr` are not used before the program is over, since
 * opening them would make shared pipes non-blocking.
 */

import { readFileSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { BACKENDS, type Backend } from "../backends.js";
import { TraceError, usageError } from "../errors.js";
import {
  CPU_LEVELS,
  type CpuLevel,
  type DataMode,
  type Recording,
  type RecordOptions,
  type RecordResult,
  startRecording,
} from "../record.js";
import { rememberLatest } from "../state.js";
import type { CommandContext, CommandDef, ExitStatus } from "./command.js";
import type { RunsResult } from "./runs.js";
import { collect, wholeNumber } from "./values.js";

interface Options {
  readonly output?: string;
  readonly force?: boolean;
  readonly data: DataMode;
  readonly e?: readonly string[];
  readonly p?: readonly number[];
  readonly detachOnExit?: boolean;
  readonly pin: boolean;
  readonly user?: string;
  readonly env?: readonly string[];
  readonly backend?: Backend;
  readonly observe?: boolean;
  /** Expressions that name calls; empty: all calls. */
  readonly stacks?: readonly string[];
  readonly stackBytes?: number;
  readonly keep: "always" | "on-failure";
  readonly pack?: boolean;
  readonly cpu: CpuLevel;
  /** The seed; true: any. */
  readonly chaos?: number | true;
  readonly runs?: number;
  readonly untilFailure?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

/** The kernel gives no larger ones out: PID_MAX_LIMIT of linux/threads.h. */
const MOST_PID = 4_194_304;

/** Signals that are meant for the program when they reach the recorder. */
const forwarded = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;
/** Signals that the terminal sends to the program as well: the program decides, the recorder stays. */
const fromTerminal = ["SIGINT", "SIGQUIT"] as const;
/** The same, for job control: the recorder stops when the program has stopped, not before. */
const stopping = ["SIGTSTP", "SIGTTIN", "SIGTTOU"] as const;
/** Whoever continues a job continues the program too; only if it then still stands is the signal passed on. */
const continueAfterMs = 50;

export const command: CommandDef<Options> = {
  name: "record",
  summary: "run a program and record everything that it asks of the kernel",
  description:
    "The program's streams, exit code and terminal behave as without recording. The trace holds every syscall, " +
    "signal, process and program load of the whole process tree, with the data that was read and written.",
  arguments: [
    { name: "[program]", help: "program to run", complete: "command" },
    { name: "[args...]", help: "its arguments" },
  ],
  passThrough: true,
  failureExitCode: 125,
  options: [
    { flags: "-o, --output <file>", help: "trace file", defaultText: "./<program>-<n>.trace" },
    { flags: "--force", help: "replace an existing file" },
    {
      flags: "--data <what>",
      help: "which memory to keep; paths and none need --observe",
      choices: ["all", "paths", "none"],
      default: "all",
    },
    {
      flags: "-e <expression>",
      help: "record only these calls (-e openat,%network), and those that carry state",
      parse: collect,
    },
    {
      flags: "-p <pid>",
      help: "observe a process that runs already, until Ctrl-C; -p 4711,4712 or several -p: more of them",
      parse: (text, previous) => [
        ...((previous as number[] | undefined) ?? []),
        ...text
          .trim()
          .split(/[\s,]+/)
          .map(wholeNumber(1, MOST_PID)),
      ],
    },
    { flags: "--detach-on-exit", help: "leave what the program started running when it ends" },
    { flags: "-u, --user <name>", help: "run the program as this user (needs root)" },
    {
      flags: "-E, --env <var>",
      help: "NAME=value sets a variable for the program, NAME removes it",
      parse: collect,
    },
    {
      flags: "--observe",
      help: "let threads run freely and keep out of the way: costs less, cannot be replayed",
    },
    {
      flags: "--stacks [calls]",
      help: "copy the stack at these calls (--stacks=openat,%network), or at all: for traces that cannot be replayed",
      attached: true,
      parse: collect,
    },
    {
      flags: "--stack-bytes <n>",
      help: "how much of each stack to copy",
      parse: wholeNumber(128, 1 << 20),
      defaultText: "16384",
    },
    {
      flags: "--chaos [seed]",
      help: "vary the order in which threads and processes run, to find rare faults (--chaos=7: the same order again)",
      attached: true,
      parse: (text) => (text === "" ? true : wholeNumber()(text)),
      group: "Finding faults",
    },
    {
      flags: "--runs <n>",
      help: "run and record the program so many times",
      parse: wholeNumber(1, 1_000_000),
      group: "Finding faults",
    },
    {
      flags: "--until-failure",
      help: "repeat until the program fails (at most --runs times), and keep only that trace",
      group: "Finding faults",
    },
    {
      flags: "--keep <when>",
      help: "keep the trace always, or only when the program fails",
      choices: ["always", "on-failure"],
      default: "always",
      group: "Finding faults",
    },
    {
      flags: "--pack",
      help: "put the programs and libraries into the trace, to replay it elsewhere",
    },
    {
      flags: "--cpu <level>",
      help: "tell programs of no more than this level, so that the trace replays on other processors",
      choices: CPU_LEVELS,
      default: "host",
    },
    {
      flags: "--backend <name>",
      help: "how to capture: agent inside the program, ptrace by stops, notify without a right to trace and without results",
      choices: BACKENDS,
      defaultText: "agent, and ptrace where the agent cannot do what is asked for",
    },
    { flags: "--no-pin", help: "do not keep program and recorder on one CPU" },
    { flags: "-q, --quiet", help: "no summary, no notes" },
    { flags: "-v, --verbose", help: "a summary also when stderr is no terminal" },
    { flags: "-f", help: "follow children (always on; accepted for strace's sake)", hidden: true },
  ],
  examples: [
    { line: "trace record ls -l", help: "record a command" },
    { line: "trace record -o build.trace make -j4", help: "a whole build into one file" },
    { line: "trace record -p 4711", help: "observe a running process until Ctrl-C" },
    { line: "trace record --observe --data=paths ./server", help: "smaller: no transferred data" },
    {
      line: "trace record --observe --stacks=connect,%process ./server",
      help: "with the stacks of some calls",
    },
    {
      line: "trace record --chaos --runs=1000 --until-failure ./test",
      help: "hunt a rare fault, and keep the run that shows it",
    },
    {
      line: "trace record --keep=on-failure --pack npm test",
      help: "for CI: a trace of failures that replays anywhere",
    },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<ExitStatus> {
  const { options } = context;
  checkOptions(options);
  if (options.p !== undefined && context.args[0] !== undefined) {
    throw usageError(
      `-p observes what runs already, and ${context.args[0]} is to be started`,
      "leave one of the two out",
    );
  }
  if (options.p !== undefined) checkObserving(options);
  const chosen = await recordOptions(context);
  let wasAskedToEnd = false;
  const askToEnd = () => {
    wasAskedToEnd = true;
  };
  const once = (changes: Partial<RecordOptions>) => recordOnce({ ...chosen, ...changes }, askToEnd);
  const isPlain =
    options.keep === "always" &&
    (options.pack ?? options.chaos ?? options.runs ?? options.untilFailure) === undefined;
  const done: RunsResult = isPlain
    ? { result: await once({}), isKept: true, warnings: [], remarks: [] }
    : await (await import("./runs.js")).recordRuns(options, once, () => wasAskedToEnd);
  const { result } = done;
  if (done.isKept) remember(result.path, context.env);
  report(context, done);
  if (result.exitSignal !== undefined) return { signal: result.exitSignal };
  return { exitNow: result.exitCode ?? 0 };
}

/** Options that exclude each other. */
function checkOptions(options: Options): void {
  const { data, observe, p, e, chaos, runs, untilFailure } = options;
  if (data !== "all" && !observe && p === undefined) {
    throw usageError(
      `--data=${data} leaves out what a replay needs`,
      "add --observe for a trace that is only looked at, or leave --data out",
    );
  }
  const free = Object.entries({
    "--observe": observe,
    "-p": p,
    "-e": e,
    "--detach-on-exit": options.detachOnExit,
  }).find(([, given]) => given)?.[0];
  if (chaos !== undefined && free !== undefined) {
    throw usageError(`--chaos cannot steer what ${free} lets run freely`, "use one of the two");
  }
  if (options.cpu !== "host" && (free !== undefined || data !== "all")) {
    throw usageError("--cpu is for replay, and this is not to be replayed", "leave --cpu out");
  }
  if (options.stackBytes !== undefined && options.stacks === undefined) {
    throw usageError("--stack-bytes is for --stacks", "add --stacks, or leave --stack-bytes out");
  }
  const isMany = runs !== undefined || untilFailure === true;
  if (isMany && p !== undefined) {
    throw usageError("-p observes what runs already: it cannot be run again", "name the program");
  }
  if (runs !== undefined && runs > 1 && !untilFailure && options.output !== undefined) {
    throw usageError(
      "-o names one file, and --runs makes many",
      "leave -o out, or keep only the run that fails: --until-failure",
    );
  }
}

/** What is said of a program that is to be started means nothing to one that runs. */
function checkObserving({ user, env, keep }: Options): void {
  const onFailure = keep === "on-failure" ? keep : undefined;
  const meaningless = { "--user": user, "--env": env, "--keep=on-failure": onFailure };
  const name = Object.entries(meaningless).find(([, given]) => given !== undefined)?.[0];
  if (name === undefined) return;
  throw usageError(
    `${name} is for a program that is started, and -p observes what runs already`,
    `leave ${name} out`,
  );
}

/** One recording, with the signals that come meanwhile passed on. Of those that ask for an end `askedToEnd` is told. */
async function recordOnce(options: RecordOptions, askedToEnd: () => void): Promise<RecordResult> {
  let begun: Recording | undefined;
  const recording = () => (begun ??= startRecording(options));
  // Before it begins: a signal that comes in between would end this process alone.
  const release = options.attach
    ? endOnSignals(() => recording().detach())
    : holdSignals(recording, askedToEnd);
  try {
    return await recording().result;
  } finally {
    release();
  }
}

/** The program's end is what counts: whatever goes wrong here does not change the exit code. */
function remember(path: string, env: CommandContext<Options>["env"]): void {
  try {
    rememberLatest(path, env);
  } catch (error) {
    say(
      `trace: the latest trace could not be noted: ${error instanceof Error ? error.message : error}\n`,
    );
  }
}

async function recordOptions(context: CommandContext<Options>): Promise<RecordOptions> {
  const { args, options } = context;
  const only = options.e && (await captureNames(options.e));
  return {
    command: given(args),
    data: options.data,
    force: options.force ?? false,
    detachOnExit: options.detachOnExit ?? false,
    unpinned: !options.pin,
    observe: options.observe ?? false,
    cpu: options.cpu,
    ...(options.backend && { backend: options.backend }),
    inheritDescriptors: true,
    ignoreHangup: hangupIsIgnored(context.env),
    ...(options.output !== undefined && { output: options.output }),
    ...(options.env && { env: changedEnvironment(context.env, options.env) }),
    ...(options.p && { attach: options.p }),
    ...(only && { only }),
    ...(options.user !== undefined && { user: findUser(options.user) }),
    ...(options.stacks && { stacks: await stackOptions(options.stacks, options.stackBytes) }),
  };
}

/** Of which calls stacks are copied. */
async function stackOptions(
  expressions: readonly string[],
  bytes: number | undefined,
): Promise<NonNullable<RecordOptions["stacks"]>> {
  const named = expressions.filter((expression) => expression !== "");
  return {
    // One without calls means all of them.
    ...(named.length === expressions.length && { calls: await captureNames(named) }),
    ...(bytes !== undefined && { bytes }),
  };
}

/** The arguments as they were given. Node decodes them, which loses what is not UTF-8. */
function given(args: readonly string[]): (string | Uint8Array)[] {
  const raw = args.length > 0 ? procStrings("cmdline").slice(-args.length) : [];
  return args.map((arg, k) => {
    const bytes = raw[k];
    return bytes?.toString("utf8") === arg ? bytes : arg;
  });
}

/** NUL-ended strings of a file of /proc/self; none when it cannot be read. */
function procStrings(name: string): Buffer[] {
  const strings: Buffer[] = [];
  try {
    const bytes = readFileSync(`/proc/self/${name}`);
    for (let at = 0; at < bytes.length; ) {
      const end = bytes.indexOf(0, at);
      const stop = end < 0 ? bytes.length : end;
      strings.push(bytes.subarray(at, stop));
      at = stop + 1;
    }
  } catch {}
  return strings;
}

/**
 * Node gives SIGHUP its default action when it starts, so this process cannot see that it was to be ignored. It can see
 * that its parent ignores it, and that nohup was the last program that the shell named in `_`.
 */
function hangupIsIgnored(env: Readonly<Record<string, string | undefined>>): boolean {
  if (env._?.endsWith("/nohup")) return true;
  try {
    const status = readFileSync(`/proc/${process.ppid}/status`, "latin1");
    const ignored = /^SigIgn:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
    return ((BigInt(`0x${ignored}`) >> BigInt(constants.signals.SIGHUP - 1)) & 1n) === 1n;
  } catch {
    return false;
  }
}

/** This process's environment, byte for byte and in its order, with the changes of -E. */
function changedEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  changes: readonly string[],
): Uint8Array[] {
  let entries = procStrings("environ");
  if (entries.length === 0) {
    entries = Object.entries(env).map(([name, value]) => Buffer.from(`${name}=${value ?? ""}`));
  }
  for (const change of changes) {
    const equals = change.indexOf("=");
    if (equals === 0)
      throw usageError(`-E ${change}: the name is missing`, "-E NAME=value or -E NAME");
    const prefix = Buffer.from(equals < 0 ? `${change}=` : change.slice(0, equals + 1));
    entries = entries.filter((entry) => !entry.subarray(0, prefix.length).equals(prefix));
    if (equals > 0) entries.push(Buffer.from(change));
  }
  return entries;
}

/** The syscalls that a capture expression lets through: it may speak of nothing but syscalls. */
async function captureNames(expressions: readonly string[]): Promise<string[]> {
  const [
    { captureSysnos, combineStraceExpressions },
    { syscallEntries, vocabulary },
    { pointing },
  ] = await Promise.all([
    import("../query/filter/index.js"),
    import("../query/syscalls.js"),
    import("./selection.js"),
  ]);
  const filter = pointing(() => combineStraceExpressions(expressions, { vocabulary }));
  const names = filter && captureSysnos(filter, syscallEntries);
  if (names === undefined) {
    throw new TraceError("BAD_FILTER", "a capture filter can only name syscalls and classes", {
      hint: "record everything and filter when showing: trace show -e ...",
    });
  }
  return [...names];
}

/** Looks a user up by name or number in the files that hold users. */
function findUser(name: string): { uid: number; gid: number; groups: number[] } {
  const users = readFileSync("/etc/passwd", "utf8").split("\n");
  const line = users
    .map((text) => text.split(":"))
    .find((words) => words[0] === name || words[2] === name);
  if (line === undefined) throw usageError(`no user ${name}`, "users are listed by: getent passwd");
  const gid = Number(line[3]);
  const groups = readFileSync("/etc/group", "utf8")
    .split("\n")
    .map((text) => text.split(":"))
    .filter((words) => words[3]?.split(",").includes(line[0] ?? ""))
    .map((words) => Number(words[2]));
  return { uid: Number(line[2]), gid, groups: [...new Set([gid, ...groups])] };
}

/** Passes signals on to the program while it runs; returns what ends that. */
function holdSignals(recording: () => Recording, askedToEnd: () => void): () => void {
  let asked: NodeJS.Timeout | undefined;
  // A program that was asked to end, and did, is not waited for in what it left behind: that goes on, as without us.
  const endWithProgram = () => {
    if (!recording().kill(0)) recording().detach();
  };
  const endFromTerminal = () => {
    askedToEnd();
    endWithProgram();
  };
  const send = (name: NodeJS.Signals) => {
    const isThere = recording().kill(constants.signals[name]);
    if (name !== "SIGTERM" && name !== "SIGHUP") return;
    askedToEnd();
    if (isThere) asked ??= setInterval(endWithProgram, 50);
    else recording().detach();
  };
  const release = onSignals([
    ...forwarded.map((name) => [name, () => send(name)] as const),
    ...fromTerminal.map((name) => [name, endFromTerminal] as const),
    ...stopping.map(
      (name) => [name, () => recording().stopAlong(constants.signals[name])] as const,
    ),
    [
      "SIGCONT",
      () => setTimeout(() => recording().kill(constants.signals.SIGCONT), continueAfterMs),
    ],
  ]);
  return () => {
    clearInterval(asked);
    release();
  };
}

/** Whoever observes a running process ends that by Ctrl-C; the process goes on. */
function endOnSignals(end: () => void): () => void {
  const names = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;
  return onSignals(names.map((name) => [name, end] as const));
}

function onSignals(handlers: readonly (readonly [NodeJS.Signals, () => void])[]): () => void {
  for (const [name, handler] of handlers) process.on(name, handler);
  return () => {
    for (const [name, handler] of handlers) process.off(name, handler);
  };
}

function report(context: CommandContext<Options>, done: RunsResult): void {
  const { result, isKept, warnings, remarks } = done;
  const { quiet, verbose } = context.options;
  const notes = quiet ? [] : [...result.notes, ...warnings];
  const lines: string[] = notes.map((note) => `trace: note: ${note}`);
  // Always said: the trace is not what was asked for.
  if (result.failure) {
    lines.push(
      `trace: the trace is cut: ${result.failure.message}; ${result.lost.events} events were not written`,
    );
    if (result.failure.hint) lines.push(`  ${result.failure.hint}`);
  }
  if (!quiet && (verbose || context.isTTY.stderr)) {
    if (isKept) lines.push(`trace: ${result.summary}  (trace show)`);
    lines.push(...remarks.map((remark) => `trace: ${remark}`));
  }
  if (lines.length > 0) say(`${lines.join("\n")}\n`);
}

/** Not by node's stream: opening it would make a pipe that others share non-blocking. */
function say(text: string): void {
  const bytes = Buffer.from(text);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(2, bytes, at);
  } catch {
    // Nobody is there to hear it.
  }
}
