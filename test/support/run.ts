/** A command as a function: words in, what it wrote and returned out. */

import { Writable } from "node:stream";
import type { ExitStatus } from "../../src/commands/command.js";
import { parseCommand } from "../../src/commands/parse.js";
import { loadCommand } from "../../src/commands/registry.js";

export interface Ran {
  readonly status: ExitStatus;
  readonly stdout: string;
  readonly stderr: string;
}

class Memory extends Writable {
  readonly #parts: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#parts.push(Buffer.from(chunk));
    done();
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString();
  }
}

export class FailedRun extends Error {
  constructor(
    override readonly cause: unknown,
    readonly stdout: string,
    readonly stderr: string,
  ) {
    super(cause instanceof Error ? cause.message : String(cause));
  }
}

/** `env`: all variables that the command sees. Throws `FailedRun` with what was written until then. */
export async function runCommand(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const [name = "", ...rest] = words;
  const command = await loadCommand(name);
  if (command === undefined) throw new Error(`no command ${name}`);
  const parsed = parseCommand(command, rest);
  if ("help" in parsed) throw new Error("help was asked for");
  const [stdout, stderr] = [new Memory(), new Memory()];
  const isTTY = { stdin: false, stdout: false, stderr: false };
  try {
    const status = await command.run({ ...parsed, stdout, stderr, env, isTTY });
    return { status, stdout: stdout.text, stderr: stderr.text };
  } catch (error) {
    throw new FailedRun(error, stdout.text, stderr.text);
  }
}
