/** `trace spec gen`: recordings to a spec. */

import { TraceError } from "../../errors.js";
import { printable } from "../../report/text.js";
import { DEFAULT_LADDER } from "../../spec/generalise.js";
import { RUNGS, type Rung } from "../../spec/model.js";
import { defaultTrace } from "../../state.js";
import type { CommandContext, CommandDef } from "../command.js";
import { wholeNumber } from "../values.js";
import {
  deliver,
  formatSpec,
  outputOptions,
  type SpecFormat,
  specFormatOption,
  withTraces,
} from "./shared.js";

interface Options {
  readonly output?: string;
  readonly force?: boolean;
  readonly format: SpecFormat;
  readonly climb: Rung;
  readonly crowd: number;
}

export const command: CommandDef<Options> = {
  name: "spec gen",
  summary: "make a spec of recordings",
  description:
    "Each program of the tree becomes a role, and everything that it did a grant, with how often, in which runs, and the " +
    "event that needed it first. Several recordings give the union. Names that the programs make up are generalised, " +
    "and so are files that are replaced by rename; protected places (/etc, configuration in the home directory, " +
    "credentials) never are. What failed is listed apart and not granted.",
  arguments: [{ name: "[traces...]", help: "recordings; the latest one if left out" }],
  options: [
    ...outputOptions,
    specFormatOption,
    {
      flags: "--climb <rung>",
      help: "how far grants may be generalised without a need",
      choices: RUNGS,
      default: DEFAULT_LADDER.highest,
    },
    {
      flags: "--crowd <names>",
      help: "with --climb=directory: used names from which on a directory is granted",
      parse: wholeNumber(2, 1_000_000),
      default: DEFAULT_LADDER.crowd,
    },
  ],
  examples: [
    { line: "trace spec gen -o app.spec app.trace", help: "of one run" },
    {
      line: "trace spec gen -o app.spec run-*.trace",
      help: "of several: what differs is generalised",
    },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { args, options, env } = context;
  const latest = defaultTrace(env);
  const paths = args.length > 0 ? args : latest === undefined ? [] : [latest];
  if (paths.length === 0) {
    throw new TraceError("NO_TRACE", "no trace is named, and none was recorded yet", {
      hint: "record the program first: trace record PROGRAM",
    });
  }
  const { generate } = await import("../../spec/gen.js");
  const ladder = { highest: options.climb, crowd: options.crowd };
  const spec = await withTraces(paths, context, (traces) => generate(traces, { ladder }));
  deliver(context, await formatSpec(spec, options.format), options.output, options.force === true);
  for (const line of spec.unknown) context.stderr.write(`trace: note: ${printable(line)}\n`);
  return 0;
}
