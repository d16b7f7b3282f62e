/** Tests of one value, as a field has it, against the value of a filter. */

import type { FieldType } from "../fields.js";
import type { CompareOp, Value } from "./ast.js";
import { compileGlob } from "./glob.js";
import { compileRegex } from "./regex.js";

type Scalar = string | number | bigint | boolean | Uint8Array;

/** What a field may be. A list stands for several values, of which one has to fit. */
export type FieldValue = Scalar | readonly (string | number | bigint)[];

export type ValueTest = (value: FieldValue) => boolean;
type ScalarTest = (value: Scalar) => boolean;

/** The test of `op value` without its negation. */
export function valueTest(op: CompareOp, value: Value, type: FieldType): ValueTest {
  // What a set contains is its members; what a text contains is its parts.
  return overLists(scalarTest(type === "set" && op === "contains" ? "=" : op, value));
}

/** The test of being equal to one of the values. */
export function oneOfTest(values: readonly Value[]): ValueTest {
  const texts = new Set<string>();
  const numbers = new Set<number>();
  const others: ScalarTest[] = [];
  const wide: ScalarTest[] = [];
  for (const value of values) {
    const test = scalarTest("=", value);
    const number = value.type === "duration" ? value.ns : value.value;
    if (value.type === "string") texts.add(value.value);
    else if (value.type !== "bytes" && typeof number === "number") numbers.add(number);
    else others.push(test);
    if (value.type !== "string") wide.push(test);
  }
  return overLists((value) => {
    if (typeof value === "string" && texts.has(value)) return true;
    if (typeof value === "number" && numbers.has(value)) return true;
    return anyTest(typeof value === "bigint" ? wide : others, value);
  });
}

function anyTest(tests: readonly ScalarTest[], value: Scalar): boolean {
  for (const test of tests) if (test(value)) return true;
  return false;
}

function overLists(test: ScalarTest): ValueTest {
  return (value) => {
    if (typeof value !== "object" || value instanceof Uint8Array) return test(value);
    for (const item of value) if (test(item)) return true;
    return false;
  };
}

function scalarTest(op: CompareOp, value: Value): ScalarTest {
  switch (value.type) {
    case "number":
      return numberTest(op, value.value);
    case "duration":
      return numberTest(op, value.ns);
    case "bool":
      return (v) => v === value.value;
    case "string":
      return textTest(op, value.value);
    case "bytes":
      return bytesTest(op, value.value);
  }
}

/** JavaScript compares a number and a bigint by their mathematical values, without rounding either. */
function numberTest(op: CompareOp, n: number | bigint): ScalarTest {
  switch (op) {
    case "=":
      return (v) => v === n || (isNumeric(v) && v <= n && v >= n);
    case "<":
      return (v) => isNumeric(v) && v < n;
    case "<=":
      return (v) => isNumeric(v) && v <= n;
    case ">":
      return (v) => isNumeric(v) && v > n;
    case ">=":
      return (v) => isNumeric(v) && v >= n;
    default:
      return () => false;
  }
}

function isNumeric(value: Scalar): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

function textTest(op: CompareOp, text: string): ScalarTest {
  switch (op) {
    case "=":
      return (v) => v === text;
    case "contains":
      return (v) => typeof v === "string" && v.includes(text);
    case "startswith":
      return (v) => typeof v === "string" && v.startsWith(text);
    case "endswith":
      return (v) => typeof v === "string" && v.endsWith(text);
    case "glob":
    case "~": {
      const pattern = op === "~" ? compileRegex(text) : compileGlob(text);
      return (v) => typeof v === "string" && pattern.test(v);
    }
    default:
      return () => false;
  }
}

/** The field may also come as text; the bytes of the filter are then taken for UTF-8. */
function bytesTest(op: CompareOp, latin1: string): ScalarTest {
  if (op === "~") {
    const pattern = compileRegex(latin1);
    return (v) =>
      v instanceof Uint8Array ? pattern.testBytes(v) : typeof v === "string" && pattern.test(v);
  }
  const needle = Uint8Array.from(latin1, (byte) => byte.charCodeAt(0));
  const onText = textTest(op, new TextDecoder().decode(needle));
  const onBytes = needleTest(op, needle);
  return (v) => (v instanceof Uint8Array ? onBytes(v) : onText(v));
}

function needleTest(op: CompareOp, needle: Uint8Array): (bytes: Uint8Array) => boolean {
  switch (op) {
    case "=":
      return (bytes) => bytes.length === needle.length && standsAt(bytes, needle, 0);
    case "contains":
      // Node's own search needs no Buffer: it takes any Uint8Array as `this`.
      return (bytes) => Buffer.prototype.indexOf.call(bytes, needle) >= 0;
    case "startswith":
      return (bytes) => standsAt(bytes, needle, 0);
    case "endswith":
      return (bytes) => standsAt(bytes, needle, bytes.length - needle.length);
    default:
      return () => false;
  }
}

function standsAt(bytes: Uint8Array, needle: Uint8Array, offset: number): boolean {
  if (offset < 0 || offset + needle.length > bytes.length) return false;
  for (let i = 0; i < needle.length; i++) if (bytes[offset + i] !== needle[i]) return false;
  return true;
}
