/** Programs that stop their own threads with ptrace(2) to look at them, as LeakSanitizer does: they are answered. */

import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { cli, compile, record, run, stateOf } from "./support.js";

const observed = {
  "by an agent that observes": ["--observe", "--backend=eager-agent"],
  "by stops, observing": ["--observe", "--backend=ptrace"],
  "with a capture filter": ["-e", "openat"],
};
const replayable = {
  "the usual way": [],
  "by the agent": ["--backend=eager-agent"],
  "by stops": ["--backend=ptrace"],
  "with drawn turns": ["--chaos=3"],
};
const ways = Object.entries({ ...observed, ...replayable });

/** What is said without numbers of processes and addresses. */
const plain = (text: string) =>
  text.replaceAll(/==\d+==/g, "==PID==").replaceAll(/0x[0-9a-f]+/g, "ADDRESS");

/** Records a program, and replays it where that can be; it is as it is without. */
async function both(words: readonly string[], options: readonly string[]): Promise<void> {
  const native = await run(words);
  const { file, ...recorded } = await record(words, { options });
  const told = ({ code, stdout, stderr }: typeof native) => [code, plain(stdout), plain(stderr)];
  expect(told(recorded)).toEqual(told(native));
  if (!Object.values<readonly string[]>(replayable).includes(options)) return;
  const replayed = await run([cli, "replay", "-q", file], { env: stateOf(dirname(file)) });
  expect([replayed.code, replayed.stdout, replayed.stderr]).toEqual([
    recorded.code,
    recorded.stdout,
    recorded.stderr,
  ]);
}

describe.each(ways)("%s", (_, options) => {
  test.each([0, 2])("LeakSanitizer, with %i that are lost", async (lost) => {
    const program = compile("leaks", "-fsanitize=leak", "-pthread");
    await both([program, String(lost)], options);
  });

  test("AddressSanitizer", async () => {
    const program = compile("leaks", "-fsanitize=address", "-pthread");
    await both([program, "1"], options);
  });

  test.each(["detaches", "leaves"])("one that %s", async (word) => {
    await both([compile("inspects", "-pthread"), word], options);
  });
});
