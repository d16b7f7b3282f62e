/** Words and program starts as lines for a POSIX shell. */

import { UNSEEN } from "../report/text.js";
import { textBytes } from "../trace/byte_text.js";
import type { ProgramStart } from "../trace/history.js";

/** A text in single quotes, between which POSIX shells know no escapes. */
export function singleQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The word as a shell reads it: bare where that is safe, else in single quotes. */
export function shellWord(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word) && !/^[=~]/.test(word)) return word;
  // Line ends are kept by single quotes; other control characters would not survive a terminal, or mislead who reads it.
  if (word.replaceAll("\n", "").search(UNSEEN) < 0) return singleQuoted(word);
  const escaped = word.replace(/['\\]/g, "\\$&").replace(UNSEEN, (character) => {
    const bytes = [...textBytes(character)];
    return bytes.map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  });
  return `$'${escaped}'`;
}

/** A command line: a first word with `=` would be read as a variable. */
export function shellCommand(argv: readonly string[]): string {
  const [first = "", ...rest] = argv;
  const head = first.includes("=") ? singleQuoted(first) : shellWord(first);
  return [head, ...rest.map(shellWord)].join(" ");
}

export interface EnvChanges {
  readonly set: readonly string[];
  readonly unset: readonly string[];
}

/** What makes `after` of `before`; both are lists of `NAME=value`. */
export function envChanges(before: readonly string[], after: readonly string[]): EnvChanges {
  const old = new Map(before.map((text) => [nameOf(text), text]));
  const kept = new Set(after.map(nameOf));
  return {
    set: after.filter((text) => old.get(nameOf(text)) !== text),
    unset: [...old.keys()].filter((name) => !kept.has(name)),
  };
}

function nameOf(text: string): string {
  const equals = text.indexOf("=");
  return equals < 0 ? text : text.slice(0, equals);
}

export interface CommandLineOptions {
  /** The environment that the reader is taken to have; undefined: none, all of it is written. */
  readonly environment: readonly string[] | undefined;
  /** Applied to each `NAME=value` that is written. */
  readonly mask: (variable: string) => string;
}

/**
 * A line that runs the program as it was run: `cd DIR && env NAME=value PROGRAM ARGS`. A program that
 * was told another name than its file's is given it by bash's `exec -a`.
 */
export function commandLine(program: ProgramStart, options: CommandLineOptions): string {
  const { environment, mask } = options;
  const changes = environment === undefined ? undefined : envChanges(environment, program.env);
  const assignments = (changes?.set ?? program.env).map(mask).map(assignment);
  const words: string[] = [];
  if (changes === undefined) words.push("env", "-i", ...assignments);
  else if (assignments.length + changes.unset.length > 0) {
    words.push("env", ...changes.unset.map((name) => `-u ${shellWord(name)}`), ...assignments);
  }
  const line = [...words, runText(program)].join(" ");
  return program.cwd === "" ? line : `cd ${shellWord(program.cwd)} && ${line}`;
}

/** Program and arguments. A relative path counts from the directory that the line goes to. */
function runText(program: ProgramStart): string {
  const [name, ...rest] = program.argv;
  const file = program.given ?? program.path;
  if (name === undefined) return shellWord(file);
  if (file === "") return shellCommand(program.argv);
  // Without a slash, a name would be looked up in PATH.
  const path = file.includes("/") ? file : `./${file}`;
  // Of a script the arguments begin with its interpreter, which the kernel put there.
  const script = program.path === file ? -1 : program.argv.indexOf(file, 1);
  if (script === 1 || script === 2) return shellCommand([path, ...program.argv.slice(script + 1)]);
  const isNamed = name === file || file.split("/").at(-1) === name.split("/").at(-1);
  const run = shellCommand([path, ...rest]);
  return isNamed ? run : `bash -c ${shellWord(`exec -a ${shellWord(name)} "$0" "$@"`)} ${run}`;
}

/** `NAME=value` with only the value quoted. */
function assignment(text: string): string {
  const equals = text.indexOf("=");
  const isName = equals > 0 && /^[A-Za-z_]\w*$/.test(text.slice(0, equals));
  if (!isName) return shellWord(text);
  const value = text.slice(equals + 1);
  return value === "" ? text : `${text.slice(0, equals + 1)}${shellWord(value)}`;
}
