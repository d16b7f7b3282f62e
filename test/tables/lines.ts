/** Lines of `trace show --format=jsonl`, and what can be counted over them without knowing of tables. */

import { runCommand } from "../support/run.js";

export interface Descriptor {
  readonly fd: number;
  readonly path?: string;
}

export type Text = string | { readonly text?: string; readonly base64?: string };

/** A line of JSONL. */
export interface Line {
  readonly seq: number;
  readonly kind: string;
  readonly time: number;
  readonly dur?: number;
  readonly thread: string;
  readonly tid: number;
  readonly call?: string;
  readonly args?: Readonly<Record<string, unknown>>;
  readonly ret?: number | string | null;
  readonly retPath?: string;
  readonly err?: string;
  readonly state?: string;
  readonly resolved?: Readonly<Record<string, string>>;
  readonly path?: string;
  readonly buildId?: string | null;
  readonly base?: string;
  readonly length?: number;
  readonly offset?: number;
  readonly prot?: readonly string[];
  readonly argv?: readonly string[];
  readonly env?: readonly string[];
  readonly signal?: string;
  readonly code?: number;
  readonly process?: boolean;
}

export async function linesOf(file: string): Promise<Line[]> {
  const { stdout } = await runCommand(["show", file, "--format=jsonl", "-s", "4096"]);
  return stdout
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => JSON.parse(line) as Line);
}

export const procOf = (line: Line) => line.thread.split(".")[0] ?? "";
export const isOk = (line: Line) => line.err === undefined && line.state === undefined;

const reading = new Set(["read", "pread64", "recvfrom"]);
const writing = new Set(["write", "pwrite64", "sendto"]);

export interface Moved {
  reads: number;
  writes: number;
  bytesRead: number;
  bytesWritten: number;
}

/** What was read and written, by path. */
export function movedBytes(lines: readonly Line[]): Map<string, Moved> {
  const all = new Map<string, Moved>();
  const note = (fd: unknown, way: "read" | "write", bytes: number) => {
    const path = (fd as Descriptor | undefined)?.path;
    if (path === undefined) return;
    const sums = all.get(path) ?? { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 };
    all.set(path, sums);
    sums[`${way}s`] += 1;
    sums[way === "read" ? "bytesRead" : "bytesWritten"] += bytes;
  };
  for (const line of lines) {
    if (line.kind !== "call" || !isOk(line) || typeof line.ret !== "number") continue;
    if (reading.has(line.call ?? "")) note(line.args?.fd, "read", line.ret);
    if (writing.has(line.call ?? "")) note(line.args?.fd, "write", line.ret);
    if (line.call === "sendfile") {
      note(line.args?.in_fd, "read", line.ret);
      note(line.args?.out_fd, "write", line.ret);
    }
  }
  return all;
}
