/** The completion scripts, run by the shells themselves. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { completionScript } from "../../src/commands/completions.js";
import { lacking } from "../support/tools.js";
import { lister, runner } from "./sample.js";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "trace-completions-"));
  for (const shell of ["bash", "zsh", "fish"] as const) {
    writeFileSync(join(folder, shell), completionScript(shell, [runner, lister]));
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function shell(name: string, args: string[], script: string): string {
  const env = { ...process.env, HOME: folder, TERM: "dumb" };
  const done = spawnSync(name, [...args, script], {
    cwd: folder,
    env,
    encoding: "utf8",
    timeout: 20_000,
  });
  if (done.error !== undefined) throw done.error;
  expect(done.stderr).toBe("");
  return done.stdout;
}

/** The words that complete the last of `words`. */
const cases: { words: string[]; expected: string[] }[] = [
  { words: ["ru"], expected: ["run"] },
  { words: ["help", "l"], expected: ["list"] },
  { words: ["run", "--ba"], expected: ["--backend"] },
  { words: ["run", "--backend", ""], expected: ["agent", "ptrace"] },
  { words: ["run", "-t", "--backend", "p"], expected: ["ptrace"] },
  { words: ["list", "--l"], expected: ["--long"] },
  { words: ["run", "--ol"], expected: [] },
];

describe("bash", () => {
  function complete(words: string[]): string[] {
    const list = ["trace", ...words].map((word) => `'${word}'`).join(" ");
    const script = `set -u; source ./bash; compopt() { echo "compopt $*"; }
      COMP_WORDS=(${list}); COMP_CWORD=${words.length}; _trace; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return shell("bash", ["--norc", "-c"], script).split("\n").filter(Boolean).sort();
  }

  it.each(cases)("$words", ({ words, expected }) => {
    expect(complete(words)).toEqual(expected);
  });

  it("takes a value behind =", () => {
    expect(complete(["run", "--backend", "=", "a"])).toEqual(["agent"]);
    expect(complete(["run", "--backend", "="])).toEqual(["agent", "ptrace"]);
  });

  it("offers files for file values, programs for the program, and then the program's own", () => {
    expect(complete(["run", "-o", ""])).toEqual(["compopt -o default"]);
    expect(complete(["run", "-o", "x", "tru"])).toContain("true");
    expect(complete(["run", "-o", "x", "ls", "--ba"])).toEqual(["compopt -o default"]);
    expect(complete(["run", "--", "ls", "--ba"])).toEqual(["compopt -o default"]);
  });
});

describe.skipIf(lacking("fish"))("fish", () => {
  function complete(words: string[]): string[] {
    const line = ["trace", ...words].join(" ");
    const script = `source ./fish; complete -C '${line}'`;
    const lines = shell("fish", ["--no-config", "-c"], script).split("\n").filter(Boolean);
    return lines.map((text) => text.split("\t")[0] ?? "").sort();
  }

  it.each(cases)("$words", ({ words, expected }) => {
    expect(complete(words)).toEqual(expected);
  });
});

describe.skipIf(lacking("zsh"))("zsh", () => {
  beforeAll(() => {
    const settings = `
      PS1= PS2=
      unset zle_bracketed_paste; unsetopt prompt_cr prompt_sp
      autoload -Uz compinit; compinit -u -D
      source ./zsh
      show() { print -r -- "<<$BUFFER>>"; BUFFER= }
      zle -N show; bindkey '^X' show
      print READY`;
    writeFileSync(join(folder, ".zshrc"), settings);
  });

  /** Types a line and Tab into an interactive zsh on a terminal, and reads the line back. */
  function complete(line: string): string | undefined {
    const script = `
      zmodload zsh/zpty
      zpty z env ZDOTDIR=$PWD zsh -i
      zpty -r -m z text '*READY*'
      zpty -w -n z ${`'${line}'`}$'\\t\\x18'
      zpty -r -m z text '*>>*'
      print -r -- "$text"
      zpty -d z`;
    return /<<(.*?)[ =]*>>/.exec(shell("zsh", ["-f", "-c"], script))?.[1];
  }

  it.each(cases.filter(({ expected }) => expected.length === 1))("$words", (item) => {
    const completed = ["trace", ...item.words.slice(0, -1), ...item.expected];
    expect(complete(["trace", ...item.words].join(" "))).toBe(completed.join(" "));
  });

  it("completes the value behind =, files, and nothing of its own behind the program", () => {
    expect(complete("trace run --color=al")).toBe("trace run --color=always");
    expect(complete("trace run -o ./fis")).toBe("trace run -o ./fish");
    expect(complete("trace run true --ba")).toBe("trace run true --ba");
  });
});
