/**
 * Recordings that are changed at random: a replay of one either shows the change as a difference, at the changed event or
 * later (or behind the event of its thread before that), or it runs exactly as before, since the program cannot see the
 * change. It never hangs and never breaks.
 */

import { mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TraceError } from "../../src/errors.js";
import { type ReplayResult, replay } from "../../src/replay.js";
import { contentOf, isAlive, record } from "../record/support.js";
import { changes } from "./changes.js";
import { assemble, partsOf, type TextEvent, type TextParts } from "./support.js";

const before = process.env.XDG_CACHE_HOME;

interface Sample {
  readonly file: string;
  readonly output: string;
  readonly code: number;
  readonly parts: TextParts;
}

/** Programs with files, arithmetic, memory, signals, a child and a pipe. */
const programs: Readonly<Record<string, readonly string[]>> = {
  "a shell with a child": [
    "sh",
    "-c",
    "trap 'echo caught' USR1; kill -USR1 $$; (echo in; exit 3); echo $? $$",
  ],
  "a program of its own": ["date", "+%s %N"],
};

const samples = new Map<string, Sample>();

beforeAll(async () => {
  for (const [name, argv] of Object.entries(programs)) {
    const { file, stdout, code } = await record(argv);
    samples.set(name, { file, output: stdout, code: code ?? -1, parts: await partsOf(file) });
  }
});
afterAll(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
});

function sampleOf(name: string): Sample {
  const sample = samples.get(name);
  if (sample === undefined) throw new Error(`no recording of ${name}`);
  process.env.XDG_CACHE_HOME = join(dirname(sample.file), "cache");
  return sample;
}

interface Replayed {
  readonly result: ReplayResult | undefined;
  readonly error: unknown;
  readonly output: string;
  readonly millis: number;
}

async function replayed(file: string): Promise<Replayed> {
  const began = Date.now();
  let output = "";
  const onOutput = (stream: 1 | 2, bytes: Uint8Array) => {
    if (stream === 1) output += Buffer.from(bytes).toString("latin1");
  };
  const outcome = await replay(file, { onOutput, stuckAfter: 2000 }).then(
    (result) => ({ result, error: undefined }),
    (error: unknown) => ({ result: undefined, error }),
  );
  return { ...outcome, output, millis: Date.now() - began };
}

/** Two stuck limits, and a slow machine. */
const MOST_MILLIS = 15_000;

describe.each(Object.keys(programs))("%s", (name) => {
  it("replays as it is, twenty times", async () => {
    const { file, output, code } = sampleOf(name);
    for (let k = 0; k < 20; k++) {
      const done = await replayed(file);
      expect(done.error).toBeUndefined();
      expect(done.output).toBe(output);
      expect(done.result).toMatchObject({ faithful: true, exitCode: code, desyncs: [] });
    }
  });

  it("changed anywhere: differs there or later, or is the same", { timeout: 300_000 }, async () => {
    const { file, output, parts } = sampleOf(name);
    const folder = join(dirname(file), "changed");
    mkdirSync(folder, { recursive: true });
    let seen = 0;
    const property = fc.asyncProperty(
      fc.nat({ max: parts.events.length - 1 }),
      fc.constantFrom(...Object.keys(changes)),
      fc.nat({ max: 1 << 20 }),
      async (at, how, pick) => {
        const events = structuredClone(parts.events);
        const event = events[at] as TextEvent;
        fc.pre(changes[how]?.(event, pick, events) === true);
        const changed = join(folder, "changed.trace");
        await assemble({ ...parts, events }, changed);
        const done = await replayed(changed);
        expect(done.millis).toBeLessThan(MOST_MILLIS);
        if (done.error !== undefined) {
          // A trace that asks for the impossible is refused, with a sentence.
          expect(done.error).toBeInstanceOf(TraceError);
          expect((done.error as TraceError).code).not.toBe("BROKEN");
          return;
        }
        const { faithful, desyncs } = done.result as ReplayResult;
        if (faithful) {
          expect(done.output).toBe(output);
        } else {
          seen += 1;
          expect(desyncs[0]?.seq).toBeGreaterThanOrEqual(reachOf(parts.events, at, how));
        }
      },
    );
    await fc.assert(property, { numRuns: 150, seed: 7, endOnFailure: true });
    // Changes of which nothing is ever seen would prove little.
    expect(seen).toBeGreaterThan(15);
  });
});

/**
 * Where a change of an event may show first. What comes next for a thread says how it goes on behind its event before: when a signal
 * does, it does not come to its next call, which may be one whose child is born before that call returns.
 */
function reachOf(events: readonly TextEvent[], at: number, how: string): number {
  const moved = how === "swapped with the next" ? 2 : 1;
  const threads = events.slice(at, at + moved).map(({ fields }) => fields.thread);
  const before = threads.map((thread) =>
    events.findLastIndex((event, k) => k < at && event.fields.thread === thread),
  );
  return Math.max(0, Math.min(at, ...before));
}

it("no process is left behind", () => {
  // Whatever was replayed here was a child of this process.
  expect(childrenOf(process.pid)).toEqual([]);
});

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    // A thread may end meanwhile, and its list with it.
    contentOf(`/proc/${pid}/task/${task}/children`)
      .split(" ")
      .filter((word) => word !== "")
      .map(Number)
      .filter(isAlive),
  );
}
