/** Every command of the README, typed as printed. What they print is not compared: times and pids differ. */

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli } from "./support/command.js";

const root = new URL("..", import.meta.url).pathname;
const readme = readFileSync(join(root, "README.md"), "utf8");
const commands = [...readme.matchAll(/^```console\n(.*?)^```/gms)]
  .flatMap((block) => (block[1] ?? "").split("\n"))
  .filter((line) => line.startsWith("$ "))
  .map((line) => line.slice(2));

/** The longest that one of them may take where others want the CPUs too. */
const COMMAND_MS = 60_000;

describe("README", () => {
  let dir = "";
  let env: NodeJS.ProcessEnv = {};
  const own = () => ({ cwd: dir, env, encoding: "utf8" }) as const;

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "trace-readme-"));
    writeFileSync(join(dir, "hello.c"), "int main(void) { return 0; }\n");
    symlinkSync(cli, join(dir, "trace"));
    env = {
      ...process.env,
      PATH: `${dir}:${process.env.PATH}`,
      XDG_STATE_HOME: join(dir, "state"),
      XDG_CACHE_HOME: join(dir, "cache"),
    };
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it("has examples", () => {
    expect(commands.length).toBeGreaterThan(15);
    for (const name of [
      "record",
      "replay",
      "show",
      "stat",
      "export",
      "tree",
      "info",
      "ls",
      "pack",
      "dump",
      "doctor",
      "fields",
      "query",
    ]) {
      expect(
        commands.some((line) => line.startsWith(`trace ${name}`)),
        name,
      ).toBe(true);
    }
  });

  // In order: the first one makes the trace that the others read.
  it("works as printed", { timeout: commands.length * COMMAND_MS }, () => {
    for (const line of commands) {
      const run = spawnSync("sh", ["-c", line], { ...own(), timeout: COMMAND_MS });
      expect(`${line}: ${run.status} ${run.stderr.includes("internal error")}`).toBe(
        `${line}: 0 false`,
      );
    }
  });

  it("has programs that run as printed", () => {
    mkdirSync(join(dir, "node_modules"));
    symlinkSync(root, join(dir, "node_modules", "trace-syscalls"));
    const all = [...readme.matchAll(/^```js\n(.*?)^```/gms)].map(([, text = ""]) => text);
    // Those about the trace that the commands made.
    const programs = all.filter((text) => text.includes("demo.trace"));
    expect(programs.length).toBeGreaterThan(0);
    programs.forEach((text, k) => {
      const file = join(dir, `example${k}.mjs`);
      writeFileSync(file, text);
      const run = spawnSync(process.execPath, [file], own());
      expect({ status: run.status, stderr: run.stderr }).toEqual({ status: 0, stderr: "" });
      expect(run.stdout).not.toBe("");
    });
  });

  it("points at mistakes as printed", () => {
    const expected = /\$ trace show demo\.trace 'er = ENOENT' \|\| true\n(.*?)```/s.exec(
      readme,
    )?.[1];
    const run = spawnSync("trace", ["show", "demo.trace", "er = ENOENT"], own());
    expect(run.status).not.toBe(0);
    expect(run.stderr).toBe(expected);
  });
});
