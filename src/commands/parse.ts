/**
 * From a `CommandDef` and the words after its name to a `CommandContext`'s arguments and options,
 * and the texts of `--help`. The only file that knows commander. Nothing here prints or exits.
 */

import { Command, CommanderError, Option } from "commander";
import { TraceError, usageError } from "../errors.js";
import type { ArgumentDef, CommandDef, OptionDef } from "./command.js";

export interface ParsedCommand {
  readonly args: readonly string[];
  readonly options: object;
}

/** What the user asked for: to run the command, or its help. */
export type ParseResult = ParsedCommand | { readonly help: string };

const firstColumn = 30;

/** Wraps `parse` so that its complaint names the option and the text it was given. */
function parserOf(def: OptionDef, parse: NonNullable<OptionDef["parse"]>) {
  return (text: string, previous: unknown): unknown => {
    const where = `option '${def.flags}': '${text}'`;
    if (def.choices !== undefined && !def.choices.includes(text)) {
      throw usageError(`${where} is not among its choices`, `choose ${def.choices.join(", ")}`);
    }
    try {
      return parse(text, previous);
    } catch (error) {
      if (!(error instanceof TraceError)) throw error;
      throw usageError(`${where}: ${error.message}`, error.hint);
    }
  };
}

function addOption(target: Command, def: OptionDef): void {
  const option = new Option(def.flags, def.help);
  if (def.default !== undefined) option.default(def.default, def.defaultText);
  if (def.choices !== undefined) option.choices(def.choices);
  if (def.parse !== undefined) option.argParser(parserOf(def, def.parse));
  if (def.group !== undefined) option.helpGroup(`${def.group}:`);
  if (def.hidden === true) option.hideHelp();
  target.addOption(option);
  if (def.count !== true) return;
  const key = option.attributeName();
  let times = 0;
  target.setOptionValue(key, times);
  target.on(`option:${option.name()}`, () => {
    times += 1;
    target.setOptionValue(key, times);
  });
}

function addArgument(target: Command, def: ArgumentDef): void {
  const argument = target.createArgument(def.name, def.help);
  if (def.choices !== undefined) argument.choices(def.choices);
  target.addArgument(argument);
}

function examplesText(def: CommandDef): string {
  const examples = def.examples ?? [];
  if (examples.length === 0) return "";
  const lines = examples.map(({ line, help }) => `  ${line.padEnd(firstColumn)}  ${help}`);
  return `\nExamples:\n${lines.join("\n")}`;
}

function buildCommand(def: CommandDef): Command {
  const command = new Command(`trace ${def.name}`);
  command.description(def.description ?? `${sentence(def.summary)}.`);
  command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} });
  command.helpOption("-h, --help", "show this help");
  for (const argument of def.arguments ?? []) addArgument(command, argument);
  for (const option of def.options ?? []) addOption(command, option);
  if (def.passThrough === true) command.passThroughOptions();
  const examples = examplesText(def);
  if (examples !== "") command.addHelpText("after", examples);
  return command;
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The whole help of a command, as `trace help <name>` prints it. */
export function commandHelp(def: CommandDef): string {
  const command = buildCommand(def);
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

/** Parses the words after the command's name. Throws a usage `TraceError`. */
export function parseCommand(def: CommandDef, words: readonly string[]): ParseResult {
  const command = buildCommand(def);
  command.allowExcessArguments(false);
  let args: string[] = [];
  command.action(() => {
    args = command.args;
  });
  try {
    command.parse([...words], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.helpDisplayed") return { help: commandHelp(def) };
    const [message = "", hint] = error.message.replace(/^error: /, "").split("\n");
    const suggestion = hint?.replace(/^\(|\)$/g, "");
    throw usageError(message, suggestion ?? `trace help ${def.name} shows what it takes`);
  }
  return { args, options: command.opts() };
}

/** The list of `trace --help`. */
export function overviewHelp(commands: readonly CommandDef[]): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return [
    "Usage: trace <command> [options] [arguments]",
    "",
    "Records every syscall of a program and its children, and shows what they did.",
    "",
    "Commands:",
    ...lines,
    "",
    "trace help <command> shows the options and examples of one command.",
    "",
  ].join("\n");
}

/** The name among `names` that was probably meant by `word`, if one is near. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const ranked = names
    .map((name) => ({ name, distance: editDistance(word, name) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  const limit = Math.max(1, Math.floor(word.length / 3));
  return best !== undefined && best.distance <= limit ? best.name : undefined;
}

/** Levenshtein distance, with the swap of two neighbours as one step. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + cost);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) best = Math.min(best, at(beforeLast, j - 2) + 1);
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
