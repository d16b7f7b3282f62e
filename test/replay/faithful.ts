/**
 * Is a replay what the recording was? Records a program with the real command, takes away everything it used, replays it
 * elsewhere, and compares what came out byte by byte. Knows no test framework: `main.ts` uses it as well.
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { cli as CLI, nodeFolder } from "../support/command.js";

export { CLI };

/** What `trace replay` ends with when the program did something else. A program that ends so itself proves nothing. */
const DESYNC = 3;
/** What `trace` ends with when it cannot do what it was asked to. */
const REFUSED = 125;

/** How a program ended, and all it wrote. */
export interface Outcome {
  /** `exit 0`, `signal SIGTERM`, or `timeout`. */
  readonly ended: string;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly milliseconds: number;
  /** Of a replay through the agent that was repeated without it: which difference it found. */
  readonly repeated?: string | undefined;
}

/** A folder with a work directory for programs, their environment, and the files of `trace`. */
export interface Place {
  readonly base: string;
  readonly work: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface Recording {
  readonly file: string;
  readonly place: Place;
  readonly outcome: Outcome;
}

/** Makes an empty place that every user may enter; `leave` removes it. */
export function makePlace(): Place {
  const base = mkdtempSync(join(tmpdir(), "trace-replay-"));
  chmodSync(base, 0o755);
  const work = join(base, "work");
  mkdirSync(work);
  chmodSync(work, 0o777);
  mkdirSync(join(base, "elsewhere"), { mode: 0o755 });
  const place = { base, work, env: environment(base) };
  places.add(place);
  return place;
}

export function leave(place: Place): void {
  places.delete(place);
  rmSync(place.base, { recursive: true, force: true });
}

/** The environment that programs are recorded in. The system's programs come first: version managers put scripts in front. */
function environment(base: string): Record<string, string> {
  const work = join(base, "work");
  return {
    PATH: `/usr/bin:/bin:/usr/sbin:/sbin:${process.env.PATH ?? ""}:${nodeFolder}`,
    HOME: work,
    TMPDIR: work,
    LC_ALL: "C.UTF-8",
    TZ: "UTC",
    XDG_STATE_HOME: join(base, "state"),
    XDG_CACHE_HOME: join(base, "cache"),
  };
}

/** What captures calls in recordings that do not say it themselves: `REPLAY_BACKEND=agent`, or the default. */
const backend =
  process.env.REPLAY_BACKEND === undefined ? [] : [`--backend=${process.env.REPLAY_BACKEND}`];

/** What answers calls in replays: `REPLAY_THROUGH=ptrace` or `eager-agent`, or the default. */
const through = process.env.REPLAY_THROUGH;

/** Records a program in a place. */
export async function record(
  place: Place,
  argv: readonly string[],
  timeoutMs: number,
  options: readonly string[] = [],
): Promise<Recording> {
  const file = join(place.base, "recorded.trace");
  const words = [CLI, "record", "-q", "--force", ...backend, ...options, "-o", file, "--", ...argv];
  const outcome = await runProgram(words, { cwd: place.work, env: place.env, timeoutMs });
  return { file, place, outcome };
}

/** Records one program file, of which nothing is left afterwards, nor of what it made. */
export async function recordCopy(
  place: Place,
  program: string,
  timeoutMs: number,
): Promise<Recording> {
  const copy = join(place.work, basename(program));
  copyFileSync(program, copy);
  const recording = await record(place, [copy], timeoutMs);
  takeAway(place);
  return recording;
}

/** Removes everything that the program used and made in its work directory, and lets every user read the recording. */
export function takeAway({ base, work }: Place): void {
  rmSync(work, { recursive: true, force: true });
  for (const what of ["recorded.trace", "cache"]) {
    spawnSync("chmod", ["-R", "a+rX", join(base, what)]);
  }
}

/** How one replay differs from the next: who replays, and from what. */
export interface Manner {
  /** As another user, where this one may become one. */
  readonly asOther: boolean;
  /** From a packed copy, without the object store. */
  readonly packed: boolean;
}

/** The manner of the replay with this number: users take turns, and every fifth one is from a packed copy. */
export function mannerOf(number: number): Manner {
  return { asOther: number % 2 === 1, packed: number % 5 === 4 };
}

/** Replays in another directory and environment, without network, maybe as another user. */
export async function replay(
  recording: Recording,
  manner: Manner,
  timeoutMs: number,
): Promise<Outcome> {
  const { base } = recording.place;
  const file = manner.packed ? packedCopy(recording) : recording.file;
  const report = join(base, "reports", String(++reports));
  mkdirSync(dirname(report), { recursive: true });
  chmodSync(dirname(report), 0o777);
  const how = through === undefined ? [] : [`--backend=${through}`];
  const told = ["--format=json", `--report=${report}`];
  const words = [...isolation(manner.asOther), CLI, "replay", "-q", ...how, ...told, file];
  const env = {
    PATH: `/usr/bin:/bin:${nodeFolder}`,
    LANG: "C",
    TZ: "Asia/Tokyo",
    REPLAYED: "yes",
    XDG_STATE_HOME: "/nonexistent",
    XDG_CACHE_HOME: join(base, manner.packed ? "no-cache" : "cache"),
  };
  const outcome = await runProgram(words, { cwd: join(base, "elsewhere"), env, timeoutMs });
  return existsSync(report) ? { ...outcome, repeated: whyRepeated(report) } : outcome;
}

let reports = 0;

/** What a replay says about why it was repeated, if it was. */
function whyRepeated(report: string): string | undefined {
  const said = JSON.parse(readFileSync(report, "utf8")) as {
    readonly repeated: boolean;
    readonly notes: readonly string[];
    readonly desyncs: readonly { readonly summary: string }[];
  };
  return said.repeated
    ? [...said.notes, ...said.desyncs.map(({ summary }) => summary)].join("; ")
    : undefined;
}

/** The trace with all files in it, made when it is first needed. */
function packedCopy({ file, place }: Recording): string {
  const packed = join(place.base, "packed.trace");
  if (existsSync(packed)) return packed;
  const words = ["pack", "-q", "--force", "-o", packed, file];
  const done = spawnSync(CLI, words, { env: place.env, encoding: "utf8" });
  if (done.status !== 0) throw new Error(`pack: ${done.stderr.trim()}`);
  spawnSync("chmod", ["a+r", packed]);
  return packed;
}

/** What a replay did other than the recording, in a few lines; nothing when it is the same in every byte. */
export function difference(recorded: Outcome, replayed: Outcome): string | undefined {
  const parts: string[] = [];
  if (recorded.ended !== replayed.ended) {
    parts.push(`ended with ${replayed.ended} instead of ${recorded.ended}`);
  }
  for (const stream of ["stdout", "stderr"] as const) {
    const where = firstDifference(recorded[stream], replayed[stream]);
    if (where !== undefined) parts.push(`${stream} ${where}`);
  }
  return parts.length === 0 ? undefined : parts.join("\n");
}

/** What a refused replay said, when that is how it ended. */
export function refusal(replayed: Outcome): string | undefined {
  return replayed.ended === `exit ${REFUSED}` ? replayed.stderr.toString().trim() : undefined;
}

export function isDesync(replayed: Outcome): boolean {
  return replayed.ended === `exit ${DESYNC}`;
}

function firstDifference(wanted: Buffer, actual: Buffer): string | undefined {
  if (wanted.equals(actual)) return undefined;
  let at = 0;
  while (at < wanted.length && wanted[at] === actual[at]) at++;
  const begin = Math.max(0, at - 30);
  const excerpt = (bytes: Buffer): string =>
    JSON.stringify(bytes.toString("latin1", begin, at + 90));
  return `differs at byte ${at} (of ${wanted.length} and ${actual.length}):\n- ${excerpt(wanted)}\n+ ${excerpt(actual)}`;
}

interface RunOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/** What is running, and where, so that an interrupted run leaves nothing behind. */
const running = new Set<ChildProcess>();
const places = new Set<Place>();

/** Ends everything that was started here, the recorder's programs with it, and removes all places. */
export function abandon(): void {
  for (const child of running) endSession(child);
  for (const place of places) leave(place);
}

function endSession({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** Runs a program to its end and takes what it writes to two pipes. A session of its own, so that all of it can be ended. */
export function runProgram(words: readonly string[], options: RunOptions): Promise<Outcome> {
  const [program = "", ...args] = words;
  const { cwd, env, timeoutMs } = options;
  const begin = performance.now();
  const child = spawn(program, args, {
    cwd,
    env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const output = [child.stdout, child.stderr].map((stream) => {
    const parts: Buffer[] = [];
    stream.on("data", (part: Buffer) => parts.push(part));
    return parts;
  });
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    endSession(child);
    // Whoever still holds the pipes keeps nobody waiting.
    child.stdout.destroy();
    child.stderr.destroy();
  }, timeoutMs);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(limit);
      running.delete(child);
      const [stdout = [], stderr = []] = output;
      resolve({
        ended: late ? "timeout" : signal === null ? `exit ${code}` : `signal ${signal}`,
        stdout: Buffer.concat(stdout),
        stderr: Buffer.concat(stderr),
        milliseconds: performance.now() - begin,
      });
    });
  });
}

let prefixes: { alone: readonly string[]; asOther: readonly string[] } | undefined;

/** Words in front of a command that take the network away, and this user's identity, as far as that is allowed here. */
function isolation(asOther: boolean): readonly string[] {
  if (prefixes === undefined) {
    const [alone = []] = [
      ["unshare", "-n"],
      ["unshare", "-r", "-n"],
    ].filter(works);
    const other = [...alone, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    // The other user must also be able to read this build.
    prefixes = { alone, asOther: works(other) ? other : alone };
  }
  return asOther ? prefixes.asOther : prefixes.alone;
}

function works(prefix: readonly string[]): boolean {
  const [program = "", ...args] = [...prefix, CLI, "--version"];
  return spawnSync(program, args, { env: { PATH: `/usr/bin:/bin:${nodeFolder}` } }).status === 0;
}
