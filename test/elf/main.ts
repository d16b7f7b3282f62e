/**
 * `npm run compare:elf`: records programs, and compares what `trace elf` tells of them with what ldd(1) and the loader's own
 * messages (LD_DEBUG=files) say. Ends with 1 when fewer than `--min` agree in both.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cli } from "../support/command.js";
import {
  type ElfProgram,
  type Recorder,
  recorded,
  saidByLdd,
  saidByLoader,
  saidByTrace,
  startOf,
} from "./compare.js";
import { builtPrograms, muslPrograms, systemPrograms } from "./programs.js";

function missing(one: readonly string[], other: readonly string[], mark: string): string[] {
  const rest = new Set(other);
  return one.filter((line) => !rest.has(line)).map((line) => `    ${mark} ${line}`);
}

async function differences(program: ElfProgram, recorder: Recorder): Promise<string[]> {
  const { tree, debug } = await recorded(program, recorder);
  const ours = saidByTrace(tree);
  const loader = program.plain ? ours : saidByLoader(debug);
  const preloaded = ours.some((line) => line.startsWith("preload"));
  // Its messages call what is preloaded needed by the program.
  const plain = preloaded
    ? ours.map((line) => line.replace(/^preload/, `needed ${tree.loaded.path}`))
    : ours;
  const env = { PATH: "/usr/bin:/bin", ...program.env };
  // ldd tells of what is there at the start, under the loader of this system.
  const ldd = program.plain ? startOf(tree) : saidByLdd(program.argv[0] ?? "", env);
  return [
    ...missing(loader, plain, "loader:"),
    ...missing(plain, loader, "trace: "),
    ...missing(ldd, startOf(tree), "ldd:   "),
    ...missing(startOf(tree), ldd, "trace: "),
  ];
}

async function main(): Promise<number> {
  const least = Number(/--min=(\d+)/.exec(process.argv.join(" "))?.[1] ?? 0);
  const folder = mkdtempSync(join(tmpdir(), "trace-elf-"));
  const recorder: Recorder = {
    folder,
    words: (file) => [cli, "record", "-q", "--observe", "-o", file, "--"],
    env: {
      PATH: "/usr/bin:/bin",
      HOME: process.env.HOME ?? "/",
      XDG_STATE_HOME: join(folder, "state"),
    },
  };
  const programs = [...builtPrograms(folder), ...muslPrograms(folder), ...systemPrograms()];
  let same = 0;
  try {
    for (const program of programs) {
      const found = await differences(program, recorder).catch((error) => [`    ${error}`]);
      if (found.length === 0) same += 1;
      process.stdout.write(`${found.length === 0 ? "same" : "DIFF"} ${program.name}\n`);
      for (const line of found) process.stdout.write(`${line}\n`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`elf: ${same} of ${programs.length} as ldd and the loader say\n`);
  return same < least ? 1 : 0;
}

process.exitCode = await main();
