/** `trace spec diff`: what the second spec allows that the first does not. Exit code 0 equal or narrower, 1 widened. */

import { usageError } from "../../errors.js";
import { readSpec } from "../../spec/file.js";
import type { CommandContext, CommandDef } from "../command.js";

interface Options {
  readonly format: "text" | "md" | "json";
}

export const command: CommandDef<Options> = {
  name: "spec diff",
  summary: "what does one spec allow more than another?",
  description:
    "Compared is what they allow, not how they are written: counts, order, names of roles do not matter, and a pattern covers " +
    "what it matches. Exit code 0: equal or narrower; 1: widened.",
  arguments: [
    { name: "<before>", help: "spec file" },
    { name: "<after>", help: "spec file" },
  ],
  options: [
    {
      flags: "--format <format>",
      help: "text, md for pull requests, json for programs",
      choices: ["text", "md", "json"],
      default: "text",
    },
  ],
  examples: [
    { line: "trace spec diff --format=md main.spec app.spec", help: "for a pull request" },
  ],
  run,
};

async function run({ args, options, stdout }: CommandContext<Options>): Promise<number> {
  const [before, after] = args;
  if (before === undefined || after === undefined) {
    throw usageError("two specs are needed", "trace spec diff BEFORE AFTER");
  }
  const { compareSpecs, differenceMarkdown, differenceText } = await import(
    "../../spec/compare.js"
  );
  const difference = compareSpecs(readSpec(before), readSpec(after));
  const print = {
    text: () => differenceText(difference),
    md: () => differenceMarkdown(difference),
    json: () => `${JSON.stringify({ schema: 1, ...difference }, undefined, 2)}\n`,
  }[options.format];
  stdout.write(print());
  return difference.verdict === "widened" ? 1 : 0;
}
