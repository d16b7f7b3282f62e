/**
 * What is remembered between runs: which trace was made last, kept under `$XDG_STATE_HOME/trace`.
 * Losing it costs a file name on the command line; so nothing here ever fails a command.
 */

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";

type Env = Readonly<Record<string, string | undefined>>;

/** As the XDG base directory specification has it: a relative path counts as unset. */
export function stateFolder(env: Env): string {
  const base = env.XDG_STATE_HOME ?? "";
  if (isAbsolute(base)) return join(base, "trace");
  const home = env.HOME ?? "";
  return join(isAbsolute(home) ? home : homedir(), ".local", "state", "trace");
}

/** Remembers a trace as the latest one. */
export function rememberLatest(path: string, env: Env): void {
  const folder = stateFolder(env);
  const file = join(folder, "latest");
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, `${resolve(path)}\n`, { mode: 0o600 });
    renameSync(draft, file);
  } catch {
    // A home that cannot be written is no reason to fail a recording.
  }
}

/** The trace that is meant when none is named: `TRACE_FILE`, or the latest one. */
export function defaultTrace(env: Env): string | undefined {
  const named = env.TRACE_FILE ?? "";
  if (named !== "") return named;
  try {
    const path = readFileSync(join(stateFolder(env), "latest"), "utf8").replace(/\n$/, "");
    return isAbsolute(path) && !path.includes("\0") ? path : undefined;
  } catch {
    return undefined;
  }
}
