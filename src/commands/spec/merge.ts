/** `trace spec merge`: several specs as one that grants what any of them grants. */

import { readSpec } from "../../spec/file.js";
import type { CommandContext, CommandDef } from "../command.js";
import { deliver, formatSpec, outputOptions, type SpecFormat, specFormatOption } from "./shared.js";

interface Options {
  readonly output?: string;
  readonly force?: boolean;
  readonly format: SpecFormat;
}

export const command: CommandDef<Options> = {
  name: "spec merge",
  summary: "several specs as one",
  arguments: [{ name: "<specs...>", help: "spec files" }],
  options: [...outputOptions, specFormatOption],
  examples: [
    { line: "trace spec merge -o app.spec ci.spec desk.spec", help: "what either allows" },
  ],
  async run(context: CommandContext<Options>): Promise<number> {
    const { mergeSpecs } = await import("../../spec/merge.js");
    const merged = mergeSpecs(context.args.map(readSpec));
    const { format, output, force } = context.options;
    deliver(context, await formatSpec(merged, format), output, force === true);
    return 0;
  },
};
