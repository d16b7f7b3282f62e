import { describe, expect, test } from "vitest";
import { concat, pack } from "../../support/batch.js";
import { input, line, named, OBJECT, output, zeros } from "../../support/line.js";

describe("io_uring", () => {
  test("shows what was asked for, then what was made", () => {
    const asked = concat(pack([4, 0], [4, 16], [4, 8], [4, 1], [4, 5]), zeros(100));
    const made = concat(
      pack([4, 8], [4, 16], [4, 8], [4, 1], [4, 5], [4, 3]),
      zeros(16),
      pack([4, 0], [4, 4], [4, 16], [4, 24], [4, 36], [4, 32], [4, 320], [4, 0], [8, 0]),
      pack([4, 8], [4, 12], [4, 20], [4, 28], [4, 44], [4, 64], [4, 40], [4, 0], [8, 0x77]),
    );
    const captures = [input(0x1000, asked, 1), output(0x1000, made, 1)];
    expect(line("io_uring_setup", { args: [8, 0x1000], ret: 3, captures })).toBe(
      "io_uring_setup(8, {flags=IORING_SETUP_CQSIZE, sq_thread_cpu=0x1, sq_thread_idle=5, sq_entries=8, " +
        "cq_entries=16, features=IORING_FEAT_SINGLE_MMAP|IORING_FEAT_NODROP, " +
        "sq_off={head=0, tail=4, ring_mask=16, ring_entries=24, flags=36, dropped=32, array=320}, " +
        "cq_off={head=8, tail=12, ring_mask=20, ring_entries=28, overflow=44, cqes=64, flags=40, user_addr=0x77}}) = 3",
    );
    expect(line("io_uring_setup", { args: [8, 0x1000], ret: -22, captures })).toContain(
      "sq_thread_idle=5}) = -1 EINVAL",
    );
  });

  test("names registered files", () => {
    const spec = {
      args: [3, 2, 0x1000, 2],
      captures: [input(0x1000, pack([4, 9], [4, -1]), 2)],
      refs: [named(9, OBJECT.null)],
    };
    expect(line("io_uring_register", spec)).toBe(
      "io_uring_register(3, IORING_REGISTER_FILES, [9</dev/null>, -1], 2) = 0",
    );
    const update = {
      args: [3, 6, 0x1000, 2],
      captures: [
        input(0x1000, pack([4, 1], [4, 0], [8, 0x2000]), 2),
        input(0x2000, pack([4, -2], [4, -1]), 2),
      ],
    };
    expect(line("io_uring_register", update)).toContain(
      "{offset=1, fds=[IORING_REGISTER_FILES_SKIP, -1]}",
    );
  });

  test("shows resources with their tags", () => {
    const spec = {
      args: [3, 15, 0x1000, 32],
      captures: [
        input(0x1000, pack([4, 1], [4, 0], [8, 0], [8, 0x2000], [8, 0x3000]), 2),
        input(0x2000, pack([8, 0x5000], [8, 4096]), 2),
        input(0x3000, pack([8, 0x99]), 2),
      ],
    };
    expect(line("io_uring_register", spec)).toBe(
      "io_uring_register(3, IORING_REGISTER_BUFFERS2, {nr=1, flags=0, " +
        "data=[{iov_base=0x5000, iov_len=4096}], tags=[0x99]}, 32) = 0",
    );
  });

  test("shows restrictions by what they restrict", () => {
    const one = (opcode: number, operand: number) =>
      concat(pack([2, opcode], [1, operand], [1, 0]), zeros(12));
    const data = concat(one(0, 3), one(1, 5), one(2, 3), one(9, 7));
    const spec = { args: [3, 11, 0x1000, 4], captures: [input(0x1000, data, 2)] };
    expect(line("io_uring_register", spec)).toContain(
      "[{opcode=IORING_RESTRICTION_REGISTER_OP, register_op=IORING_UNREGISTER_FILES}, " +
        "{opcode=IORING_RESTRICTION_SQE_OP, sqe_op=IORING_OP_WRITE_FIXED}, " +
        "{opcode=IORING_RESTRICTION_SQE_FLAGS_ALLOWED, sqe_flags=IOSQE_FIXED_FILE|IOSQE_IO_DRAIN}, " +
        "{opcode=0x9 /* IORING_RESTRICTION_??? */ /* op: 0x7 */}]",
    );
  });

  test("shows the numbers of workers before and after", () => {
    const spec = {
      args: [3, 19, 0x1000, 2],
      captures: [input(0x1000, zeros(8), 2), output(0x1000, pack([4, 4], [4, 60]), 2)],
    };
    expect(line("io_uring_register", spec)).toContain(
      "[[IO_WQ_BOUND]=0, [IO_WQ_UNBOUND]=0] => [[IO_WQ_BOUND]=4, [IO_WQ_UNBOUND]=60], 2)",
    );
  });

  test("reads a mask, or the extended argument", () => {
    const mask = { args: [3, 0, 0, 0, 0x1000, 8], captures: [input(0x1000, pack([8, 0x200]), 4)] };
    expect(line("io_uring_enter", mask)).toBe("io_uring_enter(3, 0, 0, 0, [USR1], 8) = 0");
    const extended = {
      args: [3, 0, 1, 9, 0x1000, 24],
      captures: [
        input(0x1000, pack([8, 0x2000], [4, 8], [4, 0], [8, 0x3000]), 4),
        input(0x2000, pack([8, 0x200]), 4),
        input(0x3000, pack([8, 0], [8, 5]), 4),
      ],
    };
    expect(line("io_uring_enter", extended)).toContain(
      "{sigmask=[USR1], sigmask_sz=8, ts={tv_sec=0, tv_nsec=5}}, 24)",
    );
  });
});
