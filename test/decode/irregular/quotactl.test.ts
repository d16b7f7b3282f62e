import { describe, expect, test } from "vitest";
import { concat, cstr, pack } from "../../support/batch.js";
import { input, line, output, zeros } from "../../support/line.js";

const cmd = (command: number, type: number) => ((command << 8) | type) >>> 0;

describe("quotactl", () => {
  test("shows a command with its type, and the arguments that it has", () => {
    const path = input(0x1000, cstr("/dev/sda"), 1);
    expect(line("quotactl", { args: [cmd(0x800001, 0), 0x1000, 5, 6], captures: [path] })).toBe(
      'quotactl(QCMD(Q_SYNC, USRQUOTA), "/dev/sda") = 0',
    );
    const on = [path, input(0x2000, cstr("/aquota"), 3)];
    expect(line("quotactl", { args: [cmd(0x800002, 1), 0x1000, 4, 0x2000], captures: on })).toBe(
      'quotactl(QCMD(Q_QUOTAON, GRPQUOTA), "/dev/sda", QFMT_VFS_V1, "/aquota") = 0',
    );
  });

  test("shows the usage that came back", () => {
    const usage = concat(
      pack([8, 10], [8, 9], [8, 8], [8, 7], [8, 6], [8, 5], [8, 4], [8, 3]),
      pack([8, 1]),
    );
    const captures = [output(0x2000, usage, 3)];
    expect(line("quotactl_fd", { args: [3, cmd(0x800007, 0), -1, 0x2000], captures })).toBe(
      "quotactl_fd(3, QCMD(Q_GETQUOTA, USRQUOTA), -1, {dqb_bhardlimit=10, dqb_bsoftlimit=9, dqb_curspace=8, " +
        "dqb_ihardlimit=7, dqb_isoftlimit=6, dqb_curinodes=5, ...}) = 0",
    );
  });

  test("shows what XFS keeps", () => {
    const flag = [input(0x2000, pack([4, 9]), 3)];
    expect(line("quotactl", { args: [cmd(0x5801, 2), 0, 0, 0x2000], captures: flag })).toBe(
      "quotactl(QCMD(Q_XQUOTAON, PRJQUOTA), NULL, [FS_QUOTA_UDQ_ACCT|FS_QUOTA_GDQ_ENFD]) = 0",
    );
  });

  test("shows addresses where nothing was written", () => {
    expect(line("quotactl", { args: [cmd(0x800004, 0), 0, 0, 0x2000], ret: -2 })).toContain(
      "NULL, 0x2000) = -1 ENOENT",
    );
    const short = {
      args: [cmd(0x800008, 0), 0, 1, 0x2000],
      captures: [input(0x2000, zeros(20), 3)],
    };
    expect(line("quotactl", short)).toContain("NULL, 1, 0x2000) = 0");
    expect(line("quotactl", { args: [cmd(0x1234, 3), 0, 7, 0x2000], ret: -22 })).toContain(
      "QCMD(0x1234 /* Q_??? */, 0x3 /* ???QUOTA */), NULL, 7, 0x2000)",
    );
  });
});
