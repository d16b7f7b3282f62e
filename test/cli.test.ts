/** The command as a process: what it prints where, and how it ends. Needs the build (`pretest`). */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { cli } from "./support/command.js";

const addon = fileURLToPath(new URL("../dist/trace.linux-x64-gnu.node", import.meta.url));

function trace(...words: string[]) {
  const done = spawnSync(cli, words, { encoding: "utf8" });
  return { status: done.status, stdout: done.stdout, stderr: done.stderr };
}

describe("trace", () => {
  it.each([["--version"], ["-V"]])("%s prints the version of the package", (flag) => {
    const manifest: unknown = JSON.parse(
      readFileSync(new URL("../package.json", import.meta.url), "utf8"),
    );
    const { version } = manifest as { version: string };
    expect(trace(flag)).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
  });

  it.each([["--help"], ["-h"], ["help"]])("%s lists the commands", (flag) => {
    const { status, stdout, stderr } = trace(flag);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/\n {2}completions +print a completion script/);
  });

  it("shows the same help of a command in both spellings", () => {
    const help = trace("help", "completions");
    expect(help.stdout).toMatch(/^Usage: trace completions/);
    expect(trace("completions", "--help")).toEqual(help);
  });

  it.each([
    { words: [], line: "no command given", hint: "trace --help lists the commands" },
    { words: ["completoins"], line: "unknown command 'completoins'", hint: "did you mean" },
    { words: ["help", "nothing"], line: "unknown command 'nothing'", hint: "trace --help" },
    { words: ["--nothing"], line: "unknown option '--nothing'", hint: "trace --help" },
    { words: ["completions", "ksh"], line: "'ksh' is invalid", hint: "trace help completions" },
    { words: ["completions"], line: "missing required argument", hint: "trace help completions" },
    { words: ["completions", "bash", "x"], line: "too many arguments", hint: "trace help" },
  ])("says what is wrong with $words, and the way out", ({ words, line, hint }) => {
    const { status, stdout, stderr } = trace(...words);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    const [first = "", second = "", ...rest] = stderr.split("\n");
    expect(first).toMatch(/^trace: /);
    expect(first).toContain(line);
    expect(second).toMatch(/^ {2}\S/);
    expect(second).toContain(hint);
    expect(rest).toEqual([""]);
  });

  it("ends quietly when nobody reads its output", () => {
    const script = `{ "${cli}" completions bash; echo "status $?" >&2; } | true`;
    // The reader is gone before the first write: node takes longer to start than `true` to end.
    const done = spawnSync("sh", ["-c", script], { encoding: "utf8" });
    expect(done.stderr).toBe("status 0\n");
  });
});

describe("a full disk", () => {
  it.each([["show --help"], ["fields"], ["query --schema"]])("is named by trace %s", (words) => {
    const script = `"${cli}" ${words} > /dev/full`;
    const { status, stderr } = spawnSync("sh", ["-c", script], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr:
        "trace: cannot write the output: no space left on device\n  make room, or write to another disk\n",
    });
  });
});

describe("ending by a signal", () => {
  it.each(["SIGTERM", "SIGSEGV", "SIGPIPE", "SIGUSR1", "SIGKILL"] as const)("%s", (name) => {
    const script = `require(process.argv[1]).dieBySignal(${constants.signals[name]})`;
    const done = spawnSync(process.execPath, ["-e", script, addon], { encoding: "utf8" });
    expect({ signal: done.signal, stderr: done.stderr }).toEqual({ signal: name, stderr: "" });
  });
});
