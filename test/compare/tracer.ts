/**
 * Runs a program under `strace` or under `trace` and hands back the log of it, both in strace's format.
 * The two runs get the same arguments, environment, directory and descriptors, one after the other.
 */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

export interface Run {
  readonly argv: readonly string[];
  readonly timeoutMs: number;
  /** Called in the fresh work directory before the program starts; not traced. */
  readonly prepare?: (workDir: string, env: NodeJS.ProcessEnv) => void;
}

export interface Recording {
  readonly log: string;
  readonly stdout: Buffer;
  /** "exit 0", "signal SIGKILL" ... */
  readonly ended: string;
}

export type Tracer = (base: string, run: Run) => Recording;

/** What went wrong around a program, as opposed to inside it. */
export class HarnessError extends Error {}

export const workDirOf = (base: string): string => join(base, "work");

/** The environment of every program; nothing of the caller's but the search path. */
export function environment(base: string): NodeJS.ProcessEnv {
  return {
    // The system's programs first: version managers put shell scripts in front of them.
    PATH: `/usr/bin:/bin:${process.env.PATH ?? ""}`,
    HOME: workDirOf(base),
    TMPDIR: workDirOf(base),
    LC_ALL: "C",
    TZ: "UTC",
    XDG_STATE_HOME: join(base, "state"),
    XDG_CACHE_HOME: join(base, "cache"),
  };
}

export const strace: Tracer = (base, run) => {
  const log = join(base, "strace.log");
  const command = ["strace", "-f", "-ttt", "-T", "-y", "-o", log, ...run.argv];
  const ran = runProgram(base, command, run);
  return { ...ran, log: readFileSync(log, "utf8") };
};

/** @param cli path of the command; @param options further options of `record` */
export function traceWith(cli: string, options: readonly string[]): Tracer {
  return (base, run) => {
    const file = join(base, "recording.trace");
    rmSync(file, { force: true });
    const command = [cli, "record", "-q", ...options, "-o", file, "--"];
    const ran = runProgram(base, [...command, ...run.argv], run);
    const shown = spawnSync(cli, ["show", "--format=strace", file], {
      env: environment(base),
      maxBuffer: 1 << 30,
      timeout: run.timeoutMs,
    });
    if (shown.status !== 0) throw new HarnessError(`show failed: ${shown.stderr}${ran.stderr}`);
    return { ...ran, log: shown.stdout.toString("utf8") };
  };
}

interface Ran {
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly ended: string;
}

function runProgram(base: string, command: readonly string[], run: Run): Ran {
  const workDir = workDirOf(base);
  const env = environment(base);
  for (const name of ["work", "state", "cache"]) {
    rmSync(join(base, name), { recursive: true, force: true });
    mkdirSync(join(base, name), { mode: 0o755 });
  }
  run.prepare?.(workDir, env);
  const out = join(base, "stdout");
  const err = join(base, "stderr");
  const fds = [openSync(out, "w"), openSync(err, "w")];
  const [program = "", ...args] = [...fixedAddresses(), ...command];
  const result = spawnSync(program, args, {
    cwd: workDir,
    env,
    stdio: ["ignore", ...fds],
    timeout: run.timeoutMs,
    killSignal: "SIGKILL",
  });
  for (const fd of fds) closeSync(fd);
  if (result.error !== undefined) throw new HarnessError(`${program}: ${result.error.message}`);
  const ended = result.signal === null ? `exit ${result.status}` : `signal ${result.signal}`;
  return { stdout: readFileSync(out), stderr: readFileSync(err, "utf8"), ended };
}

let addressPrefix: string[] | undefined;

/** Turns address randomisation off where that is allowed (container profiles may refuse it). */
function fixedAddresses(): readonly string[] {
  if (addressPrefix === undefined) {
    const probe = spawnSync("setarch", ["-R", "true"]);
    addressPrefix = probe.status === 0 ? ["setarch", "-R"] : [];
  }
  return addressPrefix;
}
