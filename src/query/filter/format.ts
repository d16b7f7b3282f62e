/** A `Filter` as text that parses to the same filter. */

import { findField } from "../fields.js";
import { type Filter, processName, type SyscallPattern, threadName, type Value } from "./ast.js";
import { selectorOf } from "./range.js";
import { Scanner } from "./scan.js";
import { formatDuration, readNumber } from "./units.js";
import { KEYWORDS } from "./values.js";
import { LEGACY_CLASSES } from "./vocabulary.js";

export function formatFilter(filter: Filter): string {
  switch (filter.type) {
    case "or":
      return filter.terms.map((term) => wrap(term, ["or"])).join(" or ");
    case "and":
      return filter.terms.map((term) => wrap(term, ["or", "and"])).join(" and ");
    case "not":
      return `not ${wrap(filter.term, ["or", "and"])}`;
    case "compare": {
      const op = operatorText(filter.op, filter.negated);
      return `${filter.field} ${op} ${formatValue(filter.value, filter.field, filter.op)}`;
    }
    case "in": {
      const values = filter.values.map((value) => formatValue(value, filter.field, "="));
      return `${filter.field} ${operatorText("in", filter.negated)} (${values.join(", ")})`;
    }
    case "exists":
      return `${filter.field} exists`;
    case "truth":
      return filter.field;
    case "syscalls":
      return formatSyscalls(filter.patterns);
    case "events":
      return formatEvents(filter.from, filter.to);
    case "times":
      return `${formatTime(filter.from)}..${formatTime(filter.to)}`;
    case "process":
      return filter.thread === undefined
        ? processName(filter.process)
        : threadName(filter.process, filter.thread);
  }
}

function wrap(filter: Filter, weaker: readonly string[]): string {
  const text = formatFilter(filter);
  return weaker.includes(filter.type) ? `(${text})` : text;
}

function operatorText(op: string, negated: boolean): string {
  if (!negated) return op;
  return op === "=" || op === "~" ? `!${op}` : `not ${op}`;
}

function formatSyscalls(patterns: readonly SyscallPattern[]): string {
  const items = patterns.map(formatPattern);
  const [only] = patterns;
  if (patterns.length !== 1 || only === undefined) return `trace=${items.join(",") || "none"}`;
  const needsHead = only.kind === "all" || (only.kind === "name" && hasOtherMeaning(only.name));
  return needsHead ? `trace=${items[0]}` : (items[0] ?? "");
}

/** Whether the name alone would be read as something else than a syscall. */
function hasOtherMeaning(name: string): boolean {
  const isWord = KEYWORDS.has(name.toLowerCase()) || LEGACY_CLASSES.has(name);
  return isWord || findField(name) !== undefined || selectorOf(name) !== undefined;
}

function formatPattern(pattern: SyscallPattern): string {
  switch (pattern.kind) {
    case "all":
      return "all";
    case "class":
      return `%${pattern.name}`;
    case "regex":
      return `/${pattern.source}/`;
    case "name":
      return pattern.optional === true ? `?${pattern.name}` : pattern.name;
  }
}

function formatEvents(from: number | undefined, to: number | undefined): string {
  if (from !== undefined && from === to) return `@${from}`;
  return `${from === undefined ? "" : `@${from}`}..${to === undefined ? "" : `@${to}`}`;
}

function formatTime(ns: number | undefined): string {
  return ns === undefined ? "" : formatDuration(ns);
}

function formatValue(value: Value, field: string, op: string): string {
  switch (value.type) {
    case "number":
    case "bool":
      return String(value.value);
    case "duration":
      return formatDuration(value.ns);
    case "bytes":
      return op === "~" ? formatPatternText(value.value, true) : quoteBytes(value.value);
    case "string":
      if (op === "~" || op === "glob") return formatPatternText(value.value, op === "~");
      return formatText(value.value, field);
  }
}

function formatText(text: string, field: string): string {
  if (field === "class" && text.startsWith("%")) return `%${text}`;
  const isPlain = /^[\p{L}\p{N}_./:@%+-][\p{L}\p{N}_./:@%+=*?~^$[\]{}-]*$/u.test(text);
  // An unquoted number is a number where the field may have both.
  const isNumber = findField(field)?.def.type === "any" && typeof readNumber(text) !== "string";
  const isWord = KEYWORDS.has(text.toLowerCase());
  return isPlain && !isNumber && !isWord ? text : quoteText(text);
}

function quoteText(text: string): string {
  const inner = text.replace(/["\\\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) => {
    if (character === '"' || character === "\\") return `\\${character}`;
    if (character === "\n") return "\\n";
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
  return `"${inner}"`;
}

function quoteBytes(bytes: string): string {
  const inner = bytes.replace(/["\\]|[^ -~]/g, (byte) => {
    if (byte === '"' || byte === "\\") return `\\${byte}`;
    return `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return `"${inner}"`;
}

/** Patterns are raw inside quotes: only the quote itself takes a backslash. */
function formatPatternText(pattern: string, isRegex: boolean): string {
  if (isBarePattern(pattern, isRegex)) return pattern;
  const quote = /^(?:[^\\]|\\[^"])*$/s.test(pattern) ? '"' : "'";
  const inner = pattern.replace(/\\[\s\S]|["']/g, (part) => (part === quote ? `\\${part}` : part));
  return quote + inner + quote;
}

function isBarePattern(pattern: string, isRegex: boolean): boolean {
  if (pattern === "" || /^["'!]/.test(pattern) || /[\p{Cc}\p{Cf}]/u.test(pattern)) return false;
  if (!isRegex) return /^[^\s(),&|]+$/.test(pattern) && !KEYWORDS.has(pattern.toLowerCase());
  if (/^\/(?:\^|.*\$\/$)/.test(pattern)) return false;
  return new Scanner(pattern).regexEnd("") === pattern.length;
}
