/** Tables `socket`, `connection` and `dns` against lines of show. */

import { expect } from "vitest";
import type { ShownEvent } from "../support/shown.js";
import { type Descriptor, isOk, movedBytes, procOf } from "./lines.js";
import { type Row, readTable, withTrace } from "./support.js";

interface Address {
  readonly sa_family?: string;
  readonly sin_addr?: string;
  readonly sin_port?: number;
}

const isConnect = (line: ShownEvent) => line.call === "connect";
const isAccept = (line: ShownEvent) => /^accept4?$/.test(line.call ?? "") && isOk(line);

/** Where a line's socket leads: the one that was given, or that was made. */
const socketOf = (line: ShownEvent) =>
  isAccept(line) ? line.retPath : (line.args?.fd as Descriptor | undefined)?.path;

function peerOf(line: ShownEvent): string | undefined {
  const address = line.args?.uservaddr as Address | undefined;
  return address?.sin_addr === undefined ? undefined : `${address.sin_addr}:${address.sin_port}`;
}

export async function compareNetwork(file: string, lines: readonly ShownEvent[]): Promise<void> {
  await withTrace(file, async (trace) => {
    const fds = await readTable(trace, "fd");
    const paths = new Map(fds.map((row) => [row.fd_id, String(row.path)]));
    const bytes = movedBytes(lines);
    compareSockets(await readTable(trace, "socket"), lines, paths, bytes);
    const attempts = lines.filter((line) => isConnect(line) || isAccept(line));
    const rows = await readTable(trace, "connection");
    expect(
      rows.map((row) => [row.seq, row.time, row.dur, row.proc, row.direction, row.err]),
    ).toEqual(
      attempts.map((line) => {
        const direction = isConnect(line) ? "out" : "in";
        return [line.seq, line.time, line.dur, procOf(line), direction, line.err];
      }),
    );
    for (const [k, line] of attempts.entries()) {
      const row = rows[k] ?? {};
      if (isConnect(line)) expect(row.peer).toBe(peerOf(line));
      expect(paths.get(row.fd_id)).toBe(socketOf(line));
      const sums = bytes.get(socketOf(line) ?? "");
      expect([row.bytes_read, row.bytes_written]).toEqual([
        sums?.bytesRead ?? 0,
        sums?.bytesWritten ?? 0,
      ]);
    }
    // Nothing is sent to a name server.
    expect(await readTable(trace, "dns")).toEqual([]);
  });
}

function compareSockets(
  rows: readonly Row[],
  lines: readonly ShownEvent[],
  paths: ReadonlyMap<Row[string], string>,
  bytes: ReturnType<typeof movedBytes>,
): void {
  const ok = lines.filter(isOk);
  const pairs = ok.filter(({ call }) => call === "socketpair").length;
  const made = ok.filter((line) => line.call === "socket" || isAccept(line)).length;
  const of = (family: string) => rows.filter((row) => row.family === family).length;
  expect([of("AF_UNIX"), of("AF_INET"), rows.length]).toEqual([2 * pairs, made, made + 2 * pairs]);
  for (const row of rows) {
    const path = paths.get(row.fd_id) ?? "";
    const sums = bytes.get(path) ?? { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 };
    expect({
      path,
      reads: row.reads,
      writes: row.writes,
      bytesRead: row.bytes_read,
      bytesWritten: row.bytes_written,
    }).toEqual({ path, ...sums });
  }
}
