/** `trace enrich`: puts into a trace what a replay of it tells. */

import { usageError } from "../errors.js";
import type { CommandContext, CommandDef } from "./command.js";
import { type FilterFlags, filterOf, filterOptions, openNamed, splitTrace } from "./selection.js";

interface Options extends FilterFlags {
  readonly stacks?: boolean;
  readonly output?: string;
  readonly force?: boolean;
  readonly quiet?: boolean;
}

export const command: CommandDef<Options> = {
  name: "enrich",
  summary: "put the stacks of calls into the trace, by replaying it once",
  description:
    "The trace is replayed, and the stack of each chosen call and signal is written into it, with the names and lines that " +
    "are at hand now; of a trace that cannot be replayed that of each call that was copied by trace record --stacks. From then on trace show --stacks needs no replay, nor the programs and their debug information. " +
    "Older versions of trace read such a trace as before.",
  arguments: [
    { name: "[trace]", help: "trace file; the latest one if left out" },
    {
      name: "[filter...]",
      help: "of which calls: p3, @10..@200, 1s..2s, or a filter; of all if left out",
      complete: "none",
    },
  ],
  options: [
    { flags: "--stacks", help: "stacks (the one thing that there is)" },
    { flags: "-o, --output <file>", help: "write a copy, and leave the trace as it is" },
    { flags: "--force", help: "replace an existing file" },
    { flags: "-q, --quiet", help: "no summary" },
    ...filterOptions,
  ],
  examples: [
    { line: "trace enrich --stacks", help: "all calls of the latest trace" },
    { line: "trace enrich --stacks build.trace %file -o rich.trace", help: "calls with paths" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { options, stderr } = context;
  if (options.stacks !== true) {
    throw usageError("nothing to add", "trace enrich --stacks adds the stacks of calls");
  }
  const { path, words } = splitTrace(context);
  const filter = await filterOf(words, options);
  const trace = await openNamed(path, context);
  const [{ selectEvents }, { addStacks, stackNotes }] = await Promise.all([
    import("../query/select.js"),
    import("../stacks/take.js"),
  ]);
  const { read, columns, keep = () => true } = await selectEvents(trace, filter);
  const started = process.hrtime.bigint();
  const taken = await addStacks(
    trace,
    { read: { ...read, columns }, keep },
    { output: options.output, force: options.force === true },
  );
  trace.close();
  stderr.write(stackNotes(trace, taken));
  const { added, differsAt } = taken;
  if (options.quiet !== true) {
    const { counted, humanBytes, humanDuration } = await import("../report/units.js");
    stderr.write(
      `trace: added ${counted(added.stacks, "stack")} of ${counted(added.places, "place")} in ` +
        `${humanDuration(Number(process.hrtime.bigint() - started))} -> ` +
        `${options.output ?? path} (${humanBytes(added.bytesTotal)})\n`,
    );
  }
  return differsAt === undefined ? 0 : 3;
}
