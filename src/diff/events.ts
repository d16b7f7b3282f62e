/** The events behind canonical ones: fetched by number, decoded, and flattened into what can be compared part by part. */

import { decodeCall } from "../decode/call.js";
import { decodeExec, decodeExit, decodeSignal } from "../decode/event.js";
import { captureBytes, findCapture } from "../decode/memory.js";
import { ERRNO_NAMES } from "../decode/names.generated.js";
import type { Call, Value } from "../decode/value.js";
import type { Row } from "../replay/rows.js";
import { STRACE_NOTATION, valueText } from "../show/notation.js";
import { TEXT_OPTIONS, TextWriter } from "../show/text.js";
import { CaptureSide, EventKind } from "../trace/batch.js";
import { byteText, textBytes } from "../trace/byte_text.js";
import { threadName } from "../trace/process.js";
import type { Side } from "./canon/canonical.js";
import { forPieces, NOT_OK } from "./canon/pieces.js";
import { LENGTHS, Op, type Plan } from "./canon/plan.js";
import { kindText } from "./canon/settle.js";
import { isDamage } from "./canon/trace.js";
import type { Entry } from "./chains.js";
import type { EventRef } from "./result.js";
import type { RuleSet } from "./rules.js";

/** Leaves of what an event is: name of the part to its value. */
export type Leaves = ReadonlyMap<string, string>;

/** The bytes that a canonical event moved. */
export interface Moved {
  readonly data: Buffer;
  /** Where each of its events begins in them. */
  readonly starts: readonly { readonly offset: number; readonly seq: number }[];
  /** There are more that were not looked at. */
  readonly isCut: boolean;
}

/** What rules make of the texts of an event; `AS_IT_IS` leaves them. */
interface Texts {
  words(text: string): string;
  prose(text: string): string;
}
const AS_IT_IS: Texts = { words: (text) => text, prose: (text) => text };

/** Most bytes of a stream that are looked at. */
const MOST_BYTES = 8 << 20;
/** The same in words. */
export const MOST_BYTES_TEXT = "8 MiB";
/** Most characters of an event's line. */
const MOST_TEXT = 400;

/** Those of both traces. */
export interface BothEvents {
  readonly a: Events;
  readonly b: Events;
}

export class Events {
  readonly side: Side;
  readonly #rules: RuleSet;
  readonly #writer: TextWriter;

  constructor(side: Side, rules: RuleSet) {
    this.side = side;
    this.#rules = rules;
    this.#writer = new TextWriter(side.canon.trace, {
      ...TEXT_OPTIONS,
      notation: { ...STRACE_NOTATION, stringLimit: 48 },
      slow: Number.POSITIVE_INFINITY,
    });
  }

  async row(seq: number): Promise<Row | undefined> {
    try {
      return await this.side.canon.trace.eventAt(seq);
    } catch (error) {
      if (!isDamage(error)) throw error;
      // What is behind damage is not there.
      return undefined;
    }
  }

  async ref({ stream, thread, entry }: Entry): Promise<EventRef> {
    return this.refAt(stream.seq.at(entry), thread);
  }

  async refAt(seq: number, thread: number): Promise<EventRef> {
    const info = this.side.canon.trace.threads[thread];
    const row = await this.row(seq);
    const text = row === undefined ? "?" : this.text(row);
    return { seq, thread: info === undefined ? "p?" : threadName(info), text };
  }

  text({ batch, i }: Row): string {
    const text = this.#writer.text(batch, i);
    return text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}...` : text;
  }

  /** The decoded call; undefined for other events. */
  call({ batch, i }: Row): Call | undefined {
    return batch.kind[i] === EventKind.Call
      ? decodeCall(batch, i, this.side.canon.trace)
      : undefined;
  }

  #plan({ batch, i }: Row): Plan {
    return this.side.canon.planOf(batch.arch[i] ?? 0, batch.code[i] ?? -1);
  }

  /** All that is compared of an event but the bytes that it moved. */
  leaves(row: Row): Leaves {
    return this.#leaves(row, this.side.names.texts);
  }

  /** The same with its texts as the trace has them. */
  plainLeaves(row: Row): Leaves {
    return this.#leaves(row, AS_IT_IS);
  }

  #leaves(row: Row, texts: Texts): Leaves {
    const { batch, i } = row;
    const found = new Map<string, string>();
    switch (batch.kind[i]) {
      case EventKind.Call:
        this.#callLeaves(row, found, texts);
        break;
      case EventKind.Exec:
        this.#execLeaves(row, found, texts);
        break;
      case EventKind.Exit: {
        const { code, signal, core } = decodeExit(batch, i);
        found.set(
          "end",
          signal === undefined
            ? `exit ${code}`
            : `killed by ${signal}${core ? " (core dumped)" : ""}`,
        );
        break;
      }
      case EventKind.Signal:
        found.set("signal", decodeSignal(batch, i, this.side.canon.trace).name);
        break;
      case EventKind.Map:
        found.set("contents", this.#imageId(row));
        break;
      default:
    }
    return found;
  }

  #imageId({ batch, i }: Row): string {
    const hash = findCapture(batch, i, 2, CaptureSide.In);
    const capture = hash >= 0 ? hash : findCapture(batch, i, 1, CaptureSide.In);
    return capture < 0
      ? "?"
      : Buffer.from(captureBytes(batch, capture)).toString("hex").slice(0, 16);
  }

  #execLeaves({ batch, i }: Row, found: Map<string, string>, texts: Texts): void {
    const { path, argv, env, cwd } = decodeExec(batch, i);
    const words = (text: string) => texts.words(text);
    found.set("program", words(path));
    argv.forEach((word, k) => {
      found.set(`argument ${k}`, words(word));
    });
    for (const variable of env) {
      if (this.#rules.ignoresVariable(variable)) continue;
      const equals = variable.indexOf("=");
      if (equals > 0)
        found.set(`variable ${variable.slice(0, equals)}`, words(variable.slice(equals + 1)));
    }
    found.set("working directory", words(cwd));
    const credentials = findCapture(batch, i, 6, CaptureSide.In);
    if (credentials < 0) return;
    const text = Buffer.from(captureBytes(batch, credentials)).toString();
    for (const [, name = "", value = ""] of text.matchAll(CREDENTIAL)) found.set(name, value);
  }

  /** Names of the variables of a start in their order, those that a rule takes out left out. */
  variablesInOrder({ batch, i }: Row): string {
    const env = decodeExec(batch, i).env.filter((one) => !this.#rules.ignoresVariable(one));
    return env.map((variable) => variable.replace(/=.*$/s, "")).join(" ");
  }

  #callLeaves(row: Row, found: Map<string, string>, texts: Texts): void {
    const call = this.call(row);
    if (call === undefined) return;
    const { result } = call;
    if (result.status === "error") {
      found.set("errno", ERRNO_NAMES[result.errno ?? 0] || String(result.errno));
    } else if (result.status === "none") {
      found.set("errno", "never returned");
    }
    const plan = this.#plan(row);
    for (const [k, arg] of call.args.entries()) {
      if (this.#rules.ignoresArgument(call.name, arg.name)) continue;
      // How many bytes were asked for says the data itself, or how they were cut.
      if (plan.data !== undefined && (plan.data.slot === k || LENGTHS.has(arg.name))) continue;
      if (!isCompared(plan, k)) continue;
      this.#valueLeaves(arg.name, arg.value, found, texts);
    }
    if (result.status === "ok" && plan.result && plan.data === undefined) {
      found.set("result", valueText(result.value, { ...STRACE_NOTATION, descriptors: "number" }));
    }
  }

  #valueLeaves(name: string, value: Value, found: Map<string, string>, texts: Texts): void {
    switch (value.kind) {
      case "pointer":
        if (!this.#rules.has("addresses")) found.set(name, valueText(value, STRACE_NOTATION));
        return;
      case "deref":
        this.#valueLeaves(name, value.value, found, texts);
        return;
      case "fd":
        found.set(name, this.#objectText(value, texts));
        return;
      case "struct":
        for (const field of isDirectory(value)
          ? value.fields.filter(({ name: n }) => !/size$/.test(n))
          : value.fields) {
          const member = field.key ?? field.name;
          if (!this.#rules.ignoresMember(value.name, member) && !IGNORED_SIZES.has(member)) {
            this.#valueLeaves(`${name}.${member}`, field.value, found, texts);
          }
        }
        return;
      case "array":
        value.items.forEach((item, k) => {
          this.#valueLeaves(`${name}[${k}]`, item, found, texts);
        });
        return;
      case "change":
        this.#valueLeaves(`${name} before`, value.before, found, texts);
        this.#valueLeaves(`${name} after`, value.after, found, texts);
        return;
      case "choice":
        found.set(
          name,
          this.#isOwnClock(value) ? "a clock of its own" : valueText(value, STRACE_NOTATION),
        );
        return;
      case "bytes":
        found.set(name, texts.prose(Buffer.from(value.bytes).toString("latin1")));
        return;
      default:
        found.set(name, texts.words(valueText(value, STRACE_NOTATION)));
    }
  }

  /** Clocks of a process or thread are made of its id. */
  #isOwnClock({ set, value }: Extract<Value, { kind: "choice" }>): boolean {
    return set === "clock_id" && (Number(value) | 0) < 0 && this.#rules.has("pids");
  }

  #objectText(value: Extract<Value, { kind: "fd" }>, texts: Texts): string {
    const text = this.#openText(value, texts);
    return this.#rules.has("descriptors") ? text : `${value.fd} ${text}`;
  }

  #openText({ fd, name, object }: Extract<Value, { kind: "fd" }>, texts: Texts): string {
    if (object === undefined) return name ?? (fd < 0 ? String(fd) : "closed");
    // Where a stream leads is the business of whoever started the program.
    const stream = this.side.canon.names.stream(object.id);
    if (stream !== undefined) return stream;
    if (object.path.startsWith("/")) return texts.words(object.path);
    return kindText(object);
  }

  /** The numbers of all events that made a canonical one. */
  parts({ stream, entry }: Entry): number[] {
    return stream.partsOf(entry);
  }

  /** The bytes that a canonical event moved, the first `MOST_BYTES` of them. */
  async bytes(at: Entry): Promise<Moved> {
    const pieces: Uint8Array[] = [];
    const starts: { offset: number; seq: number }[] = [];
    let length = 0;
    for (const seq of this.parts(at)) {
      const row = await this.row(seq);
      const data = row === undefined ? undefined : this.#dataOf(row);
      if (row === undefined || data === undefined || length > MOST_BYTES) break;
      starts.push({ offset: length, seq });
      const take = (piece: Uint8Array): void => {
        pieces.push(piece);
        length += piece.length;
      };
      if (data.shape === "dirents") take(this.#listed(row));
      else forPieces(row.batch, row.i, data, (piece) => take(Buffer.from(piece)));
    }
    const whole = Buffer.concat(pieces);
    // Cut at the same byte in both traces, however their calls divide the stream.
    return { data: whole.subarray(0, MOST_BYTES), starts, isCut: length > MOST_BYTES };
  }

  #dataOf(row: Row): Plan["data"] {
    return row.batch.kind[row.i] === EventKind.Call ? this.#plan(row).data : undefined;
  }

  /**
   * What the calls of an event that moves bytes gave, in sum: how many bytes, as a rule. Undefined for events that move none, and
   * where the result says nothing or is an error.
   */
  async result(at: Entry): Promise<number | undefined> {
    let sum: number | undefined;
    for (const seq of this.parts(at)) {
      const row = await this.row(seq);
      if (row === undefined || this.#dataOf(row) === undefined) break;
      const { batch, i } = row;
      if (!this.#plan(row).result || ((batch.flags[i] ?? 0) & NOT_OK) !== 0) break;
      const [low, high] = [batch.ret[2 * i] ?? 0, batch.ret[2 * i + 1] ?? 0];
      sum = (sum ?? 0) + (low >>> 0) + high * 2 ** 32;
    }
    return sum;
  }

  /** Names of a directory, a line each. */
  #listed(row: Row): Buffer {
    const dirents = this.call(row)?.args.find(({ value }) => value.kind === "array")?.value;
    const names = (dirents?.kind === "array" ? dirents.items : []).flatMap((item) => {
      const name =
        item.kind === "struct" ? item.fields.find((f) => f.name === "d_name")?.value : undefined;
      return name?.kind === "bytes" ? [byteText(name.bytes)] : [];
    });
    const lines = names.filter((name) => name !== "." && name !== "..").join("\n");
    return Buffer.from(textBytes(names.length > 0 ? `${lines}\n` : lines));
  }
}

/** Whether a step of the plan looks at the argument, or all of them are decoded. */
function isCompared({ steps }: Plan, argument: number): boolean {
  return steps.some(
    ({ op, k, base }) =>
      op === Op.Decode ||
      op === Op.Control ||
      (op !== Op.Constant && k === argument) ||
      base === argument,
  );
}

/** `uid=0 0 0 0 gid=0 0 0 0 groups= umask=0022 capeff=0`. */
const CREDENTIAL = /(\w+)=([^=]*?)(?= \w+=|$)/g;

/** Lengths of addresses and messages, which say nothing of their own. */
const IGNORED_SIZES: ReadonlySet<string> = new Set(["msg_namelen", "msg_controllen", "msg_flags"]);

/** Sizes of directories say how their file system stores them. */
function isDirectory({ fields }: Extract<Value, { kind: "struct" }>): boolean {
  const mode = fields.find(({ name }) => name === "st_mode" || name === "stx_mode")?.value;
  return mode?.kind === "int" && (Number(mode.value) & 0o170000) === 0o040000;
}
