/** Two commands with one option of every sort, for the tests of the parser and the completions. */

import type { CommandDef } from "../../src/commands/command.js";
import { collect, wholeNumber } from "../../src/commands/values.js";

export const runner: CommandDef = {
  name: "run",
  summary: "run a program: with [odd] 'quotes'",
  arguments: [{ name: "<command...>", help: "the program", complete: "command" }],
  passThrough: true,
  failureExitCode: 125,
  options: [
    { flags: "-o, --output <file>", help: "where to write" },
    { flags: "--backend <name>", help: "how [it's] done", choices: ["ptrace", "agent"] },
    { flags: "-e, --expr <expr>", help: "may be repeated", parse: collect },
    { flags: "-t", help: "times", count: true },
    { flags: "-s <size>", help: "size", parse: wholeNumber(0, 4096), default: 32 },
    { flags: "--color [when]", help: "colour", choices: ["auto", "always"], group: "Output" },
    { flags: "--no-pager", help: "no pager" },
    { flags: "--seed [n]", help: "only behind =", attached: true, parse: (text) => text },
    { flags: "--old", help: "of no use", hidden: true },
  ],
  examples: [{ line: "trace run ls", help: "runs ls" }],
  run: async () => 0,
};

export const lister: CommandDef = {
  name: "list",
  summary: "list files",
  arguments: [{ name: "[files...]", help: "files" }],
  options: [{ flags: "-l, --long", help: "long lines" }],
  run: async () => 0,
};
