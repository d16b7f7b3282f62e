/** What is run by the built command: recordings, specs, and programs that are enforced. */

import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ENVIRONMENT } from "../environment.js";

const CLI = resolve(fileURLToPath(new URL("../../dist/trace", import.meta.url)));

function trace(dir: string, input: string, ...words: string[]): void {
  execFileSync(CLI, words, { cwd: dir, env: ENVIRONMENT, input, stdio: "pipe" });
}

/** Records a command with that input, and makes a spec of it; the spec's file. */
export function learn(
  dir: string,
  base: string,
  name: string,
  argv: readonly string[],
  input = "",
): string {
  const recording = join(base, `${name}.trace`);
  const spec = join(base, `${name}.spec`);
  trace(dir, input, "record", "-q", "--force", "--observe", "-o", recording, "--", ...argv);
  trace(dir, "", "spec", "gen", "--force", "-o", spec, recording);
  rmSync(recording, { force: true });
  return spec;
}

export type Supervise = "auto" | "always" | "never";

/** The words that run a command under a spec. */
export function enforced(spec: string, supervise: Supervise, argv: readonly string[]): string[] {
  return [CLI, "spec", "run", `--supervise=${supervise}`, spec, "--", ...argv];
}
