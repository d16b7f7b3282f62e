/** Table `file` of long recordings, which have its numbers in the file: they are those of the events. */

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, truncateSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, it } from "vitest";
import { cli, folder, record, stateOf } from "../record/support.js";
import { readTable, withTrace } from "./support.js";

/** Of frames (native/format/FORMAT.md). */
const FILE_HEADER_BYTES = 48;
const FRAME_HEADER_BYTES = 32;
const TRAILER_BYTES = 32;
const USAGE = 8;

/** More calls than a trace without stored sums has. */
const ROUNDS = "2500";
/** Those who write: six threads, and then a child. */
const NAMES = ["one", "two", "three", "four", "five", "six", "child"];

let program = "";

beforeAll(() => {
  program = join(folder(), "many_files");
  const source = fileURLToPath(new URL("./programs/many_files.c", import.meta.url));
  execFileSync("gcc", ["-O1", "-Wall", "-pthread", "-o", program, source]);
});

/** Where the frame with the sums begins; -1: there is none. */
function usageFrame(file: string): number {
  const bytes = readFileSync(file);
  let at = FILE_HEADER_BYTES;
  while (at + TRAILER_BYTES < bytes.length) {
    if (bytes[at + 4] === USAGE) return at;
    at += FRAME_HEADER_BYTES + bytes.readUInt32LE(at + 8);
  }
  return -1;
}

const rowsOf = (file: string) => withTrace(file, (trace) => readTable(trace, "file"));

it.each([
  ["by stops", ["--observe", "--backend=ptrace"]],
  ["by the agent", ["--observe", "--backend=agent"]],
  ["to be replayed, by stops", ["--backend=ptrace"]],
  ["to be replayed, by the agent", ["--backend=agent"]],
])(
  "the sums in a trace recorded %s are those of its events",
  { timeout: 300_000 },
  async (_, options) => {
    const dir = join(folder(), "files");
    mkdirSync(dir);
    const { file, code, stderr } = await record([program, dir, ROUNDS], { options });
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const start = usageFrame(file);
    expect(start).toBeGreaterThan(0);
    const without = `${file}.cut`;
    copyFileSync(file, without);
    truncateSync(without, start);
    const rows = await rowsOf(file);
    expect(rows).toEqual(await rowsOf(without));
    // Of the files of each thread and of the child, whose writes are those of no other.
    const written = rows.filter(({ writes }) => Number(writes) > 0);
    const counts = NAMES.flatMap((name) => {
      const own = written.filter(({ path }) => String(path).includes(`/${name}-`));
      return own.map(({ opens, writes }) => `${name} ${opens} ${writes}`).sort();
    });
    const sums = ["833 1666", "833 1666", "834 1668"];
    expect(counts).toEqual(NAMES.flatMap((name) => sums.map((sum) => `${name} ${sum}`)));

    // Frames that are added later change nothing of it.
    const packed = `${file}.packed`;
    const env = { ...process.env, ...stateOf(dirname(file)) };
    execFileSync(cli, ["pack", file, "-o", packed], { env, stdio: "ignore" });
    expect(usageFrame(packed)).toBe(start);
    expect(await rowsOf(packed)).toEqual(rows);
  },
);
