import { describe, expect, test } from "vitest";
import { concat, pack } from "../../support/batch.js";
import { input, line, output } from "../../support/line.js";

const insn = (code: number, jt: number, jf: number, k: number) =>
  pack([2, code], [1, jt], [1, jf], [4, k]);

const FILTER = concat(
  insn(0x20, 0, 0, 4),
  insn(0x15, 1, 0, 0xc000003e),
  insn(0x06, 0, 0, 0x50001),
  insn(0x06, 0, 0, 0x7fff0000),
);

describe("seccomp", () => {
  const captures = [input(0x1000, pack([8, 4], [8, 0x2000])), input(0x2000, FILTER)];
  const program =
    "[BPF_STMT(BPF_LD|BPF_W|BPF_ABS, 0x4), BPF_JUMP(BPF_JMP|BPF_K|BPF_JEQ, 0xc000003e, 0x1, 0), " +
    "BPF_STMT(BPF_RET|BPF_K, SECCOMP_RET_ERRNO|0x1), BPF_STMT(BPF_RET|BPF_K, SECCOMP_RET_ALLOW)]";

  test("shows a filter's address, or its instructions", () => {
    expect(line("seccomp", { args: [1, 2, 0x1000], captures })).toBe(
      "seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, {len=4, filter=0x2000}) = 0",
    );
    expect(line("seccomp", { args: [1, 2, 0x1000], captures }, true)).toContain(
      `{len=4, filter=${program}}`,
    );
  });

  test("reads the filter of prctl the same way", () => {
    expect(line("prctl", { args: [22, 2, 0x1000], captures }, true)).toBe(
      `prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, {len=4, filter=${program}}) = 0`,
    );
  });

  test("writes a socket filter's offsets by their bases", () => {
    const filter = concat(insn(0x28, 0, 0, 0xfffff000), insn(0x30, 0, 0, 0xfff00005));
    const spec = {
      args: [3, 1, 26, 0x1000, 16],
      captures: [input(0x1000, pack([8, 2], [8, 0x2000])), input(0x2000, filter)],
    };
    expect(line("setsockopt", spec, true)).toContain(
      "{len=2, filter=[BPF_STMT(BPF_LD|BPF_H|BPF_ABS, SKF_AD_OFF+SKF_AD_PROTOCOL), " +
        "BPF_STMT(BPF_LD|BPF_B|BPF_ABS, SKF_NET_OFF+5)]}",
    );
  });

  test("asks for actions and sizes", () => {
    const action = { args: [2, 0, 0x1000], captures: [input(0x1000, pack([4, 0x7ff00000]))] };
    expect(line("seccomp", action)).toBe(
      "seccomp(SECCOMP_GET_ACTION_AVAIL, 0, [SECCOMP_RET_TRACE]) = 0",
    );
    const sizes = {
      args: [3, 0, 0x1000],
      captures: [output(0x1000, pack([2, 80], [2, 24], [2, 64]))],
    };
    expect(line("seccomp", sizes)).toBe(
      "seccomp(SECCOMP_GET_NOTIF_SIZES, 0, {seccomp_notif=80, seccomp_notif_resp=24, seccomp_data=64}) = 0",
    );
  });

  test("shows words where the operation is not known", () => {
    expect(line("seccomp", { args: [0x63, 1, 0], ret: -22 })).toBe(
      "seccomp(0x63 /* SECCOMP_SET_MODE_??? */, 0x1, NULL) = -1 EINVAL (Invalid argument)",
    );
  });
});
