import { describe, expect, test } from "vitest";
import { concat, pack } from "../../support/batch.js";
import { input, line, named, OBJECT, output, zeros } from "../../support/line.js";

const I386 = 1;

describe("System V IPC", () => {
  test("shows keys and modes", () => {
    expect(line("msgget", { args: [0, 0o1600], ret: 5 })).toBe(
      "msgget(IPC_PRIVATE, IPC_CREAT|0600) = 5",
    );
    expect(line("shmget", { args: [0x1234567, 4096, 0] })).toBe("shmget(0x1234567, 4096, 000) = 0");
    expect(line("shmget", { args: [5, 1, 0x54000000 + 0o7600] })).toContain(
      "IPC_CREAT|IPC_EXCL|SHM_HUGETLB|21<<SHM_HUGE_SHIFT|0600)",
    );
  });

  const perm = pack(
    [4, 0],
    [4, 1],
    [4, 2],
    [4, 3],
    [4, 4],
    [4, 0o600],
    [2, 0],
    [2, 0],
    [8, 0],
    [8, 0],
  );

  test("shows objects, and of what is set only what can be set", () => {
    const queue = concat(
      perm,
      zeros(4),
      pack([8, 11], [8, 12], [8, 13], [8, 14], [8, 15], [8, 16], [4, 17], [4, 18]),
      zeros(16),
    );
    const captures = [output(0x1000, queue, 2), input(0x1000, queue, 2)];
    const stat = line("msgctl", { args: [5, 2, 0x1000], captures });
    expect(stat).toBe(
      "msgctl(5, IPC_STAT, {msg_perm={uid=1, gid=2, mode=0600, key=0, cuid=3, cgid=4}, msg_stime=11, " +
        "msg_rtime=12, msg_ctime=13, msg_qnum=15, msg_qbytes=16, msg_lspid=17, msg_lrpid=18}) = 0",
    );
    expect(line("msgctl", { args: [5, 0x101, 0x1000], captures })).toBe(
      "msgctl(5, IPC_64|IPC_SET, {msg_perm={uid=1, gid=2, mode=0600}, msg_qbytes=16}) = 0",
    );
    expect(line("msgctl", { args: [5, 99, 0x1000], ret: -22 })).toContain(
      "0x63 /* MSG_??? */, 0x1000)",
    );
  });

  test("shows messages", () => {
    const spec = {
      args: [5, 0x1000, 3, 0x800],
      captures: [input(0x1000, concat(pack([8, 2]), pack([1, 97], [1, 98], [1, 0])), 1)],
    };
    expect(line("msgsnd", spec)).toBe('msgsnd(5, {mtype=2, mtext="ab\\0"}, 3, IPC_NOWAIT) = 0');
    expect(line("msgrcv", { args: [5, 0x1000, 3, 0, 0], ret: -42 })).toContain(
      "msgrcv(5, 0x1000, 3, 0, 0) = -1 ENOMSG",
    );
  });
});

describe("i386", () => {
  test("shows socketcall as the call that it stands for", () => {
    const spec = {
      arch: I386,
      args: [9, 0x1000],
      ret: 4,
      captures: [
        input(0x1000, pack([4, 6], [4, 0x2000], [4, 4], [4, 0]), 1),
        input(0x2000, pack([4, 0x6c6c6163]), 1),
      ],
      refs: [named(6, OBJECT.socket)],
    };
    expect(line("socketcall", spec)).toBe('send(6<socket:[21]>, "call", 4, 0) = 4');
    expect(line("socketcall", { arch: I386, args: [9, 0x1000], ret: -14 })).toBe(
      "socketcall(SYS_SEND, 0x1000) = -1 EFAULT (Bad address)",
    );
    expect(line("socketcall", { arch: I386, args: [99, 0x1000], ret: -22 })).toContain(
      "socketcall(99, 0x1000)",
    );
  });

  test("shows ipc as the call that it stands for", () => {
    const semop = {
      arch: I386,
      args: [1, 5, 1, 0, 0x1000, 0],
      captures: [input(0x1000, pack([2, 0], [2, -1], [2, 0x1000]), 4)],
    };
    expect(line("ipc", semop)).toBe("semop(5, [{sem_num=0, sem_op=-1, sem_flg=SEM_UNDO}], 1) = 0");
    const received = {
      arch: I386,
      args: [12, 5, 4, 0, 0x1000, 0],
      ret: 4,
      captures: [
        input(0x1000, pack([4, 0x2000], [4, -3]), 4),
        output(0x2000, concat(pack([4, 1]), pack([4, 0x636261])), 4),
      ],
    };
    expect(line("ipc", received)).toBe('msgrcv(5, {mtype=1, mtext="abc\\0"}, 4, -3, 0) = 4');
    const attached = {
      arch: I386,
      args: [21, 5, 0, 0x3000, 0, 0],
      captures: [output(0x3000, pack([4, 0xf7000000]), 4)],
    };
    expect(line("ipc", attached)).toBe("shmat(5, NULL, 0) = 0xf7000000");
    const set = {
      arch: I386,
      args: [3, 5, 0, 0x110, 0x1000, 0],
      captures: [input(0x1000, pack([4, 7]), 4)],
    };
    expect(line("ipc", set)).toBe("semctl(5, 0, IPC_64|SETVAL, [0x7]) = 0");
  });

  test("shows words where the operation is not known", () => {
    expect(line("ipc", { arch: I386, args: [0x20063, 1, 0, 0, 0, 0], ret: -38 })).toContain(
      "ipc(2<<16|99, 0x1, 0, 0, 0, 0)",
    );
  });
});
