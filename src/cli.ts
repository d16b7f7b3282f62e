#!/usr/bin/env node
/**
 * argv -> command -> exit code. The only file that prints errors or ends the process. It is not a
 * parser and knows no command. Whatever is not needed to start a recording is imported when it is
 * used, after the compile cache is on: that is what keeps start-up short.
 */

import { fstatSync, readFileSync, writeSync } from "node:fs";
import nodeModule from "node:module";
import type { CommandContext, CommandDef, ExitStatus } from "./commands/command.js";
import { readPlainly } from "./commands/plain.js";
import { commandNames, loadAllCommands, loadCommand } from "./commands/registry.js";
import { isSystemError, TraceError, usageError } from "./errors.js";
import { native } from "./native.js";
import { printable } from "./report/text.js";
import { removeAllTemporary } from "./temporary.js";
import { explainedError } from "./trace/failure.js";

const defaultFailure = 2;

/** Newer than the oldest supported node, and than the types of it. */
const { enableCompileCache } = nodeModule as { enableCompileCache?: () => unknown };

function version(): string {
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { version: string }).version;
}

async function helpText(name: string | undefined): Promise<string> {
  const { commandHelp, overviewHelp } = await import("./commands/parse.js");
  if (name !== undefined) return commandHelp(await findCommand(name));
  return overviewHelp(await loadAllCommands());
}

async function findCommand(name: string): Promise<CommandDef> {
  const command = await loadCommand(name);
  if (command !== undefined) return command;
  const { nearestName } = await import("./query/nearest.js");
  const near = nearestName(name, commandNames);
  const hint = near === undefined ? "trace --help lists the commands" : `did you mean ${near}?`;
  const kind = name.startsWith("-") ? "option" : "command";
  throw usageError(`unknown ${kind} '${name}'`, hint);
}

/**
 * The streams are opened when they are first used: node makes a pipe that it opens non-blocking, for every process that
 * shares it, and a program under `trace record` shares them.
 */
function contextOf(args: readonly string[], options: object): CommandContext {
  return {
    args,
    options,
    env: process.env,
    get stdout() {
      return watchedStdout();
    },
    get stderr() {
      return process.stderr;
    },
    isTTY: {
      get stdin() {
        return isTerminal(0);
      },
      get stdout() {
        return isTerminal(1);
      },
      get stderr() {
        return isTerminal(2);
      },
    },
  };
}

/** Asks node's module only where there may be a terminal: loading it takes as long as starting a recording. */
function isTerminal(fd: number): boolean {
  try {
    if (!fstatSync(fd).isCharacterDevice()) return false;
  } catch {
    return false;
  }
  const load = nodeModule.createRequire(import.meta.url);
  return (load("node:tty") as typeof import("node:tty")).isatty(fd);
}

let watched = false;

/** Whoever reads our output may stop reading (`trace show | head`): that is no error. */
function watchedStdout(): typeof process.stdout {
  if (!watched) {
    watched = true;
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(0);
      process.exit(report(error, defaultFailure));
    });
  }
  return process.stdout;
}

/**
 * Says what went wrong, in lines. What it quotes of files is not obeyed by a terminal. Nobody may be there to hear it; that is not worth
 * failing for.
 */
function complain(text: string): void {
  try {
    writeSync(2, text.split("\n").map(printable).join("\n"));
  } catch {}
}

async function runCommand(command: CommandDef, words: readonly string[]): Promise<ExitStatus> {
  const parsed =
    readPlainly(command, words) ??
    (await import("./commands/parse.js")).parseCommand(command, words);
  if ("help" in parsed) {
    watchedStdout().write(parsed.help);
    return 0;
  }
  return command.run(contextOf(parsed.args, parsed.options));
}

function report(error: unknown, failure: number): number {
  if (error instanceof TraceError) {
    const hint = error.hint === undefined ? "" : `  ${error.hint.replaceAll("\n", "\n  ")}\n`;
    complain(`trace: ${error.message}\n${hint}`);
    return error.exitCode ?? failure;
  }
  if (isSystemError(error)) {
    const { syscall = "use", path = "the output" } = error;
    return report(explainedError(error, syscall, path), failure);
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  complain(`trace: internal error, please report it\n${text}\n`);
  return failure;
}

async function main(words: readonly string[]): Promise<ExitStatus> {
  const [name, ...rest] = words;
  let failure = defaultFailure;
  try {
    if (name === undefined) throw usageError("no command given", "trace --help lists the commands");
    if (name === "--version" || name === "-V") {
      watchedStdout().write(`${version()}\n`);
      return 0;
    }
    if (name === "--help" || name === "-h" || name === "help") {
      watchedStdout().write(await helpText(name === "help" ? rest[0] : undefined));
      return 0;
    }
    const command = await findCommand(name);
    failure = command.failureExitCode ?? defaultFailure;
    return await runCommand(command, rest);
  } catch (error) {
    return report(error, failure);
  }
}

function end(status: ExitStatus): void {
  if (typeof status === "number") {
    process.exitCode = status;
    return;
  }
  if ("exitNow" in status) native().exitNow(status.exitNow);
  else endBySignal(status.signal);
}

function endBySignal(signal: number): void {
  removeAllTemporary();
  native().dieBySignal(signal);
  process.exitCode = 128 + signal;
}

enableCompileCache?.();
// The bundle is no module that could wait at its top. Neither promise is ever rejected by what a command does.
void main(process.argv.slice(2)).then(end);
