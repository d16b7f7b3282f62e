/** bpf: one union, of which the command says which member it is, and the size how much of it there is. */

import { CaptureSide } from "../../trace/batch.js";
import { arrayAt, bytesAt, stringAt } from "../argument.js";
import { returnFd } from "../call_result.js";
import type { CallContext } from "../context.js";
import { choiceName, flags } from "../flags.js";
import {
  apply,
  bytes,
  type FieldValue,
  int,
  type Num,
  type StructValue,
  struct,
  symbol,
  type Value,
} from "../value.js";
import { Arguments } from "./arguments.js";
import { extendedProgram } from "./bpf_code.js";
import { address } from "./kinds.js";
import { Members } from "./members.js";
import type { Family, ReturnDecoder, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

/** Largest union that is looked at. */
const PAGE = 4096;

interface Attribute {
  /** The layout of its part of the union. */
  readonly name: string;
  /** Name of the nested struct that the part is. */
  readonly wrap?: string;
  readonly show: string | ((m: Members, after: Members | undefined) => void);
  /** Whether the kernel writes into it. */
  readonly late?: boolean;
}

const MAP_ELEM: Attribute = { name: "bpf_attr_map_elem", show: "map_fd key value flags" };
const OBJ: Attribute = { name: "bpf_attr_obj", show: showObject };
const BATCH = "in_batch out_batch keys values count map_fd elem_flags flags";

const COMMANDS: Readonly<Record<string, Attribute>> = {
  BPF_MAP_CREATE: { name: "bpf_attr_map_create", show: showMapCreate },
  BPF_MAP_LOOKUP_ELEM: MAP_ELEM,
  BPF_MAP_LOOKUP_AND_DELETE_ELEM: MAP_ELEM,
  BPF_MAP_UPDATE_ELEM: MAP_ELEM,
  BPF_MAP_DELETE_ELEM: { name: "bpf_attr_map_elem", show: "map_fd key" },
  BPF_MAP_GET_NEXT_KEY: { name: "bpf_attr_map_next_key", show: "map_fd key next_key" },
  BPF_MAP_FREEZE: { name: "bpf_attr_map_elem", show: "map_fd" },
  BPF_PROG_LOAD: { name: "bpf_attr_prog_load", show: showProgLoad },
  BPF_OBJ_PIN: OBJ,
  BPF_OBJ_GET: OBJ,
  BPF_PROG_ATTACH: {
    name: "bpf_attr_prog_attach",
    show: "target_fd attach_bpf_fd attach_type attach_flags replace_bpf_fd relative_fd expected_revision",
  },
  BPF_PROG_DETACH: { name: "bpf_attr_prog_attach", show: showDetach },
  BPF_PROG_TEST_RUN: {
    name: "bpf_attr_test",
    wrap: "test",
    show:
      "prog_fd retval data_size_in data_size_out data_in data_out repeat duration ctx_size_in ctx_size_out " +
      "ctx_in ctx_out flags cpu batch_size",
    late: true,
  },
  BPF_PROG_GET_NEXT_ID: { name: "bpf_attr_get_next_id", show: showId("start_id"), late: true },
  BPF_MAP_GET_NEXT_ID: { name: "bpf_attr_get_next_id", show: showId("start_id"), late: true },
  BPF_BTF_GET_NEXT_ID: { name: "bpf_attr_get_next_id", show: showId("start_id"), late: true },
  BPF_LINK_GET_NEXT_ID: { name: "bpf_attr_get_next_id", show: showId("start_id"), late: true },
  BPF_PROG_GET_FD_BY_ID: { name: "bpf_attr_get_next_id", show: showId("prog_id") },
  BPF_MAP_GET_FD_BY_ID: { name: "bpf_attr_get_next_id", show: showId("map_id") },
  BPF_BTF_GET_FD_BY_ID: { name: "bpf_attr_get_next_id", show: showOnlyId("btf_id") },
  BPF_LINK_GET_FD_BY_ID: { name: "bpf_attr_get_next_id", show: showOnlyId("link_id") },
  BPF_OBJ_GET_INFO_BY_FD: { name: "bpf_attr_info", wrap: "info", show: showInfo, late: true },
  BPF_PROG_QUERY: { name: "bpf_attr_query", wrap: "query", show: showQuery, late: true },
  BPF_RAW_TRACEPOINT_OPEN: {
    name: "bpf_attr_raw_tracepoint",
    wrap: "raw_tracepoint",
    show: showTracepoint,
  },
  BPF_BTF_LOAD: { name: "bpf_attr_btf_load", show: showBtfLoad },
  BPF_TASK_FD_QUERY: {
    name: "bpf_attr_task_fd_query",
    wrap: "task_fd_query",
    show: showTaskQuery,
    late: true,
  },
  BPF_MAP_LOOKUP_BATCH: { name: "bpf_attr_map_batch", wrap: "batch", show: BATCH },
  BPF_MAP_LOOKUP_AND_DELETE_BATCH: { name: "bpf_attr_map_batch", wrap: "batch", show: BATCH },
  BPF_MAP_UPDATE_BATCH: {
    name: "bpf_attr_map_batch",
    wrap: "batch",
    show: "keys values count map_fd elem_flags flags",
  },
  BPF_MAP_DELETE_BATCH: {
    name: "bpf_attr_map_batch",
    wrap: "batch",
    show: "keys count map_fd elem_flags flags",
  },
  BPF_LINK_CREATE: { name: "bpf_attr_link_create", wrap: "link_create", show: showLinkCreate },
  BPF_LINK_UPDATE: { name: "bpf_attr_link_update", wrap: "link_update", show: showLinkUpdate },
  BPF_ENABLE_STATS: { name: "bpf_attr_enable_stats", wrap: "enable_stats", show: "type" },
  BPF_ITER_CREATE: { name: "bpf_attr_iter_create", wrap: "iter_create", show: "link_fd flags" },
  BPF_LINK_DETACH: { name: "bpf_attr_link_detach", wrap: "link_detach", show: "link_fd" },
  BPF_PROG_BIND_MAP: {
    name: "bpf_attr_prog_bind_map",
    wrap: "prog_bind_map",
    show: "prog_fd map_fd flags",
  },
  BPF_TOKEN_CREATE: {
    name: "bpf_attr_token_create",
    wrap: "token_create",
    show: "flags bpffs_fd",
  },
  BPF_PROG_STREAM_READ_BY_FD: {
    name: "bpf_attr_stream_read",
    wrap: "prog_stream_read",
    show: showStream,
    late: true,
  },
  BPF_PROG_ASSOC_STRUCT_OPS: {
    name: "bpf_attr_assoc_struct_ops",
    wrap: "prog_assoc_struct_ops",
    show: "map_fd prog_fd flags",
  },
};

/** Commands that return a descriptor. */
const OPENS: ReadonlySet<string> = new Set([
  "BPF_MAP_CREATE",
  "BPF_PROG_LOAD",
  "BPF_OBJ_GET",
  "BPF_PROG_GET_FD_BY_ID",
  "BPF_MAP_GET_FD_BY_ID",
  "BPF_RAW_TRACEPOINT_OPEN",
  "BPF_BTF_LOAD",
  "BPF_BTF_GET_FD_BY_ID",
  "BPF_LINK_CREATE",
  "BPF_LINK_GET_FD_BY_ID",
  "BPF_ENABLE_STATS",
  "BPF_ITER_CREATE",
  "BPF_TOKEN_CREATE",
]);

const F_NUMA_NODE = 4;

function showMapCreate(m: Members): void {
  m.add("map_type key_size value_size max_entries map_flags inner_map_fd");
  if ((m.low("map_flags") & F_NUMA_NODE) !== 0) {
    const node = m.low("numa_node");
    const value = node === 0xffff_ffff ? symbol(`${node} /* NUMA_NO_NODE */`) : int(node);
    m.put("numa_node", value);
  }
  m.add("map_name map_ifindex btf_fd btf_key_type_id btf_value_type_id");
  m.add("btf_vmlinux_value_type_id map_extra:u value_type_btf_obj_fd map_token_fd");
  m.add("excl_prog_hash excl_prog_hash_size");
}

function showProgLoad(m: Members): void {
  const { call } = m;
  m.add("prog_type insn_cnt");
  m.put("insns", extendedProgram(call, m.num("insns"), m.low("insn_cnt"), In));
  m.put("license", stringAt(call, m.num("license"), In, "string"));
  m.add("log_level log_size");
  if (m.has("log_buf")) m.put("log_buf", text(call, m.num("log_buf"), m.low("log_size"), In));
  if (m.has("kern_version")) m.put("kern_version", kernelVersion(m.low("kern_version")));
  m.add("prog_flags prog_name prog_ifindex expected_attach_type prog_btf_fd func_info_rec_size");
  m.add("func_info func_info_cnt line_info_rec_size line_info line_info_cnt attach_btf_id");
  m.add("attach_prog_fd");
  m.add(m.has("core_relos") ? "core_relo_cnt fd_array core_relos core_relo_rec_size" : "fd_array");
  m.add("log_true_size prog_token_fd fd_array_cnt");
  if (m.has("signature")) {
    const length = m.low("signature_size");
    m.put("signature", bytesAt(call, m.num("signature"), length, In, "hex"));
    m.add("signature_size keyring_id");
  }
}

function kernelVersion(version: number): Value {
  const parts = [version >>> 16, (version >>> 8) & 255, version & 255];
  return apply("KERNEL_VERSION", parts.map(int), parts.join("."));
}

/** Text that ends at its NUL or after `limit` bytes. */
function text(call: CallContext, addr: Num, limit: number, side: number): Value {
  return addr === 0 || limit === 0 ? address(addr) : stringAt(call, addr, side, "string", limit);
}

function showObject(m: Members): void {
  m.put("pathname", stringAt(m.call, m.num("pathname"), In, "path"));
  m.add("bpf_fd file_flags path_fd");
}

function showDetach(m: Members): void {
  m.add("target_fd attach_type");
}

/** Members of the union that are one number under several names. */
function showId(name: string): (m: Members, after: Members | undefined) => void {
  return (m, after) => {
    m.put(name, int(m.low("start_id")));
    if (m.has("next_id")) {
      m.put("next_id", changedNumber(m.low("next_id"), (after ?? m).low("next_id")));
    }
    m.add("open_flags");
  };
}

function showOnlyId(name: string): (m: Members) => void {
  return (m) => {
    m.put(name, int(m.low("start_id")));
    m.reach = Math.max(m.reach, 4);
  };
}

function showInfo(m: Members, after: Members | undefined): void {
  m.add("bpf_fd");
  const before = m.low("info_len");
  const now = after?.low("info_len") ?? before;
  m.put("info_len", changedNumber(before, now));
  const addr = m.num("info");
  const path = m.call.fd(m.low("bpf_fd")).object?.path;
  const known = path === undefined ? undefined : INFOS[path];
  const data = after && m.call.memory.read(addr, now, Out);
  m.reach = 16;
  if (data === undefined || known === undefined) m.put("info", address(addr));
  else m.put("info", { ...information(m.call, known, addr, data), brief: address(addr) });
}

/** Information about an object; numbers that the program gave and the kernel changed are shown twice. */
function information(call: CallContext, known: Info, addr: Num, data: Uint8Array): StructValue {
  const [name, members] = known;
  const m = new Members(name, data, call, Out);
  const asked = new Members(name, call.memory.read(addr, data.length, In) ?? NOTHING, call, In);
  for (const member of members.split(" ")) {
    const given = asked.low(member);
    if (GIVEN.test(member) && given !== m.low(member) && m.has(member)) {
      m.put(member, changedNumber(given, m.low(member)));
    } else m.add(member);
  }
  return m.value();
}

const NOTHING = new Uint8Array(0);

/** Numbers of which the program says how many it has room for. */
const GIVEN = /^(nr_\w+|\w+_prog_len|\w+_rec_size)$/;

type Info = readonly [layout: string, members: string];

/** What information there is about an object, by what its descriptor shows. */
const INFOS: Readonly<Record<string, Info>> = {
  "anon_inode:bpf-map": [
    "bpf_map_info",
    "type id key_size value_size max_entries map_flags name ifindex btf_vmlinux_value_type_id netns_dev " +
      "netns_ino btf_id btf_key_type_id btf_value_type_id map_extra",
  ],
  "anon_inode:bpf-prog": [
    "bpf_prog_info",
    "type id tag jited_prog_len jited_prog_insns xlated_prog_len xlated_prog_insns load_time created_by_uid " +
      "nr_map_ids map_ids name ifindex gpl_compatible netns_dev netns_ino nr_jited_ksyms nr_jited_func_lens " +
      "jited_ksyms jited_func_lens btf_id func_info_rec_size func_info nr_func_info nr_line_info line_info " +
      "jited_line_info nr_jited_line_info line_info_rec_size jited_line_info_rec_size nr_prog_tags prog_tags " +
      "run_time_ns run_cnt recursion_misses verified_insns attach_btf_obj_id attach_btf_id",
  ],
};

function changedNumber(before: number, after: number): Value {
  return before === after
    ? int(before)
    : { kind: "change", before: int(before), after: int(after) };
}

function showQuery(m: Members, after: Members | undefined): void {
  m.add("target_fd attach_type query_flags");
  m.put("attach_flags", flags("bpf_attach_flags", (after ?? m).low("attach_flags")));
  const count = after?.low("prog_cnt") ?? 0;
  const ids = (member: string): Value =>
    after === undefined
      ? address(m.num(member))
      : arrayAt(m.call, m.num(member), { t: "uint" }, count, Out);
  m.put("prog_ids", ids("prog_ids"));
  m.put("prog_cnt", changedNumber(m.low("prog_cnt"), (after ?? m).low("prog_cnt")));
  m.reach = 28;
  if (m.has("prog_attach_flags")) m.put("prog_attach_flags", ids("prog_attach_flags"));
  if (m.has("link_ids")) {
    m.put("link_ids", ids("link_ids")).put("link_attach_flags", ids("link_attach_flags"));
    m.add("revision");
  }
}

const TRACEPOINT_NAME = 128;

function showTracepoint(m: Members): void {
  m.put("name", text(m.call, m.num("name"), TRACEPOINT_NAME, In));
  m.add("prog_fd cookie");
}

function showBtfLoad(m: Members): void {
  m.put("btf", bytesAt(m.call, m.num("btf"), m.low("btf_size"), In));
  m.add("btf_log_buf btf_size btf_log_size btf_log_level btf_log_true_size btf_flags btf_token_fd");
}

function showTaskQuery(m: Members, after: Members | undefined): void {
  m.add("pid");
  m.put("fd", m.call.fd(m.low("fd") | 0));
  m.add("flags:u");
  m.put("buf_len", changedNumber(m.low("buf_len"), (after ?? m).low("buf_len")));
  const limit = Math.min(m.low("buf_len"), after?.low("buf_len") ?? 0);
  m.put(
    "buf",
    after === undefined ? address(m.num("buf")) : text(m.call, m.num("buf"), limit, Out),
  );
  const last = "prog_id fd_type probe_offset probe_addr";
  if (after === undefined) m.add(last);
  else {
    after.add(last);
    m.fields.push(...after.fields.splice(0));
    m.reach = Math.max(m.reach, after.reach);
  }
}

function showStream(m: Members): void {
  const length = m.low("stream_buf_len");
  const { call } = m;
  m.put(
    "stream_buf",
    call.succeeded
      ? bytesAt(call, m.num("stream_buf"), Math.min(length, call.retCount), Out)
      : address(m.num("stream_buf")),
  );
  m.add("stream_buf_len stream_id prog_fd");
}

const F_REPLACE = 4;

function showLinkUpdate(m: Members): void {
  m.add("link_fd new_prog_fd flags");
  if ((m.low("flags") & F_REPLACE) !== 0) m.add("old_prog_fd");
}

/** What the end of link_create is, by the point that the program is attached to. */
const LINK_PARTS: Readonly<Record<string, readonly [wrap: string, layout: string, show: string]>> =
  {
    BPF_PERF_EVENT: ["perf_event", "bpf_link_perf_event", "bpf_cookie"],
    BPF_TRACE_FENTRY: ["tracing", "bpf_link_tracing", "target_btf_id cookie"],
    BPF_TRACE_FEXIT: ["tracing", "bpf_link_tracing", "target_btf_id cookie"],
    BPF_MODIFY_RETURN: ["tracing", "bpf_link_tracing", "target_btf_id cookie"],
    BPF_LSM_MAC: ["tracing", "bpf_link_tracing", "target_btf_id cookie"],
    BPF_NETFILTER: ["netfilter", "bpf_link_netfilter", "pf hooknum priority flags"],
    BPF_TCX_INGRESS: ["tcx", "bpf_link_relative", "relative_fd expected_revision"],
    BPF_TCX_EGRESS: ["tcx", "bpf_link_relative", "relative_fd expected_revision"],
    BPF_NETKIT_PRIMARY: ["netkit", "bpf_link_relative", "relative_fd expected_revision"],
    BPF_NETKIT_PEER: ["netkit", "bpf_link_relative", "relative_fd expected_revision"],
    BPF_TRACE_KPROBE_MULTI: [
      "kprobe_multi",
      "bpf_link_kprobe_multi",
      "flags cnt syms addrs cookies",
    ],
    BPF_TRACE_UPROBE_MULTI: [
      "uprobe_multi",
      "bpf_link_uprobe_multi",
      "path offsets ref_ctr_offsets cookies cnt flags pid",
    ],
  };

const BY_INTERFACE: ReadonlySet<string> = new Set([
  "BPF_XDP",
  "BPF_TCX_INGRESS",
  "BPF_TCX_EGRESS",
  "BPF_NETKIT_PRIMARY",
  "BPF_NETKIT_PEER",
]);

function showLinkCreate(m: Members): void {
  const type = choiceName("bpf_attach_type", m.low("attach_type")) ?? "";
  m.add(`prog_fd ${BY_INTERFACE.has(type) ? "target_ifindex" : "target_fd"} attach_type flags`);
  const part = LINK_PARTS[type];
  if (type === "BPF_TRACE_ITER") m.add("iter_info iter_info_len");
  else if (type.startsWith("BPF_CGROUP_")) m.add("target_btf_id?");
  else if (part !== undefined && m.has("target_btf_id")) {
    const inner = new Members(part[1], m.data, m.call, m.side).add(part[2]);
    m.put(part[0], inner.value());
    m.reach = Math.max(m.reach, inner.reach);
  }
}

/** Bytes that are not zero behind what is known. */
function extraData(m: Members): FieldValue | undefined {
  const rest = m.data.subarray(m.reach);
  if (rest.every((byte) => byte === 0)) return undefined;
  const comment = symbol(`/* bytes ${m.reach}..${m.data.length - 1} */`);
  return {
    name: "extra_data",
    detail: true,
    value: {
      kind: "list",
      sep: " ",
      items: [{ value: bytes(rest, rest.length, "hex") }, { value: comment }],
    },
  };
}

function attribute(call: CallContext, known: Attribute, data: Uint8Array): StructValue {
  const m = new Members(known.name, data, call, In);
  const written = call.succeeded ? call.memory.read(call.arg(1), data.length, Out) : undefined;
  const after =
    written?.length === data.length ? new Members(known.name, written, call, Out) : undefined;
  if (typeof known.show === "string") {
    const source = known.late === true && after !== undefined ? after : m;
    source.add(known.show);
    if (source !== m) {
      m.fields.push(...source.fields);
      m.reach = source.reach;
    }
  } else known.show(m, after);
  const extra = extraData(m);
  if (known.wrap === undefined) {
    if (extra !== undefined) m.fields.push(extra);
    return m.value();
  }
  const outer: FieldValue[] = [{ name: known.wrap, value: m.value() }];
  return struct("bpf_attr", extra === undefined ? outer : [...outer, extra]);
}

function bpf(call: CallContext): Shape {
  const args = new Arguments(call).plain(0);
  const known = COMMANDS[choiceName("bpf_cmd", call.low(0)) ?? ""];
  const size = call.low(2);
  const data = size > 0 && size <= PAGE ? call.memory.readAll(call.arg(1), size, In) : undefined;
  if (known === undefined || data === undefined) args.add(1, address(call.arg(1)));
  else {
    const value = attribute(call, known, data);
    if (known.late === true) args.late(1, value);
    else args.add(1, value);
  }
  return args.plain(2).shape();
}

const returns: ReturnDecoder = (call) =>
  OPENS.has(choiceName("bpf_cmd", call.low(0)) ?? "") ? { value: returnFd(call) } : {};

export const bpfFamily: Family = {
  calls: { bpf },
  returns: { bpf: returns },
};
