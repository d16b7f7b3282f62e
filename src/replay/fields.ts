/** The expected and the actual event field by field. */

import { decodeCall } from "../decode/call.js";
import { syscallRow, type TraceContext } from "../decode/context.js";
import { decodeSignal } from "../decode/event.js";
import { type Call, pointer, symbol, type Value } from "../decode/value.js";
import type { Desync, MemoryDifference } from "../replay.js";
import { STRACE_NOTATION, valueText } from "../show/notation.js";
import { EventKind } from "../trace/batch.js";
import { callName, entryOf, isCall, kindOf, pointerOf, type Row, registerOf } from "./rows.js";

/** One thing of both sides. */
export interface Field {
  /** Name of an argument; `call`, `signal`, `ip`, `sp`. */
  readonly name: string;
  readonly expected: Value;
  readonly actual: Value;
  readonly differs: boolean;
}

export interface ByteDifference extends MemoryDifference {
  /** The argument that leads to the memory. */
  readonly name: string;
}

/** Both sides, as far as they can be compared so. */
export function fieldsOf(
  desync: Desync,
  expected: Row | undefined,
  actual: Row | undefined,
  trace: TraceContext,
): Field[] {
  if (expected === undefined || actual === undefined) return [];
  const fields: Field[] = [];
  if (isCall(expected) && isCall(actual)) {
    const names = [callName(expected), callName(actual)] as const;
    fields.push(pair("call", symbol(names[0]), symbol(names[1])));
    if (names[0] === names[1]) fields.push(...argumentFields(desync, expected, actual, trace));
  } else if (kindOf(expected) === EventKind.Signal && kindOf(actual) === EventKind.Signal) {
    const [wanted, got] = [expected, actual].map(({ batch, i }) => decodeSignal(batch, i, trace));
    fields.push(pair("signal", symbol(wanted?.name ?? ""), symbol(got?.name ?? "")));
    if (wanted?.info !== undefined && got?.info !== undefined) {
      fields.push(pair("info", wanted.info, got.info));
    }
  }
  for (const name of ["ip", "sp"] as const) {
    const [one, other] = [pointerOf(expected, name), pointerOf(actual, name)];
    if (one !== undefined && other !== undefined && (one !== other || desync.reason === name)) {
      fields.push(pair(name, pointer(one), pointer(other)));
    }
  }
  return fields;
}

function argumentFields(desync: Desync, expected: Row, actual: Row, trace: TraceContext): Field[] {
  const entry = entryOf(expected);
  const wanted = decodeCall(entry.batch, entry.i, trace);
  const got = decodeCall(actual.batch, actual.i, trace);
  const guilty = argumentName(expected, wanted, desync.argument ?? desync.memory?.slot);
  const fields = wanted.args.map((arg, k): Field => {
    const other = got.args.find(({ name }) => name === arg.name) ?? got.args[k];
    const field = pair(arg.name, arg.value, other?.value ?? symbol("-"));
    return arg.name === guilty ? { ...field, differs: true } : field;
  });
  const raw = desync.argument;
  if (raw === undefined || fields.some(({ differs }) => differs)) return fields;
  // A register that the decoded arguments do not show.
  const [one, other] = [registerOf(expected, raw), registerOf(actual, raw)];
  return [...fields, pair(`register ${raw + 1}`, pointer(one), pointer(other))];
}

/** Name of the decoded argument that register `index` is; undefined when it is none. */
function argumentName(
  { batch, i }: Row,
  call: Call,
  index: number | undefined,
): string | undefined {
  if (index === undefined) return undefined;
  const name = syscallRow(batch.arch[i] ?? 0, batch.code[i] ?? -1)?.args[index]?.name;
  const names = call.args.map((arg) => arg.name);
  // Halves of a 64-bit argument are decoded as one.
  const whole = name?.replace(/_(l|low|h|high)$/, "");
  return [name, whole].find((other) => names.includes(other ?? "")) ?? names[index];
}

/** Long strings are compared in full: the difference may be behind what is shown. */
const WHOLE = { ...STRACE_NOTATION, stringLimit: 1 << 20, verbose: true, showSecrets: true };

function pair(name: string, expected: Value, actual: Value): Field {
  const differs = valueText(expected, WHOLE) !== valueText(actual, WHOLE);
  return { name, expected, actual, differs };
}

/** The memory that differs, under the name of the argument that leads to it. */
export function byteDifference(
  { memory }: Desync,
  expected: Row | undefined,
  trace: TraceContext,
): ByteDifference | undefined {
  if (memory === undefined) return undefined;
  const call = isCall(expected) ? decodeCall(expected.batch, expected.i, trace) : undefined;
  const name = call && expected && argumentName(expected, call, memory.slot);
  return { ...memory, name: name ?? "memory" };
}
