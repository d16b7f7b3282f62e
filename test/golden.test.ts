/**
 * Recordings that are checked in, and what `trace show` prints for them. The folder is the list: a recording
 * `traces/x.trace` has `x.txt`, `x.strace` and `x.jsonl` beside it. After a wanted change: UPDATE_GOLDEN=1 npm test.
 */

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { cli } from "./support/command.js";

const folder = fileURLToPath(new URL("../traces/", import.meta.url));
const traces = readdirSync(folder).filter((name) => name.endsWith(".trace"));
const formats = [
  ["text", "txt"],
  ["strace", "strace"],
  ["jsonl", "jsonl"],
] as const;

function show(trace: string, format: string): string {
  const args = ["show", `${folder}${trace}`, `--format=${format}`, "--color=never"];
  const run = spawnSync(cli, args, {
    encoding: "utf8",
    env: { ...process.env, TZ: "UTC" },
  });
  expect(run.stderr).toBe("");
  expect(run.status).toBe(0);
  return run.stdout;
}

describe("recordings that are checked in", () => {
  it("are there", () => expect(traces.length).toBeGreaterThan(5));

  for (const trace of traces) {
    for (const [format, ending] of formats) {
      it(`${trace} as ${format}`, () => {
        const file = `${folder}${trace.replace(/trace$/, ending)}`;
        const text = show(trace, format);
        if (process.env.UPDATE_GOLDEN === "1") writeFileSync(file, text);
        expect(text).toBe(readFileSync(file, "utf8"));
      });
    }
  }
});
