/** What is left of output that did not become whole. */

import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { constants } from "node:os";
import { setImmediate, setTimeout } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { formatOf } from "../../src/export/formats.js";
import { openSink } from "../../src/export/sinks.js";
import { openTarget } from "../../src/export/target.js";
import { whole } from "../../src/export/whole.js";
import { event } from "../../src/tables/event.js";
import { runCommand } from "../support/run.js";
import { TextTrace, temporaryFolder } from "../support/text_trace.js";

const SIGNALS = ["SIGHUP", "SIGINT", "SIGTERM"] as const;
const folder = temporaryFolder();
const context = { stdout: process.stdout };
const run = { id: "1", facts: new Map<string, string>() };
const never = () => new Promise<void>(() => {});
const open = (path: string) => () => openTarget(context, path, false);

function listeners(): number[] {
  return SIGNALS.map((name) => process.listenerCount(name));
}

const before = listeners();

afterAll(() => folder.remove());
afterEach(() => {
  expect(listeners()).toEqual(before);
});

describe("a signal that comes meanwhile", () => {
  it.each(SIGNALS)("ends the output: %s", async (name) => {
    const file = folder.file(`by-${name}`);
    const ended = whole(open(file), async (target) => {
      await target.write("begun");
      process.kill(process.pid, name);
      await never();
    });
    expect(await ended).toEqual({ signal: constants.signals[name] });
    expect([file, `${file}.partial`].filter(existsSync)).toEqual([]);
  });

  it.each(["jsonl", "sqlite", "parquet"])("leaves nothing of %s", async (name) => {
    const place = folder.file(`signal-${name}`);
    mkdirSync(place);
    const output = `${place}/${name === "parquet" ? "new/out" : "out"}`;
    const open = () => openSink(context, formatOf(name, output), { output }, false);
    const ended = whole(open, async (sink) => {
      await sink.begin(run, event);
      process.kill(process.pid, "SIGINT");
      await never();
    });
    expect(await ended).toEqual({ signal: constants.signals.SIGINT });
    expect(readdirSync(place)).toEqual([]);
  });

  it("takes back what was only being opened", async () => {
    const file = folder.file("opening");
    const ended = whole(
      async () => {
        const target = await openTarget(context, file, false);
        process.kill(process.pid, "SIGTERM");
        await setTimeout(20);
        return target;
      },
      () => never(),
    );
    expect(await ended).toEqual({ signal: constants.signals.SIGTERM });
    expect([file, `${file}.partial`].filter(existsSync)).toEqual([]);
  });

  it("ends what waits to be opened", async () => {
    const ended = whole(
      async () => {
        process.kill(process.pid, "SIGTERM");
        await never();
        return await open("/dev/null")();
      },
      () => never(),
    );
    expect(await ended).toEqual({ signal: constants.signals.SIGTERM });
  });

  it("is nobody's business where nothing can be taken back", async () => {
    for (const path of ["-", "/dev/null"]) {
      const ended = whole(open(path), async () => expect(listeners()).toEqual(before));
      expect(await ended, path).toBeUndefined();
    }
  });
});

describe("commands that write files", () => {
  it.each([
    ["export", "--to", "jsonl"],
    ["query", "name = close", "--format=jsonl"],
  ])("end by the signal: trace %s", async (...[command = "", ...words]) => {
    const trace = folder.file(`${command}.trace`);
    const text = new TextTrace().thread(1, 1, 10, 10);
    for (let k = 0; k < 20_000; k++) text.call("close", { args: [k] });
    await text.write(trace);
    const output = folder.file(`${command}.jsonl`);
    const ran = runCommand([command, trace, ...words, "-o", output]);
    while (!existsSync(`${output}.partial`)) await setImmediate();
    process.kill(process.pid, "SIGTERM");
    expect(await ran).toMatchObject({ status: { signal: constants.signals.SIGTERM } });
    expect([output, `${output}.partial`].filter(existsSync)).toEqual([]);
  });
});

describe("a folder of Parquet files that fails", () => {
  it("stays where it was there before", async () => {
    const output = folder.file("there");
    mkdirSync(output);
    const open = () => openSink(context, formatOf("parquet", output), { output }, false);
    const ended = whole(open, async (sink) => {
      await sink.begin(run, event);
      throw new Error("no more");
    });
    await expect(ended).rejects.toThrow("no more");
    expect(readdirSync(output)).toEqual([]);
  });
});
