/** `trace spec schema`: the JSON schema of spec files, for editors and other programs. */

import { SCHEMA } from "../../spec/schema.js";
import type { CommandContext, CommandDef } from "../command.js";

export const command: CommandDef = {
  name: "spec schema",
  summary: "the JSON schema of spec files",
  async run({ stdout }: CommandContext): Promise<number> {
    stdout.write(`${JSON.stringify(SCHEMA, undefined, 2)}\n`);
    return 0;
  },
};
