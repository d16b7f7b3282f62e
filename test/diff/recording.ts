/** Records programs with the real command, for comparisons of what they did. Knows no test framework: tables use it as well. */

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { cli as CLI, nodeFolder } from "../support/command.js";

export { CLI };

const LIMIT_MS = 120_000;

/** A folder with a work directory for programs, and one for traces. */
export interface Place {
  readonly base: string;
  readonly work: string;
  readonly env: Readonly<Record<string, string>>;
}

export function makePlace(): Place {
  const base = mkdtempSync(join(tmpdir(), "trace-diff-"));
  const work = join(base, "work");
  mkdirSync(work);
  // The system's programs come first: version managers put scripts in front.
  const env = {
    PATH: `/usr/bin:/bin:/usr/sbin:/sbin:${process.env.PATH ?? ""}:${nodeFolder}`,
    HOME: work,
    LC_ALL: "C.UTF-8",
    TZ: "UTC",
    XDG_STATE_HOME: join(base, "state"),
    XDG_CACHE_HOME: join(base, "cache"),
  };
  return { base, work, env };
}

export function leave({ base }: Place): void {
  rmSync(base, { recursive: true, force: true });
}

/** Runs a shell script in the work directory, unrecorded. */
export function prepare(place: Place, script: string): void {
  const done = spawnSync("sh", ["-e", "-c", script], {
    cwd: place.work,
    env: { ...place.env, ...toolchains() },
    encoding: "utf8",
    timeout: LIMIT_MS,
  });
  if (done.status !== 0) throw new Error(`${script}\n${done.error?.message ?? done.stderr}`);
}

/** Where compilers keep what they know, outside of the work directory. */
function toolchains(): Record<string, string> {
  const cache = join(dirname(CLI), "..", "node_modules", ".cache", "diff");
  return { GOCACHE: join(cache, "go"), GOTOOLCHAIN: "local", GO111MODULE: "off" };
}

export interface RecordSpec {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Options of `trace record`. */
  readonly options?: readonly string[];
  readonly input?: string;
  /** Milliseconds after which it is ended. */
  readonly limit?: number;
}

/** Records a run as `name.trace`; its path. The exit code of the program is its own business. */
export async function record(place: Place, name: string, spec: RecordSpec): Promise<string> {
  const file = join(place.base, `${name}.trace`);
  const words = [
    "record",
    "-q",
    "--force",
    ...(spec.options ?? []),
    "-o",
    file,
    "--",
    ...spec.argv,
  ];
  const child = spawn(CLI, words, {
    cwd: spec.cwd ?? place.work,
    env: { ...place.env, ...spec.env },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: spec.limit ?? LIMIT_MS,
    killSignal: "SIGKILL",
  });
  const stderr: Buffer[] = [];
  child.stdout.resume();
  child.stderr.on("data", (part: Buffer) => stderr.push(part));
  child.stdin.on("error", () => {});
  child.stdin.end(spec.input ?? "");
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code === 125 || code === null)
    throw new Error(`${name}: ${Buffer.concat(stderr).toString()}`);
  return file;
}
