/** The ioctls of userfaultfd(2): what is asked at entry, and what the kernel adds to it at exit. */

import { CaptureSide } from "../../trace/batch.js";
import { narrow } from "../argument.js";
import type { CallContext } from "../context.js";
import { u64 } from "../memory.js";
import { layout, plainStruct } from "../struct.js";
import { type FieldValue, field, NULL, type Num, pointer, struct, type Value } from "../value.js";

const { In, Out } = CaptureSide;

interface Command {
  readonly name: string;
  readonly struct: string;
  /** The member that the kernel fills in. */
  readonly answer?: string;
}

const COMMANDS: ReadonlyMap<number, Command> = new Map([
  [0xc018aa3f, { name: "UFFDIO_API", struct: "uffdio_api", answer: "ioctls" }],
  [0xc020aa00, { name: "UFFDIO_REGISTER", struct: "uffdio_register", answer: "ioctls" }],
  [0x8010aa01, { name: "UFFDIO_UNREGISTER", struct: "uffdio_range" }],
  [0x8010aa02, { name: "UFFDIO_WAKE", struct: "uffdio_range" }],
  [0xc028aa03, { name: "UFFDIO_COPY", struct: "uffdio_copy", answer: "copy" }],
  [0xc020aa04, { name: "UFFDIO_ZEROPAGE", struct: "uffdio_zeropage", answer: "zeropage" }],
  [0xc018aa06, { name: "UFFDIO_WRITEPROTECT", struct: "uffdio_writeprotect" }],
]);

/** Bits of `ioctls` by the number of the command. */
const IOCTLS: Readonly<Record<number, string>> = {
  0: "REGISTER",
  1: "UNREGISTER",
  2: "WAKE",
  3: "COPY",
  4: "ZEROPAGE",
  5: "MOVE",
  6: "WRITEPROTECT",
  7: "CONTINUE",
  8: "POISON",
  63: "API",
};

function ioctlBits(value: Num): Value {
  const names: string[] = [];
  let rest = BigInt(value);
  for (const [bit, name] of Object.entries(IOCTLS)) {
    const mask = 1n << BigInt(bit);
    if ((rest & mask) === 0n) continue;
    names.push(`1<<_UFFDIO_${name}`);
    rest &= ~mask;
  }
  return { kind: "flags", set: "uffd_ioctls", value, names, rest: narrow(rest) };
}

/** The name of a command of this file. */
export const uffdName = (command: number): string | undefined => COMMANDS.get(command)?.name;

/** The third argument of such an ioctl; undefined when the command is another. */
export function uffdValue(
  call: CallContext,
  command: number,
): { value: Value; at?: "exit" } | undefined {
  const known = COMMANDS.get(command);
  const size = known && layout(known.struct)?.size;
  if (known === undefined || size === undefined) return undefined;
  const addr = call.arg(2);
  // The number of a command that only takes a range says that it answers with one.
  const before =
    call.memory.readAll(addr, size, In) ??
    (known.answer === undefined ? call.memory.readAll(addr, size, Out) : undefined);
  if (before === undefined) return { value: addr === 0 ? NULL : pointer(addr) };
  const after = call.succeeded ? call.memory.readAll(addr, size, Out) : undefined;
  const asked = members(known, before, call, In);
  if (known.answer === undefined) return { value: struct(known.struct, asked) };
  const told = after === undefined ? [] : members(known, after, call, Out);
  const fields = asked.filter((member) => member.name !== known.answer);
  for (const member of told) {
    if (member.name === known.answer) fields.push(member);
    if (member.name === "features") fields[1] = features(fields[1] ?? member, member);
  }
  return { value: struct(known.struct, fields), at: "exit" };
}

function members(
  command: Command,
  data: Uint8Array,
  call: CallContext,
  side: number,
): readonly FieldValue[] {
  const value = plainStruct(command.struct, data, call, side);
  if (value.kind !== "struct") return [];
  return value.fields.map((member) => {
    if (member.name !== "ioctls") return member;
    return field("ioctls", ioctlBits(u64(data, data.length - 8) ?? 0));
  });
}

/** `features=0 => features=UFFD_FEATURE_...`. */
function features(before: FieldValue, after: FieldValue): FieldValue {
  const items = [{ value: before.value }, { label: "features", value: after.value }];
  return field("features", { kind: "list", sep: " => ", items, equals: true });
}
