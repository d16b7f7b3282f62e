/** `trace record --chaos=SEED`: the order of threads and processes follows from the seed and from the program alone. */

import { describe, expect, it } from "vitest";
import { replay } from "../replay/support.js";
import { compile, folder, type Recorded, read, readWhole, record } from "./support.js";

/** Who did what in which order. */
async function schedule(file: string): Promise<string[]> {
  const { events } = await readWhole(file);
  const ordered = events.filter(
    ({ kind }) => kind === "Call" || kind === "Preempt" || kind === "Exit",
  );
  return ordered.map(({ kind, name, thread }) => `${thread} ${name || kind}`);
}

async function recordSeed(
  seed: number,
  argv: readonly string[],
): Promise<Recorded & { order: string[] }> {
  const recorded = await record(argv, { options: [`--chaos=${seed}`] });
  return { ...recorded, order: await schedule(recorded.file) };
}

const racy = (...manner: string[]): string[] => [compile("racy", "-pthread"), ...manner];

describe("record --chaos=SEED", () => {
  it("gives one order of threads for one seed, and others for others", async () => {
    const first = await recordSeed(7, racy());
    expect(new Set(first.order.map((line) => line.split(" ")[0])).size).toBe(5);
    for (let k = 1; k < 10; k++) {
      const { order, code } = await recordSeed(7, racy());
      expect({ order, code }).toEqual({ order: first.order, code: first.code });
    }
    const orders = new Set<string>([first.order.join()]);
    for (let seed = 8; seed < 14; seed++) orders.add((await recordSeed(seed, racy())).order.join());
    expect(orders.size).toBe(7);
    expect(await replay(first.file)).toMatchObject({ code: first.code, stdout: first.stdout });
  });

  it.each([["sleep"], ["yield"]])(
    "holds for threads that %s",
    async (manner) => {
      const first = await recordSeed(3, racy(manner));
      for (let k = 1; k < 4; k++) {
        const { order, stdout } = await recordSeed(3, racy(manner));
        expect({ order, stdout }).toEqual({ order: first.order, stdout: first.stdout });
      }
      expect(await replay(first.file)).toMatchObject({ code: first.code, stdout: first.stdout });
    },
    120_000,
  );

  it("holds for a tree of processes, which race as threads do", async () => {
    const script =
      "for i in 1 2 3; do (echo a$i >> all; /bin/true; echo b$i >> all) & done; wait; cat all; rm all";
    const outputs = new Set<string>();
    for (const seed of [1, 2, 3, 4]) {
      const [first, second] = [
        await recordSeed(seed, ["sh", "-c", `cd ${folder()}; ${script}`]),
        await recordSeed(seed, ["sh", "-c", `cd ${folder()}; ${script}`]),
      ];
      expect(second.order).toEqual(first.order);
      expect(second.stdout).toBe(first.stdout);
      expect(await replay(first.file)).toMatchObject({ code: 0, stdout: first.stdout });
      outputs.add(first.stdout);
    }
    expect(outputs.size).toBeGreaterThan(1);
  });

  it("lets go on who is stopped and continued, and who computes for long", async () => {
    const script = [
      "import os, signal, subprocess",
      "child = subprocess.Popen(['sh', '-c', 'kill -STOP $$; echo on'])",
      "os.waitpid(child.pid, os.WUNTRACED)",
      "child.send_signal(signal.SIGCONT)",
      "child.wait()",
      "print('done')",
    ].join("\n");
    const stopped = await record(["python3", "-c", script], { options: ["--chaos=5"] });
    expect(stopped).toMatchObject({ code: 0, stdout: "on\ndone\n" });
    expect(await replay(stopped.file)).toMatchObject({ code: 0, stdout: "on\ndone\n" });
  });

  it("finds a rare fault, which the seed finds again", async () => {
    const options = ["--chaos=2", "--runs=60", "--until-failure", "--force"];
    const found = await record(racy(), { options });
    expect(found).toMatchObject({ code: 1, stdout: expect.stringMatching(/[123] of 4\n$/) });
    const { trace } = await read(found.file);
    const again = await record(racy(), { options: [`--chaos=${trace.info.facts.get("chaos")}`] });
    expect(again.code).toBe(1);
    expect(again.stdout).toBe(found.stdout.split(/(?<=\n)/).at(-1));
    expect(await replay(again.file)).toMatchObject({ code: 1, stdout: again.stdout });
  });
});
