/** An event to a call: arguments and result as data. Never throws, whatever the batch holds. */

import { type EventBatch, EventFlag } from "../trace/batch.js";
import { signed } from "../trace/word.js";
import { argumentCount, genericArg, genericArgs } from "./argument.js";
import { unbundled } from "./bundled.js";
import { returnAddress, returnFd, returnInt } from "./call_result.js";
import { CallContext, type TraceContext } from "./context.js";
import { choice } from "./flags.js";
import "./irregular/all.js";
import { callDecoder, returnDecoder, type Shape } from "./irregular/registry.js";
import { modeBits, signalName } from "./scalar.js";
import type { Ret } from "./tables.generated.js";
import { type Argument, type Call, hexInt, int, type Result, symbol, type Value } from "./value.js";

/** The call in row `i` of the batch, which must be an event of kind Call. */
export function decodeCall(batch: EventBatch, i: number, trace: TraceContext): Call {
  const call = unbundled(new CallContext(batch, i, trace));
  const { row } = call;
  const shape: Shape = (row && callDecoder(row.name)?.(call)) ?? {};
  const args = shape.args ?? (row === undefined ? rawArgs(call) : genericArgs(call));
  return {
    name: call.name,
    sysno: call.sysno,
    known: row !== undefined,
    args,
    result: result(call, shape),
  };
}

/**
 * Argument `k` of what {@link decodeCall} gives; undefined where the call has fewer. Where no family decodes the call as a whole, the
 * others are not looked at.
 */
export function decodeArgument(
  batch: EventBatch,
  i: number,
  trace: TraceContext,
  k: number,
): Value | undefined {
  const call = unbundled(new CallContext(batch, i, trace));
  const { row } = call;
  // On i386 the halves of a 64-bit argument are one, and those behind it move up.
  if (row === undefined || call.word === 4 || callDecoder(row.name) !== undefined) {
    return decodeCall(batch, i, trace).args[k]?.value;
  }
  return k < argumentCount(call) ? genericArg(call, k).value : undefined;
}

function rawArgs(call: CallContext): Argument[] {
  return [0, 1, 2, 3, 4, 5].map((k) => ({ name: `arg${k + 1}`, value: hexInt(call.arg(k)) }));
}

function result(call: CallContext, shape: Shape): Result {
  const { flags } = call;
  if ((flags & EventFlag.NoReturn) !== 0) return { status: "none", value: int(0) };
  if ((flags & EventFlag.NoResult) !== 0) return { status: "unseen", value: int(0) };
  if (call.failed) {
    const errno = -(call.retLow | 0);
    return { status: "error", value: int(-1), errno, ...noted(shape.result?.note) };
  }
  const ret = call.row?.ret ?? { r: "int" };
  const own = ret.r === "irregular" ? (returnDecoder(ret.name)?.(call) ?? {}) : {};
  const value = shape.result?.value ?? own.value ?? returnValue(call, ret);
  return { status: "ok", value, ...noted(shape.result?.note ?? own.note ?? returnNote(call, ret)) };
}

function noted(note: Value | undefined): { note?: Value } {
  return note === undefined ? {} : { note };
}

function returnValue(call: CallContext, ret: Ret): Value {
  switch (ret.r) {
    case "addr":
      return returnAddress(call);
    case "fd":
      return returnFd(call);
    case "mode":
      return modeBits(call.retLow & 0xffff);
    case "uid":
    case "gid":
      return int(call.retLow === 0xffff_ffff ? -1 : call.retLow);
    case "size":
      return int(call.word === 4 ? call.retLow | 0 : signed(call.retLow, call.retHigh));
    default:
      return returnInt(call);
  }
}

function returnNote(call: CallContext, ret: Ret): Value | undefined {
  if (ret.r !== "flags") return undefined;
  if (ret.set === "signal") {
    const name = signalName(call.retLow);
    return name === undefined ? undefined : symbol(name);
  }
  const value = choice(ret.set, call.retLow);
  return value.name === undefined ? undefined : value;
}
