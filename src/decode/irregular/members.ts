/**
 * Members of a struct by their names, for decoders that show them in an order or a base of their own.
 *
 * Layouts come from the table. What the recording lacks is left out, and counted as elided only by who asks for it:
 * many calls take a struct of which the program says the size, and then a member that is not there does not exist.
 */

import type { CallContext } from "../context.js";
import { u8, u16, u32, u64 } from "../memory.js";
import { layout, memberValue } from "../struct.js";
import type { FieldRow } from "../tables.generated.js";
import {
  type FieldValue,
  hexInt,
  int,
  type Num,
  type StructValue,
  struct,
  type Value,
} from "../value.js";
import { address } from "./kinds.js";

/**
 * One member to show: its name, then `:x` hexadecimal, `:X` the same with all digits, `:u` unsigned, `:d` signed, `:a` an
 * address; then `?` when it is shown only if it is not zero; then `-` when the short form leaves it out.
 */
const SPEC = /^(\w+)(?::([xXuda]))?(\?)?(-)?$/;

export class Members {
  readonly name: string;
  readonly data: Uint8Array;
  readonly call: CallContext;
  readonly side: number;
  readonly fields: FieldValue[] = [];
  /** Where the last of the members ends that were asked for so far. */
  reach = 0;
  /** True when a member should be there and is not. */
  elided = false;
  readonly #rows: readonly FieldRow[];

  constructor(name: string, data: Uint8Array, call: CallContext, side: number) {
    this.name = name;
    this.call = call;
    this.side = side;
    const row = layout(name);
    this.#rows = row?.fields ?? [];
    this.data = data;
  }

  #row(member: string): FieldRow | undefined {
    return this.#rows.find((row) => row.name === member);
  }

  /** Whether the data reaches as far as the member, as the kernel sees a struct of that size. */
  has(member: string): boolean {
    const row = this.#row(member);
    return row !== undefined && row.offset < this.data.length;
  }

  /** The member's bytes; those that are beyond the data are zero. */
  #bytes(row: FieldRow): Uint8Array {
    const length = row.size * row.count;
    const part = this.data.subarray(row.offset, row.offset + length);
    if (part.length === length) return part;
    const whole = new Uint8Array(length);
    whole.set(part);
    return whole;
  }

  /** The member as an unsigned number; 0 when it is not there. */
  num(member: string): Num {
    const row = this.#row(member);
    if (row === undefined) return 0;
    const data = this.#bytes(row);
    switch (row.size) {
      case 1:
        return u8(data, 0) ?? 0;
      case 2:
        return u16(data, 0) ?? 0;
      case 4:
        return u32(data, 0) ?? 0;
      default:
        return u64(data, 0) ?? 0;
    }
  }

  /** Its low 32 bits. */
  low(member: string): number {
    return Number(BigInt.asUintN(32, BigInt(this.num(member))));
  }

  /** Adds the members that the data has, in the given order; see {@link SPEC}. */
  add(specs: string): this {
    for (const spec of specs.split(" ")) {
      const [, name = "", base, nonzero, detail] = SPEC.exec(spec) ?? [];
      const row = this.#row(name);
      if (row === undefined) continue;
      this.reach = Math.max(this.reach, row.offset + row.size * row.count);
      if (!this.has(name)) continue;
      const data = this.#bytes(row);
      if (nonzero !== undefined && data.every((byte) => byte === 0)) continue;
      const value = base === undefined ? this.#plain(row, data) : this.#based(row, base);
      if (value !== undefined) this.put(name, value, detail !== undefined);
    }
    return this;
  }

  #plain(row: FieldRow, data: Uint8Array): Value | undefined {
    return memberValue({ ...row, offset: 0 }, data, this.call, this.side);
  }

  #based(row: FieldRow, base: string): Value {
    const value = this.num(row.name);
    switch (base) {
      case "x":
        return hexInt(value);
      case "X":
        return digits(value, row.size);
      case "a":
        return address(value);
      case "d":
        return int(signed(value, row.size));
      default:
        return int(value);
    }
  }

  put(name: string, value: Value, detail = false): this {
    this.fields.push(detail ? { name, value, detail } : { name, value });
    return this;
  }

  value(): StructValue {
    return struct(this.name, this.fields, this.elided);
  }
}

/** `0x0000ffff`: all digits of a number of `size` bytes. */
export function digits(value: Num, size: number): Value {
  const text = `0x${value.toString(16).padStart(2 * size, "0")}`;
  return { kind: "int", value, base: "hex", text };
}

export function signed(value: Num, size: number): Num {
  const wide = BigInt.asIntN(8 * size, BigInt(value));
  const number = Number(wide);
  return Number.isSafeInteger(number) ? number : wide;
}

/** The whole struct at `addr`; undefined when any of it was not captured. */
export function membersAt(
  name: string,
  addr: Num,
  call: CallContext,
  side: number,
): Members | undefined {
  const size = layout(name)?.size ?? 0;
  const data = size === 0 ? undefined : call.memory.readAll(addr, size, side);
  return data === undefined ? undefined : new Members(name, data, call, side);
}

/** The named members of the struct at `addr`, or the address. */
export function shown(
  name: string,
  addr: Num,
  call: CallContext,
  side: number,
  specs: string,
): Value {
  return membersAt(name, addr, call, side)?.add(specs).value() ?? address(addr);
}
