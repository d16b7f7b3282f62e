/** What can be counted over the events of `trace show` without knowing of tables. */

import type { ShownEvent } from "../support/shown.js";

export interface Descriptor {
  readonly fd: number;
  readonly path?: string;
}

export type Text = string | { readonly text?: string; readonly base64?: string };

export const procOf = (line: ShownEvent) => line.thread.split(".")[0] ?? "";
export const isOk = (line: ShownEvent) => line.err === undefined && line.state === undefined;

const reading = new Set(["read", "pread64", "recvfrom"]);
const writing = new Set(["write", "pwrite64", "sendto"]);

export interface Moved {
  reads: number;
  writes: number;
  bytesRead: number;
  bytesWritten: number;
}

/** What was read and written, by path. */
export function movedBytes(lines: readonly ShownEvent[]): Map<string, Moved> {
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
