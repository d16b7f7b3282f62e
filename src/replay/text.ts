/** A desync report for people. */

import { decodeCall } from "../decode/call.js";
import type { TraceContext } from "../decode/context.js";
import type { BytesValue, Value } from "../decode/value.js";
import type { Painter } from "../report/color.js";
import { tableText } from "../report/table.js";
import { printable } from "../report/text.js";
import {
  hexText,
  type Notation,
  quoteBytes,
  STRACE_NOTATION,
  valueText,
} from "../show/notation.js";
import { COLOURS, PLAIN } from "../show/palette.js";
import { callText } from "../show/strace.js";
import { TEXT_OPTIONS, TextWriter } from "../show/text.js";
import { EventKind } from "../trace/batch.js";
import { shellCommand } from "../tree/shell.js";
import type { ByteDifference, Field } from "./fields.js";
import { placeText } from "./place.js";
import type { DesyncReport } from "./report.js";
import { type Row, seqOf } from "./rows.js";

const NOTATION: Notation = STRACE_NOTATION;
/** Label column of the facts. */
const LABEL = 10;
/** Most letters of one value, and of one call. */
const VALUE_WIDTH = 56;
const BYTES_SHOWN = 16;
/** Of them before the difference. */
const BYTES_BEFORE = 4;

export function reportText(
  report: DesyncReport,
  trace: TraceContext,
  paint: Painter,
  colour: boolean,
): string {
  const writer = new TextWriter(trace, { ...TEXT_OPTIONS, palette: colour ? COLOURS : PLAIN });
  const head = `replay differs from the recording at @${report.seq}: ${report.summary}`;
  const sections = [
    `${paint("bold", `trace: ${head}`)}\n`,
    facts(report, trace, writer, paint),
    fieldTable(report.fields, paint),
    report.bytes === undefined ? "" : bytesText(report.bytes, paint),
    aroundText(report, writer, paint),
    report.hints.map((hint) => `  ${paint("dim", "->")} ${printable(hint)}\n`).join(""),
  ];
  return sections.filter((section) => section !== "").join("\n");
}

function facts(
  report: DesyncReport,
  trace: TraceContext,
  writer: TextWriter,
  paint: Painter,
): string {
  const { process, expected, actual, place, expectedPlace, callers, script } = report;
  const command = process.argv.length > 0 ? shellCommand(process.argv) : process.path;
  const lines: [string, string][] = [
    ["process", `${process.thread} [${process.tid}]  ${printable(command)}`],
  ];
  if (expected !== undefined) lines.push(["expected", writer.text(expected.batch, expected.i)]);
  lines.push(["replayed", actual === undefined ? "nothing" : entryText(actual, trace, writer)]);
  if (expectedPlace !== undefined) lines.push(["recorded at", printable(placeText(expectedPlace))]);
  if (place !== undefined) {
    const label = expectedPlace === undefined ? "at" : "replayed at";
    lines.push([label, printable(placeText(place))]);
  }
  callers.forEach((caller, k) => {
    lines.push([k === 0 ? "called by" : "", printable(placeText(caller))]);
  });
  script.forEach(({ function: name, file, line }, k) => {
    const where = line > 0 ? `${file}:${line}` : file;
    lines.push([k === 0 ? "in script" : "", printable(`${where} (${name})`)]);
  });
  const room = Math.max(LABEL, ...lines.map(([label]) => label.length + 2));
  return lines.map(([label, text]) => `  ${paint("dim", label.padEnd(room))}${text}\n`).join("");
}

/** A call that nobody has answered. */
function entryText({ batch, i }: Row, trace: TraceContext, writer: TextWriter): string {
  if (batch.kind[i] !== EventKind.Call) return writer.text(batch, i);
  const { entry, exit } = callText(decodeCall(batch, i, trace), NOTATION);
  return `${entry}${exit})`;
}

function fieldTable(fields: readonly Field[], paint: Painter): string {
  if (fields.length === 0) return "";
  const rows = fields.map((field) => {
    const [expected, actual] = shownPair(field);
    const style = "red";
    const cell = (text: string) => (field.differs ? ({ text, style } as const) : text);
    return [field.differs ? cell(">") : "", field.name, cell(expected), cell(actual)];
  });
  const columns = ["", "", "expected", "replayed"].map(
    (head) => ({ head, align: "left" }) as const,
  );
  return tableText(columns, rows, { paint }).replace(/^(?=.)/gm, "  ");
}

/** Both values as text, so cut that the first difference is seen. */
function shownPair({ expected, actual, differs }: Field): [string, string] {
  const whole = { ...NOTATION, verbose: differs };
  if (differs && expected.kind === "bytes" && actual.kind === "bytes") {
    const same = firstDifference(expected.bytes, actual.bytes);
    const from = same > NOTATION.stringLimit / 2 ? same - 4 : 0;
    return [tail(expected, from), tail(actual, from)];
  }
  const texts = [expected, actual].map((value: Value) => valueText(value, whole)) as [
    string,
    string,
  ];
  const same = differs ? commonStart(...texts) : 0;
  const from = same > VALUE_WIDTH / 2 ? same - VALUE_WIDTH / 4 : 0;
  return texts.map((text) => window(text, from)) as [string, string];
}

function tail(value: BytesValue, from: number): string {
  const rest = { ...value, bytes: value.bytes.subarray(from), total: value.total - from };
  // A path is never cut by its notation.
  const text = valueText(rest.style === "path" ? { ...rest, style: "string" } : rest, NOTATION);
  return from > 0 ? `...${text}` : text;
}

function window(text: string, from: number): string {
  const end = from + VALUE_WIDTH;
  return `${from > 0 ? "..." : ""}${text.slice(from, end)}${end < text.length ? "..." : ""}`;
}

export function firstDifference(one: Uint8Array, other: Uint8Array): number {
  let at = 0;
  while (at < one.length && at < other.length && one[at] === other[at]) at++;
  return at;
}

function commonStart(one: string, other: string): number {
  let at = 0;
  while (at < one.length && at < other.length && one[at] === other[at]) at++;
  return at;
}

function bytesText(bytes: ByteDifference, paint: Painter): string {
  const { name, address, offset, from } = bytes;
  const first = Math.max(0, offset - from);
  const begin = Math.max(0, first - BYTES_BEFORE);
  const side = (label: string, all: Uint8Array, style: "red" | "green") => {
    const shown = all.subarray(begin, begin + BYTES_SHOWN);
    const hex = [...shown].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = `${hex.padEnd(3 * BYTES_SHOWN)} ${quoteBytes(shown)}`;
    return `    ${paint("dim", label.padEnd(LABEL))}${paint(style, text)}\n`;
  };
  const mark = " ".repeat(4 + LABEL + 3 * (first - begin));
  return (
    `  ${paint("dim", "bytes of")} ${name} ${paint("dim", `(${hexText(address)}), the first difference at ${offset}`)}\n` +
    side("expected", bytes.expected, "green") +
    side("replayed", bytes.actual, "red") +
    `${mark}${paint("red", "^^")}\n`
  );
}

function aroundText(report: DesyncReport, writer: TextWriter, paint: Painter): string {
  if (report.around.length === 0) return "";
  const lines = report.around.map((row) => {
    const mark = seqOf(row) === report.seq ? paint("red", ">") : " ";
    return `  ${mark} ${writer.line(row.batch, row.i)}\n`;
  });
  return `  ${paint("dim", `around it, p${report.process.number} in the recording`)}\n${lines.join("")}`;
}
