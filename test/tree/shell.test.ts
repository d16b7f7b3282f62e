import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ProgramStart } from "../../src/trace/history.js";
import { commandLine, envChanges, shellCommand, shellWord } from "../../src/tree/shell.js";

function program(spec: Partial<ProgramStart>): ProgramStart {
  return {
    seq: 0,
    time: 0,
    thread: 0,
    credentials: "",
    path: "/usr/bin/printf",
    argv: ["printf", "x"],
    env: [],
    cwd: "/",
    interpreter: "",
    given: undefined,
    ...spec,
  };
}

const same = (text: string) => text;

describe("shellWord", () => {
  it.each([
    ["abc", "abc"],
    ["/usr/bin/x-1.0", "/usr/bin/x-1.0"],
    ["", "''"],
    ["a b", "'a b'"],
    ["it's", `'it'\\''s'`],
    ["$HOME", "'$HOME'"],
    ["~", "'~'"],
    ["a\nb", "'a\nb'"],
    ["\x1b[1m", "$'\\033[1m'"],
    ["a\u009bx", "$'a\\302\\233x'"],
    ["a\udcffx", "$'a\\377x'"],
    ["a\u202ex", "$'a\\342\\200\\256x'"],
  ])("%j is %s", (word, expected) => {
    expect(shellWord(word)).toBe(expected);
  });

  it("is read back by bash as what it was", () => {
    const word = fc.string({
      unit: fc.constantFrom(..."ab '\"\\$`!*?~#&|;<>()[]{}=\n\t\x07\x1bé\u009b\u202e"),
    });
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 20 }), (words) => {
        const script = `printf '%s\\0' ${words.map(shellWord).join(" ")}`;
        const { stdout } = spawnSync("bash", ["-c", script], { encoding: "utf8" });
        expect(stdout.split("\0").slice(0, -1)).toEqual(words);
      }),
      { numRuns: 40 },
    );
  });

  it("quotes a program whose name looks like a variable", () => {
    expect(shellCommand(["a=b", "c=d"])).toBe("'a=b' c=d");
  });
});

describe("envChanges", () => {
  it("tells what was set and what was removed", () => {
    expect(envChanges(["A=1", "B=2", "C=3"], ["A=1", "B=x", "D=4"])).toEqual({
      set: ["B=x", "D=4"],
      unset: ["C"],
    });
  });
});

describe("commandLine", () => {
  it("goes to the directory, and changes the environment", () => {
    const line = commandLine(program({ cwd: "/tmp/a b", env: ["A=1", "B=x y"] }), {
      environment: ["A=1", "C=3"],
      mask: same,
    });
    expect(line).toBe("cd '/tmp/a b' && env -u C B='x y' /usr/bin/printf x");
  });

  it("needs no env where nothing changes, and all of it where nothing is known", () => {
    const same1 = commandLine(program({ env: ["A=1"] }), { environment: ["A=1"], mask: same });
    expect(same1).toBe("cd / && /usr/bin/printf x");
    const all = commandLine(program({ env: ["A=1"] }), { environment: undefined, mask: same });
    expect(all).toBe("cd / && env -i A=1 /usr/bin/printf x");
  });

  it("names the program as it was named", () => {
    const line = (spec: Partial<ProgramStart>) =>
      commandLine(program({ cwd: "", ...spec }), { environment: [], mask: same });
    expect(line({ path: "/usr/bin/dash", given: "/bin/sh", argv: ["sh", "-c", ":"] })).toBe(
      "/bin/sh -c :",
    );
    expect(line({ path: "/x/prog", given: "prog", argv: ["prog"] })).toBe("./prog");
    expect(line({ path: "/bin/sh", given: "./s", argv: ["/bin/sh", "-e", "./s", "a b"] })).toBe(
      "./s 'a b'",
    );
    expect(line({ given: undefined, argv: ["-printf"] })).toBe(
      `bash -c 'exec -a -printf "$0" "$@"' /usr/bin/printf`,
    );
  });

  it("masks what it is told to", () => {
    const line = commandLine(program({ env: ["TOKEN=x"] }), {
      environment: [],
      mask: () => "TOKEN=***",
    });
    expect(line).toContain("env TOKEN='***' ");
  });

  it("runs the same program with the same name, arguments and environment", () => {
    const env = ["PATH=/usr/bin:/bin", 'ODD=it\'s "$x"', "EMPTY="];
    const script = 'printf "%s|" "$0" "$@" "$ODD" "$EMPTY" "$PWD"';
    const argv = ["my shell", "-c", script, "zero", "a'b", "c d"];
    const line = commandLine(program({ path: "/bin/bash", argv, env, cwd: "/usr" }), {
      environment: undefined,
      mask: same,
    });
    const { stdout } = spawnSync("bash", ["-c", line], { encoding: "utf8" });
    expect(stdout).toBe("zero|a'b|c d|it's \"$x\"||/usr|");
  });
});
