import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CommandDef } from "../../src/commands/command.js";
import { type ParseResult, parseCommand } from "../../src/commands/parse.js";
import { readPlainly } from "../../src/commands/plain.js";
import { commandNames, loadCommand } from "../../src/commands/registry.js";
import { lister, runner } from "./sample.js";

/** What the parser makes of the words; undefined when it complains. */
function parsed(def: CommandDef, words: readonly string[]): ParseResult | undefined {
  try {
    return parseCommand(def, words);
  } catch {
    return undefined;
  }
}

/** Flags of the command, joined and cut in all ways, and words that are none. */
function wordsOf(def: CommandDef): fc.Arbitrary<string[]> {
  const options = def.options ?? [];
  const flags = options.flatMap(({ flags }) => flags.match(/--?[a-z][a-z-]*/g) ?? []);
  const choices = options.flatMap((option) => option.choices ?? []);
  const value = fc.constantFrom("x", "7", "-1", "", "a=b", "record", ...choices);
  const flag = fc.constantFrom("--", "-", "-h", "--help", "--no", "--nothing", ...flags);
  const joined = fc.tuple(flag, fc.constantFrom("=", ""), value).map((parts) => parts.join(""));
  const pair = fc.tuple(flag, value).map((words) => [...words]);
  const one = fc.oneof(flag, value, joined).map((word) => [word]);
  return fc.array(fc.oneof(pair, one), { maxLength: 6 }).map((parts) => parts.flat());
}

async function all(): Promise<CommandDef[]> {
  const loaded = await Promise.all(commandNames.map((name) => loadCommand(name)));
  return [runner, lister, ...loaded.filter((def) => def !== undefined)];
}

describe("readPlainly", () => {
  it("reads as the parser does, or leaves the words to it", async () => {
    let read = 0;
    for (const def of await all()) {
      const property = fc.property(wordsOf(def), (words) => {
        const plain = readPlainly(def, words);
        if (plain === undefined) return;
        read += 1;
        expect(plain).toEqual(parsed(def, words));
      });
      fc.assert(property, { numRuns: 500 });
    }
    // Words of which nearly all are refused would prove little.
    expect(read).toBeGreaterThan(1000);
  });

  it.each([
    { words: ["ls"], args: ["ls"], options: {} },
    { words: ["-o", "f", "ls", "-o"], args: ["ls", "-o"], options: { output: "f" } },
    { words: ["--output=-", "--", "-x"], args: ["-x"], options: { output: "-" } },
    { words: ["-t", "-t", "--no-pager", "-"], args: ["-"], options: { t: 2, pager: false } },
    { words: ["-e", "a", "--expr=b", "ls"], args: ["ls"], options: { expr: ["a", "b"] } },
  ])("reads $words by itself", ({ words, args, options }) => {
    const defaults = { pager: true, s: 32, t: 0 };
    expect(readPlainly(runner, words)).toEqual({ args, options: { ...defaults, ...options } });
  });

  it.each([
    { words: ["-tt", "ls"] },
    { words: ["-s16", "ls"] },
    { words: ["-s", "x", "ls"] },
    { words: ["--backend", "other", "ls"] },
    { words: ["--color", "ls"] },
    { words: ["--help"] },
    { words: ["-o"] },
    { words: [] },
  ])("leaves $words to the parser", ({ words }) => {
    expect(readPlainly(runner, words)).toBeUndefined();
  });
});
