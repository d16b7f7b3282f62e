/**
 * The shape of one command. A command is one file, `src/commands/<name>.ts`, that exports
 *
 *     export const command: CommandDef<MyOptions> = { name, summary, options, examples, run };
 *
 * and one line in `registry.ts`. Name, flags, help and effect stand together in that file; the
 * parser, `--help` and the shell completions are all derived from it.
 *
 * A command never exits and never prints errors: it writes results to `context.stdout`, notices to
 * `context.stderr`, returns its exit code, and throws `TraceError` for what went wrong.
 */

import type { Writable } from "node:stream";

/** One positional argument, in commander's notation. */
export interface ArgumentDef {
  /** `<file>` required, `[file]` optional, `[args...]` variadic (last one only). */
  readonly name: string;
  readonly help: string;
  /** What shells complete here. Default: files. */
  readonly complete?: "file" | "command" | "none";
  /** The only accepted values; also completed by shells. */
  readonly choices?: readonly string[];
}

/**
 * One option, in commander's notation. The key in `context.options` is the long flag in camel case
 * (`--follow-fd` is `followFd`; `--no-pager` is `pager`, true unless given), or the letter of an
 * option that has only a short flag. Options that take several values are repeated and collected
 * (`collect` of values.ts): a variadic `<x...>` would swallow the positional arguments.
 */
export interface OptionDef {
  /** `-o, --output <file>`, `--color [when]`, `--force`, `--no-pager`. */
  readonly flags: string;
  readonly help: string;
  readonly default?: unknown;
  /** How help names the default, when the value itself would not be readable. */
  readonly defaultText?: string;
  /**
   * Text to value. Called once per occurrence; `previous` is the value so far (the default at
   * first), so that a repeated option can collect. Throw `usageError` from errors.ts on bad text.
   */
  readonly parse?: (text: string, previous: unknown) => unknown;
  /**
   * For an optional value (`--chaos [seed]`): only what stands behind `=` is one, so that the next word may be an argument.
   * Without a value `parse` gets an empty text.
   */
  readonly attached?: boolean;
  /** The value is how often the flag was given (`-ttt` is 3, none is 0). Flags without value only. */
  readonly count?: boolean;
  /** The only accepted values; also completed by shells. */
  readonly choices?: readonly string[];
  /** Heading in `--help`; options without one come first, under "Options". */
  readonly group?: string;
  /** Accepted, but left out of help and completions. */
  readonly hidden?: boolean;
}

/** What a command is given. `O` is the type of its options after parsing. */
export interface CommandContext<O extends object = object> {
  /** Positional arguments in order, variadic ones flattened. */
  readonly args: readonly string[];
  readonly options: O;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isTTY: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
}

/**
 * An exit code; or the signal that ends this process too (as a shell would see of the program); or a code to end with
 * at once, without node's own clean-up, which would reset the terminal.
 */
export type ExitStatus = number | { readonly signal: number } | { readonly exitNow: number };

export interface CommandDef<O extends object = object> {
  readonly name: string;
  /** One line, lower case, no full stop: it stands in the list of `trace --help`. */
  readonly summary: string;
  /** Paragraphs of `trace help <name>` below the usage line. */
  readonly description?: string;
  readonly arguments?: readonly ArgumentDef[];
  readonly options?: readonly OptionDef[];
  readonly examples?: readonly { readonly line: string; readonly help: string }[];
  /**
   * Option parsing stops at the first positional argument, and what follows is taken as it stands:
   * `trace record -o x ls -l`. A `--` before it is dropped.
   */
  readonly passThrough?: boolean;
  /** Exit code of usage errors and of failures that name none. Default 2; record and replay 125. */
  readonly failureExitCode?: number;
  // A method, not a property: that is what lets CommandDef<MyOptions> stand where CommandDef does.
  run(context: CommandContext<O>): Promise<ExitStatus>;
}
