/** perf_event_open: attributes that say their own size, and whose members depend on each other. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { choice, flags } from "../flags.js";
import { u32 } from "../memory.js";
import { FLAG_SETS } from "../tables.generated.js";
import { hexInt, int, type ListValue, type Num, symbol, type Value } from "../value.js";
import { address } from "./kinds.js";
import { Members } from "./members.js";
import type { ArgDecoder, Family } from "./registry.js";

const { In, Out } = CaptureSide;

const TYPE = { HARDWARE: 0, SOFTWARE: 1, TRACEPOINT: 2, HW_CACHE: 3, BREAKPOINT: 5 } as const;

/** Size of the attributes as they were first published. */
const SIZE_VER0 = 64;
const E2BIG = 7;

const SAMPLE_BRANCH_STACK = 1 << 11;
const SAMPLE_STACK_USER = 1 << 13;

const PRECISION = [
  "arbitrary skid",
  "constant skid",
  "requested to have 0 skid",
  "must have 0 skid",
];

function config(type: number, value: Num): Value {
  switch (type) {
    case TYPE.HARDWARE:
      return choice("perf_hw_id", value);
    case TYPE.SOFTWARE:
      return choice("perf_sw_id", value);
    case TYPE.TRACEPOINT:
      return int(value);
    case TYPE.HW_CACHE:
      return cacheEvent(value);
    default:
      return hexInt(value);
  }
}

/** `PERF_COUNT_HW_CACHE_RESULT_MISS<<16|PERF_COUNT_HW_CACHE_OP_READ<<8|PERF_COUNT_HW_CACHE_L1D`. */
function cacheEvent(value: Num): ListValue {
  const wide = BigInt(value);
  const part = (shift: bigint) => Number((wide >> shift) & 0xffn);
  const shifted = (set: string, shift: bigint, unknown: string): Value => {
    const { name } = choice(set, part(shift));
    const text = name ?? `0x${part(shift).toString(16)} /* ${unknown} */`;
    return symbol(shift === 0n ? text : `${text}<<${shift}`);
  };
  const items: { value: Value }[] = [];
  const rest = wide >> 24n;
  if (rest !== 0n) items.push({ value: symbol(`0x${rest.toString(16)}<<24`) });
  items.push(
    { value: shifted("perf_cache_result", 16n, "PERF_COUNT_HW_CACHE_RESULT_???") },
    { value: shifted("perf_cache_op", 8n, "PERF_COUNT_HW_CACHE_OP_???") },
    { value: shifted("perf_cache_id", 0n, "PERF_COUNT_HW_CACHE_???") },
  );
  return { kind: "list", sep: "|", items };
}

const PRECISE_SHIFT = 15n;
/** How many bits have a name. */
const KNOWN_BITS = 38n;

/** The bit fields, as members of their own: those that are set, and the precision. */
function bits(m: Members, value: bigint): void {
  let rest = value;
  for (const [mask, name] of FLAG_SETS.perf_attr_flags ?? []) {
    const bit = BigInt(mask);
    const part = value & bit;
    rest &= ~bit;
    if (name === "precise_ip") {
      const level = Number(part >> PRECISE_SHIFT);
      m.put(name, symbol(`${level} /* ${PRECISION[level] ?? ""} */`));
    } else m.put(name, int(part === 0n ? 0 : 1), part === 0n);
  }
  if (rest !== 0n) {
    m.put(
      "__reserved_1",
      symbol(`0x${(rest >> KNOWN_BITS).toString(16)} /* Bits 63..${KNOWN_BITS} */`),
    );
  }
}

function attributes(m: Members, changedSize: number | undefined): Value {
  const type = m.low("type");
  const size = m.low("size");
  m.add("type");
  const named = choice("perf_attr_size", size);
  m.put(
    "size",
    changedSize === undefined || changedSize === size
      ? named
      : { kind: "change", before: named, after: choice("perf_attr_size", changedSize) },
  );
  m.put("config", config(type, m.num("config")));
  const flagBits = BigInt(m.num("flags"));
  const has = (name: string) => (flagBits & BigInt(bitOf(name))) !== 0n;
  m.put(has("freq") ? "sample_freq" : "sample_period", int(m.num("sample_period")));
  m.add("sample_type read_format");
  bits(m, flagBits);
  details(m, type, has);
  m.elided = size > m.data.length;
  return m.value();
}

function bitOf(name: string): Num {
  return (FLAG_SETS.perf_attr_flags ?? []).find((entry) => entry[1] === name)?.[0] ?? 0;
}

/** What only the long form shows. */
function details(m: Members, type: number, has: (flag: string) => boolean): void {
  const breakpoint = type === TYPE.BREAKPOINT;
  const sample = m.low("sample_type");
  const put = (name: string, value: Value) => m.put(name, value, true);
  put(has("watermark") ? "wakeup_watermark" : "wakeup_events", int(m.low("wakeup_events")));
  if (breakpoint) put("bp_type", choice("perf_bp_type", m.low("bp_type")));
  put(breakpoint ? "bp_addr" : "config1", hexInt(m.num("config1")));
  if (m.has("config2")) {
    put(breakpoint ? "bp_len" : "config2", (breakpoint ? int : hexInt)(m.num("config2")));
  }
  if ((sample & SAMPLE_BRANCH_STACK) !== 0 && m.has("branch_sample_type")) {
    put("branch_sample_type", flags("perf_branch_sample_type", m.num("branch_sample_type")));
  }
  m.add("sample_regs_user:x-");
  if ((sample & SAMPLE_STACK_USER) !== 0) m.add("sample_stack_user:x-");
  if (has("use_clockid")) m.add("clockid-");
  m.add("sample_regs_intr:x- aux_watermark- sample_max_stack- aux_sample_size-");
  m.add("sig_data:x?- config3:x?-");
}

const attr: ArgDecoder = (call, k) => {
  const addr = call.arg(k);
  const head = call.memory.readAll(addr, 8, In);
  const size = head === undefined ? 0 : u32(head, 4) || SIZE_VER0;
  const data = size < SIZE_VER0 ? undefined : call.memory.read(addr, size, In);
  if (data === undefined || data.length < SIZE_VER0) return address(addr);
  return attributes(new Members("perf_event_attr", data, call, In), newSize(call, addr));
};

/** The kernel writes the size that it knows when the program's is too large. */
function newSize(call: CallContext, addr: Num): number | undefined {
  if (!call.failed || -(call.retLow | 0) !== E2BIG) return undefined;
  const data = call.memory.readAll(addr, 8, Out);
  return data === undefined ? undefined : u32(data, 4);
}

export const perfEventFamily: Family = { args: { perf_event_attr: attr } };
