/** `trace accept`: makes a trace the golden one that later runs are compared with. */

import { copyFile, rename, rm } from "node:fs/promises";
import { TraceError, usageError } from "../errors.js";
import { explainedError } from "../trace/failure.js";
import type { CommandContext, CommandDef } from "./command.js";
import { openNamed } from "./selection.js";

interface Options {
  readonly as: string;
}

export const command: CommandDef<Options> = {
  name: "accept",
  summary: "make a trace the golden one that runs are compared with",
  description:
    "Copies the trace over the golden one. In continuous integration (CI is set) nothing is written: how it ought to be is decided " +
    "by a person.",
  arguments: [{ name: "<trace>", help: "trace of the run that is right" }],
  options: [{ flags: "--as <golden>", help: "the golden trace", default: "golden.trace" }],
  examples: [
    {
      line: "trace accept run.trace",
      help: "as golden.trace, for trace diff --against golden.trace",
    },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { args, options, env, stderr } = context;
  const [path = ""] = args;
  const ci = env.CI ?? "";
  if (ci !== "" && ci !== "false" && ci !== "0") {
    throw new TraceError("CI", "in continuous integration nothing is accepted", {
      hint: `accept it at your desk, and commit it: trace accept ${path} --as ${options.as}`,
    });
  }
  const trace = await openNamed(path, context);
  const { state } = trace;
  trace.close();
  if (state !== "complete") {
    throw usageError(
      `${path} is not complete, so it cannot say how it ought to be`,
      "record it again to its end",
    );
  }
  const fresh = `${options.as}.new`;
  try {
    await copyFile(path, fresh);
    await rename(fresh, options.as);
  } catch (error) {
    await rm(fresh, { force: true });
    throw explainedError(error, "create", options.as);
  }
  stderr.write(`trace: ${options.as} is now ${path}\n`);
  return 0;
}
