/** setxattrat and getxattrat: a struct that says where the value is. */

import { CaptureSide } from "../../trace/batch.js";
import { bytesAt } from "../argument.js";
import type { CallContext } from "../context.js";
import type { Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { membersAt } from "./members.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

function structured(call: CallContext, gets: boolean): Value {
  const m = membersAt("xattr_args", call.arg(4), call, In);
  if (m === undefined) return address(call.arg(4));
  const value = m.num("value");
  const size = m.low("size");
  if (!gets) m.put("value", bytesAt(call, value, size, In));
  else if (!call.succeeded) m.put("value", address(value));
  else m.put("value", bytesAt(call, value, Math.min(size, call.retCount), Out));
  return m.add("size flags").value();
}

function setxattrat(call: CallContext): Shape {
  return new Arguments(call).plain(0, 1, 2, 3).add(4, structured(call, false)).plain(5).shape();
}

function getxattrat(call: CallContext): Shape {
  return new Arguments(call).plain(0, 1, 2, 3).late(4, structured(call, true)).plain(5).shape();
}

export const xattrArgsFamily: Family = { calls: { setxattrat, getxattrat } };
