/** Reading a trace while it is being recorded. */

import { existsSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { startRecording } from "../../src/record.js";
import { POLICY_VERSION, type Policy } from "../../src/spec/policy.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Opens the trace as soon as it holds events: the writer flushes what is a second old. */
async function firstEvents(path: string): Promise<Trace> {
  for (;;) {
    // The recorder's thread makes the file in its own time, and then its header.
    const trace =
      existsSync(path) && statSync(path).size >= HEADER_BYTES && (await openTrace(path));
    if (trace && trace.eventCount > 0) return trace;
    await sleep(50);
  }
}

/** Of the file, as native/format/src/frame.rs has it. */
const HEADER_BYTES = 48;

it("shows what was written so far, and all of it afterwards", async () => {
  const output = folder.file("growing.trace");
  const recording = startRecording({ command: ["/bin/sh", "-c", "kill -0 $$; sleep 60"], output });
  const early = await firstEvents(output);
  expect(early.state).toBe("recording");
  expect(early.eventCount).toBeGreaterThan(0);
  recording.abort();
  const { events } = await recording.result;
  expect(events).toBeGreaterThan(early.eventCount);
  let seen = 0;
  for await (const batch of early.batches()) seen += batch.count;
  expect(seen).toBe(early.eventCount);
  const whole = await openTrace(output);
  expect({ state: whole.state, events: whole.eventCount }).toEqual({ state: "complete", events });
});

/** Everything is refused, and reported. */
const nothing = JSON.stringify({
  version: POLICY_VERSION,
  supervised: true,
  pass: [],
  absent: [],
  judged: [],
  opens: { reading: false, writing: false },
  sockets: [],
  choices: [],
  without: [],
  landlock: { rules: [], scopeAbstract: false, scopeSignal: false },
  roles: [{ name: "none", exe: [], calls: [], sockets: [], users: [], choices: [], grants: [] }],
  root: 0,
  learn: true,
} satisfies Policy);

describe("what cannot be done as asked is refused", () => {
  const command = ["/bin/true"];

  it("names that mean nothing", () => {
    const output = folder.file("unknown.trace");
    for (const changes of [{ cpu: "x86-64-v9" }, { backend: "swift" }, { data: "some" }]) {
      // @ts-expect-error -- as a caller in JavaScript could
      expect(() => startRecording({ command, output, ...changes })).toThrow(/there is no \w+ "/);
    }
  });

  it("a policy of which nobody is told", () => {
    const enforce = { policy: nothing, onRefusal: undefined };
    const output = folder.file("untold.trace");
    // @ts-expect-error -- as a caller in JavaScript could
    expect(() => startRecording({ command, output, enforce })).toThrow("a policy needs a function");
  });

  it("a policy of another version", () => {
    const policy = JSON.stringify({ version: POLICY_VERSION + 1, learns: "otherwise" });
    const enforce = { policy, onRefusal: () => {} };
    const output = folder.file("newer.trace");
    expect(() => startRecording({ command, output, enforce })).toThrow(
      `it is of version ${POLICY_VERSION + 1}, this enforcer understands ${POLICY_VERSION}`,
    );
  });

  it("a policy whose calls would pass a filter, or that comes too late", async () => {
    const enforce = { policy: nothing, onRefusal: () => {} };
    const output = folder.file("passed.trace");
    const filtered = startRecording({ command, output, enforce, only: ["openat"] });
    await expect(filtered.result).rejects.toThrow("do not reach a capture filter");
    const late = startRecording({ command: [], output, enforce, attach: [process.pid] });
    await expect(late.result).rejects.toThrow("a program that is started");
    expect(existsSync(output)).toBe(false);
  });

  it("the agent under a policy, which would not see what it is asked about", async () => {
    const enforce = { policy: nothing, onRefusal: () => {} };
    const output = folder.file("policy.trace");
    const { notes } = await startRecording({ command, output, enforce, backend: "agent" }).result;
    expect(notes.join()).toContain("the agent cannot be used under a policy");
    expect((await openTrace(output)).info.facts.get("backend")).toBe("ptrace");
  });
});
