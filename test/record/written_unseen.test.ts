/** What is mapped is what is in the file, also when it was written to through memory, of which its times tell nothing. */

import { expect, test } from "vitest";
import { compile, recordAndReplay, run } from "./support.js";

test.each([
  { words: [], options: [] },
  { words: [], options: ["--backend=eager-agent"] },
  { words: ["privately"], options: [] },
  { words: ["privately"], options: ["--backend=eager-agent"] },
])("mapped $words, recorded with $options", async ({ words, options }) => {
  const program = compile("written_unseen");
  const native = await run([program, ...words]);
  expect(native.stdout).toMatch(/child sees 8\nself sees -8\nwritten -8\n$/);
  const { stdout } = await recordAndReplay([program, ...words], options);
  expect(stdout).toBe(native.stdout);
});
