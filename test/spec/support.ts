/** Places for specs that are enforced: recorded and run by the built command, as a user does. */

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Draft } from "../../src/spec/generalise.js";
import type { Grant, Phase, Role, Spec, Verb } from "../../src/spec/model.js";
import { cli, nodeFolder } from "../support/command.js";

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class SpecPlace {
  readonly base = mkdtempSync(join(tmpdir(), "trace-spec-test-"));
  readonly work = join(this.base, "work");
  readonly env: Record<string, string>;

  constructor(files: Readonly<Record<string, string>> = {}) {
    for (const name of ["work", "home", "tmp"]) mkdirSync(join(this.base, name));
    this.env = {
      PATH: `/usr/bin:/bin:/usr/sbin:/sbin:${nodeFolder}`,
      HOME: join(this.base, "home"),
      TMPDIR: join(this.base, "tmp"),
      LC_ALL: "C",
      XDG_STATE_HOME: join(this.base, "state"),
      XDG_CACHE_HOME: join(this.base, "cache"),
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.work, name), text);
  }

  run(...words: string[]): Ran {
    const [program = "", ...args] = words;
    const done = spawnSync(program, args, {
      cwd: this.work,
      env: this.env,
      encoding: "utf8",
      timeout: 120_000,
      killSignal: "SIGKILL",
    });
    return { status: done.status, stdout: done.stdout, stderr: done.stderr };
  }

  trace(...words: string[]): Ran {
    return this.run(cli, ...words);
  }

  /** Records a command and makes a spec of it; the name of the spec's file. */
  learn(...command: string[]): string {
    const recorded = this.trace(
      "record",
      "-q",
      "--force",
      "--observe",
      "-o",
      "../base.trace",
      "--",
      ...command,
    );
    if (recorded.status !== 0) throw new Error(`recording: ${recorded.stderr}`);
    const made = this.trace("spec", "gen", "--force", "-o", "../app.spec", "../base.trace");
    if (made.status !== 0) throw new Error(`spec gen: ${made.stderr}`);
    return "../app.spec";
  }

  leave(): void {
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** Builds NAME.c of this folder without libraries, so that it needs no other file. */
export function compileStatic(name: string, dir: string, ...flags: string[]): string {
  const program = join(dir, name);
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  const { status } = spawnSync("gcc", ["-static", ...flags, "-o", program, source], {
    stdio: "inherit",
  });
  if (status !== 0) throw new Error(`${source}: gcc ended with ${status}`);
  return program;
}

/** What a static program needs before it gets to its main. */
const START =
  "execve brk arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom mprotect mmap fstat newfstatat write exit_group getpid read openat open close";

export type Words = readonly (readonly [verb: Verb, object: string, phase?: Phase])[];

/** A role with what a static program needs, more `calls`, and `grants`. */
export function roleOf(name: string, exe: string, calls: string, grants: Words): Role {
  const numbers = [...new Set(`${START} ${calls}`.trim().split(/\s+/))];
  const all: Grant[] = numbers.map((object) => ({ verb: "syscall", object }));
  for (const [verb, object, phase] of grants) {
    all.push({ verb, object, ...(phase !== undefined && { phase }) });
  }
  return { name, exe: [exe], from: [], grants: all };
}

/** A spec that says nothing but its roles. */
export function specWith(...roles: Role[]): Spec {
  return {
    traceSpec: 1,
    command: [],
    tokens: {},
    runs: [],
    roles,
    channels: [],
    triggers: [],
    unknown: [],
  };
}

/** A draft of what one recording needs once. `phases`: bits, by default both. */
export function draft(verb: Verb, object: string, phases = 3): Draft {
  return {
    verb,
    object,
    rung: "literal",
    because: undefined,
    count: 1,
    runs: new Set([1]),
    first: "1@1",
    phases,
  };
}
