/** The mount calls, old and new: which arguments are strings, descriptors or nothing depends on flags and commands. */

import { CaptureSide } from "../../trace/batch.js";
import { bytesAt, stringAt } from "../argument.js";
import type { CallContext } from "../context.js";
import { choiceName, flags } from "../flags.js";
import { type FieldValue, int, symbol, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { Members } from "./members.js";
import type { Family, Shape } from "./registry.js";

const { In } = CaptureSide;

const MGC_MASK = 0xffff_0000;
const MGC_VAL = 0xc0ed_0000;
const MS_REMOUNT = 1 << 5;
/** MS_BIND, MS_MOVE, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED: neither type nor data count. */
const CHANGES = (1 << 12) | (1 << 13) | (15 << 17);

function mount(call: CallContext): Shape {
  const magic = (call.low(3) & MGC_MASK) >>> 0 === MGC_VAL;
  const bits = magic ? call.low(3) & ~MGC_MASK : call.low(3);
  const remount = (bits & MS_REMOUNT) !== 0;
  const changes = !remount && (bits & CHANGES) !== 0;
  const args = new Arguments(call).plain(0, 1);
  const string = (k: number): Value => stringAt(call, call.arg(k), In, "string");
  args.add(2, remount || changes ? address(call.arg(2)) : string(2));
  args.add(3, mountFlags(magic, bits >>> 0));
  return args.add(4, changes ? address(call.arg(4)) : string(4)).shape();
}

function mountFlags(magic: boolean, bits: number): Value {
  const value = flags("mount_flags", bits);
  if (!magic) return value;
  if (bits === 0) return symbol("MS_MGC_VAL");
  return { kind: "list", sep: "|", items: [{ value: symbol("MS_MGC_VAL") }, { value }] };
}

/** The longest key or value that the kernel takes. */
const PARAMETER = 256;
const LARGEST_BINARY = 1 << 20;

/** Commands that have a key. */
const KEYED = /^FSCONFIG_SET_/;

function fsconfig(call: CallContext): Shape {
  const command = choiceName("fsconfig_cmd", call.low(1)) ?? "";
  const args = new Arguments(call).plain(0, 1);
  const text = (k: number): Value => stringAt(call, call.arg(k), In, "string", PARAMETER);
  args.add(2, KEYED.test(command) ? text(2) : address(call.arg(2)));
  const aux = call.int(4);
  switch (command) {
    case "FSCONFIG_SET_STRING":
      return args.add(3, text(3)).add(4, int(aux)).shape();
    case "FSCONFIG_SET_PATH":
    case "FSCONFIG_SET_PATH_EMPTY":
      return args
        .add(3, stringAt(call, call.arg(3), In, "path"))
        .add(4, call.fd(aux))
        .shape();
    case "FSCONFIG_SET_BINARY": {
      const sane = aux >= 0 && aux <= LARGEST_BINARY;
      const value = sane ? bytesAt(call, call.arg(3), aux, In, "hex") : address(call.arg(3));
      return args.add(3, value).add(4, int(aux)).shape();
    }
    case "FSCONFIG_SET_FD":
      return args
        .add(3, address(call.arg(3)))
        .add(4, call.fd(aux))
        .shape();
    default:
      return args
        .add(3, address(call.arg(3)))
        .add(4, int(aux))
        .shape();
  }
}

const ATTR_SIZE_VER0 = 32;
const ATTR_IDMAP = 1 << 20;

function mountAttr(call: CallContext, k: number): Value {
  const addr = call.arg(k);
  const size = call.count(k + 1);
  const data =
    size < ATTR_SIZE_VER0 ? undefined : call.memory.readAll(addr, Math.min(size, 4096), In);
  if (data === undefined) return address(addr);
  const m = new Members("mount_attr", data, call, In);
  m.add("attr_set attr_clr");
  m.put("propagation", propagation(m.num("propagation")));
  const mapped = ((m.low("attr_set") | m.low("attr_clr")) & ATTR_IDMAP) !== 0;
  m.add(mapped ? "userns_fd" : "userns_fd:u");
  m.fields.push(...nonzero(data, ATTR_SIZE_VER0));
  return m.value();
}

/** One of the mount flags; 0 is none of them. */
function propagation(value: ReturnType<CallContext["arg"]>): Value {
  const name = value === 0 ? undefined : choiceName("mount_flags", value);
  if (name !== undefined) return symbol(name);
  const number = value === 0 ? "0" : `0x${value.toString(16)}`;
  return { kind: "int", value, base: "hex", text: `${number} /* MS_??? */` };
}

/** Bytes that are not zero behind what is known. */
function nonzero(data: Uint8Array, from: number): FieldValue[] {
  const rest = data.subarray(from);
  if (rest.every((byte) => byte === 0)) return [];
  const text = Buffer.from(rest).toString("hex").replace(/../g, "\\x$&");
  const value = symbol(`/* bytes ${from}..${data.length - 1} */ "${text}"`);
  return [{ name: "", key: "extra_data", value }];
}

function mountSetattr(call: CallContext): Shape {
  return new Arguments(call).plain(0, 1, 2).add(3, mountAttr(call, 3)).plain(4).shape();
}

export const mountFamily: Family = {
  args: { mount_data: (call, k) => stringAt(call, call.arg(k), In, "string") },
  calls: {
    mount,
    fsconfig,
    mount_setattr: mountSetattr,
    open_tree_attr: mountSetattr,
  },
};
