/** Files that somebody outside of the recording changes while they are mapped: what the program saw is not in the trace. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { replay } from "../replay/support.js";
import { folder, type Recorded, read, record, run } from "./support.js";

describe("a mapped file that is changed from outside", () => {
  const mapper = [
    "import mmap, os, sys, time",
    "fd = os.open('data', os.O_RDONLY)",
    "m = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)",
    "open('ready', 'w').close()",
    "while not os.path.exists('go'): time.sleep(0.01)",
    "print(m[:4].decode())",
  ].join("\n");

  async function recordWhile(change: string): Promise<Recorded> {
    const dir = folder();
    writeFileSync(join(dir, "data"), "old\n".repeat(40_000));
    const outside = run(
      ["sh", "-c", `while ! test -e ready; do sleep 0.05; done; sleep 0.05; ${change}; touch go`],
      { cwd: dir },
    );
    const recorded = await record(["python3", "-c", mapper], { cwd: dir });
    await outside;
    return recorded;
  }

  it("makes a recording that says so", async () => {
    const { file, code } = await recordWhile("printf new1 | dd of=data conv=notrunc status=none");
    expect(code).toBe(0);
    const reason = /the mapped file .*\/data was changed by a process that was not recorded/;
    expect((await read(file)).trace.info.facts.get("unreplayable")).toMatch(reason);
    const refused = await replay(file);
    expect(refused.code).toBe(125);
    expect(refused.stderr).toMatch(reason);
  });

  it.each([
    ["it is written anew with the same content", "cp data copy; cat copy > data"],
    ["another one takes its name", "echo new > other; mv other data"],
    ["only its time changes", "touch data"],
  ])(
    "makes none that says so when %s",
    async (_, change) => {
      const { file, code, stdout } = await recordWhile(change);
      expect({ code, stdout }).toEqual({ code: 0, stdout: "old\n\n" });
      expect((await read(file)).trace.info.facts.get("unreplayable") ?? "").toBe("");
      expect(await replay(file)).toMatchObject({ code: 0, stdout });
    },
    120_000,
  );
});
