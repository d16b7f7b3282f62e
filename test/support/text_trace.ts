/** Small traces written by hand: built as text, made into files by the assembler of the engine. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { native } from "../../src/native.js";
import { unwrap } from "../../src/trace/failure.js";
import { syscallNumber } from "./number.js";

/** Text in quotes as the text form has it. */
export function quoted(bytes: string | Uint8Array): string {
  const text = Buffer.from(bytes)
    .toString("latin1")
    .replace(/["\\]/g, "\\$&")
    .replace(/[^ -~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `"${text}"`;
}

export interface LineSpec {
  readonly thread?: number;
  readonly code?: number;
  readonly arch?: number;
  readonly flags?: number;
  readonly start?: number;
  readonly end?: number;
  readonly span?: number;
  readonly ret?: number | bigint;
  readonly args?: readonly (number | bigint)[];
  /** Slot, side, address, bytes. */
  readonly captures?: readonly (readonly [string | number, string, number, string | Uint8Array])[];
  /** Slot, descriptor, object. */
  readonly refs?: readonly (readonly [string | number, number, number])[];
}

export class TextTrace {
  readonly #head: string[] = [
    "trace 1",
    "tick 100",
    "start 1700000000123456789",
    `id ${"07".repeat(16)}`,
  ];
  readonly #definitions: string[] = [];
  readonly #events: string[] = [];
  #threads = 0;
  #objects = 0;
  #count = 0;
  #clock = 0;

  meta(key: string, value: string): this {
    this.#head.push(`meta ${quoted(key)} ${quoted(value)}`);
    return this;
  }

  thread(
    process: number,
    ordinal: number,
    tid: number,
    pid: number,
    parent = -1,
    created = 0,
  ): this {
    const from = parent < 0 ? "-" : parent;
    this.#definitions.push(
      `thread ${this.#threads++} process=${process} ordinal=${ordinal} tid=${tid} pid=${pid} parent=${from} created=${created}`,
    );
    return this;
  }

  object(kind: string, path: string | Uint8Array, detail = ""): this {
    this.#definitions.push(
      `object ${this.#objects++} kind=${kind} dev=1 ino=${this.#objects} created=- ${quoted(path)} ${quoted(detail)}`,
    );
    return this;
  }

  event(kind: string, spec: LineSpec = {}): this {
    const { thread = 0, code = 0, arch = 0, flags = 0, span = 0, ret = 0, args = [] } = spec;
    const start = spec.start ?? this.#clock;
    const end = spec.end ?? start + (kind === "call" ? 1000 : 0);
    this.#clock = Math.max(this.#clock, end) + 1000;
    const words = args.map((arg) => `0x${BigInt.asUintN(64, BigInt(arg)).toString(16)}`);
    this.#events.push(
      `event ${this.#count++} ${kind} thread=${thread} code=${code} arch=${arch} flags=${flags} start=${start} end=${end} span=${span} ret=${ret} ip=0x401000 sp=0x7ffc0000 args=${words.join(",")}`,
    );
    for (const [slot, side, addr, bytes] of spec.captures ?? []) {
      const size = Buffer.from(bytes).length;
      this.#events.push(
        `  capture slot=${slot} side=${side} status=whole addr=0x${addr.toString(16)} wanted=${size} ${quoted(bytes)}`,
      );
    }
    for (const [slot, fd, object] of spec.refs ?? []) {
      this.#events.push(`  ref slot=${slot} fd=${fd} object=${object}`);
    }
    return this;
  }

  /** A call by its name. A negative result is a failure unless `flags` says otherwise. */
  call(name: string, spec: LineSpec = {}): this {
    const failed = Number(spec.ret ?? 0) < 0 ? 8 : 0;
    const code = syscallNumber(name, spec.arch ?? 0);
    return this.event("call", { ...spec, code, flags: spec.flags ?? failed });
  }

  get text(): string {
    return `${[...this.#head, ...this.#definitions, ...this.#events].join("\n")}\n`;
  }

  async write(path: string): Promise<string> {
    const text = `${path}.txt`;
    writeFileSync(text, this.text);
    unwrap(await native().assembleText(text, path, true));
    return path;
  }
}

/**
 * A shell (p1) that reads a file, starts `cat` (p2), is interrupted, and talks to a server. 15 events.
 */
export function sampleTrace(): TextTrace {
  return new TextTrace()
    .meta("argv", JSON.stringify(["sh", "-c", "cat | x"]))
    .meta("cwd", "/srv")
    .meta("backend", "ptrace")
    .meta("data", "all")
    .meta("status", "0")
    .meta("lost", "0 0 1 0")
    .meta("notes", "one remark")
    .thread(1, 1, 100, 100)
    .thread(1, 2, 101, 100, 0, 7)
    .thread(2, 1, 102, 102, 0, 4)
    .object("dir", "/srv")
    .object("file", "/etc/passwd")
    .object("pipe", "pipe:[17]")
    .object("socket", "socket:[18]", "TCP:[127.0.0.1:4000->10.0.0.1:443]")
    .event("exec", { captures: programStart("/bin/sh", ["sh", "-c", "cat | x"], [], "/srv") })
    .call("openat", {
      args: [-100, 0x1000, 0x80000, 0],
      ret: 3,
      captures: [[1, "in", 0x1000, "/etc/passwd\0"]],
      refs: [
        ["cwd", -1, 0],
        ["ret", 3, 1],
      ],
    })
    .call("read", {
      args: [3, 0x2000, 100],
      ret: 5,
      end: 9000,
      captures: [[1, "out", 0x2000, "root:"]],
      refs: [[0, 3, 1]],
    })
    .call("openat", {
      args: [-100, 0x1000, 0, 0],
      ret: -2,
      captures: [[1, "in", 0x1000, "sub/../missing.conf\0"]],
      refs: [["cwd", -1, 0]],
    })
    .event("task", { thread: 2, args: [1, 0x11] })
    .event("exec", {
      thread: 2,
      captures: programStart("/bin/cat", ["cat", "it's"], ["LANG=C"], "/tmp/a b"),
    })
    .call("write", {
      thread: 2,
      args: [1, 0x3000, 5],
      ret: 5,
      captures: [[1, "in", 0x3000, "hello"]],
      refs: [[0, 1, 2]],
    })
    .event("task", { thread: 1, args: [1, 0x10f00] })
    .call("read", { args: [0, 0x2000, 100], ret: -512, flags: 32 + 8, refs: [[0, 0, 2]] })
    .call("read", {
      args: [0, 0x2000, 100],
      ret: 5,
      flags: 2,
      start: 20_000,
      end: 12_020_000,
      captures: [[1, "out", 0x2000, "hello"]],
      refs: [[0, 0, 2]],
    })
    .event("signal", { code: 17 })
    .event("exit", { thread: 2, code: 0x200, args: [1, 1500, 2500, 2048] })
    .call("sendto", {
      thread: 1,
      args: [5, 0x3000, 3, 0, 0, 0],
      ret: 3,
      captures: [[1, "in", 0x3000, Uint8Array.of(1, 2, 255)]],
      refs: [[0, 5, 3]],
    })
    .call("exit_group", { args: [0], flags: 1 })
    .event("exit", { code: 0, args: [1, 10, 20, 4096] });
}

const secret = "API_TOKEN=s3cret";

function programStart(
  path: string,
  argv: readonly string[],
  env: readonly string[],
  cwd: string,
): (readonly [number, string, number, string])[] {
  const strings = (list: readonly string[]) => list.map((text) => `${text}\0`).join("");
  return [
    [0, "in", 0, path],
    [1, "in", 0, strings(argv)],
    [2, "in", 0, strings(["HOME=/root", secret, ...env])],
    [3, "in", 0, cwd],
    [4, "in", 0, ""],
  ];
}

/** A folder that is there for one test file. */
export function temporaryFolder(): {
  readonly path: string;
  file(name: string): string;
  remove(): void;
} {
  const path = mkdtempSync(join(tmpdir(), "trace-test-"));
  return {
    path,
    file: (name) => join(path, name),
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
