/** Traces that say nonsense: a comparison gives a result or an error of ours, and ends. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { diff } from "../../src/diff/diff.js";
import { diffHtml } from "../../src/diff/render/html.js";
import { diffMarkdown } from "../../src/diff/render/markdown.js";
import { diffText } from "../../src/diff/render/text.js";
import { TraceError } from "../../src/errors.js";
import { native } from "../../src/native.js";

const SAMPLES = fileURLToPath(new URL("../../traces/", import.meta.url));
const ROUNDS = 12;

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "trace-diff-mutated-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The same numbers at each run. */
function* numbers(seed: number): Generator<number, never> {
  let state = seed;
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

async function compare(a: string, b: string): Promise<void> {
  try {
    const result = await diff(a, b);
    for (const text of [diffText(result), diffMarkdown(result, undefined), diffHtml(result)]) {
      expect(text).not.toBe("");
    }
  } catch (error) {
    expect(error).toBeInstanceOf(TraceError);
  }
}

for (const file of readdirSync(SAMPLES).filter((name) => name.endsWith(".dump"))) {
  const name = file.replace(/\.dump$/, "");

  it(`${name} with other numbers in its events`, async () => {
    const random = numbers(name.length);
    const next = () => random.next().value;
    const text = readFileSync(join(SAMPLES, file), "latin1");
    for (let round = 0; round < ROUNDS; round++) {
      const changed = text.replace(
        /(ret|args|object|wanted|addr|code)=(0x)?[0-9a-f]+/g,
        (found, key: string) =>
          next() < 0.02 ? `${key}=${Math.floor(next() * 2 ** Math.ceil(next() * 40))}` : found,
      );
      writeFileSync(join(dir, "changed.txt"), changed, "latin1");
      const path = join(dir, `${name}.trace`);
      const made = await native().assembleText(join(dir, "changed.txt"), path, true);
      // What the assembler refuses is no trace.
      if (typeof made === "number") await compare(join(SAMPLES, `${name}.trace`), path);
    }
  });

  it(`${name} with damaged bytes`, async () => {
    const random = numbers(name.length + 1);
    const bytes = readFileSync(join(SAMPLES, `${name}.trace`));
    for (let round = 0; round < ROUNDS; round++) {
      const damaged = Buffer.from(bytes);
      for (let k = 0; k < 8; k++)
        damaged[Math.floor(random.next().value * damaged.length)] = Math.floor(
          random.next().value * 256,
        );
      const path = join(dir, `${name}-damaged.trace`);
      writeFileSync(path, damaged);
      await compare(path, join(SAMPLES, `${name}.trace`));
    }
  });
}
