import { describe, expect, test } from "vitest";
import { pack } from "../../support/batch.js";
import { line, output } from "../../support/line.js";

describe("prctl", () => {
  test("reads arguments by option and sub-option", () => {
    expect(line("prctl", { args: [33, 1, 1, 0, 0] })).toBe(
      "prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) = 0",
    );
    expect(line("prctl", { args: [33, 0, 1, 0, 0] })).toBe(
      "prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0x1, 0, 0) = 0",
    );
    expect(line("prctl", { args: [62, 1, 5, 1, 0] })).toBe(
      "prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 5, 0x1 /* PIDTYPE_TGID */, NULL) = 0",
    );
    expect(line("prctl", { args: [53, 9, 4, 0, 0], ret: -19 })).toContain(
      "PR_SET_SPECULATION_CTRL, 0x9 /* PR_SPEC_??? */, 0x4) = -1 ENODEV",
    );
    expect(line("prctl", { args: [50, 0x20010], ret: -22 })).toContain(
      "prctl(PR_SVE_SET_VL, PR_SVE_VL_INHERIT|0x10)",
    );
  });
});

describe("arch_prctl", () => {
  test("names the features of the processor's state", () => {
    const spec = { args: [0x1021, 0x1000], captures: [output(0x1000, pack([8, 0xe7]), 1)] };
    expect(line("arch_prctl", spec)).toBe(
      "arch_prctl(ARCH_GET_XCOMP_SUPP, [0xe7 /* XFEATURE_MASK_FPSSE|XFEATURE_MASK_YMM|XFEATURE_MASK_AVX512 */]) = 0",
    );
    expect(line("arch_prctl", { args: [0x1023, 18] })).toBe(
      "arch_prctl(ARCH_REQ_XCOMP_PERM, 0x12 /* XFEATURE_XTILE_DATA */) = 0",
    );
  });
});
