import { describe, expect, test } from "vitest";
import { concat, pack } from "../../support/batch.js";
import { input, line, output, zeros } from "../../support/line.js";

const attr = (type: number, size: number, config: number | bigint, flags = 0n, rest = 0) =>
  concat(
    pack([4, type], [4, size], [8, config], [8, 100], [8, 1], [8, 3], [8, flags]),
    zeros(16),
    zeros(rest),
  );

describe("perf_event_open", () => {
  test("shows the bits that are set, and in the long form all of them", () => {
    const data = attr(1, 64, 1, 0x21n);
    const spec = { args: [0x1000, 0, -1, -1, 8], ret: 3, captures: [input(0x1000, data)] };
    expect(line("perf_event_open", spec)).toBe(
      "perf_event_open({type=PERF_TYPE_SOFTWARE, size=PERF_ATTR_SIZE_VER0, config=PERF_COUNT_SW_TASK_CLOCK, " +
        "sample_period=100, sample_type=PERF_SAMPLE_IP, " +
        "read_format=PERF_FORMAT_TOTAL_TIME_ENABLED|PERF_FORMAT_TOTAL_TIME_RUNNING, disabled=1, " +
        "exclude_kernel=1, precise_ip=0 /* arbitrary skid */, ...}, 0, -1, -1, PERF_FLAG_FD_CLOEXEC) = 3",
    );
    expect(line("perf_event_open", spec, true)).toMatch(
      /disabled=1, inherit=0, pinned=0, .*sigtrap=0, wakeup_events=0, config1=0\}/,
    );
  });

  test("takes a cache event apart", () => {
    const data = attr(3, 64, 0x1020103);
    const spec = { args: [0x1000, 0, -1, -1, 0], captures: [input(0x1000, data)] };
    expect(line("perf_event_open", spec)).toContain(
      "config=0x1<<24|0x2 /* PERF_COUNT_HW_CACHE_RESULT_??? */<<16|PERF_COUNT_HW_CACHE_OP_WRITE<<8|PERF_COUNT_HW_CACHE_DTLB",
    );
  });

  test("shows a frequency for a period, and a breakpoint for its config", () => {
    const data = attr(5, 72, 0, 0x400n, 8);
    const spec = { args: [0x1000, 0, -1, -1, 0], captures: [input(0x1000, data)] };
    expect(line("perf_event_open", spec, true)).toMatch(
      /sample_freq=100, .*bp_type=HW_BREAKPOINT_EMPTY, bp_addr=0, bp_len=0\}/,
    );
  });

  test("shows the size that the kernel knows", () => {
    const captures = [input(0x1000, attr(1, 64, 0)), output(0x1000, pack([4, 1], [4, 136]))];
    expect(line("perf_event_open", { args: [0x1000, 0, -1, -1, 0], ret: -7, captures })).toContain(
      "size=PERF_ATTR_SIZE_VER0 => PERF_ATTR_SIZE_VER8, ",
    );
  });

  test("shows an address when there is less than the first version", () => {
    const spec = {
      args: [0x1000, 0, -1, -1, 0],
      ret: -7,
      captures: [input(0x1000, pack([4, 1], [4, 20]))],
    };
    expect(line("perf_event_open", spec)).toContain("perf_event_open(0x1000, 0, ");
  });
});
