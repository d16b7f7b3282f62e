/** Traces of one process, written by hand. */

import { pack } from "../support/batch.js";
import { TextTrace } from "../support/text_trace.js";

export type Write = (trace: TextTrace, run: number) => void;

export interface StartOptions {
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly pid?: number;
  readonly argv?: readonly string[];
  /** What was recorded of the memory that calls name. */
  readonly data?: "all" | "paths" | "none";
}

/** A trace of one process, begun and ended around what `write` puts in. */
export function one(run: number, write: Write, start: StartOptions = {}): TextTrace {
  const { env = ["HOME=/root"], cwd = "/srv", pid = 100 + run * 11 } = start;
  const { argv = ["prog"], data = "all" } = start;
  const trace = new TextTrace()
    .meta("argv", JSON.stringify(argv))
    .meta("cwd", cwd)
    .meta("data", data)
    .meta("status", "0")
    .thread(1, 1, pid, pid)
    .object("dir", cwd)
    .event("task", { args: [0, 0] })
    .event("exec", {
      captures: [
        [0, "in", 0, "/bin/prog"],
        [1, "in", 0, `${argv.join("\0")}\0`],
        [2, "in", 0, `${env.join("\0")}\0`],
        [3, "in", 0, cwd],
      ],
    });
  write(trace, run);
  return trace.event("exit", { args: [1, 0, 0, 0] });
}

/** An open that gives `object`. */
export const open = (path: string, flags: number, ret: number, object: number) =>
  ({
    args: [-100, 0x1000, flags, 0o600],
    ret,
    captures: [[1, "in", 0x1000, `${path}\0`]],
    refs: [
      ["cwd", -100, 0],
      ["ret", ret, object],
    ],
  }) as const;

/** What getdents64 gives of a directory with these names. */
export const listing = (names: readonly string[]) => {
  const data = Buffer.concat(
    names.map((name) =>
      Buffer.concat([pack([8, 7], [8, 1], [2, 32], [1, 8]), Buffer.from(name.padEnd(13, "\0"))]),
    ),
  );
  return {
    args: [3, 0x3000, 4096],
    ret: data.length,
    captures: [[1, "out", 0x3000, data]],
    refs: [[0, 3, 1]],
  } as const;
};

/** A read of the file on descriptor 3, object 1. */
export const read = (text: string) =>
  ({
    args: [3, 0x3000, text.length],
    ret: text.length,
    captures: [[1, "out", 0x3000, text]],
    refs: [[0, 3, 1]],
  }) as const;

/** `struct stat` of a regular file. */
export function stat(size: number, inode: number, mtime: number): Uint8Array {
  return pack(
    [8, 5],
    [8, inode],
    [8, 1],
    [4, 0o100644],
    [4, 0],
    [4, 0],
    [4, 0],
    [8, 0],
    [8, size],
    [8, 4096],
    [8, 8],
    [8, mtime],
    [8, 0],
    [8, mtime],
    [8, 0],
    [8, mtime],
    [8, 0],
    [8, 0],
    [8, 0],
    [8, 0],
  );
}
