/** Frames of Python: those that a replay finds, and those that Python itself had at the same calls. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { Stack } from "../../src/stacks/table.js";
import { takeStacks } from "../../src/stacks/take.js";
import { openTrace } from "../../src/trace/open.js";
import { folder, type RecordRunOptions, read, record } from "../record/support.js";
import { runCommand } from "../support/run.js";
import { type Python, pythons } from "./pythons.js";

const script = fileURLToPath(new URL("./programs/frames.py", import.meta.url));

type Line = readonly [name: string, file: string, line: number];

/** The frames of Python in a stack. */
function linesOf(stack: Stack | undefined): Line[] {
  const frames = stack?.frames.filter((frame) => frame.interpreted) ?? [];
  return frames.map((frame) => [
    frame.function ?? "",
    frame.source?.file ?? "",
    frame.source?.line ?? 0,
  ]);
}

interface Calls {
  readonly file: string;
  /** Of each call: what the program wrote of its own stack, and what the replay saw. */
  readonly calls: readonly { readonly told: readonly Line[]; readonly stack: Stack | undefined }[];
}

async function callsOf(python: Python, options: RecordRunOptions = {}): Promise<Calls> {
  const out = join(folder(), "out");
  const recorded = await record([python.program, script, out], options);
  expect(recorded.stderr).not.toContain("Traceback");
  process.env.XDG_CACHE_HOME = join(recorded.file, "..", "cache");
  const { events } = await read(recorded.file);
  const wanted = events.filter(
    (event) => event.name === "write" && event.refs.some((ref) => ref.object.path === out),
  );
  expect(wanted.length).toBe(readFileSync(out, "utf8").trim().split("\n").length);
  const trace = await openTrace(recorded.file);
  const seqs = new Set(wanted.map((event) => event.seq));
  const { stacks } = await takeStacks(trace, {
    read: { columns: ["base"] },
    keep: (batch, i) => seqs.has(batch.firstSeq + i),
  });
  trace.close();
  const calls = wanted.map((event) => {
    const written = event.captures.find((capture) => capture.slot === 1)?.bytes.toString() ?? "[]";
    return { told: JSON.parse(written) as Line[], stack: stacks.of(event.seq) };
  });
  return { file: recorded.file, calls };
}

const all = pythons();

describe.skipIf(all.length === 0)("frames of Python", () => {
  it.each(all)(
    "of $version ($program) are those that it has itself",
    async (python) => {
      const { calls } = await callsOf(python);
      expect(calls.length).toBeGreaterThan(70);
      for (const { told, stack } of calls) expect(linesOf(stack)).toEqual(told);
      // They stand between the frames of the machine code: the call itself is the innermost, the start of the program the outermost.
      for (const { stack } of calls) {
        const kinds = (stack?.frames ?? []).map((frame) => frame.interpreted);
        expect(kinds[0]).toBe(false);
        expect(kinds.at(-1)).toBe(false);
        expect(stack?.frames.some((frame) => frame.function === "_PyEval_EvalFrameDefault")).toBe(
          false,
        );
      }
    },
    120_000,
  );

  it("have native frames between them where C code calls back", async () => {
    const { calls } = await callsOf(all.at(-1) as Python);
    const sorted = calls.find(({ told }) => told.some(([name]) => name.endsWith("<lambda>")));
    const kinds = (sorted?.stack?.frames ?? []).map((frame) => frame.interpreted);
    expect(/true,false(,false)*,true/.test(kinds.join())).toBe(true);
  }, 120_000);

  it("are written into the trace, and shown in each format", async () => {
    const { file, calls } = await callsOf(all[0] as Python);
    const rich = join(folder(), "rich.trace");
    await runCommand(["enrich", "--stacks", file, "name = write", "-o", rich]);
    const trace = await openTrace(rich);
    const stacks = await trace.stacks(0, Number.MAX_SAFE_INTEGER);
    trace.close();
    const kept = [...(stacks?.columns.seqs ?? [])].map((seq) => linesOf(stacks?.of(seq)));
    for (const { told } of calls) expect(kept).toContainEqual(told);
    const filter = ["name = write and fd.path endswith /out"];
    const text = await runCommand(["show", "--stacks", rich, ...filter]);
    expect(text.stdout).toMatch(/#\d+ +recursive at \S*frames\.py:\d+\n/);
    const strace = await runCommand(["show", "-k", "--format=strace", rich, ...filter]);
    expect(strace.stdout).toMatch(/^ > \S*frames\.py\(recursive\) \[\d+\]$/m);
    const json = await runCommand(["show", "-k", "--format=jsonl", rich, ...filter]);
    expect(json.stdout).toMatch(
      /"line":\d+,"inlined":false,"image":null,"address":null,"interpreted":true/,
    );
  }, 120_000);
});
