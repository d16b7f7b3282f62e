import { describe, expect, test } from "vitest";
import { concat, cstr, pack, Slot } from "../../support/batch.js";
import { input, line, named, OBJECT, output, zeros } from "../../support/line.js";

const ATTR = 0x1000;

describe("bpf", () => {
  test("shows as much of the union as the program's size covers", () => {
    const attr = pack([4, 2], [4, 4], [4, 8], [4, 2]);
    expect(line("bpf", { args: [0, ATTR, 16], ret: 3, captures: [input(ATTR, attr)] })).toBe(
      "bpf(BPF_MAP_CREATE, {map_type=BPF_MAP_TYPE_ARRAY, key_size=4, value_size=8, max_entries=2}, 16) = 3",
    );
  });

  test("names descriptors in the union and in the result", () => {
    const attr = pack([4, 9], [4, 0], [8, 0x2000], [8, 0x3000], [8, 2]);
    const refs = [named(9, OBJECT.map)];
    expect(line("bpf", { args: [2, ATTR, 32], captures: [input(ATTR, attr)], refs })).toBe(
      "bpf(BPF_MAP_UPDATE_ELEM, {map_fd=9<anon_inode:bpf-map>, key=0x2000, value=0x3000, flags=BPF_EXIST}, 32) = 0",
    );
    const ids = pack([4, 5], [4, 0], [4, 0]);
    const made = [{ slot: Slot.Ret, fd: 4, object: OBJECT.prog }];
    expect(
      line("bpf", { args: [13, ATTR, 12], ret: 4, captures: [input(ATTR, ids)], refs: made }),
    ).toBe(
      "bpf(BPF_PROG_GET_FD_BY_ID, {prog_id=5, next_id=0, open_flags=0}, 12) = 4<anon_inode:bpf-prog>",
    );
  });

  const program = concat(
    pack([1, 0xb7], [1, 0], [2, 0], [4, 1]),
    pack([1, 0x7b], [1, 0x1a], [2, -8], [4, 0]),
    pack([1, 0x95], [1, 0], [2, 0], [4, 0]),
  );
  const load = pack(
    [4, 1],
    [4, 3],
    [8, 0x2000],
    [8, 0x3000],
    [4, 0],
    [4, 0],
    [8, 0],
    [4, 0x60102],
    [4, 2],
  );
  const captures = [input(ATTR, load), input(0x2000, program), input(0x3000, cstr("GPL"))];

  test("shows a program's address, or its instructions", () => {
    const spec = { args: [5, ATTR, 48], ret: 5, captures };
    expect(line("bpf", spec)).toBe(
      "bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_SOCKET_FILTER, insn_cnt=3, insns=0x2000, " +
        'license="GPL", log_level=0, log_size=0, log_buf=NULL, ' +
        "kern_version=KERNEL_VERSION(6, 1, 2), prog_flags=BPF_F_ANY_ALIGNMENT}, 48) = 5",
    );
    expect(line("bpf", spec, true)).toContain(
      "insns=[{code=BPF_ALU64|BPF_K|BPF_MOV, dst_reg=BPF_REG_0, src_reg=BPF_REG_0, off=0, imm=0x1}, " +
        "{code=BPF_STX|BPF_DW|BPF_MEM, dst_reg=BPF_REG_10, src_reg=BPF_REG_1, off=-8, imm=0}, " +
        "{code=BPF_JMP|BPF_K|BPF_EXIT, dst_reg=BPF_REG_0, src_reg=BPF_REG_0, off=0, imm=0}]",
    );
  });

  test("says that there is more behind what it knows", () => {
    const attr = concat(pack([4, 7]), pack([4, 0x45]));
    const spec = { args: [30, ATTR, 8], ret: -22, captures: [input(ATTR, attr)] };
    expect(line("bpf", spec)).toBe(
      "bpf(BPF_LINK_GET_FD_BY_ID, {link_id=7, ...}, 8) = -1 EINVAL (Invalid argument)",
    );
    expect(line("bpf", spec, true)).toContain(
      '{link_id=7, extra_data="\\x45\\x00\\x00\\x00" /* bytes 4..7 */}',
    );
  });

  test("shows what the kernel changed", () => {
    const spec = {
      args: [11, ATTR, 8],
      captures: [input(ATTR, zeros(8)), output(ATTR, pack([4, 0], [4, 141]))],
    };
    expect(line("bpf", spec)).toBe(
      "bpf(BPF_PROG_GET_NEXT_ID, {start_id=0, next_id=0 => 141}, 8) = 0",
    );
  });

  test("decodes information about an object in the long form", () => {
    const attr = pack([4, 9], [4, 24], [8, 0x4000]);
    const info = pack([4, 2], [4, 70], [4, 4], [4, 8], [4, 2], [4, 0]);
    const spec = {
      args: [15, ATTR, 16],
      captures: [
        input(ATTR, attr),
        output(ATTR, attr),
        input(0x4000, zeros(24)),
        output(0x4000, info),
      ],
      refs: [named(9, OBJECT.map)],
    };
    const head = "bpf(BPF_OBJ_GET_INFO_BY_FD, {info={bpf_fd=9<anon_inode:bpf-map>, info_len=24, ";
    expect(line("bpf", spec)).toBe(`${head}info=0x4000}}, 16) = 0`);
    expect(line("bpf", spec, true)).toBe(
      `${head}info={type=BPF_MAP_TYPE_ARRAY, id=70, key_size=4, value_size=8, max_entries=2, map_flags=0}}}, 16) = 0`,
    );
  });

  test("nests what a link is made of", () => {
    const attr = concat(pack([4, 5], [4, 3], [4, 24], [4, 0], [4, 7], [4, 0]), pack([8, 0x99]));
    expect(
      line("bpf", { args: [28, ATTR, 32], ret: -22, captures: [input(ATTR, attr)] }),
    ).toContain("attach_type=BPF_TRACE_FENTRY, flags=0, tracing={target_btf_id=7, cookie=0x99}}");
  });

  test("falls back to the address", () => {
    expect(line("bpf", { args: [0, ATTR, 16], ret: -14 })).toBe(
      "bpf(BPF_MAP_CREATE, 0x1000, 16) = -1 EFAULT (Bad address)",
    );
    const spec = { args: [0x7777, ATTR, 16], ret: -22, captures: [input(ATTR, zeros(16))] };
    expect(line("bpf", spec)).toContain("bpf(0x7777 /* BPF_??? */, 0x1000, 16)");
  });
});
