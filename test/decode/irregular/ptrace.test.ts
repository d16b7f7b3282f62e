import { describe, expect, test } from "vitest";
import { concat, pack } from "../../support/batch.js";
import { input, line, output, zeros } from "../../support/line.js";

const registers = (first: number) =>
  concat(...Array.from({ length: 27 }, (_, k) => pack([8, first + k])));

describe("ptrace", () => {
  test("leaves out what a request does not use", () => {
    expect(line("ptrace", { args: [0, 7, 8, 9] })).toBe("ptrace(PTRACE_TRACEME) = 0");
    expect(line("ptrace", { args: [16, 7, 8, 9] })).toBe("ptrace(PTRACE_ATTACH, 7) = 0");
    expect(line("ptrace", { args: [7, 7, 0, 10] })).toBe(
      "ptrace(PTRACE_CONT, 7, NULL, SIGUSR1) = 0",
    );
    expect(line("ptrace", { args: [24, 7, 0, 0] })).toBe("ptrace(PTRACE_SYSCALL, 7, NULL, 0) = 0");
    expect(line("ptrace", { args: [0x4206, 7, 0, 0x100002] })).toBe(
      "ptrace(PTRACE_SEIZE, 7, NULL, PTRACE_O_TRACEFORK|PTRACE_O_EXITKILL) = 0",
    );
  });

  test("names places in struct user", () => {
    const peek = (offset: number) => line("ptrace", { args: [3, 7, offset, 0x1000], ret: -3 });
    expect(peek(8)).toContain("7, 8*R14, 0x1000)");
    expect(peek(144)).toContain("7, 8*EFL, 0x1000)");
    expect(peek(123)).toContain("7, 8*ORIG_RAX+3, 0x1000)");
    expect(peek(216)).toContain("7, offsetof(struct user, u_fpvalid), 0x1000)");
    expect(peek(848 + 56)).toContain("7, offsetof(struct user, u_debugreg)+56, 0x1000)");
    expect(peek(5000)).toContain("7, 0x1388, 0x1000)");
  });

  test("shows registers, as many as there are", () => {
    const all = { args: [12, 7, 0, 0x1000], captures: [output(0x1000, registers(1))] };
    expect(line("ptrace", all)).toMatch(
      /^ptrace\(PTRACE_GETREGS, 7, \{r15=0x1, .*, gs=0x1b\}\) = 0$/,
    );
    const vector = pack([8, 0x2000], [8, 24]);
    const some = {
      args: [0x4205, 7, 1, 0x1000],
      captures: [input(0x1000, vector), input(0x2000, registers(1))],
    };
    expect(line("ptrace", some)).toBe(
      "ptrace(PTRACE_SETREGSET, 7, NT_PRSTATUS, {iov_base={r15=0x1, r14=0x2, r13=0x3}, iov_len=24}) = 0",
    );
  });

  test("shows how much of a register set came back", () => {
    const spec = {
      args: [0x4204, 7, 1, 0x1000],
      captures: [
        input(0x1000, pack([8, 0x2000], [8, 1000])),
        output(0x1000, pack([8, 0x2000], [8, 16])),
        output(0x2000, registers(5)),
      ],
    };
    expect(line("ptrace", spec)).toContain("{iov_base={r15=0x5, r14=0x6}, iov_len=1000 => 16}");
  });

  test("says what a tracee is stopped at", () => {
    const head = pack([1, 1], [1, 0], [2, 0], [4, 0xc000003e], [8, 0x1111111], [8, 0x2222222]);
    const entry = concat(head, pack([8, 39], [8, 1], [8, 2], [8, 3], [8, 4], [8, 5], [8, 6]));
    const call = { args: [0x420e, 7, 88, 0x1000], ret: 80, captures: [output(0x1000, entry)] };
    expect(line("ptrace", call)).toBe(
      "ptrace(PTRACE_GET_SYSCALL_INFO, 7, 88, {op=PTRACE_SYSCALL_INFO_ENTRY, arch=AUDIT_ARCH_X86_64, " +
        "instruction_pointer=0x1111111, stack_pointer=0x2222222, " +
        "entry={nr=__NR_getpid, args=[0x1, 0x2, 0x3, 0x4, 0x5, 0x6]}}) = 80",
    );
    const exit = concat(pack([1, 2]), head.subarray(1), pack([8, -2], [1, 1]));
    const failed = { args: [0x420e, 7, 88, 0x1000], ret: 33, captures: [output(0x1000, exit)] };
    expect(line("ptrace", failed)).toContain("exit={rval=-ENOENT, is_error=1}");
  });

  test("shows an address where nothing was captured", () => {
    expect(line("ptrace", { args: [0x4205, 7, 1, 0x1000], ret: -3 })).toContain(
      "NT_PRSTATUS, 0x1000) = -1 ESRCH",
    );
    const short = { args: [0x420e, 7, 88, 0x1000], ret: 80, captures: [output(0x1000, zeros(40))] };
    expect(line("ptrace", short)).toContain("7, 88, 0x1000) = 80");
  });
});
