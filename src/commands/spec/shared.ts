/** What the verbs of `trace spec` share. */

import { existsSync, realpathSync, writeFileSync } from "node:fs";
import { isSystemError, TraceError } from "../../errors.js";
import { readSpec } from "../../spec/file.js";
import type { Spec } from "../../spec/model.js";
import { type Tokens, tokensOf } from "../../spec/tokens.js";
import { explainedError } from "../../trace/failure.js";
import type { Trace } from "../../trace/trace.js";
import type { CommandContext, OptionDef } from "../command.js";
import { openNamed } from "../selection.js";

export const specFormatOption: OptionDef = {
  flags: "--format <format>",
  help: "yaml with a line for each grant, or json",
  choices: ["yaml", "json"],
  default: "yaml",
};

export type SpecFormat = "yaml" | "json";

export async function formatSpec(spec: Spec, format: SpecFormat): Promise<string> {
  const { specJson, specText } = await import("../../spec/file.js");
  return format === "json" ? specJson(spec) : specText(spec);
}

/** Writes to a file that is not there yet, or to the standard output. */
export function deliver(
  context: Pick<CommandContext, "stdout">,
  text: string,
  output: string | undefined,
  force: boolean,
): void {
  if (output === undefined) {
    context.stdout.write(text);
    return;
  }
  try {
    writeFileSync(output, text, { flag: force ? "w" : "wx" });
  } catch (error) {
    if (!isSystemError(error) || error.code !== "EEXIST")
      throw explainedError(error, "create", output);
    throw new TraceError("EXISTS", `${output} exists already`, {
      hint: "choose another name, or replace it with --force",
    });
  }
}

export const outputOptions: readonly OptionDef[] = [
  { flags: "-o, --output <file>", help: "write to a file", defaultText: "the standard output" },
  { flags: "--force", help: "replace an existing file" },
];

/** Tokens of whoever runs this command, here, as the kernel sees them. */
export function tokensHere(env: CommandContext["env"]): Tokens {
  const tokens = tokensOf((name) => env[name], process.cwd());
  return Object.fromEntries(
    Object.entries(tokens).map(([name, path]) => [name, withoutLinks(path)]),
  );
}

/** The path that a name leads to, where it does. */
export function withoutLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Opens traces one after the other and closes them all, whatever happens. */
export async function withTraces<T>(
  paths: readonly string[],
  context: Pick<CommandContext, "stderr">,
  use: (traces: readonly Trace[]) => Promise<T>,
): Promise<T> {
  const traces: Trace[] = [];
  try {
    for (const path of paths) traces.push(await openNamed(path, context));
    return await use(traces);
  } finally {
    for (const trace of traces) trace.close();
  }
}

/** The spec and the other words; the spec is the first word that is no trace. */
export function splitSpec(args: readonly string[]): {
  spec: Spec;
  path: string;
  rest: readonly string[];
} {
  const place = args.findIndex((word) => !word.endsWith(".trace"));
  const path = args[place];
  if (path === undefined) {
    throw new TraceError("USAGE", "no spec is named", {
      hint: "make one: trace spec gen -o app.spec app.trace",
    });
  }
  return { spec: readSpec(path), path, rest: args.filter((_, k) => k !== place) };
}

/** Traces that the spec was made from, as far as they are still there. */
export function tracesOf(spec: Spec): string[] {
  return spec.runs.flatMap(({ file }) => (file !== undefined && existsSync(file) ? [file] : []));
}
