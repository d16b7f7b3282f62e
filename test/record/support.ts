/**
 * Runs programs under the real command and reads back what it recorded. Nothing here knows what a test
 * wants to see.
 */

import { type ChildProcess, execFileSync, type StdioOptions, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { I386, NAMES, X86_64 } from "../../src/decode/names.generated.js";
import { type EventBatch, EventKind, type FdObject, NO_CONTENT } from "../../src/trace/batch.js";
import { type Coverage, coverageOf } from "../../src/trace/coverage.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { cli, nodeFolder } from "../support/command.js";

export { cli };

const sources = fileURLToPath(new URL("./programs/", import.meta.url));

let base: string | undefined;

function ownFolder(): string {
  base ??= mkdtempSync(join(tmpdir(), "trace-record-"));
  return base;
}

/** The first and the last of the CPUs that this process may use. */
export function firstAndLastCpu(): [first: string, last: string] {
  const status = readFileSync("/proc/self/status", "utf8");
  const [, first = "0", last = first] =
    /^Cpus_allowed_list:\t(\d+)\b(?:.*\b(\d+))?$/m.exec(status) ?? [];
  return [first, last];
}

/** A fresh folder, open to every user; all are removed after the tests of the file. */
export function folder(): string {
  execFileSync("chmod", ["755", ownFolder()]);
  const made = mkdtempSync(join(ownFolder(), "t"));
  execFileSync("chmod", ["777", made]);
  return made;
}

afterAll(() => {
  if (base !== undefined) rmSync(base, { recursive: true, force: true });
  base = undefined;
});

/** Builds programs/NAME.c, once per test file. `flags` go to the compiler. */
export function compile(name: string, ...flags: string[]): string {
  return compileBy("gcc", name, ...flags);
}

/** The same by another compiler that takes gcc's flags. */
export function compileBy(compiler: string, name: string, ...flags: string[]): string {
  const output = join(ownFolder(), [compiler, name, ...flags].join("").replaceAll(/[^\w-]/g, ""));
  if (!existsSync(output)) {
    const source = join(sources, `${name}.c`);
    execFileSync(compiler, ["-O1", "-Wall", "-Werror", "-o", output, source, ...flags]);
  }
  return output;
}

/** Builds programs/NAME.go. */
export function compileGo(name: string): string {
  const output = join(ownFolder(), name);
  if (!existsSync(output)) {
    const env = { ...process.env, GO111MODULE: "off", GOTOOLCHAIN: "local", GOFLAGS: "" };
    execFileSync("go", ["build", "-o", output, join(sources, `${name}.go`)], { env });
  }
  return output;
}

/** The environment of every program. The system's programs come first: version managers put scripts in front of them. */
export const environment: Readonly<Record<string, string>> = {
  PATH: `/usr/bin:/bin:/usr/sbin:/sbin:${process.env.PATH ?? ""}:${nodeFolder}`,
  HOME: process.env.HOME ?? "/",
  LC_ALL: "C",
  TZ: "UTC",
};

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Buffer;
  /** Instead of pipes. */
  readonly stdio?: StdioOptions;
}

/** Waits for the end of a process and of its output. Bytes come as Latin-1, so that they can be compared. */
export function ended(child: ChildProcess): Promise<Ended> {
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => {
    const parts: Buffer[] = [];
    stream?.on("data", (part: Buffer) => parts.push(part));
    return () => Buffer.concat(parts).toString("latin1");
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve({ code, signal, stdout: stdout?.() ?? "", stderr: stderr?.() ?? "" });
    });
  });
}

export function start(argv: readonly string[], options: RunOptions = {}): ChildProcess {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...environment, ...options.env },
    stdio: options.stdio ?? "pipe",
  });
  // A program that ends without reading its input is no failure of the test.
  child.stdin?.on("error", () => {});
  child.stdin?.end(options.input ?? "");
  return child;
}

export function run(argv: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return ended(start(argv, options));
}

/** The words that record into `file`. State and cache of the user stay as they are. */
export function recordWords(file: string, ...options: string[]): string[] {
  return [cli, "record", "-q", ...options, "-o", file, "--"];
}

/** Where the command keeps its state in tests: beside the trace. */
export function stateOf(dir: string): Record<string, string> {
  return { XDG_STATE_HOME: join(dir, "state"), XDG_CACHE_HOME: join(dir, "cache") };
}

export interface Recorded extends Ended {
  readonly file: string;
}

export interface RecordRunOptions extends RunOptions {
  /** Options of `trace record`. */
  readonly options?: readonly string[];
  /** What `trace record` is started by. */
  readonly under?: readonly string[];
}

/** Records a program in a fresh folder. */
export async function record(
  argv: readonly string[],
  options: RecordRunOptions = {},
): Promise<Recorded> {
  const dir = folder();
  const file = join(dir, "out.trace");
  const own = recordWords(file, ...(options.options ?? []));
  const words = [...(options.under ?? []), ...own, ...argv];
  const env = { ...stateOf(dir), ...options.env };
  return { file, ...(await run(words, { ...options, env })) };
}

export interface Capture {
  readonly slot: number;
  readonly side: "in" | "out" | "resolved";
  readonly status: "whole" | "truncated" | "unreadable" | "omitted";
  readonly wanted: number;
  readonly bytes: Buffer;
}

export interface Event {
  readonly seq: number;
  readonly kind: keyof typeof EventKind;
  /** Of calls. */
  readonly name: string;
  readonly code: number;
  readonly flags: number;
  readonly i386: boolean;
  readonly thread: number;
  readonly process: number;
  readonly ret: number;
  readonly args: readonly bigint[];
  readonly start: number;
  readonly end: number;
  readonly captures: readonly Capture[];
  readonly refs: readonly {
    readonly slot: number;
    readonly fd: number;
    readonly object: FdObject;
  }[];
}

const kinds = Object.keys(EventKind) as (keyof typeof EventKind)[];
const sides = ["in", "out", "resolved"] as const;
const statuses = ["whole", "truncated", "unreadable", "omitted"] as const;

function at<T>(list: ArrayLike<T>, index: number): T {
  const value = list[index];
  if (value === undefined) throw new Error(`no entry ${index} of ${list.length}`);
  return value;
}

function eventOf(trace: Trace, batch: EventBatch, i: number): Event {
  const captures: Capture[] = [];
  for (let c = at(batch.capStart, i); c < at(batch.capStart, i + 1); c++) {
    const content = at(batch.capContent, c);
    const [from, to] =
      content === NO_CONTENT
        ? [0, 0]
        : [at(batch.contentStart, content), at(batch.contentStart, content + 1)];
    captures.push({
      slot: at(batch.capSlot, c),
      side: at(sides, at(batch.capSide, c)),
      status: at(statuses, at(batch.capStatus, c)),
      wanted: at(batch.capWanted, c),
      bytes: Buffer.from(batch.bytes.subarray(from, to)),
    });
  }
  const refs = [];
  for (let r = at(batch.refStart, i); r < at(batch.refStart, i + 1); r++) {
    const object = at(trace.objects, at(batch.refObject, r));
    refs.push({ slot: at(batch.refSlot, r), fd: at(batch.refFd, r), object });
  }
  const word = (words: ArrayLike<number>, index: number) =>
    (BigInt(at(words, 2 * index + 1) >>> 0) << 32n) | BigInt(at(words, 2 * index) >>> 0);
  const kind = at(kinds, at(batch.kind, i));
  const code = at(batch.code, i);
  const i386 = at(batch.arch, i) === 1;
  const row = kind === "Call" ? (i386 ? I386 : X86_64)[code] : undefined;
  const thread = at(batch.thread, i);
  return {
    seq: batch.firstSeq + i,
    kind,
    name: row === undefined ? "" : (NAMES[row] ?? ""),
    code,
    flags: at(batch.flags, i),
    i386,
    thread,
    process: at(trace.threads, thread).process,
    ret: Number(BigInt.asIntN(64, word(batch.ret, i))),
    args: [0, 1, 2, 3, 4, 5].map((k) => word(batch.args, 6 * i + k)),
    start: at(batch.start, i),
    end: at(batch.start, i) + at(batch.duration, i),
    captures,
    refs,
  };
}

export interface Read {
  readonly trace: Trace;
  readonly events: readonly Event[];
}

/** All events of a trace. A damaged block ends them; `trace.state` says what the file says. */
export async function read(file: string): Promise<Read> {
  const trace = await openTrace(file);
  const events: Event[] = [];
  for await (const batch of trace.batches()) {
    for (let i = 0; i < batch.count; i++) events.push(eventOf(trace, batch, i));
  }
  trace.close();
  return { trace, events };
}

/** A complete trace, in which every thread has a beginning and an end. */
export async function readWhole(file: string): Promise<Read> {
  const whole = await read(file);
  expect(whole.trace.state).toBe("complete");
  expectWholeTree(whole);
  return whole;
}

/** What the program `agent_pointers` hands over and is told, without what differs from run to run. */
export function toldOf(events: readonly Event[]) {
  // Before that there is the process's number.
  const from = events.findIndex((event) => event.refs[0]?.object.path === "/dev/null");
  // Of a struct sockaddr_in the port differs, which the kernel has chosen, and of sockets and pipes their number.
  const [asked] = calls(events, "getsockname");
  const port = asked && bytesOf(asked, 1, "out").toString("hex", 0, 4);
  const told = (bytes: Buffer) => {
    const text = bytes.toString("hex");
    return port === undefined ? text : text.replaceAll(port, "0200port");
  };
  return events.slice(from).map(({ name, ret, flags, captures, refs }) => ({
    name,
    // Addresses differ.
    ret: (name === "mmap" || name === "mremap") && ret > 0 ? 0 : ret,
    flags,
    captures: captures.map(({ slot, side, status, wanted, bytes }) =>
      // The table of a vector has addresses in it.
      [slot, side, status, wanted, name.endsWith("v") ? bytes.length : told(bytes)],
    ),
    refs: refs.map(({ slot, fd, object }) => [
      slot,
      fd,
      object.path.replace(/^(socket|pipe):\[\d+\]$/, "$1"),
    ]),
  }));
}

/** Every thread begins with its Task event and ends with its Exit event, and every process ends once. */
export function expectWholeTree({ trace, events }: Read): void {
  const lives = new Map<number, string[]>();
  for (const event of events) {
    const life = lives.get(event.thread) ?? [];
    lives.set(event.thread, life);
    if (event.kind === "Task" || event.kind === "Exit") life.push(event.kind);
    else if (life.at(-1) !== "Task") life.push(`${event.kind} @${event.seq} outside of its life`);
  }
  const wrong = [...lives].filter(([, life]) => life.join() !== "Task,Exit");
  expect(wrong).toEqual([]);
  expect(lives.size).toBe(trace.threads.length);
  const ends = events.filter((event) => event.kind === "Exit" && event.args[0] === 1n);
  expect(ends.map((event) => event.process).sort((a, b) => a - b)).toEqual(
    trace.processes.map((process) => process.number),
  );
}

export function calls(events: readonly Event[], ...names: string[]): Event[] {
  return events.filter((event) => event.kind === "Call" && names.includes(event.name));
}

/** The bytes of the captures in a slot and side, one after the other. */
export function bytesOf(event: Event, slot: number, side: Capture["side"] = "in"): Buffer {
  const wanted = event.captures.filter((capture) => capture.slot === slot && capture.side === side);
  return Buffer.concat(wanted.map((capture) => capture.bytes));
}

/** The string in a slot without its NUL. */
export function stringOf(event: Event, slot: number, side: Capture["side"] = "in"): string {
  return bytesOf(event, slot, side).toString("utf8").replace(/\0$/, "");
}

/** The NUL-ended strings of a capture of an Exec event. */
export function stringsOf(event: Event, slot: number): string[] {
  return bytesOf(event, slot).toString("utf8").split("\0").slice(0, -1);
}

/** The object that an event names in a slot. */
export function objectOf(event: Event | undefined, slot: number): FdObject | undefined {
  return event?.refs.find((ref) => ref.slot === slot)?.object;
}

export function isAlive(pid: number): boolean {
  try {
    // A zombie is not alive: it only waits for its parent.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}

/** Asks until it is so; the test's own time limit ends it. */
export async function until<T>(what: () => T | undefined | false | "" | 0): Promise<T> {
  for (;;) {
    const value = what();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Content of a file, or nothing while it is not there. */
export function contentOf(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}

export function makeFolder(path: string, mode: number): string {
  mkdirSync(path, { mode });
  return path;
}

export interface Replayed {
  readonly stdout: string;
  readonly events: readonly Event[];
  readonly coverage: Coverage;
}

/** Records a program with the agent, and replays it: both have the same output. */
export async function recordAndReplay(
  argv: readonly string[],
  options: readonly string[],
  { code = 0, under = [] }: { readonly code?: number; readonly under?: readonly string[] } = {},
): Promise<Replayed> {
  const recorded = await record(argv, { options, under });
  expect({ code: recorded.code, stderr: recorded.stderr }).toEqual({ code, stderr: "" });
  const { trace, events } = await readWhole(recorded.file);
  expect(trace.info.facts.get("backend")).toBe("agent");
  expect(trace.info.facts.get("mode")).toBe("replayable");
  expect(trace.info.facts.get("unreplayable")).toBe("");
  const env = stateOf(dirname(recorded.file));
  const replayed = await run([cli, "replay", "-q", recorded.file], { env });
  expect(replayed).toEqual({ code, signal: null, stdout: recorded.stdout, stderr: "" });
  const coverage = coverageOf(trace.info);
  if (coverage === undefined) throw new Error("the trace does not tell of the agent");
  return { stdout: recorded.stdout, events, coverage };
}
