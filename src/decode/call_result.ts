/** Results of calls read as what they are, for the row's own kind and for families that know better. */

import { Slot } from "../trace/batch.js";
import { unsigned } from "../trace/word.js";
import type { CallContext } from "./context.js";
import { signExtend } from "./scalar.js";
import { int, pointer, type Value } from "./value.js";

/** The plain result as a signed word. */
export function returnInt(call: CallContext): Value {
  return int(signExtend(call.retLow, call.retHigh, call.word));
}

export function returnAddress(call: CallContext): Value {
  return pointer(unsigned(call.retLow, call.word === 4 ? 0 : call.retHigh));
}

export function returnFd(call: CallContext): Value {
  return call.fd(call.retLow | 0, Slot.Ret);
}
