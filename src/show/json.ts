/**
 * Events as JSON objects. This file says what they look like; jsonl.ts writes the same bytes faster.
 *
 * The first line of JSONL (and the head of a JSON document) is `{"schema":"trace.events","version":1,...}`. Then one
 * object per event:
 *
 *     seq, kind        event number; call, signal, task, exec, exit, map, stop, note, trap or preempt
 *     time, dur        nanoseconds since the start of the recording; nanoseconds from entry to exit
 *     thread, tid      `p3.2`; the thread id of the system
 *     call, args       name of the syscall; arguments by name
 *     ret, err         the result, -1 and the name of the error where it failed; null where there was none
 *
 * Values: numbers are numbers up to 2^53, then decimal strings. Addresses are strings (`"0x7f..."`), NULL is null. Flags
 * are lists of names (`["O_RDONLY","O_CLOEXEC"]`), unknown bits a last `"0x10"`. A choice is its name, or the number that
 * has none. A descriptor is `{"fd":3,"path":"/etc/passwd"}`. Bytes are a string when they are UTF-8, else
 * `{"base64":...}`; when cut by the limit or the recording, `{"text":...,"size":4096}` or `{"base64":...,"size":4096}`.
 * A value that a call changed is `{"before":...,"after":...}`.
 */

import { isUtf8 } from "node:buffer";
import { decodeCall } from "../decode/call.js";
import type { TraceContext } from "../decode/context.js";
import {
  captureText,
  decodeExec,
  decodeExit,
  decodePreempt,
  decodeSignal,
  decodeTrap,
} from "../decode/event.js";
import { flags } from "../decode/flags.js";
import { captureBytes, findCapture } from "../decode/memory.js";
import { ERRNO_NAMES } from "../decode/names.generated.js";
import type { BytesValue, Call, Num, Value, WaitValue } from "../decode/value.js";
import { CaptureSide, type EventBatch, EventFlag, EventKind, KIND_NAMES } from "../trace/batch.js";
import { signed, unsigned } from "../trace/word.js";
import { restartName } from "./errno_text.js";
import { maskedEnvironment, maskVariable } from "./secrets.js";

export const SCHEMA = "trace.events";
export const SCHEMA_VERSION = 1;

export interface JsonOptions {
  /** Bytes of a buffer that are shown; paths are never cut. */
  readonly stringLimit: number;
  /** Environment values whose names look like secrets are shown too. */
  readonly showSecrets: boolean;
}

export const JSON_OPTIONS: JsonOptions = { stringLimit: 32, showSecrets: false };

/** The first line of a JSONL stream, without its line end. */
export function jsonHeader(
  facts: Readonly<Record<string, string | number | boolean>> = {},
): string {
  return JSON.stringify({ schema: SCHEMA, version: SCHEMA_VERSION, ...facts });
}

export function jsonNumber(value: Num): string {
  return typeof value === "number" ? String(value) : `"${value}"`;
}

function jsonAddress(address: Num): string {
  return `"0x${address.toString(16)}"`;
}

/** The value as JSON text. */
export function jsonValue(value: Value, options: JsonOptions): string {
  switch (value.kind) {
    case "int":
      return jsonNumber(value.value);
    case "flags":
      return flagsJson(value.names, value.rest);
    case "choice":
      return value.name === undefined ? jsonNumber(value.value) : JSON.stringify(value.name);
    case "fd":
      if (value.object === undefined) return `{"fd":${value.fd}}`;
      return `{"fd":${value.fd},"path":${JSON.stringify(value.object.path)}}`;
    case "bytes":
      return bytesJson(value, options);
    case "pointer":
      return value.addr === 0 ? "null" : jsonAddress(value.addr);
    case "deref":
      return jsonValue(value.value, options);
    case "sigset": {
      const names = JSON.stringify(value.names.map((name) => `SIG${name}`));
      return value.negated ? `{"not":${names}}` : names;
    }
    case "apply":
      if (value.plain !== undefined) return JSON.stringify(value.plain);
      return value.args.length === 1 && value.args[0] !== undefined
        ? jsonValue(value.args[0], options)
        : list(value.args, options);
    case "wait":
      return waitJson(value);
    case "change":
      return `{"before":${jsonValue(value.before, options)},"after":${jsonValue(value.after, options)}}`;
    case "symbol":
      return JSON.stringify(value.text);
    default:
      return compoundJson(value, options);
  }
}

function compoundJson(
  value: Extract<Value, { kind: "struct" | "array" | "list" }>,
  options: JsonOptions,
): string {
  switch (value.kind) {
    case "struct":
      return object(
        value.fields.map((field) => [field.key ?? field.name, field.value]),
        options,
      );
    case "array": {
      const items =
        value.environment === true && !options.showSecrets
          ? maskedEnvironment(value.items)
          : value.items;
      const text = list(items, options);
      return value.elided ? `{"items":${text},"more":true}` : text;
    }
    case "list": {
      if (value.plain !== undefined) return JSON.stringify(value.plain);
      const labelled = value.items.every(({ label }) => label !== undefined);
      if (!labelled)
        return list(
          value.items.map((item) => item.value),
          options,
        );
      return object(
        value.items.map(({ label = "", value: item }) => [label, item]),
        options,
      );
    }
  }
}

function list(items: readonly Value[], options: JsonOptions): string {
  return `[${items.map((item) => jsonValue(item, options)).join(",")}]`;
}

function object(fields: readonly (readonly [string, Value])[], options: JsonOptions): string {
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${jsonValue(value, options)}`).join(",")}}`;
}

export function flagsJson(names: readonly string[], rest: Num): string {
  const all = rest === 0 ? names : [...names, `0x${rest.toString(16)}`];
  return JSON.stringify(all);
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text that the bytes are in UTF-8, or undefined. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  return isUtf8(bytes) ? decoder.decode(bytes) : undefined;
}

function bytesJson(value: BytesValue, options: JsonOptions): string {
  if (value.style === "blob") return JSON.stringify(Buffer.from(value.bytes).toString("hex"));
  const limit = value.style === "path" ? value.bytes.length : options.stringLimit;
  const cut = value.bytes.length > limit;
  const shown = cut ? value.bytes.subarray(0, limit) : value.bytes;
  const text =
    value.style === "hex" ? undefined : (utf8Text(shown) ?? (cut ? trimmed(shown) : undefined));
  const whole = value.total <= shown.length;
  if (text !== undefined) {
    return whole ? JSON.stringify(text) : `{"text":${JSON.stringify(text)},"size":${value.total}}`;
  }
  const base64 = Buffer.from(shown).toString("base64");
  return whole ? `{"base64":"${base64}"}` : `{"base64":"${base64}","size":${value.total}}`;
}

/** Whether bytes are shown as text; those that were cut may end in the middle of a character. */
export function isText(bytes: Uint8Array, whole: boolean): boolean {
  return isUtf8(bytes) || (!whole && trimmed(bytes) !== undefined);
}

/** Text of bytes that were cut in the middle of a character. */
function trimmed(bytes: Uint8Array): string | undefined {
  for (let less = 1; less <= 3 && less < bytes.length; less++) {
    const text = utf8Text(bytes.subarray(0, bytes.length - less));
    if (text !== undefined) return text;
  }
  return undefined;
}

function waitJson(value: WaitValue): string {
  const { exited, signal, core, stop, event, continued, status } = value;
  if (exited !== undefined) return JSON.stringify({ exited });
  if (signal !== undefined) return JSON.stringify({ signal, core: core === true });
  if (stop !== undefined) return JSON.stringify(event === undefined ? { stop } : { stop, event });
  return continued === true ? '{"continued":true}' : String(status);
}

/** `p3.2`; the first thread of a process is `p3`. */
export function threadName(trace: TraceContext, index: number): string {
  const thread = trace.threads[index];
  if (thread === undefined) return "p?";
  return thread.ordinal === 1 ? `p${thread.process}` : `p${thread.process}.${thread.ordinal}`;
}

/** Errno to name; `E<number>` where nothing is known. */
export function errnoName(errno: number): string {
  return restartName(errno) ?? (ERRNO_NAMES[errno] || `E${errno}`);
}

/** A time of the batch; a damaged one is 0. */
export function finite(value: number | undefined): number {
  return value !== undefined && Number.isFinite(value) ? value : 0;
}

/** Event `i` of the batch as one JSON object. */
export function jsonEvent(
  batch: EventBatch,
  i: number,
  trace: TraceContext,
  options: JsonOptions = JSON_OPTIONS,
): string {
  const kind = batch.kind[i] ?? 0;
  const index = batch.thread[i] ?? 0;
  let text = `{"seq":${batch.firstSeq + i},"kind":"${KIND_NAMES[kind] ?? "unknown"}","time":${finite(batch.start[i])}`;
  if (kind === EventKind.Call) text += `,"dur":${finite(batch.duration[i])}`;
  text += `,"thread":"${threadName(trace, index)}","tid":${trace.threads[index]?.tid ?? 0}`;
  if (kind === EventKind.Call) return `${text}${callJson(batch, i, trace, options)}}`;
  for (const [key, value] of eventFacts(batch, i, trace, options)) text += `,"${key}":${value}`;
  return `${text}}`;
}

/** From `,"call":` to the end of the object, without its brace. */
export function callJson(
  batch: EventBatch,
  i: number,
  trace: TraceContext,
  options: JsonOptions,
): string {
  const call = decodeCall(batch, i, trace);
  let text = `,"call":${JSON.stringify(call.name)},"args":{`;
  let first = true;
  for (const arg of call.args) {
    text += `${first ? "" : ","}${JSON.stringify(arg.name)}:${jsonValue(arg.value, options)}`;
    first = false;
  }
  return `${text}}${resultJson(call, options)}${tailJson(call, batch, i)}`;
}

function resultJson({ result }: Call, options: JsonOptions): string {
  if (result.status === "none") return ',"ret":null,"state":"unfinished"';
  if (result.status === "unseen") return ',"ret":null,"state":"unseen"';
  if (result.status === "error") return `,"ret":-1,"err":"${errnoName(result.errno ?? 0)}"`;
  const { value, note } = result;
  let text = `,"ret":${value.kind === "fd" ? value.fd : jsonValue(value, options)}`;
  if (value.kind === "fd" && value.object !== undefined) {
    text += `,"retPath":${JSON.stringify(value.object.path)}`;
  }
  return note === undefined ? text : `${text},"note":${jsonValue(note, options)}`;
}

function tailJson(call: Call, batch: EventBatch, i: number): string {
  const flagBits = batch.flags[i] ?? 0;
  let text = "";
  const resolved = call.args.filter((arg) => arg.resolved !== undefined);
  if (resolved.length > 0) {
    const paths = resolved.map(
      (arg) => `${JSON.stringify(arg.name)}:${JSON.stringify(arg.resolved)}`,
    );
    text += `,"resolved":{${paths.join(",")}}`;
  }
  if ((flagBits & EventFlag.Restarted) !== 0) text += ',"restarted":true';
  if ((flagBits & EventFlag.Partial) !== 0) text += ',"partial":true';
  if (batch.arch[i] === 1) text += ',"arch":"i386"';
  return text;
}

/** Keys and JSON texts of what an event that is no call has of its own. */
function eventFacts(
  batch: EventBatch,
  i: number,
  trace: TraceContext,
  options: JsonOptions,
): (readonly [string, string])[] {
  const low = (k: number) => batch.args[12 * i + 2 * k] ?? 0;
  const high = (k: number) => batch.args[12 * i + 2 * k + 1] ?? 0;
  switch (batch.kind[i]) {
    case EventKind.Signal: {
      const { name, info, disposition } = decodeSignal(batch, i, trace);
      const facts: (readonly [string, string])[] = [["signal", JSON.stringify(name)]];
      if (info !== undefined) facts.push(["info", jsonValue(info, options)]);
      if (disposition !== undefined) facts.push(["disposition", JSON.stringify(disposition)]);
      return facts;
    }
    case EventKind.Task: {
      const parent = low(0) === 0 ? "null" : `"${threadName(trace, low(0) - 1)}"`;
      const { names, rest } = flags("clone_flags", unsigned(low(1), high(1)));
      return [
        ["parent", parent],
        ["flags", flagsJson(names, rest)],
      ];
    }
    case EventKind.Exec:
      return execFacts(batch, i, options);
    case EventKind.Exit: {
      const { code, signal, core, process } = decodeExit(batch, i);
      const how =
        signal === undefined ? ["code", String(code)] : ["signal", JSON.stringify(signal)];
      return [
        [how[0] ?? "", how[1] ?? ""],
        ["core", String(core)],
        ["process", String(process)],
      ];
    }
    case EventKind.Map:
      return mapFacts(batch, i, low, high);
    case EventKind.Stop:
      return [["signal", JSON.stringify(decodeSignal(batch, i, trace).name)]];
    case EventKind.Note:
      return [
        ["text", JSON.stringify(captureText(batch, i, 0) ?? "")],
        ["count", jsonNumber(unsigned(low(0), high(0)))],
      ];
    case EventKind.Trap:
      return trapFacts(batch, i);
    case EventKind.Preempt: {
      const { turn, ip } = decodePreempt(batch, i);
      return turn ? [["turn", "true"]] : [["ip", ip === undefined ? "null" : jsonAddress(ip)]];
    }
    default:
      return [["code", String(batch.code[i] ?? 0)]];
  }
}

function trapFacts(batch: EventBatch, i: number): (readonly [string, string])[] {
  const { instruction, before, after } = decodeTrap(batch, i);
  return [
    ["instruction", JSON.stringify(instruction)],
    ...before.map(({ name, value }) => [`${name}Before`, jsonNumber(value)] as const),
    ...after.map(({ name, value }) => [name, jsonNumber(value)] as const),
  ];
}

function execFacts(
  batch: EventBatch,
  i: number,
  options: JsonOptions,
): (readonly [string, string])[] {
  const { path, argv, env, cwd, interpreter } = decodeExec(batch, i);
  const shown = options.showSecrets ? env : env.map(maskVariable);
  return [
    ["path", JSON.stringify(path)],
    ["argv", JSON.stringify(argv)],
    ["env", JSON.stringify(shown)],
    ["cwd", JSON.stringify(cwd)],
    ["interpreter", interpreter === "" ? "null" : JSON.stringify(interpreter)],
  ];
}

function mapFacts(
  batch: EventBatch,
  i: number,
  low: (k: number) => number,
  high: (k: number) => number,
): (readonly [string, string])[] {
  const buildId = findCapture(batch, i, 1, CaptureSide.In);
  const id =
    buildId < 0 ? "null" : `"${Buffer.from(captureBytes(batch, buildId)).toString("hex")}"`;
  const prot = flags("mmap_prot", unsigned(low(3), high(3)));
  return [
    ["path", JSON.stringify(captureText(batch, i, 0) ?? "")],
    ["buildId", id],
    ["base", `"0x${unsigned(low(0), high(0)).toString(16)}"`],
    ["length", jsonNumber(unsigned(low(1), high(1)))],
    ["offset", jsonNumber(signed(low(2), high(2)))],
    ["prot", flagsJson(prot.names, prot.rest)],
  ];
}
