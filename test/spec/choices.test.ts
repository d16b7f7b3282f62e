import { describe, expect, it } from "vitest";
import { NAMES } from "../../src/decode/names.generated.js";
import { SYSCALLS } from "../../src/decode/tables.generated.js";
import { choiceObject, choiceOf, choicePolicies, choosesBy } from "../../src/spec/choices.js";
import { coversCall } from "../../src/spec/evaluate.js";
import { objectFault } from "../../src/spec/file.js";

describe("calls that are many in one", () => {
  it("need no more than the call where they concern the program alone", () => {
    for (const [call, chosen] of [
      ["setsockopt", [1, 2]],
      ["setsockopt", [6, 1]],
      ["setsockopt", [0, 1]],
      ["setsockopt", [41, 26]],
      ["ioctl", [0x5401]],
      ["ioctl", [0x541b]],
      ["ioctl", [0x8913]],
      ["ioctl", [0x8b01]],
      ["ioctl", [0xc0189436]],
      ["prctl", [15]],
      ["prctl", [0x53564d41]],
      ["shmget", [0]],
      ["read", [3]],
    ] as const)
      expect(choiceObject(call, chosen), `${call} ${chosen}`).toBeUndefined();
  });

  it("are told by the names of their constants, or by numbers", () => {
    for (const [call, chosen, object] of [
      ["setsockopt", [1, 36], "setsockopt(SOL_SOCKET,SO_MARK)"],
      ["setsockopt", [6, 19], "setsockopt(SOL_TCP,TCP_REPAIR)"],
      ["setsockopt", [0, 64], "setsockopt(SOL_IP,IPT_SO_SET_REPLACE)"],
      ["setsockopt", [1, 999], "setsockopt(SOL_SOCKET,999)"],
      ["setsockopt", [4711, 1], "setsockopt(4711,1)"],
      ["ioctl", [0x8914], "ioctl(SIOCSIFFLAGS)"],
      ["ioctl", [0x8b04], "ioctl(SIOCSIWFREQ)"],
      ["ioctl", [0x8bf0], "ioctl(35824)"],
      ["prctl", [0x59616d61], "prctl(PR_SET_PTRACER)"],
      ["prctl", [4711], "prctl(4711)"],
      ["keyctl", [11], "keyctl(KEYCTL_READ)"],
      ["shmget", [-2], "shmget(0xfffffffe)"],
      ["reboot", [0], "reboot(LINUX_REBOOT_CMD_CAD_OFF)"],
    ] as const) {
      expect(choiceObject(call, chosen)).toBe(object);
      expect(objectFault("syscall", object)).toBeUndefined();
      const values = chosen.map((value) => value >>> 0);
      expect(choiceOf(object)).toEqual({ call, values });
    }
  });

  it("are granted by names, numbers and any", () => {
    const mark = "setsockopt(SOL_SOCKET,SO_MARK)";
    for (const outer of [mark, "setsockopt(1,0x24)", "setsockopt(SOL_SOCKET,*)", "setsockopt(*,*)"])
      expect(coversCall(outer, mark), outer).toBe(true);
    for (const outer of ["setsockopt", "setsockopt(SOL_SOCKET,SO_BINDTODEVICE)", "setsockopt(*)"])
      expect(coversCall(outer, mark), outer).toBe(false);
    expect(coversCall(mark, "setsockopt(SOL_SOCKET,*)")).toBe(false);
  });

  it("have words that can be read", () => {
    for (const object of [
      "setsockopt(SOL_SOCKET,SO_MARKED)",
      "setsockopt(SOL_SOCKET)",
      "keyctl(4294967296)",
      "keyctl(-1)",
      "shmget(IPC_PRIVATE)",
    ])
      expect(objectFault("syscall", object), object).toContain("no such choice");
    expect(objectFault("syscall", "socket(inet,stream,tcp)")).toBeUndefined();
  });

  it.each([
    ["socket(inet)", /^not a kind of socket/],
    ["socket(inet,stream,tcp,*)", /^not a kind of socket/],
    [
      "socket(inet,streem,tcp)",
      /^no kind of socket has the word streem: .*socket\(inet,stream,tcp\)/,
    ],
    ["socket(inet,stream,TCP)", /^write socket\(inet,stream,tcp\)$/],
    ["socket(2,1,0)", /^write socket\(inet,stream,tcp\)$/],
    ["socket(netlink,raw,udp)", /^write socket\(netlink,raw,17\)$/],
    ["setuid(root)", /^not ids of a user or group, 1000$/],
    ["setresuid(1,2)", /^not ids of a user or group, 1000,1000,1000$/],
    ["sendto(route)", /^not a message to a netlink socket/],
    ["openat(2)", /^the call has no words behind it: syscall openat$/],
  ])("are not written otherwise: %s", (object, why) => {
    expect(objectFault("syscall", object)).toMatch(why);
  });

  it.each([
    "socket(inet,*,*)",
    "socket(*,*,*)",
    "socket(*,stream,tcp)",
    "socket(unix,stream,0)",
    "socket(unix,*,0)",
    "socket(netlink,raw,15)",
    "socket(inet6,raw,icmpv6)",
    "setresuid(1000,-1,0)",
    "sendto(netlink,route,16)",
    "sendto(netlink,generic,*)",
  ])("are written in one way: %s", (object) => {
    expect(objectFault("syscall", object)).toBeUndefined();
  });

  it("choose by arguments that they have", () => {
    const argsOf = new Map(NAMES.map((name, row) => [name, SYSCALLS[row]?.args.length ?? 0]));
    expect(choicePolicies().length).toBeGreaterThan(10);
    for (const [name, count] of argsOf)
      for (const arg of choosesBy(name) ?? []) expect(arg, name).toBeLessThan(count);
  });
});
