/** What the verbs of `trace spec` share. */

import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { isSystemError, TraceError } from "../../errors.js";
import { readSpec } from "../../spec/file.js";
import type { Spec } from "../../spec/model.js";
import { type Tokens, tokensOf } from "../../spec/tokens.js";
import { removeTemporary, temporaryFile } from "../../temporary.js";
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

/** Writes to a file that is not there yet, or to the standard output. The file is there with all of it, or not at all. */
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
    const known = lstatSync(output, { throwIfNoEntry: false });
    if (known !== undefined && !force) throw exists(output);
    const before = statSync(output, { throwIfNoEntry: false });
    // A device, a pipe, or what a link leads to that is not there yet is written to, and not replaced.
    if (known !== undefined && before?.isFile() !== true) writeFileSync(output, text);
    else writeWhole(before === undefined ? output : realpathSync(output), text, before?.mode);
  } catch (error) {
    if (error instanceof TraceError) throw error;
    if (isSystemError(error) && error.code === "EEXIST") throw exists(output);
    throw explainedError(error, "create", output);
  }
}

/** `mode`: of the file that is replaced; undefined: there must be none. */
function writeWhole(path: string, text: string, mode: number | undefined): void {
  const beside = temporaryFile(join(dirname(path), `.trace-${process.pid}.tmp`));
  try {
    writeFileSync(beside, text, { flag: "wx" });
    if (mode === undefined) nameNew(beside, path);
    else {
      chmodSync(beside, mode & 0o7777);
      renameSync(beside, path);
    }
  } finally {
    removeTemporary(beside);
  }
}

/** Gives a file a name that is not there yet. */
function nameNew(file: string, path: string): void {
  try {
    linkSync(file, path);
  } catch (error) {
    // Some file systems have no links.
    if (!isSystemError(error) || !/^(?:EPERM|ENOTSUP|EOPNOTSUPP|ENOSYS)$/.test(error.code ?? ""))
      throw error;
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw exists(path);
    renameSync(file, path);
  }
}

/** @throws TraceError `EXISTS` when there is such a file, and it may not be replaced */
export function refuseExisting(output: string | undefined, force: boolean): void {
  if (output !== undefined && !force && lstatSync(output, { throwIfNoEntry: false }) !== undefined)
    throw exists(output);
}

function exists(output: string): TraceError {
  return new TraceError("EXISTS", `${output} exists already`, {
    hint: "choose another name, or replace it with --force",
  });
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
