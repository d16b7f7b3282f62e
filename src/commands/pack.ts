/** `trace pack`: puts the programs and libraries that a trace speaks of into the trace itself. */

import type { CommandContext, CommandDef } from "./command.js";
import { onlyTrace, openNamed } from "./selection.js";

interface Options {
  readonly output?: string;
  readonly force?: boolean;
  readonly quiet?: boolean;
}

export const command: CommandDef<Options> = {
  name: "pack",
  summary: "put the programs and libraries that were used into the trace",
  description:
    "A recording names the executable files that were mapped by a hash of their content, and keeps each once in a cache of " +
    "this user. pack copies them into the trace, so that it is complete on another machine. Exits with 1 when some are " +
    "no longer in the cache.",
  arguments: [{ name: "[trace]", help: "trace file; the latest one if left out" }],
  options: [
    { flags: "-o, --output <file>", help: "write a packed copy, and leave the trace as it is" },
    { flags: "--force", help: "replace an existing file" },
    { flags: "-q, --quiet", help: "no summary" },
  ],
  examples: [
    { line: "trace pack", help: "the latest trace, in place" },
    { line: "trace pack build.trace -o build-packed.trace", help: "a copy to take along" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { options, stderr } = context;
  const path = onlyTrace(context, "pack");
  const trace = await openNamed(path, context);
  const packing = await trace.pack(options.output, options.force === true);
  trace.close();
  const { counted, humanBytes } = await import("../report/units.js");
  if (options.quiet !== true) {
    const present = packing.present > 0 ? `, ${packing.present} were there already` : "";
    stderr.write(
      `trace: packed ${counted(packing.added, "file")} (${humanBytes(packing.addedBytes)})${present} -> ` +
        `${options.output ?? path} (${humanBytes(packing.bytesTotal)})\n`,
    );
  }
  for (const { path: file, hash } of packing.missing) {
    stderr.write(`trace: not in the cache any more: ${file} (${hash.slice(0, 16)})\n`);
  }
  return packing.missing.length > 0 ? 1 : 0;
}
