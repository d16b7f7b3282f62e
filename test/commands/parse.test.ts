import { describe, expect, it } from "vitest";
import { commandHelp, overviewHelp, parseCommand } from "../../src/commands/parse.js";
import { TraceError } from "../../src/errors.js";
import { nearestName } from "../../src/query/nearest.js";
import { lister, runner } from "./sample.js";

function failure(words: string[]): TraceError {
  try {
    parseCommand(runner, words);
  } catch (error) {
    if (error instanceof TraceError) return error;
    throw error;
  }
  throw new Error(`accepted: ${words.join(" ")}`);
}

describe("parseCommand", () => {
  it("gives defaults where nothing is said", () => {
    const options = { pager: true, s: 32, t: 0 };
    expect(parseCommand(runner, ["ls"])).toEqual({ args: ["ls"], options });
  });

  it("reads every sort of option", () => {
    const words = "-ttt -s16 --no-pager -e a --expr=b --backend agent --color -o f ls".split(" ");
    expect(parseCommand(runner, words)).toEqual({
      args: ["ls"],
      options: {
        t: 3,
        s: 16,
        pager: false,
        expr: ["a", "b"],
        backend: "agent",
        color: true,
        output: "f",
      },
    });
  });

  it.each([
    { words: ["ls", "-l", "--output", "x"], args: ["ls", "-l", "--output", "x"] },
    { words: ["--", "ls", "--", "-t"], args: ["ls", "--", "-t"] },
    { words: ["ls", "--", "-t"], args: ["ls", "--", "-t"] },
    { words: ["--", "-odd-name"], args: ["-odd-name"] },
    { words: ["ls", "--help"], args: ["ls", "--help"] },
    { words: ["sh", "-c", ""], args: ["sh", "-c", ""] },
  ])("leaves the program's own words alone: $words", ({ words, args }) => {
    expect(parseCommand(runner, words)).toMatchObject({ args, options: { t: 0 } });
  });

  it("finds options behind arguments where nothing is passed through", () => {
    const parsed = parseCommand(lister, ["a", "-l", "b"]);
    expect(parsed).toEqual({ args: ["a", "b"], options: { long: true } });
  });

  it.each([
    { words: ["--nope", "ls"], message: "unknown option '--nope'" },
    { words: [], message: "missing required argument 'command'" },
    { words: ["-o"], message: "option '-o, --output <file>' argument missing" },
    { words: ["-s", "x", "ls"], message: "option '-s <size>': 'x': not a whole number" },
    { words: ["-s", "4097", "ls"], message: "from 0 to 4096" },
    { words: ["--backend", "none", "ls"], message: "Allowed choices are ptrace, agent" },
  ])("refuses $words", ({ words, message }) => {
    const error = failure(words);
    expect(error.code).toBe("USAGE");
    expect(error.message).toContain(message);
  });

  it("says where to look, or what was meant", () => {
    expect(failure(["--nope", "ls"]).hint).toBe("trace help run shows what it takes");
    expect(failure(["--outptu", "x", "ls"]).hint).toBe("Did you mean --output?");
  });

  it.each([
    { words: ["--seed", "ls", "-l"], args: ["ls", "-l"], seed: "" },
    { words: ["--seed=7", "ls"], args: ["ls"], seed: "7" },
    { words: ["-o", "--seed", "--seed", "ls"], args: ["ls"], seed: "" },
    { words: ["--output=f", "--seed", "--", "--seed"], args: ["--seed"], seed: "" },
    { words: ["ls", "--seed"], args: ["ls", "--seed"], seed: undefined },
  ])("takes an attached value only from behind =: $words", ({ words, args, seed }) => {
    const parsed = parseCommand(runner, words);
    expect(parsed).toMatchObject({ args });
    expect("options" in parsed && (parsed.options as { seed?: string }).seed).toBe(seed);
  });

  it("keeps one parse apart from the next", () => {
    parseCommand(runner, ["-e", "a", "-tt", "ls"]);
    expect(parseCommand(runner, ["-e", "b", "-t", "ls"])).toMatchObject({
      options: { expr: ["b"], t: 1 },
    });
  });
});

describe("help", () => {
  it("is asked for with --help", () => {
    expect(parseCommand(runner, ["--help"])).toEqual({ help: commandHelp(runner) });
  });

  it("shows options, groups, choices and examples, and no hidden option", () => {
    const help = commandHelp(runner);
    expect(help).toMatch(/^Usage: trace run \[options\] <command\.\.\.>\n/);
    expect(help).toMatch(/\nOutput:\n +--color \[when\] +colour/);
    expect(help).toContain("  trace run ls");
    expect(help).not.toContain("--old");
  });

  it("keeps what a description lists below itself", () => {
    const meaning =
      "a way to write rows, of all tables, that goes on for longer than a line is wide";
    const help = commandHelp({ ...runner, description: `Formats:\n  rows   ${meaning}\n\nEnd.` });
    const [, ...lines] = help
      .slice(help.indexOf("Formats:"), help.indexOf("End."))
      .trimEnd()
      .split("\n");
    expect(lines.length).toBe(2);
    expect(lines[0]).toMatch(/^ {2}rows {3}a way/);
    expect(lines[1]).toMatch(/^ {9}\S/);
    expect(lines.map((line) => line.slice(9)).join(" ")).toBe(meaning);
  });

  it("lists every command once", () => {
    const lines = overviewHelp([runner, lister]).split("\n");
    expect(lines.filter((line) => /^ {2}(run|list) /.test(line))).toHaveLength(2);
  });
});

describe("nearest", () => {
  const names = ["record", "replay", "show", "stat", "ls"];
  it.each([
    ["recrod", "record"],
    ["recor", "record"],
    ["shwo", "show"],
    ["stats", "stat"],
    ["l", "ls"],
    ["frobnicate", undefined],
    ["", undefined],
  ])("%s -> %s", (word, name) => {
    expect(nearestName(word, names)).toBe(name);
  });
});
