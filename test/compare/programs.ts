/**
 * Compares real programs: per process, the same calls with the same results. Processes are matched by
 * lineage (parent, command line, ordinal); one thread is compared in order, several as a multiset.
 */
import { spawnSync } from "node:child_process";
import { COMMANDS, type Command } from "./commands.js";
import { diffLines, type Edit, formatDiff, multisetDiff } from "./diff.js";
import { parseCall, parseLog, type Task } from "./log.js";
import { maskTasks } from "./mask.js";
import { type Difference, ruleFor } from "./rules.js";
import { HarnessError, type Recording, type Tracer, workDirOf } from "./tracer.js";

export interface ProgramReport {
  readonly name: string;
  readonly processes: number;
  readonly calls: number;
  /** Number of differing calls per rule id. */
  readonly explained: ReadonlyMap<string, number>;
  readonly unexplained: number;
  readonly diff: readonly string[];
}

interface Process {
  readonly threaded: boolean;
  /** `name -> result`, one per call, in order. */
  readonly calls: readonly string[];
  /** The arguments of one call for each text in `calls`, for the rules and the diff. */
  readonly argsOf: ReadonlyMap<string, string>;
}

const TIMEOUT_MS = 120_000;
/** Marks calls on files whose content is the state of the system at that moment. */
const SYSTEM_STATE = /[<"]\/(proc|sys)\//;
/** Results that name no object of the program: which number it is does not matter. */
const RESULT_IS_POINTER = new Set(["mmap", "brk", "mremap", "shmat"]);

/** The commands of the list whose program is on this machine, and the names of the others. */
export function availableCommands(): { present: Command[]; skipped: string[] } {
  const present: Command[] = [];
  const skipped: string[] = [];
  for (const command of COMMANDS) {
    const needs = command.needs ?? [command.run[0] ?? ""];
    const missing = needs.filter(
      (need) => spawnSync("sh", ["-c", `command -v ${need}`]).status !== 0,
    );
    if (missing.length === 0) present.push(command);
    else skipped.push(`skipped ${command.name}: no ${missing.join(", ")} here`);
  }
  return { present, skipped };
}

export function compareProgram(
  command: Command,
  base: string,
  tracers: readonly [Tracer, Tracer],
): ProgramReport {
  const run = {
    argv: command.run,
    timeoutMs: TIMEOUT_MS,
    prepare: (workDir: string, env: NodeJS.ProcessEnv) => prepare(command, workDir, env),
  };
  const [first, second] = tracers.map((tracer) => tracer(base, run)) as [Recording, Recording];
  if (first.ended !== `exit ${command.exit ?? 0}`) {
    throw new HarnessError(`${command.name} ends with ${first.ended} under strace`);
  }
  const workDir = workDirOf(base);
  const report = compareProcesses(processes(first.log, workDir), processes(second.log, workDir));
  if (first.ended !== second.ended) {
    report.diff.push(`- ended: ${first.ended}`, `+ ended: ${second.ended}`);
    report.unexplained++;
  }
  if (!command.outputVaries && !first.stdout.equals(second.stdout)) {
    report.diff.push("@@ standard output differs @@");
    report.unexplained++;
  }
  return { name: command.name, ...report };
}

function prepare(command: Command, workDir: string, env: NodeJS.ProcessEnv): void {
  if (command.setup === undefined) return;
  const done = spawnSync("sh", ["-euc", command.setup], { cwd: workDir, env, encoding: "utf8" });
  if (done.status !== 0) throw new HarnessError(`setup of ${command.name}: ${done.stderr}`);
}

/** The processes of a log by lineage key. */
function processes(log: string, workDir: string): Map<string, Process> {
  const tasks = parseLog(log);
  const masked = maskTasks(tasks, workDir);
  const members = new Map<string, Task[]>();
  for (const task of tasks) {
    members.set(task.process, [...(members.get(task.process) ?? []), task]);
  }
  const keys = lineageKeys(members, masked);
  const result = new Map<string, Process>();
  for (const [process, threads] of members) {
    const argsOf = new Map<string, string>();
    const calls = threads.flatMap((task) => callsOf(masked.get(task.label) ?? [], argsOf));
    result.set(keys.get(process) ?? process, { threaded: threads.length > 1, calls, argsOf });
  }
  return result;
}

function lineageKeys(
  members: ReadonlyMap<string, readonly Task[]>,
  masked: ReadonlyMap<string, readonly string[]>,
): Map<string, string> {
  const keys = new Map<string, string>();
  const taken = new Map<string, number>();
  // Labels come sorted, so that a parent has its key before its children.
  for (const [process, threads] of members) {
    const creator = [...members].find(([, tasks]) =>
      tasks.some((task) => process.startsWith(`${task.label}.`) && isChild(task.label, process)),
    );
    const parent = creator === undefined ? "" : `${keys.get(creator[0])} > `;
    const commandLine = threads
      .flatMap((task) => masked.get(task.label) ?? [])
      .map(parseCall)
      .find((call) => /^execve(at)?$/.test(call?.name ?? "") && call?.result === "0");
    const argv = /\[(.*)\]/.exec(commandLine?.args ?? "")?.[1] ?? "(no exec)";
    const key = `${parent}${argv}`;
    const ordinal = (taken.get(key) ?? 0) + 1;
    taken.set(key, ordinal);
    keys.set(process, ordinal === 1 ? key : `${key} #${ordinal}`);
  }
  return keys;
}

const isChild = (parent: string, label: string): boolean =>
  label.slice(0, label.lastIndexOf(".")) === parent;

function callsOf(lines: readonly string[], argsOf: Map<string, string>): string[] {
  const calls: string[] = [];
  for (const line of lines) {
    const call = parseCall(line);
    if (call === undefined) continue;
    const system = SYSTEM_STATE.test(call.args) ? " [/proc]" : "";
    const text = `${call.name} -> ${resultOf(call.name, call.result)}${system}`;
    calls.push(text);
    if (!argsOf.has(text)) argsOf.set(text, call.args);
  }
  return calls;
}

/** The value or the error's name; process ids and pointers are kept apart only from errors. */
function resultOf(name: string, result: string): string {
  const error = /^(-1|\?) (E[A-Z0-9]+)/.exec(result);
  if (error !== null) return `${error[1]} ${error[2]}`;
  const value = /^\S*?(?=$|\s|<)/.exec(result)?.[0] ?? result;
  if (RESULT_IS_POINTER.has(name)) return "ADDR";
  if (name === "rt_sigreturn") return "(interrupted call)";
  if (/^[PQ]\d+(\.\d+)*$/.test(value)) return "PID";
  return value;
}

function compareProcesses(
  expected: ReadonlyMap<string, Process>,
  actual: ReadonlyMap<string, Process>,
) {
  const explained = new Map<string, number>();
  const report = { processes: expected.size, calls: 0, unexplained: 0, diff: [] as string[] };
  for (const key of new Set([...expected.keys(), ...actual.keys()])) {
    const first = expected.get(key);
    const second = actual.get(key);
    report.calls += first?.calls.length ?? 0;
    if (first === undefined || second === undefined) {
      report.unexplained += Math.max(1, (first ?? second)?.calls.length ?? 0);
      report.diff.push(
        `@@ process only in the ${first === undefined ? "second" : "first"}: ${key} @@`,
      );
      continue;
    }
    const threaded = first.threaded || second.threaded;
    const edits = threaded
      ? multisetDiff(first.calls, second.calls)
      : diffLines(first.calls, second.calls);
    const moved = movedLines(edits);
    let unexplained = 0;
    for (const edit of edits) {
      if (edit.kind === "same") continue;
      const args = (edit.kind === "missing" ? first : second).argsOf.get(edit.line) ?? "";
      const rule = ruleFor(difference(edit, args, threaded, moved));
      if (rule === undefined) unexplained++;
      else explained.set(rule.id, (explained.get(rule.id) ?? 0) + 1);
    }
    report.unexplained += unexplained;
    const changed = edits.some((edit) => edit.kind !== "same");
    if (changed) {
      report.diff.push(`@@ ${key} @@`, ...formatDiff(edits, threaded ? 0 : 2));
    }
  }
  return { ...report, explained };
}

/** Lines that are missing at one place and extra at another, in a process with signal handlers. */
function movedLines(edits: readonly Edit[]): ReadonlySet<string> {
  if (!edits.some((edit) => edit.line.startsWith("rt_sigreturn "))) return new Set();
  const balance = new Map<string, number>();
  for (const { kind, line } of edits) {
    if (kind === "same") continue;
    balance.set(line, (balance.get(line) ?? 0) + (kind === "missing" ? 1 : -1));
  }
  return new Set([...balance].filter(([, sum]) => sum === 0).map(([line]) => line));
}

function difference(
  edit: Edit,
  args: string,
  threaded: boolean,
  moved: ReadonlySet<string>,
): Difference {
  const [name = "", result = ""] = edit.line.split(" -> ");
  return { name, result, args, threaded, moved: moved.has(edit.line) };
}
