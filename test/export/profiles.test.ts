/** Folded stacks, speedscope profiles, OpenTelemetry spans and strace's text. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { beforeAll, describe, expect, it } from "vitest";
import { WEIGHTS } from "../../src/export/stacks.js";
import { runCommand } from "../support/run.js";
import { type ShownEvent, shownEvents } from "../support/shown.js";
import { TextTrace, temporaryFolder } from "../support/text_trace.js";
import { lackingPython, readBack, titled } from "./python.js";
import { beside, exportTo, recordShell } from "./support.js";

let file = "";
let shown: ShownEvent[] = [];

beforeAll(async () => {
  file = await recordShell("ls /etc | cat; (sleep 0.01; true); sh -c 'exit 3' || true");
  shown = await shownEvents(file);
});

async function text(format: string, ...words: string[]): Promise<string> {
  const output = beside(file, `out.${format}`);
  await exportTo(format, output, file, "--force", ...words);
  return readFileSync(output, "utf8");
}

/** What a flame graph tool reads: frames, and the number behind the last blank. */
function stacks(folded: string): Map<string, number> {
  const lines = folded.trimEnd().split("\n");
  const found = new Map<string, number>();
  for (const line of lines) {
    const [, frames = "", weight] = /^(.*) (\d+)$/.exec(line) ?? [];
    expect(found.has(frames), line).toBe(false);
    found.set(frames, Number(weight));
  }
  return found;
}

const sum = (numbers: Iterable<number>) => [...numbers].reduce((total, n) => total + n, 0);

describe("folded stacks", () => {
  it("add up to the time of all calls, and to their number", async () => {
    const calls = shown.filter(({ kind }) => kind === "call");
    const time = stacks(await text("folded"));
    expect(sum(time.values())).toBe(sum(calls.map(({ dur = 0 }) => dur)));
    const counts = stacks(await text("folded", "--weight", "calls"));
    expect(sum(counts.values())).toBe(calls.length);
    for (const name of ["openat", "wait4", "write"]) {
      const own = [...counts].filter(([frames]) => frames.endsWith(`;${name}`));
      expect(sum(own.map(([, n]) => n)), name).toBe(
        calls.filter(({ call }) => call === name).length,
      );
    }
  });

  it("go through the programs that led to a call", async () => {
    const frames = [...stacks(await text("folded", "--weight", "calls")).keys()];
    expect(frames).toContain("sh;ls;getdents64");
    expect(frames).toContain("sh;cat;read");
    expect(frames.some((frame) => frame.startsWith("sh;sh (fork);sleep;"))).toBe(true);
    expect(frames).toContain("sh;sh;exit_group");
  });

  it("count the bytes that were moved", async () => {
    const bytes = stacks(await text("folded", "--weight", "bytes"));
    const written = shown.filter(({ call, ret }) => call === "write" && Number(ret) > 0);
    const own = [...bytes].filter(([frames]) => frames.endsWith(";write"));
    expect(sum(own.map(([, n]) => n))).toBe(sum(written.map(({ ret }) => Number(ret))));
  });

  it("keep odd names on one line and in one frame", async () => {
    const folder = temporaryFolder();
    const path = await new TextTrace()
      .thread(1, 1, 5, 5)
      .event("exec", {
        captures: [
          [0, "in", 0, "/x/a;b\nc"],
          [1, "in", 0, "/x/a;b\nc\0"],
        ],
      })
      .call("getpid", { ret: 5, end: 2000 })
      .write(folder.file("x.trace"));
    await exportTo("folded", folder.file("x.folded"), path);
    expect(readFileSync(folder.file("x.folded"), "utf8")).toBe("a_b_c;getpid 1000\n");
    folder.remove();
  });
});

describe("a speedscope profile", () => {
  it("holds the same stacks", async () => {
    const profile = JSON.parse(await text("speedscope", "--weight", "calls"));
    const frames: string[] = profile.shared.frames.map(({ name }: { name: string }) => name);
    const [only] = profile.profiles;
    const found = new Map<string, number>(
      only.samples.map((stack: number[], k: number) => [
        stack.map((frame) => frames[frame]).join(";"),
        only.weights[k],
      ]),
    );
    expect(found).toEqual(stacks(await text("folded", "--weight", "calls")));
    expect(only.endValue).toBe(sum(only.weights));
  });

  it.skipIf(lackingPython !== undefined)(titled("is one that its own schema allows"), async () => {
    const path = "speedscope/dist/release/file-format-schema.json";
    const schema = createRequire(import.meta.url).resolve(path);
    for (const weight of WEIGHTS) {
      const profile = await text("speedscope", "--weight", weight);
      expect(readBack("schema.py", schema, beside(file, "out.speedscope"))).toEqual(
        JSON.parse(profile),
      );
    }
  });
});

describe("strace's text", () => {
  it("is what show prints", async () => {
    const { stdout } = await runCommand(["show", file, "--format", "strace"]);
    expect(await text("strace")).toBe(stdout);
    expect(stdout.length).toBeGreaterThan(1000);
  });
});

describe.skipIf(lackingPython !== undefined)(titled("OpenTelemetry spans"), () => {
  interface Span {
    readonly traceId: string;
    readonly spanId: string;
    readonly parentSpanId: string;
    readonly name: string;
    readonly start: number;
    readonly end: number;
    readonly attributes: Readonly<Record<string, unknown>>;
    readonly resource: Readonly<Record<string, unknown>>;
    readonly error: string | null;
  }

  /** Parsed with the published definitions. */
  function spansOf(output: string): Span[] {
    return readBack<Span[]>("otlp.py", output);
  }

  it("are the programs that ran, below those that started them", async () => {
    const output = beside(file, "out.otlp.jsonl");
    await exportTo("otlp", output, file, "--force");
    const spans = spansOf(output);
    const execs = shown.filter(({ kind }) => kind === "exec");
    expect(spans.length).toBe(execs.length);
    const byId = new Map(spans.map((span) => [span.spanId, span]));
    expect(byId.size).toBe(spans.length);
    const roots = spans.filter(({ parentSpanId }) => parentSpanId === "");
    expect(roots.map(({ name }) => name)).toEqual(["sh"]);
    for (const span of spans) {
      expect(span.traceId).toBe(roots[0]?.traceId);
      expect(span.end).toBeGreaterThanOrEqual(span.start);
      const parent = byId.get(span.parentSpanId);
      if (span.parentSpanId === "") continue;
      expect(parent?.name).toBe("sh");
      expect(span.start).toBeGreaterThanOrEqual(parent?.start ?? Number.POSITIVE_INFINITY);
      expect(span.end).toBeLessThanOrEqual(parent?.end ?? 0);
    }
    const failed = spans.filter(({ error }) => error !== null);
    expect(failed.map(({ error, attributes }) => [error, attributes["process.exit.code"]])).toEqual(
      [["exit 3", 3]],
    );
    expect(spans.find(({ name }) => name === "ls")?.attributes).toMatchObject({
      "process.command_args": ["ls", "/etc"],
      "process.executable.name": "ls",
    });
    expect(spans[0]?.resource).toMatchObject({ "service.name": "sh", "os.type": "linux" });
  });

  it("have the times of the recording, to the nanosecond", async () => {
    const folder = temporaryFolder();
    const env = `TRACEPARENT=00-${"ab".repeat(16)}-${"cd".repeat(8)}-01\0`;
    const path = await new TextTrace()
      .thread(1, 1, 5, 5)
      .event("exec", {
        start: 100,
        captures: [
          [0, "in", 0, "/bin/a"],
          [2, "in", 0, env],
        ],
      })
      .event("exec", { start: 500, captures: [[0, "in", 0, "/bin/b"]] })
      .event("exit", { start: 900, code: 9, args: [1] })
      .write(folder.file("x.trace"));
    await exportTo("otlp", folder.file("x.otlp"), path);
    const lines = readFileSync(folder.file("x.otlp"), "utf8");
    expect(lines).toContain('"startTimeUnixNano":"1700000000123456889"');
    const spans = spansOf(folder.file("x.otlp"));
    expect(
      spans.map(({ name, traceId, parentSpanId, error }) => ({
        name,
        traceId,
        parentSpanId,
        error,
      })),
    ).toEqual([
      { name: "a", traceId: "ab".repeat(16), parentSpanId: "cd".repeat(8), error: null },
      {
        name: "b",
        traceId: "ab".repeat(16),
        parentSpanId: "cd".repeat(8),
        error: "killed by SIGKILL",
      },
    ]);
    folder.remove();
  });
});
