/** `trace spec validate`: is a spec what it should be? Exit code 0 yes (warnings included), 2 no. */

import { printable } from "../../report/text.js";
import { counted } from "../../report/units.js";
import type { CommandContext, CommandDef } from "../command.js";
import { splitSpec, tokensHere } from "./shared.js";

interface Options {
  readonly format: "text" | "json";
}

export const command: CommandDef<Options> = {
  name: "spec validate",
  summary:
    "names that lead nowhere, wiring that does not fit, roles that act for others, paths that are gone",
  arguments: [{ name: "<spec>", help: "spec file" }],
  options: [
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json"],
      default: "text",
    },
  ],
  async run(context: CommandContext<Options>): Promise<number> {
    const { validateSpec } = await import("../../spec/validate.js");
    const { spec, path } = splitSpec(context.args);
    const findings = validateSpec(spec, tokensHere(context.env));
    const errors = findings.filter(({ level }) => level === "error").length;
    if (context.options.format === "json") {
      context.stdout.write(`${JSON.stringify({ schema: 1, findings }, undefined, 2)}\n`);
    } else {
      for (const { level, about, message } of findings) {
        context.stdout.write(`${printable(`${level}: ${about}: ${message}`)}\n`);
      }
      const warnings = findings.length - errors;
      context.stdout.write(
        `${path}: ${counted(spec.roles.length, "role")}, ${counted(errors, "error")}, ${counted(warnings, "warning")}\n`,
      );
    }
    return errors > 0 ? 2 : 0;
  },
};
