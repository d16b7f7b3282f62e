/** What holds for every command, whichever there are. */

import { describe, expect, it } from "vitest";
import { parseCommand } from "../../src/commands/parse.js";
import { commandNames, loadAllCommands, loadCommand } from "../../src/commands/registry.js";

const commands = await loadAllCommands();

describe.each(commands)("trace $name", (command) => {
  it("is listed under its own name", async () => {
    expect(commandNames).toContain(command.name);
    expect(await loadCommand(command.name)).toBe(command);
  });

  it("has a summary that fits the list", () => {
    expect(command.summary).toMatch(/^[^A-Z].*[^.]$/);
    expect(command.summary.length).toBeLessThanOrEqual(66);
  });

  it("explains every option and argument, and has help", () => {
    for (const part of [...(command.options ?? []), ...(command.arguments ?? [])]) {
      expect(part.help, JSON.stringify(part)).not.toBe("");
    }
    expect(parseCommand(command, ["--help"])).toHaveProperty("help");
  });

  it("has examples that its own parser accepts", () => {
    for (const { line } of command.examples ?? []) {
      const words = /trace (\w+)((?: [^|<>()";&]*)?)/.exec(line);
      expect(words?.[1], line).toBe(command.name);
      expect(() => parseCommand(command, splitWords(words?.[2] ?? "")), line).not.toThrow();
    }
  });
});

/** Words of a shell line without expansions; single quotes group. */
function splitWords(text: string): string[] {
  const words = text.match(/(?:[^\s']|'[^']*')+/g) ?? [];
  return words.map((word) => word.replaceAll("'", ""));
}

it("knows no command of another name", async () => {
  expect(await loadCommand("constructor")).toBeUndefined();
});
