/** prctl and arch_prctl: which arguments an option has, and what they are. */

import { CaptureSide } from "../../trace/batch.js";
import { stringAt } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { u64 } from "../memory.js";
import { type Argument, deref, hexInt, int, symbol, type Value } from "../value.js";
import { address, isLate, kindValue } from "./kinds.js";
import type { Family, ReturnDecoder, Shape } from "./registry.js";

const ONE = ["int"];
const FOUR = ["hex", "hex", "hex", "hex"];

/** Kinds (see kinds.ts) of the arguments behind the option; those not listed do not exist for it. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  PR_SET_PDEATHSIG: ["signal"],
  PR_GET_PDEATHSIG: [">signal"],
  PR_GET_DUMPABLE: [],
  PR_SET_DUMPABLE: ["c:pr_dumpable"],
  PR_GET_UNALIGN: [">f:pr_unalign"],
  PR_SET_UNALIGN: ["f:pr_unalign"],
  PR_GET_KEEPCAPS: [],
  PR_SET_KEEPCAPS: ONE,
  PR_GET_FPEMU: [">f:pr_fpemu"],
  PR_SET_FPEMU: ["f:pr_fpemu"],
  PR_GET_FPEXC: [">f:pr_fpexc"],
  PR_SET_FPEXC: ["f:pr_fpexc"],
  PR_GET_TIMING: [],
  PR_SET_TIMING: ONE,
  PR_SET_NAME: ["<str"],
  PR_GET_NAME: [">str"],
  PR_GET_ENDIAN: [">c:pr_endian"],
  PR_SET_ENDIAN: ["c:pr_endian"],
  PR_GET_SECCOMP: [],
  PR_CAPBSET_READ: ["cap"],
  PR_CAPBSET_DROP: ["cap"],
  PR_GET_TSC: [">c:pr_tsc"],
  PR_SET_TSC: ["c:pr_tsc"],
  PR_GET_SECUREBITS: [],
  PR_SET_SECUREBITS: ["f:secure_bits"],
  PR_GET_TIMERSLACK: [],
  PR_SET_TIMERSLACK: ["size"],
  PR_TASK_PERF_EVENTS_DISABLE: [],
  PR_TASK_PERF_EVENTS_ENABLE: [],
  PR_MCE_KILL: ["c:pr_mce_kill", "c:pr_mce_kill_policy", "int", "int"],
  PR_MCE_KILL_GET: FOUR,
  PR_SET_MM: ["c:pr_set_mm", "hex", "hex", "hex"],
  PR_SET_CHILD_SUBREAPER: ONE,
  PR_GET_CHILD_SUBREAPER: [">int"],
  PR_SET_NO_NEW_PRIVS: ["int", "hex", "hex", "hex"],
  PR_GET_NO_NEW_PRIVS: FOUR,
  PR_GET_TID_ADDRESS: [">addr"],
  PR_SET_THP_DISABLE: ["int", "hex", "hex", "hex"],
  PR_GET_THP_DISABLE: FOUR,
  PR_SET_FP_MODE: ["f:pr_fp_mode"],
  PR_GET_FP_MODE: [],
  PR_CAP_AMBIENT: ["c:pr_cap_ambient", "cap", "hex", "hex"],
  PR_GET_SPECULATION_CTRL: ["c:pr_spec"],
  PR_SET_SPECULATION_CTRL: ["c:pr_spec", "f:pr_spec_control"],
  PR_SET_IO_FLUSHER: ["uint", "hex", "hex", "hex"],
  PR_GET_IO_FLUSHER: FOUR,
  PR_SET_SYSCALL_USER_DISPATCH: ["c:pr_syscall_dispatch", "hex", "hex", "addr"],
  PR_SVE_GET_VL: [],
  PR_SME_GET_VL: [],
  PR_SCHED_CORE: ["c:pr_sched_core", "int", "scope", "addr"],
  PR_PAC_RESET_KEYS: ["f:pr_pac_keys", "hex", "hex", "hex"],
  PR_PAC_SET_ENABLED_KEYS: ["f:pr_pac_keys", "f:pr_pac_keys", "hex", "hex"],
  PR_PAC_GET_ENABLED_KEYS: FOUR,
  PR_SVE_SET_VL: ["vl:pr_sve_vl_flags"],
  PR_SME_SET_VL: ["vl:pr_sme_vl_flags"],
  PR_SET_VMA: ["c:pr_set_vma", "addr", "size", "<str"],
  PR_SET_PTRACER: ["ptracer"],
  PR_SET_MDWE: ["f:pr_mdwe", "int", "int", "int"],
  PR_GET_MDWE: FOUR,
};

function prctl(call: CallContext): Shape {
  const rows = call.row?.args ?? [];
  const option = call.low(0);
  const name = choiceName("prctl_option", option);
  const kinds = optionKinds(call, name);
  const args: Argument[] = [
    { name: rows[0]?.name ?? "option", value: choice("prctl_option", option) },
  ];
  kinds.forEach((kind, n) => {
    const k = n + 1;
    const value = optionValue(call, k, kind, name);
    const argument = { name: rows[k]?.name ?? `arg${k + 1}`, value };
    args.push(isLate(kind) ? { ...argument, at: "exit" } : argument);
  });
  return { args };
}

const SECCOMP_MODE_STRICT = 1;
const SECCOMP_MODE_FILTER = 2;
const MCE_KILL_SET = 1;
/** The last kind of speculation that has names for its states. */
const SPECULATION_LAST = 2;
const CAP_AMBIENT_FIRST = 1;
const CAP_AMBIENT_LAST = 3;

/** The arguments that an option has in this call. */
function optionKinds(call: CallContext, name: string | undefined): readonly string[] {
  const second = call.low(1);
  switch (name) {
    case "PR_SET_SECCOMP":
      if (second === SECCOMP_MODE_STRICT) return ["c:seccomp_mode"];
      if (second === SECCOMP_MODE_FILTER) return ["c:seccomp_mode", "<s:sock_fprog"];
      return ["c:seccomp_mode", "hex", "hex", "hex"];
    case "PR_CAP_AMBIENT":
      if (second >= CAP_AMBIENT_FIRST && second <= CAP_AMBIENT_LAST) break;
      return ["c:pr_cap_ambient", "hex", "hex", "hex"];
    case "PR_MCE_KILL":
      return [
        "c:pr_mce_kill",
        second === MCE_KILL_SET ? "c:pr_mce_kill_policy" : "hex",
        "hex",
        "hex",
      ];
    case "PR_SET_SPECULATION_CTRL":
      if (second <= SPECULATION_LAST) break;
      return ["c:pr_spec", "hex"];
    case "PR_SET_VMA":
      if (second === 0) break;
      return ["c:pr_set_vma", "hex", "hex", "hex"];
    default:
  }
  return (name !== undefined && OPTIONS[name]) || ["hex", "hex", "hex", "hex"];
}

const NAME_LENGTH = 15;
const PTRACER_ANY_LOW = 0xffff_ffff;

function optionValue(call: CallContext, k: number, kind: string, name: string | undefined): Value {
  if (kind === "ptracer") {
    return call.low(k) === PTRACER_ANY_LOW ? symbol("PR_SET_PTRACER_ANY") : int(call.int(k));
  }
  if (kind === "<str" && name === "PR_SET_NAME") {
    const value = stringAt(call, call.arg(k), CaptureSide.In, "string");
    if (value.kind !== "bytes" || value.bytes.length <= NAME_LENGTH) return value;
    return { ...value, bytes: value.bytes.subarray(0, NAME_LENGTH) };
  }
  if (kind === "scope") return remarked(call.low(k), "pr_sched_core_scope", "PIDTYPE_???");
  if (kind.startsWith("vl:")) return vectorLength(call.low(k), kind.slice(3));
  return kindValue(call, k, kind);
}

/** A number, and its name as a remark. */
function remarked(value: number, set: string, unknown: string): Value {
  const number = value === 0 ? "0" : `0x${value.toString(16)}`;
  const text = `${number} /* ${choiceName(set, value) ?? unknown} */`;
  return { kind: "int", value, base: "hex", text };
}

const VECTOR_LENGTH = 0xffff;

/** Flags above the length of vectors: `PR_SVE_VL_INHERIT|0x10`. */
function vectorLength(value: number, set: string): Value {
  const length = hexInt(value & VECTOR_LENGTH);
  const { names, rest } = flags(set, (value & ~VECTOR_LENGTH) >>> 0);
  if (names.length === 0) return hexInt(value);
  const items = names.map((name): { value: Value } => ({ value: symbol(name) }));
  if (rest !== 0) items.push({ value: hexInt(rest) });
  return { kind: "list", sep: "|", items: [...items, { value: length }] };
}

const prctlReturn: ReturnDecoder = (call) => {
  const value = call.retLow;
  switch (choiceName("prctl_option", call.low(0))) {
    case "PR_GET_DUMPABLE":
      return { note: choice("pr_dumpable", value) };
    case "PR_GET_SECUREBITS":
      return value === 0 ? {} : { value: hexInt(value), note: flags("secure_bits", value) };
    case "PR_GET_SPECULATION_CTRL":
      return { value: hexInt(value), note: flags("pr_spec_control", value) };
    case "PR_MCE_KILL_GET":
      return { note: choice("pr_mce_kill_policy", value) };
    default:
      return {};
  }
};

const ARCH_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  ARCH_GET_FS: [">addr"],
  ARCH_GET_GS: [">addr"],
  ARCH_SET_FS: ["hex"],
  ARCH_SET_GS: ["hex"],
  ARCH_GET_CPUID: [],
  ARCH_SET_CPUID: ["hex"],
  ARCH_GET_XCOMP_SUPP: [">xfeatures"],
  ARCH_GET_XCOMP_PERM: [">xfeatures"],
  ARCH_GET_XCOMP_GUEST_PERM: [">xfeatures"],
  ARCH_REQ_XCOMP_PERM: ["xfeature"],
  ARCH_REQ_XCOMP_GUEST_PERM: ["xfeature"],
  ARCH_SHSTK_ENABLE: ["f:shadow_stack_features"],
  ARCH_SHSTK_DISABLE: ["f:shadow_stack_features"],
  ARCH_SHSTK_LOCK: ["f:shadow_stack_features"],
  ARCH_SHSTK_UNLOCK: ["f:shadow_stack_features"],
  ARCH_SHSTK_STATUS: [">u64"],
};

/** Features of the processor's extended state: the number, and its names as a remark. */
function features(call: CallContext): Value {
  const data = call.succeeded ? call.memory.readAll(call.arg(1), 8, CaptureSide.Out) : undefined;
  if (data === undefined) return address(call.arg(1));
  const value = u64(data, 0) ?? 0;
  const { names, rest } = flags("xfeature_mask", value);
  const text = rest === 0 ? names : [...names, `0x${rest.toString(16)}`];
  if (names.length === 0) return deref(hexInt(value));
  const remark = `0x${value.toString(16)} /* ${text.join("|")} */`;
  return deref({ kind: "int", value, base: "hex", text: remark });
}

function feature(call: CallContext): Value {
  return remarked(call.low(1), "xfeature", "XFEATURE_???");
}

function archValue(call: CallContext, kind: string): Value {
  if (kind === ">xfeatures") return features(call);
  return kind === "xfeature" ? feature(call) : kindValue(call, 1, kind);
}

function archPrctl(call: CallContext): Shape {
  const rows = call.row?.args ?? [];
  const option = call.low(0);
  const name = choiceName("arch_prctl_code", option);
  const kind = ((name !== undefined && ARCH_OPTIONS[name]) || ["hex"])[0];
  const args: Argument[] = [
    { name: rows[0]?.name ?? "option", value: choice("arch_prctl_code", option) },
  ];
  if (kind === undefined) return { args };
  const argument = { name: rows[1]?.name ?? "arg2", value: archValue(call, kind) };
  args.push(isLate(kind) ? { ...argument, at: "exit" } : argument);
  return { args };
}

export const prctlFamily: Family = {
  calls: { prctl, arch_prctl: archPrctl },
  returns: { prctl: prctlReturn },
};
