/** Families of one or two calls: aio, landlock, mempolicy, modify_ldt, scheduling, xattr_args, statmount, lsm. */

import { describe, expect, test } from "vitest";
import { concat, cstr, pack } from "../../support/batch.js";
import { input, line, named, OBJECT, output, zeros } from "../../support/line.js";

const iocb = (opcode: number, buffer: number, length: number, flags = 0, resfd = 0) =>
  concat(
    pack(
      [8, 7],
      [4, 0],
      [4, 2],
      [2, opcode],
      [2, 0],
      [4, 9],
      [8, buffer],
      [8, length],
      [8, 0],
      [8, 0],
    ),
    pack([4, flags], [4, resfd]),
  );

describe("aio", () => {
  const submit = (block: Uint8Array, ...more: readonly ReturnType<typeof input>[]) =>
    line("io_submit", {
      args: [0x7000, 1, 0x1000],
      ret: 1,
      captures: [input(0x1000, pack([8, 0x2000]), 2), input(0x2000, block, 2), ...more],
      refs: [named(9, OBJECT.null)],
    });

  test("shows a control block by its operation", () => {
    const head = "io_submit(0x7000, 1, [{aio_data=0x7, aio_rw_flags=RWF_DSYNC, aio_lio_opcode=";
    expect(submit(iocb(0, 0x3000, 8))).toBe(
      `${head}IOCB_CMD_PREAD, aio_fildes=9</dev/null>, aio_buf=0x3000, aio_nbytes=8, aio_offset=0}]) = 1`,
    );
    expect(submit(iocb(1, 0x3000, 2, 1, 9), input(0x3000, pack([1, 104], [1, 105]), 2))).toBe(
      `${head}IOCB_CMD_PWRITE, aio_fildes=9</dev/null>, aio_buf="hi", aio_nbytes=2, aio_offset=0, ` +
        "aio_flags=IOCB_FLAG_RESFD, aio_resfd=9</dev/null>}]) = 1",
    );
    expect(submit(iocb(5, 5, 0))).toBe(
      `${head}IOCB_CMD_POLL, aio_fildes=9</dev/null>, aio_buf=POLLIN|POLLOUT}]) = 1`,
    );
    expect(submit(iocb(99, 0, 0))).toBe(
      `${head}99 /* IOCB_CMD_??? */, aio_fildes=9</dev/null>}]) = 1`,
    );
  });

  test("shows a context that was made", () => {
    const spec = {
      args: [4, 0x1000],
      captures: [input(0x1000, zeros(8), 1), output(0x1000, pack([8, 0x7000]), 1)],
    };
    expect(line("io_setup", spec)).toBe("io_setup(4, [0x7000]) = 0");
    expect(line("io_setup", { ...spec, ret: -22 })).toContain("io_setup(4, 0x1000) = -1 EINVAL");
  });
});

describe("landlock", () => {
  test("shows as much of a ruleset as there is", () => {
    const attr = pack([8, 3], [8, 1], [8, 2], [8, 0]);
    const shown = (size: number) =>
      line("landlock_create_ruleset", {
        args: [0x1000, size, 0],
        ret: 3,
        captures: [input(0x1000, attr)],
      });
    const first =
      "landlock_create_ruleset({handled_access_fs=LANDLOCK_ACCESS_FS_EXECUTE|LANDLOCK_ACCESS_FS_WRITE_FILE";
    expect(shown(8)).toBe(`${first}}, 8, 0) = 3`);
    expect(shown(16)).toContain(", handled_access_net=LANDLOCK_ACCESS_NET_BIND_TCP}, 16");
    expect(shown(32)).toContain("scoped=LANDLOCK_SCOPE_SIGNAL, ...}, 32");
    expect(shown(3)).toContain("landlock_create_ruleset(0x1000, 3, 0)");
  });

  test("shows rules by their type", () => {
    const spec = {
      args: [3, 1, 0x1000, 0],
      captures: [input(0x1000, pack([8, 2], [4, 9]), 2)],
      refs: [named(9, OBJECT.null)],
    };
    expect(line("landlock_add_rule", spec)).toBe(
      "landlock_add_rule(3, LANDLOCK_RULE_PATH_BENEATH, {allowed_access=LANDLOCK_ACCESS_FS_WRITE_FILE, parent_fd=9</dev/null>}, 0) = 0",
    );
    const port = { args: [3, 2, 0x1000, 0], captures: [input(0x1000, pack([8, 1], [8, 80]), 2)] };
    expect(line("landlock_add_rule", port)).toContain(
      "{allowed_access=LANDLOCK_ACCESS_NET_BIND_TCP, port=80}",
    );
  });
});

describe("mempolicy", () => {
  test("shows masks word by word", () => {
    const captures = [input(0x1000, pack([8, 1], [8, 0]), 1)];
    expect(line("set_mempolicy", { args: [2, 0x1000, 65], captures })).toBe(
      "set_mempolicy(MPOL_BIND, [0x0000000000000001], 65) = 0",
    );
    expect(line("set_mempolicy", { args: [2, 0x1000, 66], captures })).toContain(
      "[0x0000000000000001, 0000000000000000]",
    );
    expect(line("set_mempolicy", { args: [0xc003, 0x1000, 0], captures })).toContain(
      "MPOL_INTERLEAVE|MPOL_F_STATIC_NODES|MPOL_F_RELATIVE_NODES, [], 0)",
    );
  });

  test("shows where pages are, or why they are nowhere", () => {
    const spec = {
      args: [0, 2, 0x1000, 0, 0x2000, 2],
      captures: [
        input(0x1000, pack([8, 0x5000], [8, 0x6000]), 2),
        output(0x2000, pack([4, 1], [4, -14]), 4),
      ],
    };
    expect(line("move_pages", spec)).toBe(
      "move_pages(0, 2, [0x5000, 0x6000], NULL, [1, -EFAULT], MPOL_MF_MOVE) = 0",
    );
  });
});

describe("scheduling", () => {
  const attr = pack(
    [4, 56],
    [4, 0],
    [8, 0x18],
    [4, 5],
    [4, 0],
    [8, 0],
    [8, 0],
    [8, 0],
    [4, 1],
    [4, 2],
  );

  test("leaves out what is to be kept", () => {
    expect(
      line("sched_setattr", { args: [0, 0x1000, 0], captures: [input(0x1000, attr, 1)] }),
    ).toBe(
      "sched_setattr(0, {size=56, sched_flags=SCHED_FLAG_KEEP_POLICY|SCHED_FLAG_KEEP_PARAMS, sched_util_min=1, sched_util_max=2}, 0) = 0",
    );
    expect(
      line("sched_getattr", { args: [0, 0x1000, 56, 0], captures: [output(0x1000, attr, 1)] }),
    ).toContain(
      "sched_policy=SCHED_OTHER, sched_flags=SCHED_FLAG_KEEP_POLICY|SCHED_FLAG_KEEP_PARAMS, sched_nice=5, ",
    );
  });

  test("shows the size that the kernel knows", () => {
    const captures = [
      input(0x1000, pack([4, 20]), 1),
      input(0x1004, zeros(16), 1),
      output(0x1000, pack([4, 56]), 1),
    ];
    expect(line("sched_setattr", { args: [0, 0x1000, 0], ret: -7, captures })).toContain(
      "sched_setattr(0, {size=20} => {size=56}, 0) = -1 E2BIG",
    );
  });
});

describe("modify_ldt", () => {
  test("shows one descriptor", () => {
    const desc = pack([4, 1], [4, 0x1000], [4, 0xfff], [4, 0x51]);
    expect(
      line("modify_ldt", { args: [1, 0x1000, 16], captures: [input(0x1000, desc, 1)] }),
    ).toMatch(
      /^modify_ldt\(1, \{entry_number=1, base_addr=0x001000, limit=0x000fff, seg_32bit=1, contents=0, read_exec_only=0, limit_in_pages=1, seg_not_present=0, useable=1, lm=0\}, 16\) = 0$/,
    );
    expect(
      line("modify_ldt", { args: [1, 0x1000, 5], captures: [input(0x1000, desc, 1)] }),
    ).toContain("modify_ldt(1, 0x1000, 5)");
  });
});

describe("setxattrat and getxattrat", () => {
  test("follow the struct to the value", () => {
    const args = [3, 0, 0, 0, 0x1000, 16];
    const attr = input(0x1000, pack([8, 0x2000], [4, 4], [4, 1]), 4);
    expect(
      line("setxattrat", { args, captures: [attr, input(0x2000, pack([4, 0x64636261]), 4)] }),
    ).toBe('setxattrat(3, NULL, 0, NULL, {value="abcd", size=4, flags=XATTR_CREATE}, 16) = 0');
    expect(
      line("getxattrat", { args, ret: 2, captures: [attr, output(0x2000, pack([2, 0x6261]), 4)] }),
    ).toContain('{value="ab", size=4, flags=XATTR_CREATE}, 16) = 2');
  });
});

describe("statmount", () => {
  test("shows the parts that the mask names", () => {
    const request = pack([4, 24], [4, 0], [8, 0x51], [8, 0x30]);
    const answer = new Uint8Array(512 + 16);
    answer.set(pack([4, 528], [4, 0], [8, 0x30]));
    answer.set(pack([4, 3]), 36);
    answer.set(pack([4, 0]), 108);
    answer.set(concat(cstr("/a"), cstr("ext4")), 512);
    const spec = {
      args: [0x1000, 0x2000, 528, 0],
      captures: [input(0x1000, request), output(0x2000, answer, 1)],
    };
    expect(line("statmount", spec)).toBe(
      "statmount({size=24, mnt_id=0x51, param=STATMOUNT_MNT_POINT|STATMOUNT_FS_TYPE}, " +
        '{size=528, mask=STATMOUNT_MNT_POINT|STATMOUNT_FS_TYPE, mnt_point="/a", fs_type="ext4"}, 528, 0) = 0',
    );
  });

  test("lists mounts", () => {
    const spec = {
      args: [0x1000, 0x2000, 8, 0],
      ret: 2,
      captures: [
        input(0x1000, pack([4, 24], [4, 0], [8, -1], [8, 0])),
        output(0x2000, pack([8, 0x51], [8, 0x52]), 1),
      ],
    };
    expect(line("listmount", spec)).toBe(
      "listmount({size=24, mnt_id=LSMT_ROOT, param=0}, [0x51, 0x52], 8, 0) = 2",
    );
  });
});

describe("lsm calls", () => {
  test("walk records that say their own length", () => {
    const record = concat(pack([8, 0x68], [8, 0], [8, 40], [8, 6]), cstr("plain"), zeros(2));
    const spec = {
      args: [0x64, 0x1000, 0x2000, 0],
      ret: 2,
      captures: [
        input(0x2000, pack([4, 100]), 2),
        output(0x2000, pack([4, 80]), 2),
        output(0x1000, concat(record, record), 1),
      ],
    };
    const one = '{id=LSM_ID_APPARMOR, flags=0, len=40, ctx_len=6, ctx="plain"}';
    expect(line("lsm_get_self_attr", spec)).toContain(`LSM_ATTR_CURRENT, [${one}, ${one}], `);
    const endless = concat(pack([8, 0x68], [8, 0], [8, 0], [8, 6]), zeros(8));
    const hostile = {
      ...spec,
      captures: [output(0x2000, pack([4, 40]), 2), output(0x1000, endless, 1)],
    };
    expect(line("lsm_get_self_attr", hostile)).toContain("len=0, ctx_len=6");
  });

  test("list modules", () => {
    const spec = {
      args: [0x1000, 0x2000, 0],
      ret: 2,
      captures: [
        input(0x2000, pack([4, 64]), 1),
        output(0x2000, pack([4, 16]), 1),
        output(0x1000, pack([8, 100], [8, 110])),
      ],
    };
    expect(line("lsm_list_modules", spec)).toContain(
      "lsm_list_modules([LSM_ID_CAPABILITY, LSM_ID_LANDLOCK], ",
    );
  });
});
