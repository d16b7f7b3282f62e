/**
 * A replay with gdb: it is started here and finds the replay by a socket, or it is waited for on a port. The terminal is gdb's
 * meanwhile, and so is Ctrl-C.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { isSystemError, TraceError } from "../errors.js";
import { type DebugOptions, type ReplayOptions, type ReplayResult, replay } from "../replay.js";
import { removeTemporary, temporaryDirectory } from "../temporary.js";
import type { Trace } from "../trace/trace.js";

export interface Debugging {
  /** What gdb is given besides. */
  readonly args: readonly string[];
  readonly stderr: Writable;
  readonly replay: ReplayOptions;
  /** Where a debugger connects that somebody else starts. */
  readonly port?: number;
  /** As `DebugOptions` has them. */
  readonly debug: Pick<DebugOptions, "at" | "checkpointEvery">;
}

export interface Debugged {
  /** Undefined when no debugger has come. */
  readonly result: ReplayResult | undefined;
  /** Exit code of gdb. */
  readonly status: number;
}

/** Files are those of the recording, for which gdb asks; and a machine that has much to do may be slow to answer. */
const CONNECT = ["set sysroot target:", "set remotetimeout 300"];

/** Time for the end of a replay whose debugger has ended. */
const END_MS = 5000;

/** Replays until the debugger leaves. */
export async function debugged(trace: Trace, debugging: Debugging): Promise<Debugged> {
  const { port } = debugging;
  if (port !== undefined) {
    const onListening = () => debugging.stderr.write(invitation(port));
    const debug = { ...debugging.debug, listen: { port }, onListening };
    return { result: await replay(trace, { ...debugging.replay, debug }), status: 0 };
  }
  const directory = temporaryDirectory(join(tmpdir(), "trace-gdb-"));
  // gdb has it: it stops the program, and not this process.
  const ignore = () => {};
  process.on("SIGINT", ignore);
  try {
    return await withGdb(trace, debugging, join(directory, "socket"));
  } finally {
    process.off("SIGINT", ignore);
    removeTemporary(directory);
  }
}

function invitation(port: number): string {
  return (
    `trace: waiting for a debugger on 127.0.0.1:${port}\n` +
    `  gdb -q -ex 'target remote :${port}'\n`
  );
}

async function withGdb(
  trace: Trace,
  { args, replay: options, debug: wanted }: Debugging,
  socket: string,
): Promise<Debugged> {
  const abort = new AbortController();
  const connect = CONNECT.flatMap((words) => ["-ex", words]);
  const target = ["-ex", `target remote ${socket}`];
  let come: (gdb: ChildProcess | undefined) => void = () => {};
  const coming = new Promise<ChildProcess | undefined>((resolve) => {
    come = resolve;
  });
  const onListening = () =>
    come(spawn("gdb", ["-q", ...connect, ...target, ...args], { stdio: "inherit" }));
  const debug = { ...wanted, listen: { socket }, onListening };
  const replayed = replay(trace, { ...options, debug, signal: abort.signal });
  const isOver = () => come(undefined);
  replayed.then(isOver, isOver);
  const gdb = await coming;
  if (gdb === undefined) return { result: await replayed, status: 0 };
  // Without a replay there is nothing for it to do.
  replayed.catch(() => gdb.kill());
  let status: number;
  try {
    status = await endOf(gdb);
  } catch (error) {
    abort.abort();
    await replayed.catch(() => {});
    throw notStarted(error);
  }
  const timer = setTimeout(() => abort.abort(), END_MS);
  try {
    return { result: await replayed, status };
  } catch (error) {
    // It has never come.
    if (abort.signal.aborted) return { result: undefined, status };
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function endOf(gdb: ChildProcess): Promise<number> {
  const [code] = await once(gdb, "exit");
  return typeof code === "number" ? code : 0;
}

function notStarted(error: unknown): unknown {
  if (!isSystemError(error) || error.code !== "ENOENT") return error;
  return new TraceError("NO_GDB", "gdb is not installed", {
    hint: "install it, or let another debugger that speaks its remote protocol connect: --gdb=PORT",
  });
}
