/**
 * Reads the words of a command that are spelled out plainly: whole flags, each value in its own word or after `=`. This
 * is what nearly all command lines consist of, and it spares loading the parser (parse.ts), which takes longer than
 * everything else that `trace record` does before the program starts. It reports nothing: whatever it does not know is
 * left to the parser, which reads it or says what is wrong. For the words that it does read the two agree.
 */

import type { ArgumentDef, CommandDef, OptionDef } from "./command.js";
import type { ParsedCommand } from "./parse.js";

interface PlainOption {
  readonly def: OptionDef;
  /** Its spellings, the long one last. */
  readonly names: readonly string[];
  /** In `context.options`. */
  readonly key: string;
  /** The flag that is given turns the option off: `--no-pager`. */
  readonly negated: boolean;
  readonly value: "none" | "required" | "optional";
}

interface Reading {
  readonly flags: ReadonlyMap<string, PlainOption>;
  readonly options: Record<string, unknown>;
}

/** The arguments and options, or undefined when the parser has to be asked. */
export function readPlainly(def: CommandDef, words: readonly string[]): ParsedCommand | undefined {
  const reading = begin(def.options ?? []);
  const args: string[] = [];
  for (let at = 0; at < words.length; ) {
    const word = words[at] as string;
    const isFlag = word.length > 1 && word.startsWith("-");
    if (word === "--" || (!isFlag && def.passThrough === true)) {
      args.push(...words.slice(word === "--" ? at + 1 : at));
      break;
    }
    if (!isFlag) {
      args.push(word);
      at += 1;
      continue;
    }
    const taken = takeOption(reading, word, words[at + 1]);
    if (taken === 0) return undefined;
    at += taken;
  }
  return fits(args, def.arguments ?? []) ? { args, options: reading.options } : undefined;
}

/** The options with their defaults, before any word is read. */
function begin(defs: readonly OptionDef[]): Reading {
  const all = defs.map(plainOption);
  const flags = new Map(all.flatMap((option) => option.names.map((name) => [name, option])));
  const options: Record<string, unknown> = {};
  for (const { def, key, negated, names } of all) {
    // What only a `--no-x` speaks of is there unless it is turned off.
    const isOn = negated && !flags.has((names.at(-1) ?? "").replace("--no-", "--"));
    if (def.default !== undefined || isOn) options[key] = def.default ?? true;
    if (def.count === true) options[key] = 0;
  }
  return { flags, options };
}

function plainOption(def: OptionDef): PlainOption {
  const words = def.flags.split(/[ ,|]+/);
  const names = words.filter((word) => word.startsWith("-"));
  const long = names.at(-1) ?? "";
  const negated = long.startsWith("--no-");
  const name = long.replace(negated ? "--no-" : /^--?/, "");
  const key = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  const placeholder = words.find((word) => /^[<[]/.test(word));
  const value =
    placeholder === undefined ? "none" : placeholder[0] === "<" ? "required" : "optional";
  return { def, names, key, negated, value };
}

/** Stores what one option says; how many words that took, or 0 when it is not plain. */
function takeOption({ flags, options }: Reading, word: string, next: string | undefined): number {
  const equals = word.startsWith("--") ? word.indexOf("=") : -1;
  const option = flags.get(equals < 0 ? word : word.slice(0, equals));
  if (option === undefined || option.value === "optional") return 0;
  const { def, key } = option;
  if (option.value === "none") {
    if (equals >= 0) return 0;
    options[key] = def.count === true ? Number(options[key]) + 1 : !option.negated;
    return 1;
  }
  const text = equals < 0 ? next : word.slice(equals + 1);
  if (text === undefined || (def.choices !== undefined && !def.choices.includes(text))) return 0;
  try {
    options[key] = def.parse === undefined ? text : def.parse(text, options[key]);
  } catch {
    return 0;
  }
  return equals < 0 ? 2 : 1;
}

function fits(args: readonly string[], defs: readonly ArgumentDef[]): boolean {
  const isVariadic = defs.at(-1)?.name.includes("...") ?? false;
  const required = defs.filter(({ name }) => name.startsWith("<")).length;
  if (args.length < required || (args.length > defs.length && !isVariadic)) return false;
  return args.every((arg, k) => defs[Math.min(k, defs.length - 1)]?.choices?.includes(arg) ?? true);
}
