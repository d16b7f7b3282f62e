import { describe, expect, test } from "vitest";
import { concat, cstr, pack } from "../../support/batch.js";
import { input, line, named, OBJECT } from "../../support/line.js";

describe("mount", () => {
  const strings = [
    input(0x1000, cstr("a"), 0),
    input(0x2000, cstr("/b"), 1),
    input(0x3000, cstr("tmpfs"), 2),
    input(0x4000, cstr("size=1"), 4),
  ];
  const shown = (flags: number) =>
    line("mount", { args: [0x1000, 0x2000, 0x3000, flags, 0x4000], captures: strings });

  test("shows strings only where they count", () => {
    expect(shown(2)).toBe('mount("a", "/b", "tmpfs", MS_NOSUID, "size=1") = 0');
    expect(shown(0x21)).toBe('mount("a", "/b", 0x3000, MS_RDONLY|MS_REMOUNT, "size=1") = 0');
    expect(shown(0x1000)).toBe('mount("a", "/b", 0x3000, MS_BIND, 0x4000) = 0');
  });

  test("knows the old magic number", () => {
    expect(shown(0xc0ed0002)).toContain("MS_MGC_VAL|MS_NOSUID, ");
    expect(shown(0xc0ed0000)).toContain('"tmpfs", MS_MGC_VAL, ');
  });
});

describe("the mount API", () => {
  test("reads the value as the command says", () => {
    const captures = [input(0x1000, cstr("key"), 2), input(0x2000, cstr("value"), 3)];
    const shown = (command: number, aux: number, refs = [named(7, OBJECT.null)]) =>
      line("fsconfig", { args: [3, command, 0x1000, 0x2000, aux], captures, refs });
    expect(shown(1, 0)).toBe('fsconfig(3, FSCONFIG_SET_STRING, "key", "value", 0) = 0');
    expect(shown(2, 2)).toBe('fsconfig(3, FSCONFIG_SET_BINARY, "key", "\\x76\\x61", 2) = 0');
    expect(shown(3, -100)).toBe('fsconfig(3, FSCONFIG_SET_PATH, "key", "value", AT_FDCWD) = 0');
    expect(shown(5, 7)).toBe('fsconfig(3, FSCONFIG_SET_FD, "key", 0x2000, 7</dev/null>) = 0');
    expect(shown(6, 0)).toBe("fsconfig(3, FSCONFIG_CMD_CREATE, 0x1000, 0x2000, 0) = 0");
  });

  test("reads attributes by their size", () => {
    const attr = pack([8, 0x100001], [8, 0x10], [8, 0x40000], [8, 7]);
    const shown = (data: Uint8Array) =>
      line("mount_setattr", {
        args: [-100, 0, 0x8000, 0x1000, data.length],
        captures: [input(0x1000, data, 3)],
        refs: [named(7, OBJECT.null)],
      });
    const text =
      "mount_setattr(AT_FDCWD, NULL, AT_RECURSIVE, {attr_set=MOUNT_ATTR_RDONLY|MOUNT_ATTR_IDMAP, " +
      "attr_clr=MOUNT_ATTR_NOATIME, propagation=MS_PRIVATE, userns_fd=7</dev/null>";
    expect(shown(attr)).toBe(`${text}}, 32) = 0`);
    expect(shown(concat(attr, pack([4, 7])))).toBe(
      `${text}, /* bytes 32..35 */ "\\x07\\x00\\x00\\x00"}, 36) = 0`,
    );
    expect(shown(attr.subarray(0, 8))).toContain("AT_RECURSIVE, 0x1000, 8)");
  });
});
