/** io_uring: parameters that the kernel fills in, and what the operations of io_uring_register take. */

import { CaptureSide } from "../../trace/batch.js";
import { changed, MAX_ELEMENTS } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { i32, u32, u64 } from "../memory.js";
import { layout } from "../struct.js";
import { array, field, hexInt, int, type Num, struct, symbol, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { Members, membersAt, shown } from "./members.js";
import { iovecs } from "./message.js";
import type { Family, Shape } from "./registry.js";
import { sigsetAt } from "./signal.js";

const { In, Out } = CaptureSide;

const SETUP_ATTACH_WQ = 1 << 5;
const ENTER_EXT_ARG = 1 << 3;
const ENTER_EXT_ARG_REG = 1 << 6;

const SQ_OFFSETS = "head tail ring_mask ring_entries flags dropped array user_addr:x?";
const CQ_OFFSETS = "head tail ring_mask ring_entries overflow cqes flags user_addr:x?";

function offsets(m: Members, member: "sq_off" | "cq_off", name: string, show: string): void {
  const row = layout("io_uring_params")?.fields.find((entry) => entry.name === member);
  if (row === undefined) return;
  const data = m.data.subarray(row.offset, row.offset + row.size);
  m.put(member, new Members(name, data, m.call, m.side).add(show).value());
}

/** What the program asks for, then what the kernel answers. */
function setup(call: CallContext): Shape {
  const args = new Arguments(call).plain(0);
  const asked = membersAt("io_uring_params", call.arg(1), call, In);
  if (asked === undefined) return args.add(1, address(call.arg(1))).shape();
  asked.add("flags sq_thread_cpu:x sq_thread_idle");
  if ((asked.low("flags") & SETUP_ATTACH_WQ) !== 0) asked.add("wq_fd");
  asked.add("resv?");
  const made = call.succeeded ? membersAt("io_uring_params", call.arg(1), call, Out) : undefined;
  if (made === undefined) return args.add(1, asked.value()).shape();
  made.add("sq_entries cq_entries features");
  offsets(made, "sq_off", "io_sqring_offsets", SQ_OFFSETS);
  offsets(made, "cq_off", "io_cqring_offsets", CQ_OFFSETS);
  asked.fields.push(...made.fields);
  return args.add(1, asked.value()).shape();
}

/** A signal mask, or with the extended argument a struct that has a mask and a time-out. */
function enter(call: CallContext): Shape {
  const args = new Arguments(call).plain(0, 1, 2, 3);
  const addr = call.arg(4);
  const mode = call.low(3) & (ENTER_EXT_ARG | ENTER_EXT_ARG_REG);
  if (mode === ENTER_EXT_ARG_REG) args.add(4, int(addr));
  else if (mode === ENTER_EXT_ARG) args.add(4, extendedArgument(call, addr));
  else args.add(4, sigsetAt(call, addr, call.count(5), In));
  return args.plain(5).shape();
}

function extendedArgument(call: CallContext, addr: Num): Value {
  const m = membersAt("io_uring_getevents_arg", addr, call, In);
  if (m === undefined) return address(addr);
  m.put("sigmask", sigsetAt(call, m.num("sigmask"), m.low("sigmask_sz"), In));
  m.add("sigmask_sz min_wait_usec?");
  return m.put("ts", timespec(call, m.num("ts"))).value();
}

/** The kernel's 64-bit time, of whatever word size the program is. */
function timespec(call: CallContext, addr: Num): Value {
  const data = call.memory.readAll(addr, 16, In);
  if (data === undefined) return address(addr);
  return struct("timespec", [
    field("tv_sec", int(u64(data, 0) ?? 0)),
    field("tv_nsec", int(u64(data, 8) ?? 0)),
  ]);
}

const FILES_SKIP = 0xffff_fffe;

function updatedFd(call: CallContext, fd: number): Value {
  return fd >>> 0 === FILES_SKIP ? choice("io_uring_fd_skip", fd >>> 0) : call.fd(fd);
}

function numbers(
  call: CallContext,
  addr: Num,
  count: number,
  size: 4 | 8,
  show: (data: Uint8Array, at: number) => Value,
): Value {
  if (addr === 0) return address(addr);
  if (count === 0) return array([]);
  const data = call.memory.read(addr, Math.min(count, MAX_ELEMENTS) * size, In);
  if (data === undefined) return address(addr);
  const items: Value[] = [];
  for (let at = 0; at + size <= data.length; at += size) items.push(show(data, at));
  return array(items, items.length < count);
}

function fds(call: CallContext, addr: Num, count: number, update = false): Value {
  return numbers(call, addr, count, 4, (data, at) => {
    const fd = i32(data, at) ?? -1;
    return update ? updatedFd(call, fd) : call.fd(fd);
  });
}

/** `count` structs, each shown by `show`. */
function structs(
  call: CallContext,
  addr: Num,
  count: number,
  side: number,
  name: string,
  show: (m: Members) => Value,
): Value {
  const size = layout(name)?.size ?? 0;
  if (addr === 0 || size === 0) return address(addr);
  if (count === 0) return array([]);
  const data = call.memory.read(addr, Math.min(count, MAX_ELEMENTS) * size, side);
  if (data === undefined) return address(addr);
  const items: Value[] = [];
  for (let at = 0; at + size <= data.length; at += size) {
    items.push(show(new Members(name, data.subarray(at, at + size), call, side)));
  }
  return array(items, items.length < count);
}

function restriction(m: Members): Value {
  const opcode = m.low("opcode");
  const operand = m.low("register_op");
  if (opcode > 3) {
    const text = `0x${opcode.toString(16)} /* IORING_RESTRICTION_??? */ /* op: 0x${operand.toString(16)} */`;
    m.put("opcode", { kind: "int", value: opcode, base: "hex", text });
    return m.add("resv:x? resv2?").value();
  }
  m.add("opcode");
  if (opcode === 0) m.put("register_op", choice("io_uring_register_op", operand));
  else if (opcode === 1) m.put("sqe_op", choice("io_uring_op", operand));
  else m.put("sqe_flags", flags("io_uring_sqe_flags", operand));
  return m.add("resv:x? resv2?").value();
}

/** A probe is all zeros at entry; only then it is not worth showing. */
function probe(call: CallContext): Value {
  const count = call.low(3);
  const addr = call.arg(2);
  const at = (side: number): Value | undefined => {
    const m = membersAt("io_uring_probe", addr, call, side);
    if (m === undefined || count > 256) return undefined;
    m.add("last_op ops_len resv:x? resv2?");
    const shownOps = side === In ? count : Math.min(count, m.low("ops_len"));
    const base = typeof addr === "number" ? addr + 16 : 0;
    const ops = structs(call, base, shownOps, side, "io_uring_probe_op", (op) =>
      op.add("op resv:x? flags resv2:x?").value(),
    );
    if (ops.kind !== "array") return undefined;
    const cut = side === Out && count < m.low("ops_len");
    return m.put("ops", { ...ops, elided: ops.elided || cut }).value();
  };
  const data = call.memory.read(addr, 16 + 8 * Math.min(count, 256), In);
  const before = data?.some((byte) => byte !== 0) === true ? at(In) : undefined;
  const after = call.succeeded ? at(Out) : undefined;
  if (before === undefined) return after ?? address(addr);
  return after === undefined ? before : { kind: "change", before, after };
}

/** Files or buffers with tags, at once or as an update. */
function resources(call: CallContext, operation: string): Value {
  const addr = call.arg(2);
  const update = operation.includes("UPDATE");
  const name = update ? "io_uring_rsrc_update2" : "io_uring_rsrc_register";
  const m = call.low(3) < 32 ? undefined : membersAt(name, addr, call, In);
  if (m === undefined) return address(addr);
  m.add(update ? "offset resv:x?" : "nr flags resv2:x?");
  const count = m.low("nr");
  const data = m.num("data");
  m.put(
    "data",
    operation.includes("FILES")
      ? fds(call, data, count, update)
      : iovecs(call, data, count, { side: In, bytes: -1 }),
  );
  const tags = numbers(call, m.num("tags"), count, 8, (bytes, at) => hexInt(u64(bytes, at) ?? 0));
  m.put("tags", tags);
  if (update) m.add("nr resv2:x?");
  return m.value();
}

function filesUpdate(call: CallContext): Value {
  const m = membersAt("io_uring_files_update", call.arg(2), call, In);
  if (m === undefined) return address(call.arg(2));
  m.add("offset resv:x?");
  return m.put("fds", fds(call, m.num("fds"), call.low(3), true)).value();
}

/** `[[IO_WQ_BOUND] = 4, [IO_WQ_UNBOUND] = 8]`, before and after. */
function maxWorkers(call: CallContext): Value {
  const count = Math.min(call.low(3), 2);
  const at = (side: number): Value => {
    const data = call.memory.readAll(call.arg(2), 4 * count, side);
    if (data === undefined || count === 0) return address(call.arg(2));
    const items = Array.from({ length: count }, (_, k): Value => {
      const label = `[${choiceName("io_uring_wq_type", k) ?? k}]`;
      const value = int(u32(data, 4 * k) ?? 0);
      return { kind: "list", sep: "", items: [{ label, value }], equals: true };
    });
    return array(items, call.low(3) > count);
  };
  if (!call.succeeded) return at(In);
  return { kind: "change", before: at(In), after: at(Out) };
}

function ringFd(unregister: boolean): (m: Members) => Value {
  return (m) => {
    const offset = m.low("offset");
    m.put("offset", int(!unregister && offset === 0xffff_ffff ? -1 : offset));
    m.add("resv:x?");
    if (unregister) m.add("data:x?");
    else m.put("data", m.call.fd(m.low("data") | 0));
    return m.value();
  };
}

function affinity(call: CallContext): Value {
  const data = call.memory.readAll(call.arg(2), Math.min(call.low(3), 8192), In);
  if (data === undefined || data.length === 0) return address(call.arg(2));
  const items: Value[] = [];
  for (let bit = 0; bit < 8 * data.length; bit++) {
    if ((((data[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 1) items.push(int(bit));
  }
  return { kind: "array", items, elided: false, spaced: true, whole: true };
}

function napi(call: CallContext): Value {
  const at = (side: number): Value => {
    const m = membersAt("io_uring_napi", call.arg(2), call, side);
    if (m === undefined) return address(call.arg(2));
    m.add("busy_poll_to:x prefer_busy_poll:x opcode pad?");
    if (m.low("opcode") === 0) {
      m.put("op_param", choice("io_uring_napi_tracking", m.low("op_param")));
    } else m.add("op_param:x");
    return m.add("resv:x?").value();
  };
  return call.succeeded ? changed(at(In), at(Out)) : at(In);
}

/** Operations of which the argument is one struct; the count must be what stands here. */
const PLAIN: Readonly<Record<string, readonly [name: string, count: number, members: string]>> = {
  IORING_REGISTER_PBUF_RING: [
    "io_uring_buf_reg",
    1,
    "ring_addr:a ring_entries bgid flags:x? min_left? resv?",
  ],
  IORING_UNREGISTER_PBUF_RING: [
    "io_uring_buf_reg",
    1,
    "ring_addr:a ring_entries bgid flags:x? min_left? resv?",
  ],
  IORING_REGISTER_FILE_ALLOC_RANGE: ["io_uring_file_index_range", 1, "off len resv:x?"],
  IORING_REGISTER_CLOCK: ["io_uring_clock_register", 0, "clockid __resv?"],
  IORING_REGISTER_CLONE_BUFFERS: [
    "io_uring_clone_buffers",
    1,
    "src_fd flags src_off dst_off nr pad?",
  ],
  IORING_REGISTER_SEND_MSG_RING: [
    "io_uring_sqe",
    1,
    "opcode flags ioprio:u fd off addr len rw_flags user_data buf_index:x personality splice_fd_in addr3",
  ],
  IORING_REGISTER_MEM_REGION: ["io_uring_mem_region_reg", 1, "region_uptr flags __resv?"],
};

function syncCancel(call: CallContext): Value {
  const m =
    call.low(3) === 1 ? membersAt("io_uring_sync_cancel_reg", call.arg(2), call, In) : undefined;
  if (m === undefined) return address(call.arg(2));
  m.add("addr:a fd flags");
  const time = new Members(m.name, m.data, call, In).add("tv_sec tv_nsec");
  m.put("timeout", struct("timespec", time.fields));
  return m.add("opcode pad? pad2?").value();
}

const LATE: ReadonlySet<string> = new Set(["IORING_REGISTER_PROBE", "IORING_REGISTER_PBUF_STATUS"]);

const USE_REGISTERED_RING = 0x8000_0000;

function registerCall(call: CallContext): Shape {
  const opcode = (call.low(1) & ~USE_REGISTERED_RING) >>> 0;
  const registered = (call.low(1) & USE_REGISTERED_RING) !== 0;
  const args = new Arguments(call);
  const named = choice("io_uring_register_op", opcode);
  if (registered && named.name !== undefined) {
    args.add(0, int(call.int(0)));
    args.add(1, symbol(`IORING_REGISTER_USE_REGISTERED_RING|${named.name}`));
  } else args.plain(0, 1);
  const name = named.name ?? "";
  const value = operand(call, name);
  if (LATE.has(name)) args.late(2, value);
  else args.add(2, value);
  return args.plain(3).shape();
}

function operand(call: CallContext, name: string): Value {
  const addr = call.arg(2);
  const count = call.low(3);
  switch (name) {
    case "IORING_REGISTER_BUFFERS":
      return iovecs(call, addr, count, { side: In, bytes: -1 });
    case "IORING_REGISTER_FILES":
    case "IORING_REGISTER_EVENTFD":
    case "IORING_REGISTER_EVENTFD_ASYNC":
      return fds(call, addr, count);
    case "IORING_REGISTER_FILES_UPDATE":
      return filesUpdate(call);
    case "IORING_REGISTER_PROBE":
      return probe(call);
    case "IORING_REGISTER_RESTRICTIONS":
      return structs(call, addr, count, In, "io_uring_restriction", restriction);
    case "IORING_REGISTER_FILES2":
    case "IORING_REGISTER_FILES_UPDATE2":
    case "IORING_REGISTER_BUFFERS2":
    case "IORING_REGISTER_BUFFERS_UPDATE":
      return resources(call, name);
    case "IORING_REGISTER_IOWQ_AFF":
      return affinity(call);
    case "IORING_REGISTER_IOWQ_MAX_WORKERS":
      return maxWorkers(call);
    case "IORING_REGISTER_RING_FDS":
    case "IORING_UNREGISTER_RING_FDS":
      return structs(call, addr, count, In, "io_uring_rsrc_update", ringFd(name.includes("UNREG")));
    case "IORING_REGISTER_SYNC_CANCEL":
      return syncCancel(call);
    case "IORING_REGISTER_PBUF_STATUS":
      return count === 1 && call.succeeded
        ? shown("io_uring_buf_status", addr, call, Out, "buf_group:x head:x resv?")
        : address(addr);
    case "IORING_REGISTER_NAPI":
    case "IORING_UNREGISTER_NAPI":
      return count === 1 ? napi(call) : address(addr);
    default:
      return plainOperand(call, name);
  }
}

function plainOperand(call: CallContext, name: string): Value {
  const known = PLAIN[name];
  if (known === undefined || call.low(3) !== known[1]) return address(call.arg(2));
  return shown(known[0], call.arg(2), call, In, known[2]);
}

export const ioUringFamily: Family = {
  calls: { io_uring_setup: setup, io_uring_enter: enter, io_uring_register: registerCall },
};
