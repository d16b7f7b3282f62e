/** What the other commands make of the stacks that a trace holds. */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { folder, record } from "../record/support.js";
import { runCommand } from "../support/run.js";
import { lacking } from "../support/tools.js";
import { pythons } from "./pythons.js";

const source = fileURLToPath(new URL("./programs/calls.c", import.meta.url));
const canBuild = !lacking("gcc");
let dir = "";
let plain = "";
let rich = "";

/** The number of the first line of the program that has this in it. */
function numberOf(code: string): number {
  const lines = readFileSync(source, "utf8").split("\n");
  return lines.findIndex((line) => line.includes(code)) + 1;
}

async function rows(...words: string[]): Promise<Record<string, unknown>[]> {
  const { stdout } = await runCommand(["query", rich, ...words, "--format=jsonl"]);
  const lines = stdout.trim().split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line));
}

beforeAll(async () => {
  if (!canBuild) return;
  dir = folder();
  const program = join(dir, "calls");
  execFileSync("gcc", ["-O1", "-g", "-o", program, source]);
  const recorded = await record([program]);
  plain = recorded.file;
  process.env.XDG_CACHE_HOME = join(plain, "..", "cache");
  rich = join(dir, "rich.trace");
  await runCommand(["enrich", "--stacks", "-q", plain, "name in (write, getppid)", "-o", rich]);
});

describe.skipIf(!canBuild)("a trace with stacks", () => {
  it("has tables of them", async () => {
    const stacks = await rows("-t", "stack");
    const deep = stacks.find(
      (row) => row.function === "emit" && row.line === numberOf("write(1, text"),
    );
    expect(deep).toMatchObject({ call: "write", thread: "p1.1" });
    expect(deep?.file).toMatch(/calls\.c$/);
    const frames = await rows("-t", "frame", `seq = ${deep?.seq}`);
    expect(frames.length).toBe(deep?.depth);
    expect(
      frames
        .map((row) => row.function)
        .reverse()
        .join(";"),
    ).toBe(deep?.frames);
    expect(frames.some((row) => row.inlined === true)).toBe(true);
    expect(frames.every((row) => row.kind === "native" && typeof row.image === "string")).toBe(
      true,
    );
    const [counted] = await rows(
      "SELECT count(*) AS n FROM frame JOIN event USING (seq) WHERE function = 'main' AND event.name = 'getppid'",
    );
    const calls = stacks.filter((row) => row.call === "getppid");
    expect(Number(counted?.n)).toBe(calls.length);
    expect(calls.length).toBeGreaterThan(1);
  });

  it("makes flame graphs of functions", async () => {
    const words = ["export", "--stacks", "--weight=calls", rich, "name = getppid"];
    const { stdout } = await runCommand([...words, "--to=folded"]);
    expect(stdout).toMatch(/^calls;_start;.*main;recursive;recursive;\S*getppid 1$/m);
    const total = stdout
      .trim()
      .split("\n")
      .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    expect(total).toBe((await rows("-t", "stack", "call = getppid")).length);
    const speedscope = JSON.parse((await runCommand([...words, "--to=speedscope"])).stdout);
    const names = speedscope.shared.frames.map((frame: { name: string }) => frame.name);
    expect(names).toEqual(expect.arrayContaining(["main", "recursive", "getppid"]));
    const bare = await runCommand(["export", "--to=folded", rich, "name = getppid"]);
    expect(bare.stdout).toMatch(/^calls;getppid \d+$/m);
  });

  it("has them in Perfetto", async () => {
    const out = join(dir, "calls.pftrace");
    await runCommand(["export", "--to=perfetto", "--stacks", rich, "-o", out]);
    const bytes = readFileSync(out, "latin1");
    expect(bytes).toContain(`calls.c:${numberOf("recursive(3)")}`);
    await runCommand(["export", "--to=perfetto", "--force", rich, "-o", out]);
    expect(readFileSync(out, "latin1")).not.toContain("calls.c:");
  });

  it("is asked for where there is none", async () => {
    await expect(runCommand(["export", "--to=folded", "--stacks", plain])).rejects.toMatchObject({
      message: "the trace holds no stacks",
      cause: { hint: expect.stringContaining("trace enrich --stacks") },
    });
    await expect(runCommand(["export", "--to=otlp", "--stacks", rich])).rejects.toThrow("no room");
    expect((await runCommand(["query", plain, "-t", "stack", "--format=jsonl"])).stdout).toBe("");
  });

  it("tells the source line of what differs", async () => {
    const changed = join(dir, "changed.c");
    const program = join(dir, "changed", "calls");
    execFileSync("mkdir", ["-p", join(dir, "changed")]);
    const text = readFileSync(source, "utf8").replace('twice("deep\\n")', 'twice("other\\n")');
    execFileSync("sh", ["-c", `cat > ${changed}`], { input: text });
    execFileSync("gcc", ["-O1", "-g", "-o", program, changed]);
    const { file } = await record([program], { options: ["--stacks=write"] });
    const cache = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = join(file, "..", "cache");
    const { stdout } = await runCommand(["diff", "--events", "--no-config", rich, file]).catch(
      (error) => error,
    );
    process.env.XDG_CACHE_HOME = cache;
    const line = numberOf("write(1, text");
    expect(stdout).toMatch(new RegExp(`A at \\S*calls\\.c:${line} \\(emit\\)`));
    expect(stdout).toMatch(new RegExp(`B at \\S*changed\\.c:${line} \\(emit\\)`));
  });
});

describe.skipIf(pythons().length === 0)("a recording with copied stacks", () => {
  it("tells the source line of what a spec is for", async () => {
    const own = folder();
    const [script, told] = [join(own, "reads.py"), join(own, "told.txt")];
    writeFileSync(
      script,
      "import sys\n\ndef look():\n    return open(sys.argv[1]).read()\n\nlook()\n",
    );
    writeFileSync(told, "told\n");
    const { program } = pythons()[0] as { program: string };
    const { file } = await record([program, script, told], {
      options: ["--observe", "--stacks=openat"],
    });
    process.env.XDG_CACHE_HOME = join(file, "..", "cache");
    const spec = join(own, "reads.spec");
    await runCommand(["spec", "gen", file, "-o", spec]);
    const grant = /object: (\S*told\.txt)/.exec(readFileSync(spec, "utf8"))?.[1];
    const { stdout } = await runCommand(["spec", "explain", spec, `read ${grant}`, file]);
    expect(stdout).toMatch(/openat\(.*told\.txt.* at \S*reads\.py:4 \(look\)/);
  });
});
