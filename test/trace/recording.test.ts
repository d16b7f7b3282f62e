/** Reading a trace while it is being recorded. */

import { existsSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { startRecording } from "../../src/record.js";
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
