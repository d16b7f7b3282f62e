/**
 * Where an export goes: a file, or the standard output. A file has its name only once it is whole: until then it is called
 * `NAME.partial`, and it is removed when the export fails. A name that ends in `.gz` is compressed.
 */

import { once } from "node:events";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { createGzip } from "node:zlib";
import type { CommandContext } from "../commands/command.js";
import { streamOutput } from "../report/output.js";
import { explained, ioError, traceError } from "../trace/failure.js";
import { type Unfinished, whole } from "./whole.js";

const EISDIR = 21;

export interface Target extends Unfinished {
  /** Waits while the other end is behind. False: nobody reads any more. */
  write(chunk: string | Uint8Array): Promise<boolean>;
}

/** @throws TraceError when the file is there already, or cannot be made. */
export async function openTarget(
  context: Pick<CommandContext, "stdout">,
  path: string | undefined,
  force: boolean,
): Promise<Target> {
  if (path === undefined || path === "-") return standardOutput(context);
  const { draft, isSpecial } = await draftOf(path, force);
  const file = await explained("create", path, () => open(draft, isSpecial ? "w" : "wx"));
  const target = new FileTarget(path, draft, file, isSpecial);
  return path.endsWith(".gz") ? compressed(target) : target;
}

function standardOutput({ stdout }: Pick<CommandContext, "stdout">): Target {
  const { write } = streamOutput(stdout);
  return { write, hasDraft: false, finish: async () => {}, abandon: async () => {} };
}

/** Writes a text to a file that replaces what is there once it is whole. @throws TraceError when that cannot be. */
export async function writeText(path: string, text: string): Promise<void> {
  const { draft, isSpecial } = await draftOf(path, true);
  const file = await explained("create", path, () => open(draft, isSpecial ? "w" : "wx"));
  const target = new FileTarget(path, draft, file, isSpecial);
  try {
    await target.write(text);
    await target.finish();
  } catch (error) {
    await target.abandon();
    throw error;
  }
}

/**
 * Has a file written by somebody who is told its name, that of the draft. Gives back the signal that came before it was whole, by which
 * the command ends then.
 */
export async function writtenBy(
  path: string,
  force: boolean,
  write: (draft: string) => Promise<void>,
): Promise<{ readonly signal: number } | undefined> {
  const { draft, isSpecial } = await draftOf(path, force);
  const file: Unfinished = {
    hasDraft: !isSpecial,
    finish: async () => {
      if (!isSpecial) await explained("create", path, () => rename(draft, path));
    },
    abandon: async () => {
      if (!isSpecial) await rm(draft, { force: true }).catch(() => {});
    },
  };
  return whole(
    async () => file,
    () => write(draft),
  );
}

/** What is written until the file is whole. Devices and pipes are written as they are. */
export async function draftOf(
  path: string,
  force: boolean,
): Promise<{ readonly draft: string; readonly isSpecial: boolean }> {
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined && !found.isFile() && !found.isDirectory()) {
    return { draft: path, isSpecial: true };
  }
  if (found?.isDirectory() === true) throw ioError("create", path, EISDIR);
  if (found !== undefined && !force) {
    throw traceError({ code: "exists", message: `${path} exists already`, facts: { path } });
  }
  const draft = `${path}.partial`;
  // Of an export that was killed.
  await rm(draft, { force: true }).catch(() => {});
  return { draft, isSpecial: false };
}

class FileTarget implements Target {
  readonly hasDraft: boolean;
  readonly #path: string;
  readonly #draft: string;
  readonly #file: FileHandle;

  constructor(path: string, draft: string, file: FileHandle, isSpecial: boolean) {
    this.#path = path;
    this.#draft = draft;
    this.#file = file;
    this.hasDraft = !isSpecial;
  }

  async write(chunk: string | Uint8Array): Promise<boolean> {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    let at = 0;
    while (at < bytes.length) {
      const { bytesWritten } = await explained("write", this.#path, () =>
        this.#file.write(bytes, at, bytes.length - at),
      );
      at += bytesWritten;
    }
    return true;
  }

  async finish(): Promise<void> {
    await explained("write", this.#path, () => this.#file.close());
    if (this.hasDraft) {
      await explained("create", this.#path, () => rename(this.#draft, this.#path));
    }
  }

  async abandon(): Promise<void> {
    await this.#file.close().catch(() => {});
    if (this.hasDraft) await rm(this.#draft, { force: true }).catch(() => {});
  }
}

/** A target that is given what it gets as gzip. */
function compressed(target: Target): Target {
  const gzip = createGzip();
  const pump = (async () => {
    for await (const part of gzip) await target.write(part as Uint8Array);
  })();
  // Its failure is met by the next write, or at the end.
  pump.catch(() => {});
  return {
    hasDraft: target.hasDraft,
    async write(chunk) {
      if (!gzip.write(chunk)) await Promise.race([once(gzip, "drain"), pump]);
      return true;
    },
    async finish() {
      gzip.end();
      await pump;
      await target.finish();
    },
    async abandon() {
      gzip.destroy();
      await target.abandon();
    },
  };
}
