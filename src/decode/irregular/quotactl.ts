/** quotactl and quotactl_fd: which arguments a command has, and what is behind the address. */

import { CaptureSide } from "../../trace/batch.js";
import { stringAt } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { u32 } from "../memory.js";
import { structAt } from "../struct.js";
import { apply, deref, int, symbol, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

/** Whether a command has an id, and what its data is: `<` read, `>` written, `s:` a struct, `f:` and `c:` one number. */
const COMMANDS: Readonly<Record<string, readonly [id: "" | "uid" | "format", data: string]>> = {
  Q_SYNC: ["", ""],
  Q_QUOTAON: ["format", "<path"],
  Q_QUOTAOFF: ["", ""],
  Q_GETFMT: ["", ">c:quota_format"],
  Q_GETINFO: ["", ">s:if_dqinfo"],
  Q_SETINFO: ["", "<s:if_dqinfo"],
  Q_GETQUOTA: ["uid", ">s:if_dqblk"],
  Q_SETQUOTA: ["uid", "<s:if_dqblk"],
  Q_GETNEXTQUOTA: ["uid", ">s:if_nextdqblk"],
  Q_XQUOTAON: ["", "<f:xfs_quota_flags"],
  Q_XQUOTAOFF: ["", "<f:xfs_quota_flags"],
  Q_XGETQUOTA: ["uid", ">s:fs_disk_quota"],
  Q_XSETQLIM: ["uid", "<s:fs_disk_quota"],
  Q_XGETQSTAT: ["", ">s:fs_quota_stat"],
  Q_XQUOTARM: ["", "<f:xfs_dqblk_type"],
  Q_XQUOTASYNC: ["", ""],
  Q_XGETQSTATV: ["", ">s:fs_quota_statv"],
  Q_XGETNEXTQUOTA: ["uid", ">s:fs_disk_quota"],
};

/** `QCMD(Q_GETQUOTA, USRQUOTA)`. */
function command(value: number): Value {
  const part = (set: string, number: number, unknown: string): Value =>
    symbol(choiceName(set, number) ?? `0x${number.toString(16)} /* ${unknown} */`);
  return apply("QCMD", [
    part("quotactl_cmd", value >>> 8, "Q_???"),
    part("quota_type", value & 0xff, "???QUOTA"),
  ]);
}

function data(call: CallContext, k: number, kind: string): Value {
  const addr = call.arg(k);
  const late = kind.startsWith(">");
  if (late && !call.succeeded) return address(addr);
  const side = late ? Out : In;
  const what = kind.slice(1);
  if (what === "path") return stringAt(call, addr, side, "path");
  if (what.startsWith("s:")) {
    const value = structAt(what.slice(2), addr, call, side);
    return value.kind === "struct" && value.elided ? address(addr) : value;
  }
  const bytes = call.memory.readAll(addr, 4, side);
  if (bytes === undefined) return address(addr);
  const number = u32(bytes, 0) ?? 0;
  const set = what.slice(2);
  return deref(what.startsWith("f:") ? flags(set, number) : choice(set, number));
}

/** `op` is the index of the command; the id and the address are the last two arguments. */
function quotactl(op: 0 | 1): (call: CallContext) => Shape {
  return (call) => {
    const args = new Arguments(call);
    if (op === 1) args.plain(0).add(1, command(call.low(1)));
    else args.add(0, command(call.low(0))).plain(1);
    const known = COMMANDS[choiceName("quotactl_cmd", call.low(op) >>> 8) ?? ""];
    const [id, what] = known ?? ["uid", undefined];
    if (id === "uid") args.add(2, int(call.low(2) === 0xffff_ffff ? -1 : call.low(2)));
    if (id === "format") args.add(2, choice("quota_format", call.low(2)));
    if (what === undefined) args.add(3, address(call.arg(3)));
    else if (what.startsWith(">")) args.late(3, data(call, 3, what));
    else if (what !== "") args.add(3, data(call, 3, what));
    return args.shape();
  };
}

export const quotactlFamily: Family = {
  calls: { quotactl: quotactl(0), quotactl_fd: quotactl(1) },
};
