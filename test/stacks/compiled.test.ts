/** Frames of code that was compiled at run time, named by the maps that programs write for perf(1). */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { takeStacks } from "../../src/stacks/take.js";
import { EventKind } from "../../src/trace/batch.js";
import { openTrace } from "../../src/trace/open.js";
import { folder, read, record } from "../record/support.js";
import { runCommand } from "../support/run.js";
import { lacking } from "../support/tools.js";

const script = fileURLToPath(new URL("./programs/compiled.cjs", import.meta.url));
const java = fileURLToPath(new URL("./programs/Compiled.java", import.meta.url));

/** The names of compiled functions at each write of which `keep` is true, innermost first, with what was written. */
async function compiledAt(file: string, keep: (path: string, text: string) => boolean) {
  process.env.XDG_CACHE_HOME = join(file, "..", "cache");
  const { events } = await read(file);
  const written = new Map<number, string>();
  for (const event of events) {
    const text = event.captures.find((capture) => capture.slot === 1)?.bytes.toString() ?? "";
    const path = event.refs.find((ref) => ref.slot === 0)?.object.path ?? "";
    if (event.name === "write" && keep(path, text)) written.set(event.seq, text);
  }
  const trace = await openTrace(file);
  const { stacks } = await takeStacks(trace, {
    read: { columns: ["base"] },
    keep: (batch, i) => batch.kind[i] === EventKind.Call && written.has(batch.firstSeq + i),
  });
  trace.close();
  return [...written].map(([seq, text]) => {
    const frames = stacks.of(seq)?.frames.filter((frame) => frame.compiled) ?? [];
    return { text, names: frames.map((frame) => frame.function ?? "") };
  });
}

describe("node --perf-basic-prof", () => {
  it("has the functions of JavaScript that it shows itself", async () => {
    const out = join(folder(), "out");
    const flags = ["--perf-basic-prof", "--interpreted-frames-native-stack"];
    const { file } = await record([process.execPath, ...flags, script, out], { cwd: folder() });
    const calls = await compiledAt(file, (path) => path === out);
    expect(calls.length).toBe(11);
    for (const { text, names } of calls) {
      const own = names.flatMap((name) => {
        const [, fun, of] = /^\w+:[~^*+]?(.*) (\S+?):\d+:\d+$/.exec(name) ?? [];
        return of === script ? [fun] : [];
      });
      expect(own).toEqual(JSON.parse(text));
    }
    const { stdout } = await runCommand(["elf", file]);
    expect(stdout).toMatch(
      /\d+ regions? of code without a file, .*, named in \/tmp\/perf-\d+\.map/,
    );
  }, 120_000);
});

describe.skipIf(lacking("javac"))("java -XX:+DumpPerfMapAtExit", () => {
  it("has the methods that were compiled, though the map is written at the end", async () => {
    const dir = folder();
    execFileSync("javac", ["-d", dir, java]);
    const flags = [
      "-Xcomp",
      "-XX:CompileCommand=quiet",
      "-XX:CompileCommand=compileonly,Compiled::*",
    ];
    const frames = ["-XX:-Inline", "-XX:+PreserveFramePointer"];
    const map = ["-XX:+UnlockDiagnosticVMOptions", "-XX:+DumpPerfMapAtExit"];
    const words = ["java", ...flags, ...frames, ...map, "-cp", dir, "Compiled"];
    const { file, stdout } = await record(words, { cwd: dir });
    expect(stdout).toBe("deep\ndeep\ndeep\n");
    const calls = await compiledAt(file, (_, text) => text === "deep\n");
    const own = calls.at(-1)?.names.filter((name) => name.includes("Compiled."));
    expect(own).toEqual([
      ...Array.from({ length: 4 }, () => "int Compiled.deep(int)"),
      "void Compiled.outer()",
      "void Compiled.main(java.lang.String[])",
    ]);
  }, 120_000);
});
