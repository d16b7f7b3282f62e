/** Damaged traces: every command gives what can be read, or an error with a way out; never anything else. */

import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TraceError } from "../../src/errors.js";
import { type FailedRun, runCommand } from "../support/run.js";
import { sampleTrace, temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
const path = folder.file("sample.trace");
const mutated = folder.file("mutated.trace");
const rounds = 150;

beforeAll(async () => {
  await sampleTrace().write(path);
});
afterAll(() => folder.remove());

/** The same numbers on every run. */
function random(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

function mutate(bytes: Buffer, below: (bound: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  for (let k = below(8); k >= 0; k--) copy[below(copy.length)] = below(256);
  return below(3) === 0 ? copy.subarray(0, below(copy.length)) : copy;
}

const commands = [
  ["show"],
  ["show", "--format=strace"],
  ["show", "--format=jsonl", "proc.exe exists or fd.path exists or data exists"],
  ["stat"],
  ["stat", "--by", "path"],
  ["query", "name = read and dur > 1us", "--columns", "seq,path,ret"],
  ["query", "proc.exe exists or path.bytes exists"],
  ["query", "-t", "file"],
  ["query", "-t", "fd"],
  ["query", "-t", "connection"],
  ["query", "-t", "arg"],
  ["query", "@dns"],
  ["stat", "--by", "process"],
  ["tree", "--commands"],
  ["info"],
];

it.each(commands)("trace %s %s", async (...words) => {
  const below = random(words.join(" ").length);
  const bytes = readFileSync(path);
  const [name = "", ...rest] = words;
  for (let round = 0; round < rounds; round++) {
    writeFileSync(mutated, mutate(bytes, below));
    const failed = await runCommand([name, mutated, ...rest]).catch((error: FailedRun) => error);
    if (!("cause" in failed)) continue;
    expect(failed.cause, `round ${round}`).toBeInstanceOf(TraceError);
  }
});
