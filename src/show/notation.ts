/** Values in strace's notation. What a line looks like around them is in strace.ts and text.ts. */

import { unknownName } from "../decode/flags.js";
import type {
  ArrayValue,
  BytesValue,
  ChoiceValue,
  FdValue,
  FlagsValue,
  IntValue,
  ListValue,
  Num,
  PointerValue,
  SigsetValue,
  StructValue,
  Value,
  WaitValue,
} from "../decode/value.js";
import type { FdObject } from "../trace/batch.js";
import { textBytes } from "../trace/byte_text.js";
import type { Palette } from "./palette.js";
import { maskedEnvironment } from "./secrets.js";

export interface Notation {
  /** Bytes of a string and elements of an array that are shown (strace -s). */
  readonly stringLimit: number;
  /** All members of structs, all elements of arrays (strace -v). */
  readonly verbose: boolean;
  /** What follows a descriptor: nothing, the path (strace -y), path or addresses and device (strace -yy). */
  readonly descriptors: "number" | "path" | "full";
  /** Environment values whose names look like secrets are shown as they are. Default: masked. */
  readonly showSecrets?: boolean;
  /** Colours strings and paths. */
  readonly paint?: Palette;
}

export const STRACE_NOTATION: Notation = { stringLimit: 32, verbose: false, descriptors: "path" };

/** The value as strace writes it. */
export function valueText(value: Value, style: Notation): string {
  switch (value.kind) {
    case "int":
      return intText(value);
    case "flags":
      return flagsText(value);
    case "choice":
      return choiceText(value);
    case "fd":
      return fdText(value, style);
    case "bytes":
      return bytesText(value, style);
    case "pointer":
      return pointerText(value);
    case "deref":
      return `[${valueText(value.value, style)}]`;
    case "struct":
      return structText(value, style);
    case "array":
      return arrayText(value, style);
    case "sigset":
      return sigsetText(value);
    case "apply":
      return `${value.name}(${value.args.map((arg) => valueText(arg, style)).join(", ")})`;
    case "wait":
      return waitText(value);
    case "change":
      return `${valueText(value.before, style)} => ${valueText(value.after, style)}`;
    case "symbol":
      return value.text;
    case "list":
      return listText(value, style);
  }
}

/** `0x1f`; 0 is `0`, as C's `%#x` has it. */
export function hexText(value: Num): string {
  return value === 0
    ? "0"
    : `0x${(value < 0 ? BigInt.asUintN(64, BigInt(value)) : value).toString(16)}`;
}

function intText(value: IntValue): string {
  if (value.text !== undefined) return value.text;
  switch (value.base) {
    case "hex":
      return hexText(value.value);
    case "oct":
      return value.value === 0 ? "0" : `0${value.value.toString(8)}`;
    case "dec":
      return value.value.toString();
  }
}

function flagsText({ names, rest, set }: FlagsValue): string {
  if (names.length === 0) {
    if (rest === 0) return set.startsWith("termios_") ? "" : "0";
    return remarked(rest, set);
  }
  if (rest === 0) return names.join("|");
  // The class of a fanotify group is written apart from its flags.
  const apart = set === "fanotify_init_flags" && names.length === 1 && names[0]?.includes("CLASS");
  return `${names.join("|")}|${apart === true ? remarked(rest, set) : hexText(rest)}`;
}

/** A number that no table names, with what kind of name it lacks. */
function remarked(value: Num, set: string): string {
  const name = unknownName(set);
  return name === "" ? hexText(value) : `${hexText(value)} /* ${name} */`;
}

function choiceText({ name, value, set }: ChoiceValue): string {
  return name ?? `${hexText(value)} /* ${unknownName(set)} */`;
}

function fdText({ fd, name, object }: FdValue, style: Notation): string {
  const number = name ?? String(fd);
  if (object === undefined || style.descriptors === "number") return number;
  const text = objectText(object, style.descriptors === "full");
  return number + (style.paint === undefined ? text : style.paint("path", text));
}

const objectTexts = new WeakMap<FdObject, string>();

/** `</etc/passwd>`, `<socket:[17]>`; with `full` also what -yy adds. */
export function objectText(object: FdObject, full: boolean): string {
  if (full) return fullObjectText(object);
  let text = objectTexts.get(object);
  if (text === undefined) {
    text = plainObjectText(object.path);
    objectTexts.set(object, text);
  }
  return text;
}

const DELETED = " (deleted)";

function plainObjectText(path: string): string {
  if (path.endsWith(DELETED) && path.startsWith("/")) {
    return `<${escapePath(path.slice(0, -DELETED.length))}>(deleted)`;
  }
  return `<${escapePath(path)}>`;
}

function fullObjectText(object: FdObject): string {
  if (object.detail !== "") {
    const device = object.kind === "chr" || object.kind === "blk";
    if (!device) return `<${socketText(object)}>`;
    return `<${escapePath(object.path)}<${object.detail}>>`;
  }
  return objectText(object, false);
}

/** `TCP:[127.0.0.1:80->127.0.0.1:4711]`, or the protocol and the inode: `UNIX-STREAM:[4711]`. */
function socketText({ detail, path }: FdObject): string {
  const inode = /^socket:(\[\d+\])$/.exec(path)?.[1];
  if (detail.includes("[") || inode === undefined) return detail;
  return `${detail.startsWith("NETLINK-") ? "NETLINK" : detail}:${inode}`;
}

/** A path between angle brackets: those are escaped too. */
function escapePath(path: string): string {
  return quoteBytes(textBytes(path), "<>", "");
}

/** Most of a path that strace reads. */
const PATH_LIMIT = 4095;

function bytesText(value: BytesValue, style: Notation): string {
  const { bytes, total } = value;
  if (value.fault !== undefined) return hexText(value.fault);
  if (value.style === "blob") return `0x${Buffer.from(bytes).toString("hex")}`;
  const limit = value.style === "path" ? PATH_LIMIT : style.stringLimit;
  const shown = bytes.length > limit ? bytes.subarray(0, limit) : bytes;
  const quoted = value.style === "hex" ? quoteHex(shown) : quoteBytes(shown);
  const text = total > shown.length ? `${quoted}...` : quoted;
  return style.paint === undefined ? text : style.paint("string", text);
}

const HEX_ESCAPES: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `\\x${byte.toString(16).padStart(2, "0")}`,
);

function quoteHex(bytes: Uint8Array): string {
  let text = '"';
  for (const byte of bytes) text += HEX_ESCAPES[byte];
  return `${text}"`;
}

const ESCAPES: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const known = { 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\" }[
    byte
  ];
  if (known !== undefined) return known;
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "";
});

/** A C string literal: octal escapes are as short as the next character allows. */
export function quoteBytes(bytes: Uint8Array, extra = "", quote = '"'): string {
  let text = quote;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    const plain = ESCAPES[byte] ?? "";
    if (plain !== "" && (extra === "" || !extra.includes(plain))) {
      text += plain;
      continue;
    }
    const next = bytes[at + 1] ?? 0;
    const digits = byte.toString(8);
    text += `\\${next >= 0x30 && next <= 0x37 ? digits.padStart(3, "0") : digits}`;
  }
  return text + quote;
}

function pointerText({ addr, note }: PointerValue): string {
  const text = addr === 0 ? "NULL" : hexText(addr);
  return note === undefined ? text : `${text} /* ${note} */`;
}

function structText(value: StructValue, style: Notation): string {
  if (value.brief !== undefined && !style.verbose) return valueText(value.brief, style);
  const parts: string[] = [];
  let hidden = value.elided;
  for (const field of value.fields) {
    if (field.hidden === true) continue;
    if (field.detail === true && !style.verbose) hidden = true;
    else
      parts.push(
        field.name === ""
          ? valueText(field.value, style)
          : `${field.name}=${valueText(field.value, style)}`,
      );
  }
  if (hidden) parts.push("...");
  const text = `{${parts.join(", ")}}`;
  return value.note === undefined ? text : `${text} /* ${value.note} */`;
}

function arrayText(value: ArrayValue, style: Notation): string {
  if (value.brief !== undefined && !style.verbose) return valueText(value.brief, style);
  const limit = style.verbose || value.whole === true ? value.items.length : style.stringLimit;
  const parts: string[] = [];
  const secret = value.environment === true && style.showSecrets !== true;
  const items = secret ? maskedEnvironment(value.items) : value.items;
  for (let k = 0; k < items.length && k < limit; k++) {
    const item = items[k];
    if (item !== undefined) parts.push(valueText(item, style));
  }
  if (value.elided || value.items.length > limit) parts.push("...");
  return `[${parts.join(value.spaced === true ? " " : ", ")}]`;
}

function sigsetText({ names, negated }: SigsetValue): string {
  return `${negated ? "~" : ""}[${names.join(" ")}]`;
}

function listText({ sep, items, equals }: ListValue, style: Notation): string {
  const between = equals === true ? "=" : " ";
  return items
    .map(
      ({ label, value }) => (label === undefined ? "" : label + between) + valueText(value, style),
    )
    .join(sep);
}

function waitText(value: WaitValue): string {
  if (value.exited !== undefined) return `{WIFEXITED(s) && WEXITSTATUS(s) == ${value.exited}}`;
  if (value.signal !== undefined) {
    const core = value.core === true ? " && WCOREDUMP(s)" : "";
    return `{WIFSIGNALED(s) && WTERMSIG(s) == ${value.signal}${core}}`;
  }
  if (value.continued === true) return "{WIFCONTINUED(s)}";
  if (value.stop === undefined) return hexText(value.status);
  const stop = `{WIFSTOPPED(s) && WSTOPSIG(s) == ${value.stop}}`;
  return value.event === undefined ? stop : `${stop} | ${value.event} << 16`;
}
