import { describe, expect, test } from "vitest";
import { concat, cstr, pack } from "../../support/batch.js";
import { input, line, output } from "../../support/line.js";

const PROCESS_KEYRING = 0xffff_fffe;

describe("keys", () => {
  test("names special keyrings", () => {
    const spec = {
      args: [0x1000, 0x2000, 0x3000, 6, -3],
      ret: 77,
      captures: [
        input(0x1000, cstr("user")),
        input(0x2000, cstr("probe"), 1),
        input(0x3000, "secret", 2),
      ],
    };
    expect(line("add_key", spec)).toBe(
      'add_key("user", "probe", "secret", 6, KEY_SPEC_SESSION_KEYRING) = 77',
    );
  });

  test("reads as much as came back", () => {
    const spec = { args: [11, 77, 0x1000, 3], ret: 6, captures: [output(0x1000, "sec", 2)] };
    expect(line("keyctl", spec)).toBe('keyctl(KEYCTL_READ, 77, "sec", 3) = 6');
    expect(line("keyctl", { args: [11, 77, 0, 0], ret: 6 })).toBe(
      "keyctl(KEYCTL_READ, 77, NULL, 0) = 6",
    );
    const text = { args: [6, 77, 0x1000, 64], ret: 5, captures: [output(0x1000, cstr("desc"), 2)] };
    expect(line("keyctl", text)).toBe('keyctl(KEYCTL_DESCRIBE, 77, "desc", 64) = 5');
  });

  test("shows an address when the call failed", () => {
    expect(line("keyctl", { args: [11, 77, 0x1000, 64], ret: -128 })).toBe(
      "keyctl(KEYCTL_READ, 77, 0x1000, 64) = -1 EKEYREVOKED (Key has been revoked)",
    );
  });

  test("knows the arguments of each operation", () => {
    const search = {
      args: [10, PROCESS_KEYRING, 0x1000, 0x2000, 0],
      ret: 5,
      captures: [input(0x1000, cstr("user")), input(0x2000, cstr("absent"))],
    };
    expect(line("keyctl", search)).toBe(
      'keyctl(KEYCTL_SEARCH, KEY_SPEC_PROCESS_KEYRING, "user", "absent", 0) = 5',
    );
    expect(line("keyctl", { args: [5, 77, 0x3f010000] })).toContain(
      "KEY_POS_SETATTR|KEY_USR_VIEW) = 0",
    );
    expect(line("keyctl", { args: [18] })).toBe("keyctl(KEYCTL_SESSION_TO_PARENT) = 0");
    expect(line("keyctl", { args: [14, 99], ret: -22 })).toContain("99 /* KEY_REQKEY_DEFL_??? */");
    expect(line("keyctl", { args: [19, 77, 5, 128, 0] })).toBe(
      "keyctl(KEYCTL_REJECT, 77, 5, EKEYREVOKED, 0) = 0",
    );
  });

  test("follows the parameters of public keys", () => {
    const params = concat(pack([4, 77], [4, 3], [4, 4]), new Uint8Array(28));
    const spec = {
      args: [28, 0x1000, 0x2000, 0x3000, 0x4000],
      captures: [
        input(0x1000, params, 1),
        input(0x2000, cstr("enc"), 2),
        input(0x3000, "abc", 3),
        input(0x4000, "defg", 4),
      ],
    };
    expect(line("keyctl", spec)).toBe(
      'keyctl(KEYCTL_PKEY_VERIFY, {key_id=77, in_len=3, in2_len=4}, "enc", "abc", "defg") = 0',
    );
  });

  test("lists capabilities by byte", () => {
    const spec = {
      args: [31, 0x1000, 2],
      ret: 2,
      captures: [output(0x1000, pack([1, 3], [1, 1]), 1)],
    };
    expect(line("keyctl", spec)).toBe(
      "keyctl(KEYCTL_CAPABILITIES, [KEYCTL_CAPS0_CAPABILITIES|KEYCTL_CAPS0_PERSISTENT_KEYRINGS, " +
        "KEYCTL_CAPS1_NS_KEYRING_NAME], 2) = 2",
    );
  });
});
