/** `trace dump`: a trace as plain text that holds everything, and back. */

import { TraceError, usageError } from "../errors.js";
import type { CommandContext, CommandDef, ExitStatus } from "./command.js";
import { onlyTrace, openNamed } from "./selection.js";

interface Options {
  readonly output?: string;
  readonly assemble?: string;
  readonly force?: boolean;
}

export const command: CommandDef<Options> = {
  name: "dump",
  summary: "write a trace as text that holds everything, or make one of it",
  description:
    "The text has a line for each definition, event, piece of memory and reference. --assemble makes a trace of such a " +
    "text again; the dump of that is the same text. For tests, and for looking into damaged files; to read what a " +
    "program did, use trace show.",
  arguments: [{ name: "[trace]", help: "trace file; the latest one if left out" }],
  options: [
    { flags: "-o, --output <file>", help: "where to write", defaultText: "standard output" },
    { flags: "--assemble <file>", help: "read this text, and write a trace to the file of -o" },
    { flags: "--force", help: "replace an existing file" },
  ],
  examples: [
    { line: "trace dump ls.trace -o ls.txt", help: "to text" },
    { line: "trace dump --assemble ls.txt -o again.trace", help: "and back" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<ExitStatus> {
  const { options, args } = context;
  const force = options.force === true;
  if (options.assemble !== undefined) {
    if (args[0] !== undefined) {
      throw usageError(`unexpected argument '${args[0]}'`, "the trace to make is named by -o");
    }
    if (options.output === undefined) {
      throw usageError(
        "--assemble needs -o: which trace to make",
        "trace dump --assemble TEXT -o FILE",
      );
    }
    return assemble(options.assemble, options.output, force);
  }
  const path = onlyTrace(context, "dump");
  const trace = await openNamed(path, context);
  const { output } = options;
  if (output === undefined) {
    await trace.dumpText();
    trace.close();
    return 0;
  }
  const { writtenBy } = await import("../export/target.js");
  let damage: unknown;
  const ended = await writtenBy(output, force, async (draft) => {
    try {
      await trace.dumpText(draft, true);
    } catch (error) {
      if (!(error instanceof TraceError) || error.code !== "CORRUPT") throw error;
      // What is before the damage is what the text is wanted for.
      damage = error;
    }
  });
  // Who is interrupted still reads it.
  if (ended !== undefined) return ended;
  trace.close();
  if (damage !== undefined) throw damage;
  return 0;
}

async function assemble(text: string, output: string, force: boolean): Promise<number> {
  const [{ native }, { unwrap }] = await Promise.all([
    import("../native.js"),
    import("../trace/failure.js"),
  ]);
  try {
    unwrap(await native().assembleText(text, output, force));
  } catch (error) {
    if (!(error instanceof TraceError) || error.code !== "TEXT") throw error;
    throw new TraceError("TEXT", `${text}, ${error.message}`, {
      hint: "native/format/FORMAT.md describes the text form",
      cause: error,
    });
  }
  return 0;
}
