/**
 * From a `CommandDef` and the words after its name to a `CommandContext`'s arguments and options,
 * and the texts of `--help`. The only file that knows commander. Nothing here prints or exits.
 */

import { Command, CommanderError, Option } from "commander";
import { TraceError, usageError } from "../errors.js";
import { wrap } from "../report/text.js";
import type { ArgumentDef, CommandDef, OptionDef } from "./command.js";

export interface ParsedCommand {
  readonly args: readonly string[];
  readonly options: object;
}

/** What the user asked for: to run the command, or its help. */
export type ParseResult = ParsedCommand | { readonly help: string };

const firstColumn = 30;
/** How wide commander makes help where there is no terminal. */
const helpColumns = 80;

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

/** What a description lists, one name with its meaning per line, with long meanings below themselves. */
function hanging(description: string): string {
  const lines = description.split("\n").map((line) => {
    const [, name = "", meaning = ""] = /^( {2}\S+ +)(.+)$/.exec(line) ?? [];
    if (name === "") return line;
    return name + wrap(meaning, helpColumns - name.length).join(`\n${" ".repeat(name.length)}`);
  });
  return lines.join("\n");
}

function buildCommand(def: CommandDef): Command {
  const command = new Command(`trace ${def.name}`);
  command.description(hanging(def.description ?? `${sentence(def.summary)}.`));
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

/** The words, with an empty value behind options whose value can only stand behind `=`. */
function withEmptyValues(def: CommandDef, command: Command, words: readonly string[]): string[] {
  const attached = (def.options ?? []).filter((option) => option.attached === true);
  const flags = new Set(attached.map((option) => option.flags.match(/--[\w-]+/)?.[0]));
  const out: string[] = [];
  for (let at = 0; at < words.length && flags.size > 0; at++) {
    const word = words[at] ?? "";
    if (word === "--" || (def.passThrough === true && !/^-./.test(word))) break;
    out.push(flags.has(word) ? `${word}=` : word);
    const takesNext = command.options.some(
      ({ required, short, long }) => required && (short === word || long === word),
    );
    if (takesNext && at + 1 < words.length) out.push(words[++at] ?? "");
  }
  return [...out, ...words.slice(out.length)];
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
    command.parse(withEmptyValues(def, command, words), { from: "user" });
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
