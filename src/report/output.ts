/**
 * Where long output goes: a pager on a terminal, else the stream itself. Whoever stops reading early
 * ends the output without an error; a failed write is one.
 */

import { spawn } from "node:child_process";
import type { Writable } from "node:stream";
import type { CommandContext } from "../commands/command.js";

export interface Output {
  /** Waits while the reader is behind. False: nobody reads any more. */
  write(chunk: string | Uint8Array): Promise<boolean>;
  /** Waits for the pager to be left. */
  end(): Promise<void>;
}

/** `paged`: whether a pager is wanted where there is a terminal. */
export function openOutput(context: CommandContext, paged: boolean): Output {
  const { stdout, isTTY, env } = context;
  const command = env.TRACE_PAGER ?? env.PAGER ?? "less";
  if (!paged || !isTTY.stdout || !isTTY.stdin || command === "" || command === "cat") {
    return streamOutput(stdout);
  }
  return pagerOutput(command, env, stdout);
}

export function streamOutput(stream: Writable): Output {
  return { write: (chunk) => writeTo(stream, chunk), end: async () => {} };
}

async function writeTo(stream: Writable, chunk: string | Uint8Array): Promise<boolean> {
  if (stream.destroyed || stream.writableEnded) return false;
  if (stream.write(chunk)) return true;
  await new Promise<void>((resolve) => {
    const done = () => {
      for (const event of ["drain", "close", "error"]) stream.off(event, done);
      resolve();
    };
    for (const event of ["drain", "close", "error"]) stream.on(event, done);
  });
  return !stream.destroyed;
}

/** The pager gets what is written from the first byte on; if it cannot be started, the stream does. */
function pagerOutput(command: string, env: CommandContext["env"], stdout: Writable): Output {
  const pager = spawn("/bin/sh", ["-c", command], {
    stdio: ["pipe", "inherit", "inherit"],
    env: { ...env, LESS: env.LESS ?? "FRX" },
  });
  // Ctrl-C is the pager's: it stops reading, and comes back to its prompt.
  const ignore = () => {};
  process.on("SIGINT", ignore);
  let broken = false;
  const left = new Promise<number | null>((resolve) => {
    pager.on("error", () => resolve(null));
    pager.on("close", (code) => resolve(code));
  });
  pager.stdin.on("error", () => {
    broken = true;
  });
  let first = "";
  return {
    async write(chunk) {
      if (first.length < 4096)
        first += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
      return !broken && (await writeTo(pager.stdin, chunk)) && !broken;
    },
    async end() {
      pager.stdin.end();
      const code = await left;
      process.off("SIGINT", ignore);
      // 127: there is no such program, and it has shown nothing.
      if (code === 127) stdout.write(first);
    },
  };
}

/** Writes everything that `chunks` gives, as long as somebody reads. */
export async function writeAll(
  output: Pick<Output, "write">,
  chunks: AsyncIterable<string | Uint8Array>,
): Promise<void> {
  for await (const chunk of chunks) {
    if (!(await output.write(chunk))) break;
  }
}
