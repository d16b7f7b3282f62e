/** What a recorder leaves that was killed ends anywhere, with calls whose events have not come: replay goes as far as it does. */

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { replay } from "../../src/replay.js";
import { compile, record } from "../record/support.js";
import { assemble, partsOf } from "./support.js";

const queue = `
import queue, threading, time
todo = queue.Queue()
def work(name):
    while True:
        item = todo.get()
        time.sleep(0.0005)
        print(name, item, flush=True)
        todo.task_done()
for name in "abc":
    threading.Thread(target=work, args=(name,), daemon=True).start()
for item in range(40):
    todo.put(item)
todo.join()`;

const programs: Readonly<Record<string, () => readonly string[]>> = {
  "a shell with children": () => [
    "sh",
    "-c",
    "for i in 1 2 3; do x=$(echo $i | cat); (echo in $x; exit 3); done; sleep 0.01 & wait",
  ],
  "threads that wait for each other": () => [compile("agent_tasks", "-pthread"), "3", "40"],
  "threads of an interpreter": () => ["/usr/bin/python3", "-c", queue],
};

/** Cuts of each recording, spread over its second half and its very end. */
const CUTS = 24;

describe.each(Object.entries(programs))("%s", (_, argv) => {
  it("is replayed up to the cut, wherever that is", async () => {
    const { file, stdout } = await record(argv());
    process.env.XDG_CACHE_HOME = join(dirname(file), "cache");
    const folder = join(dirname(file), "cut");
    mkdirSync(folder, { recursive: true });
    const { events, ...rest } = await partsOf(file);
    for (let k = 0; k < CUTS; k++) {
      const count = Math.floor(events.length * (0.5 + k / CUTS / 2));
      const cut = await assemble(
        { ...rest, events: events.slice(0, count) },
        join(folder, "cut.trace"),
      );
      let output = "";
      const onOutput = (stream: 1 | 2, bytes: Uint8Array) => {
        if (stream === 1) output += Buffer.from(bytes).toString("latin1");
      };
      const { desyncs } = await replay(cut, { onOutput, stuckAfter: 5000 });
      expect(
        desyncs.map(({ seq, reason }) => ({ seq, reason })),
        `cut at @${count}`,
      ).toEqual([]);
      expect(stdout.startsWith(output)).toBe(true);
    }
  });
});

it("of a birth and not of the call that brought it", async () => {
  const { file } = await record(["sh", "-c", "(exit 3); (exit 4); exit 5"]);
  process.env.XDG_CACHE_HOME = join(dirname(file), "cache");
  const { events, ...rest } = await partsOf(file);
  const births = events.filter(({ kind, seq }) => kind === "task" && seq > 0);
  expect(births.length).toBe(2);
  for (const { seq } of births) {
    const cut = await assemble({ ...rest, events: events.slice(0, seq + 1) }, `${file}.cut`);
    const { faithful, desyncs } = await replay(cut);
    expect(desyncs).toEqual([]);
    expect(faithful).toBe(true);
  }
});
