/**
 * Runs one program and measures it from outside: wall time, CPU time, or peak memory. What it
 * prints goes nowhere; what it complains of is kept for the error message.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ENVIRONMENT } from "./environment.js";

/** Longest time that a single run may take, unless it says otherwise. */
const LIMIT_MS = 180_000;
const LOOK_MS = 4;

/** A measured program failed, or ran into the limit. */
export class RunError extends Error {}

export interface Program {
  readonly argv: readonly string[];
  readonly dir: string;
  /** Folder for the file that takes the complaints. */
  readonly base: string;
  /** Longest time that the run may take; default: LIMIT_MS. */
  readonly limitMs?: number;
  /** File for what it prints; default: nowhere. */
  readonly output?: string;
  /** Exit codes that are no failure; default: 0 alone. */
  readonly codes?: readonly number[];
}

/** What is running, so that an interrupted benchmark leaves nothing behind. */
const running = new Set<ChildProcess>();

/** Ends what this benchmark started: each run is a process group of its own. */
export function endRunning(): void {
  for (const { pid } of running) {
    if (pid === undefined) continue;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {}
  }
}

/** Runs a program to its end. Returns its wall time in milliseconds. */
export async function wallTime(program: Program): Promise<number> {
  return run(program);
}

/** Peak of the resident memory of the process itself, without its children, in MiB. */
export async function peakMemory(program: Program): Promise<number> {
  let peak = 0;
  await run(program, (pid) => {
    peak = Math.max(peak, highWaterMark(pid));
  });
  return peak / 1024;
}

/** User and system time of a program in seconds, to the millisecond: other shells count in ticks of the kernel. */
export async function cpuTime(program: Program): Promise<number> {
  const script = '"$@" >/dev/null; code=$?; times >"$0"; exit $code';
  const times = join(program.base, "times");
  await wallTime({ ...program, argv: ["bash", "-c", script, times, ...program.argv] });
  const children = readFileSync(times, "latin1").trim().split("\n").at(-1) ?? "";
  return [...children.matchAll(/(\d+)m([\d.]+)s/g)]
    .map(([, minutes, seconds]) => Number(minutes) * 60 + Number(seconds))
    .reduce((sum, part) => sum + part, 0);
}

/** What a program took, its children included. */
export interface Taken {
  /** Wall time in seconds. */
  readonly wall: number;
  /** User and system time in seconds. */
  readonly cpu: number;
  /** Largest resident memory of one of its processes, in MiB. */
  readonly peakMiB: number;
}

/** Runs a program under time(1). */
export async function taken(program: Program): Promise<Taken> {
  const out = join(program.base, "taken");
  const argv = ["time", "-f", "%U %S %M", "-o", out, ...program.argv];
  const wall = (await wallTime({ ...program, argv })) / 1000;
  // Of a program that ended with another code than 0, time(1) says so first.
  const [user = 0, system = 0, peak = 0] = (
    readFileSync(out, "latin1").trim().split("\n").at(-1) ?? ""
  )
    .split(" ")
    .map(Number);
  return { wall, cpu: user + system, peakMiB: peak / 1024 };
}

/** VmHWM in KiB; 0 when the process is gone. */
function highWaterMark(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/^VmHWM:\s*(\d+) kB/m.exec(status)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** `look` is called from time to time while it runs. */
async function run(
  { argv, dir, base, limitMs = LIMIT_MS, output, codes = [0] }: Program,
  look?: (pid: number) => void,
): Promise<number> {
  const [program = "", ...args] = argv;
  const complaints = join(base, "complaints");
  const stderr = openSync(complaints, "w");
  const stdout = output === undefined ? undefined : openSync(output, "w");
  const begin = process.hrtime.bigint();
  const child = spawn(program, args, {
    cwd: dir,
    env: ENVIRONMENT,
    detached: true,
    stdio: ["ignore", stdout ?? "ignore", stderr],
  });
  running.add(child);
  const { pid } = child;
  const timer = look && pid !== undefined ? setInterval(() => look(pid), LOOK_MS) : undefined;
  const limit = setTimeout(endRunning, limitMs);
  try {
    const status = await ended(child);
    const milliseconds = Number(process.hrtime.bigint() - begin) / 1e6;
    if (!codes.includes(status as number)) {
      const said = readFileSync(complaints, "utf8").trim().slice(-500);
      throw new RunError(`${argv.slice(0, 12).join(" ")}: ended with ${status}: ${said}`);
    }
    return milliseconds;
  } finally {
    clearTimeout(limit);
    clearInterval(timer);
    running.delete(child);
    closeSync(stderr);
    if (stdout !== undefined) closeSync(stdout);
  }
}

function ended(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new RunError(error.message)));
    child.once("exit", (code, signal) => resolve(code ?? signal ?? "nothing"));
  });
}
