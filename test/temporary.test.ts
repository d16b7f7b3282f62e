/** Nothing stays behind of what commands keep beside their output. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { setImmediate, setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { removeTemporary, temporaryDirectory } from "../src/temporary.js";
import { cli } from "./support/command.js";
import { temporaryFolder } from "./support/text_trace.js";

const folder = temporaryFolder();
const recording = fileURLToPath(new URL("../traces/exec_thread.trace", import.meta.url));

const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
afterAll(() => folder.remove());

/** More rows than anybody waits for, of which the first ones come at once. */
const ENDLESS = "SELECT a.range FROM range(1000000) a, range(1000000) b";

/** A query in a directory of its own, which is waited for until there is something of it. */
async function begun(name: string, ...words: string[]) {
  const place = folder.file(name);
  mkdirSync(place);
  const child = spawn(cli, ["query", recording, ...words], {
    cwd: place,
    env: { ...process.env, TMPDIR: place },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  return { place, child, ended };
}

describe("a query", () => {
  it.each(["SIGHUP", "SIGINT", "SIGTERM"] as const)("ends by %s as without", async (signal) => {
    const { place, child, ended } = await begun(
      signal,
      `SELECT count(*) FROM (${ENDLESS}) WHERE range % 7 = 1`,
    );
    while (readdirSync(place).length === 0) await setTimeout(10);
    child.kill(signal);
    expect(await ended).toEqual([null, signal]);
    expect(readdirSync(place)).toEqual([]);
  });

  it("whose reader goes away", async () => {
    const { place, child, ended } = await begun("reader", ENDLESS, "--format=jsonl");
    child.stdout.once("data", () => child.stdout.destroy());
    expect(await ended).toEqual([0, null]);
    expect(readdirSync(place)).toEqual([]);
  });

  it.each(["parquet", "jsonl"])("that writes %s", async (format) => {
    const words = [ENDLESS, `--format=${format}`, "-o", `out.${format}`];
    const { place, child, ended } = await begun(`to-${format}`, ...words);
    while (!existsSync(`${place}/out.${format}.partial`)) await setTimeout(10);
    child.kill("SIGTERM");
    expect(await ended).toEqual([null, "SIGTERM"]);
    expect(readdirSync(place)).toEqual([]);
  });
});

it("signals are minded only as long as there is something to remove", async () => {
  const count = () => ["SIGINT", "exit"].map((name) => process.listenerCount(name));
  const before = count();
  const [one, other] = ["a", "b"].map((name) => temporaryDirectory(folder.file(name)));
  expect(count()).toEqual(before.map((number) => number + 1));
  removeTemporary(one as string);
  await setImmediate();
  expect(count()).not.toEqual(before);
  removeTemporary(other as string);
  // One that has come meanwhile is still heard of.
  expect(count()).not.toEqual(before);
  await setImmediate();
  expect(count()).toEqual(before);
  expect([one, other].some((place) => existsSync(place as string))).toBe(false);
});
