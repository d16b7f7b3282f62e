/** System V IPC: keys, control structs and messages. What i386's ipc and socketcall stand for is in bundled.ts. */

import { CaptureSide } from "../../trace/batch.js";
import { bytesAt } from "../argument.js";
import { isBundled } from "../bundled.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { i32, u32 } from "../memory.js";
import { modeBits, signExtend } from "../scalar.js";
import {
  deref,
  type FlagsValue,
  field,
  hexInt,
  type IntValue,
  int,
  type ListValue,
  type Num,
  pointer,
  struct,
  symbol,
  type Value,
} from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { Members, membersAt, shown } from "./members.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

const IPC_64 = 0x100;
const CMD = { SET: 1, STAT: 2, INFO: 3 } as const;

/** A key: `IPC_PRIVATE` or a number. */
function key(value: number): Value {
  return value === 0 ? choice("ipc_key", 0) : hexInt(value);
}

/** `IPC_CREAT|0600`. */
function createFlags(set: string, value: number): ListValue | IntValue {
  const bits = (value & ~0o777) >>> 0;
  const mode = modeBits(value & 0o777) as IntValue;
  const text: IntValue = { ...mode, text: `0${(value & 0o777).toString(8).padStart(2, "0")}` };
  if (bits === 0) return text;
  const known: FlagsValue = flags(set, bits);
  const named = known.names.length > 0 ? known : hexInt(bits);
  return { kind: "list", sep: "|", items: [{ value: named }, { value: text }] };
}

const SHM_HUGE_SHIFT = 26;
const SHM_HUGE_MASK = 63;

function shmFlags(value: number): Value {
  const huge = value >>> SHM_HUGE_SHIFT;
  const plain = createFlags("shmget_flags", value & ((1 << SHM_HUGE_SHIFT) - 1));
  if (huge === 0) return plain;
  const shifted = symbol(`${huge & SHM_HUGE_MASK}<<SHM_HUGE_SHIFT`);
  if (plain.kind === "int")
    return { kind: "list", sep: "|", items: [{ value: shifted }, { value: plain }] };
  const items = [...plain.items];
  items.splice(items.length - 1, 0, { value: shifted });
  return { ...plain, items };
}

/** A control command: `IPC_STAT`, with the bit that 32-bit libraries add `IPC_64|IPC_STAT`. */
function control(set: string, value: number): Value {
  if ((value & IPC_64) === 0) return choice(set, value);
  const name = choiceName(set, value & ~IPC_64);
  return symbol(
    name === undefined
      ? `IPC_64|0x${(value & ~IPC_64).toString(16)} /* ${set === "semctl_cmd" ? "SEM" : set.slice(0, 3).toUpperCase()}_??? */`
      : `IPC_64|${name}`,
  );
}

/** The owner: what IPC_SET changes is fewer. */
function permissions(m: Members, member: string, sets: boolean): void {
  const name = m.call.word === 8 ? "ipc_perm" : "compat_ipc_perm";
  const inner = new Members(name, m.data, m.call, m.side);
  inner.add("uid gid mode");
  const mode = inner.fields[2];
  if (mode !== undefined) inner.fields[2] = field("mode", fourDigits(inner.low("mode")));
  if (!sets) inner.add("key:u cuid cgid");
  m.put(member, inner.value());
}

function fourDigits(mode: number): IntValue {
  return { kind: "int", value: mode, base: "oct", text: `0${mode.toString(8).padStart(2, "0")}` };
}

interface Control {
  readonly set: string;
  readonly object: string;
  readonly permissions: string;
  readonly stat: string;
  readonly update: string;
  /** Commands that give the object, by number; IPC_STAT is one of them. */
  readonly stats: readonly number[];
  readonly info: string;
  readonly infoMembers: string;
  /** Command that gives the usage. */
  readonly usage: number;
  readonly usageStruct: string;
  readonly usageMembers: string;
}

const SEMINFO = "semmap semmni semmns semmnu semmsl semopm semume semusz semvmx semaem";
const MSGINFO = "msgpool msgmap msgmax msgmnb msgmni msgssz msgtql msgseg";

const SHM: Control = {
  set: "shmctl_cmd",
  object: "shmid_ds",
  permissions: "shm_perm",
  stat: "shm_segsz shm_cpid shm_lpid shm_nattch shm_atime:u shm_dtime:u shm_ctime:u",
  update: "",
  stats: [CMD.STAT, 13, 15],
  info: "shminfo",
  infoMembers: "shmmax shmmin shmmni shmseg shmall",
  usage: 14,
  usageStruct: "shm_info",
  usageMembers: "used_ids:d shm_tot shm_rss shm_swp swap_attempts swap_successes",
};

const SEM: Control = {
  set: "semctl_cmd",
  object: "semid_ds",
  permissions: "sem_perm",
  stat: "sem_otime:u sem_ctime:u sem_nsems",
  update: "",
  stats: [CMD.STAT, 18, 20],
  info: "seminfo",
  infoMembers: SEMINFO,
  usage: 19,
  usageStruct: "seminfo",
  usageMembers: SEMINFO,
};

const MSG: Control = {
  set: "msgctl_cmd",
  object: "msqid_ds",
  permissions: "msg_perm",
  stat: "msg_stime:u msg_rtime:u msg_ctime:u msg_qnum msg_qbytes msg_lspid:d msg_lrpid:d",
  update: "msg_qbytes",
  stats: [CMD.STAT, 11, 13],
  info: "msginfo",
  infoMembers: MSGINFO,
  usage: 12,
  usageStruct: "msginfo",
  usageMembers: MSGINFO,
};

/** Structs that are the same for both word sizes. */
const SAME: ReadonlySet<string> = new Set(["seminfo", "msginfo"]);

function layoutName(call: CallContext, name: string): string {
  return call.word === 8 || SAME.has(name) ? name : `compat_${name}`;
}

/** What the command reads or writes at `addr`, and whether only its end tells. */
function controlled(
  call: CallContext,
  addr: Num,
  command: number,
  kind: Control,
): { value: Value; late: boolean } {
  const object = (side: number, sets: boolean): Value => {
    const m = membersAt(layoutName(call, kind.object), addr, call, side);
    if (m === undefined) return address(addr);
    permissions(m, kind.permissions, sets);
    const members = sets ? kind.update : kind.stat;
    return members === "" ? m.value() : m.add(members).value();
  };
  const plain = command & ~IPC_64;
  if (plain === CMD.SET) return { value: object(In, true), late: false };
  const known = kind.stats.includes(plain) || plain === CMD.INFO || plain === kind.usage;
  if (!known) return { value: address(addr), late: false };
  if (!call.succeeded) return { value: address(addr), late: true };
  if (kind.stats.includes(plain)) return { value: object(Out, false), late: true };
  const usage = plain === kind.usage;
  const name = layoutName(call, usage ? kind.usageStruct : kind.info);
  const members = usage ? kind.usageMembers : kind.infoMembers;
  return { value: shown(name, addr, call, Out, members), late: true };
}

/** ipc(2) takes the last argument of semctl by reference. */
function indirect(value: Value): Value {
  return value.kind === "pointer" ? deref(value) : value;
}

function ctl(kind: Control, cmd: 1 | 2): (call: CallContext) => Shape {
  return (call) => {
    const args = new Arguments(call).plain(0);
    if (cmd === 2) args.plain(1);
    args.add(cmd, control(kind.set, call.low(cmd)));
    const found = controlled(call, call.arg(cmd + 1), call.low(cmd), kind);
    const { late } = found;
    const value = kind === SEM && isBundled(call) ? indirect(found.value) : found.value;
    return (late ? args.late(cmd + 1, value) : args.add(cmd + 1, value)).shape();
  };
}

/** `{mtype=3, mtext="..."}`: `length` bytes of text behind one word. */
function message(call: CallContext, addr: Num, length: number, side: number): Value {
  const data = call.memory.read(addr, call.word, side);
  if (data === undefined || data.length < call.word || typeof addr !== "number") {
    return address(addr);
  }
  const type = call.word === 8 ? wideType(data) : (i32(data, 0) ?? 0);
  const fields = [field("mtype", int(type))];
  fields.push(field("mtext", bytesAt(call, addr + call.word, length, side)));
  return struct("msgbuf", fields);
}

function wideType(data: Uint8Array): Num {
  return signExtend(u32(data, 0) ?? 0, u32(data, 4) ?? 0, 8);
}

function msgsnd(call: CallContext): Shape {
  const value = message(call, call.arg(1), call.count(2), In);
  return new Arguments(call).plain(0).add(1, value).plain(2, 3).shape();
}

function msgrcv(call: CallContext): Shape {
  const args = new Arguments(call).plain(0);
  const value = call.succeeded
    ? message(call, call.arg(1), call.count(2), Out)
    : address(call.arg(1));
  return args.late(1, value).plain(2, 3, 4).shape();
}

function msgget(call: CallContext): Shape {
  const bits = createFlags("ipc_flags", call.low(1));
  return new Arguments(call)
    .add(0, key(call.low(0)))
    .add(1, bits)
    .shape();
}

function semget(call: CallContext): Shape {
  const bits = createFlags("ipc_flags", call.low(2));
  return new Arguments(call)
    .add(0, key(call.low(0)))
    .plain(1)
    .add(2, bits)
    .shape();
}

/** ipc(2) returns the address behind one more argument. */
function shmat(call: CallContext): Shape {
  if (!isBundled(call) || !call.succeeded) return {};
  const data = call.memory.readAll(call.low(3), 4, Out);
  return data === undefined ? {} : { result: { value: pointer(u32(data, 0) ?? 0) } };
}

function shmget(call: CallContext): Shape {
  const args = new Arguments(call).add(0, key(call.low(0))).plain(1);
  return args.add(2, shmFlags(call.low(2))).shape();
}

/** Operations that bundled.ts does not know: the words as they are. */
function ipc(call: CallContext): Shape {
  const operation = call.low(0) & 0xffff;
  const version = call.low(0) >>> 16;
  const text = choiceName("ipc_call", operation) ?? String(operation);
  const args = new Arguments(call).add(0, symbol(version === 0 ? text : `${version}<<16|${text}`));
  for (const k of [1, 2, 3, 4, 5]) args.add(k, hexInt(call.arg(k)));
  return args.shape();
}

function socketcall(call: CallContext): Shape {
  const name = choiceName("socketcall", call.low(0));
  const args = new Arguments(call).add(0, name === undefined ? int(call.low(0)) : symbol(name));
  return args.add(1, address(call.arg(1))).shape();
}

export const ipcFamily: Family = {
  calls: {
    shmat,
    shmget,
    shmctl: ctl(SHM, 1),
    semget,
    semctl: ctl(SEM, 2),
    msgget,
    msgctl: ctl(MSG, 1),
    msgsnd,
    msgrcv,
    ipc,
    socketcall,
  },
};
