/**
 * Output that does not pass the program's memory, or goes through another descriptor of the same pipe: replays print it too.
 * The program's output is a real pipe here: node's own are sockets, to which the kernel moves less.
 */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { type Ended, folder, recordWords, run, stateOf } from "../record/support.js";
import { replay } from "./support.js";

const FIXTURES = fileURLToPath(new URL("../../fixtures", import.meta.url));

/** Records with a pipe as standard output. */
async function recordPiped(words: readonly string[]): Promise<Ended & { file: string }> {
  const dir = folder();
  const file = join(dir, "out.trace");
  const script = 'set -o pipefail; "$@" | cat';
  const all = ["bash", "-c", script, "-", ...recordWords(file), ...words];
  return { file, ...(await run(all, { cwd: dir, env: stateOf(dir) })) };
}

async function expectFaithful({ file, code, stdout }: Ended & { file: string }): Promise<void> {
  for (let k = 0; k < 3; k++) expect(await replay(file)).toMatchObject({ code, stdout });
}

it("from files, pipes that fill slowly, sockets and devices, interrupted and by many", async () => {
  const name = "io_stdout_moved";
  const dir = folder();
  execFileSync("make", ["-s", "-C", FIXTURES, "SET=replay", `OUT=${dir}`, join(dir, name)]);
  const recorded = await recordPiped([join(dir, name)]);
  expect(recorded).toMatchObject({ code: 0, stderr: "" });
  expect(recorded.stdout).toContain("socket: ");
  await expectFaithful(recorded);
});

it("by a second descriptor of the same pipe", async () => {
  const script = "seq 3 > f; cp f /dev/stdout; echo more > /dev/stdout; echo lost > /dev/null; cat";
  const recorded = await recordPiped(["sh", "-c", `echo piped | sh -c '${script}'`]);
  expect(recorded).toMatchObject({ code: 0, stdout: "1\n2\n3\nmore\npiped\n" });
  await expectFaithful(recorded);
});

it("by a program that waits for one that writes there itself", async () => {
  // The first writes to the output while the second waits to move what comes from it.
  const mover =
    "import os\nwhile True:\n n = os.splice(0, 1, 1 << 20)\n if n == 0: break\n os.write(1, b'moved %d\\n' % n)";
  const feeder = "for i in 1 2 3; do echo direct $i >&2; echo fed $i; sleep 0.05; done";
  const script = `{ ${feeder}; } 2>&3 | python3 -c "${mover}"`;
  const recorded = await recordPiped(["bash", "-c", `exec 3>&1; ${script}`]);
  expect(recorded).toMatchObject({ code: 0, stderr: "" });
  expect(recorded.stdout.match(/direct|fed/g)).toHaveLength(6);
  await expectFaithful(recorded);
});
