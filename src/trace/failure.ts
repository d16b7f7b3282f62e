/** Errors of the engine, as they cross the addon boundary, and those of the system, as node raises them, to errors that users see. */

import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { getSystemErrorMap } from "node:util";
import { isSystemError, TraceError } from "../errors.js";

/** What the addon returns in place of a value. */
export interface NativeFailure {
  readonly code: string;
  readonly message: string;
  readonly facts: Readonly<Record<string, number | string>>;
}

export type Outcome<T> = T | NativeFailure;

type Hint = (facts: NativeFailure["facts"]) => string | undefined;

const ENOENT = 2;
const EACCES = 13;
const EISDIR = 21;
const EMFILE = 24;
const EFBIG = 27;
const ENOSPC = 28;

const hints: Readonly<Record<string, Hint>> = {
  "no-file": () => "trace ls lists the traces of a folder; trace record -o FILE PROGRAM makes one",
  "not-a-trace": () => "traces are made by: trace record -o FILE PROGRAM",
  version: () =>
    "it was made by a newer trace; get that one with: npm install trace-syscalls@latest",
  corrupt: () => "what is before the damage can be shown; trace info says how much that is",
  exists: () => "choose another name, or replace it with --force",
  busy: () => "wait until the recording ends, or write to another file",
  io: (facts) => ioHint(facts),
  "no-directory": (facts) => directoryHint(dirname(String(facts.path))),
  "disk-full": () => "make room, or write to another disk",
  "not-found": () => "check the spelling, or give a path with a slash: ./PROGRAM",
  "not-executable": (facts) => executableHint(String(facts.message)),
  "no-interpreter": () =>
    "scripts name it in their first line (head -1 FILE), programs in .interp (readelf -l FILE)",
  "too-long": () => "pass fewer arguments or a smaller environment; getconf ARG_MAX says how much",
  "exec-format": () => "run it by its interpreter, for example: trace record sh FILE",
  "empty-command": () => "name the program to run: trace record ls -l",
  "no-process": () => "ps -e lists the processes that run",
  permission: () => "trace doctor says what forbids it and how to allow it",
  traced: () => "a process can have one tracer: end that one first",
  cwd: () => "start from a directory that exists and can be entered",
  user: () => "becoming another user needs root: sudo trace record -u USER ...",
  filter: () => "record everything instead (no -e), or look at: trace doctor",
  backend: () => "leave --backend out: the default can do that",
  "cpu-level": () =>
    "leave --cpu out: the trace replays on processors of the same model; trace doctor says what this machine can",
  unreplayable: () => "everything else works on it: trace show, trace stat, trace tree",
  proc: () => "mount it: mount -t proc proc /proc, or start with: unshare --mount-proc",
  signals: () => "raise the limit: ulimit -i 1024",
  policy: () => "trace spec validate says what is wrong with a spec",
  enforce: () => "trace doctor says what this kernel offers",
  unsupervised: () =>
    "containers: --cap-add=SYS_PTRACE; or hold it without a supervisor: --no-supervisor --weaker",
  nested: () => "run it outside of that sandbox, or with --no-supervisor --weaker",
  "object-missing": () => "it was removed from the cache; record again with --pack to keep it",
};

function ioHint({ errno, path, doing }: NativeFailure["facts"]): string | undefined {
  if (errno === EISDIR) return "name a file in it";
  if (errno === EMFILE) return "raise the limit of open files: ulimit -n 1024";
  if (errno === EFBIG) return "ulimit -f says how large a file may be";
  if (errno !== EACCES) return undefined;
  const what = doing === "create" ? dirname(String(path)) : path;
  return `look at its permissions: ls -ld ${what}`;
}

/** File systems that the kernel makes up have directories in which nothing can be made. */
function directoryHint(directory: string): string {
  if (existsSync(directory)) return `nothing can be made in ${directory}: name another place`;
  return `make its directory first: mkdir -p ${directory}`;
}

function executableHint(message: string): string {
  if (message.endsWith("is a directory")) return "name a program inside it";
  if (message.includes("Not a directory")) return "check the path: a part of it is a file";
  return "make it executable with chmod +x FILE, or run it by its interpreter";
}

/** Exit codes that shells and env(1) use for a program that cannot be run. */
const exitCodes: Readonly<Record<string, number>> = {
  "not-found": 127,
  "no-interpreter": 127,
  "not-executable": 126,
  "too-long": 126,
  "exec-format": 126,
};

/** Errors of replay whose messages end with the way out, behind a semicolon. */
const withWayOut = new Set(["cut", "observe-mode", "other-cpu", "missing-object", "permission"]);

/** The sentence of the engine, without what only its authors care for. */
function sentence({ code, message, facts }: NativeFailure): string {
  if (code === "no-file") return `there is no file ${facts.path}`;
  return message.replace(/ \(os error \d+\)/, "");
}

/** What happened, and the way out where it is said behind the last semicolon. */
function inTwo(text: string, isSplit: boolean): [message: string, wayOut: string | undefined] {
  const end = isSplit ? text.lastIndexOf("; ") : -1;
  return end < 0 ? [text, undefined] : [text.slice(0, end), text.slice(end + 2)];
}

export function traceError(failure: NativeFailure): TraceError {
  const [message, wayOut] = inTwo(sentence(failure), withWayOut.has(failure.code));
  const hint = wayOut ?? hints[failure.code]?.(failure.facts);
  const code = failure.code.toUpperCase().replaceAll("-", "_");
  return new TraceError(code, message, {
    cause: failure,
    ...(exitCodes[failure.code] === undefined ? {} : { exitCode: exitCodes[failure.code] }),
    ...(hint === undefined ? {} : { hint }),
  });
}

function isFailure(outcome: unknown): outcome is NativeFailure {
  return typeof outcome === "object" && outcome !== null && "facts" in outcome;
}

/** The value. @throws TraceError when there is none. */
export function unwrap<T>(outcome: Outcome<T>): T {
  if (isFailure(outcome)) throw traceError(outcome);
  return outcome;
}

/** What the system says of an error, in lower case. */
export function systemText(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[1] ?? `error ${errno}`;
}

/** That something could not be done with a file or stream. */
export function ioError(doing: string, path: string, errno: number): TraceError {
  const isNew = doing === "create" && errno === ENOENT;
  const code = errno === ENOSPC ? "disk-full" : isNew ? "no-directory" : "io";
  const message = `cannot ${doing} ${path}: ${systemText(errno)}`;
  return traceError({ code, message, facts: { doing, path, errno } });
}

/** An error of the system as one that says what it was about; any other as it is. */
export function explainedError(error: unknown, doing: string, path: string): unknown {
  return isSystemError(error) ? ioError(doing, path, Math.abs(error.errno ?? 0)) : error;
}

/** Runs what may meet an error of the system, and says then what was being done. */
export async function explained<T>(
  doing: "create" | "write",
  path: string,
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw explainedError(error, doing, path);
  }
}
