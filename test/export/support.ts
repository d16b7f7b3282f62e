/** Traces to export. */

import { join } from "node:path";
import { record } from "../record/support.js";
import { buildFixtures } from "../support/fixtures.js";
import { type Ran, runCommand } from "../support/run.js";

/** The trace of a shell command that may use the fixture programs by name, and that has a secret in its environment. */
export async function recordShell(script: string, ...options: string[]): Promise<string> {
  const { dir } = buildFixtures("programs");
  const env = { PATH: `${dir}:/usr/bin:/bin`, SECRET_TOKEN: "hunter2" };
  const { file, code, stderr } = await record(["sh", "-c", script], { options, env });
  if (code !== 0) throw new Error(`recording failed with ${code}: ${stderr}`);
  return file;
}

export function exportTo(
  format: string,
  output: string,
  file: string,
  ...words: string[]
): Promise<Ran> {
  return runCommand(["export", "--to", format, "-o", output, file, ...words]);
}

/** A file beside the trace. */
export function beside(file: string, name: string): string {
  return join(file, "..", name);
}
