/** What may only be read is not emptied, by the kernel alone, in any of the ways that there are (`escapes.c`). */

import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callNumber } from "../../src/spec/calls.js";
import { compilePolicy } from "../../src/spec/compile.js";
import { startEnforced } from "../../src/spec/enforce.js";
import type { Grant } from "../../src/spec/model.js";
import { lacking } from "../support/tools.js";
import { compileStatic, roleOf, specWith, type Words } from "./support.js";

const { EACCES, EPERM, ENOSYS } = constants.errno;

let base = "";
let program = "";
let file = "";

beforeAll(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "trace-truncation-")));
  if (!lacking("gcc")) program = compileStatic("escapes", base);
  file = join(base, "file");
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

function specOf(calls: string, grants: Words, ...more: Grant[]) {
  const role = roleOf("app", program, `creat ftruncate ${calls}`, [["exec", program], ...grants]);
  return specWith({ ...role, grants: [...role.grants, ...more] });
}

/** The errno of the way, and whether the file is empty afterwards. */
async function emptied(way: string, spec: ReturnType<typeof specOf>): Promise<[number, boolean]> {
  writeFileSync(file, "text");
  const running = startEnforced(spec, {
    tokens: {},
    supervise: "never",
    command: [program, "empty", way, file],
    cwd: base,
    onRefusal: () => {},
  });
  const status = await running.status;
  expect(status & 0x7f).toBe(0);
  return [status >> 8, readFileSync(file, "utf8") === ""];
}

describe.skipIf(lacking("gcc"))("a file", () => {
  it("that may only be read keeps what it holds", async () => {
    for (const more of ["", "truncate", "openat2"]) {
      const spec = specOf(more, [["read", file]]);
      for (const way of ["read", "old", "odd", "name", "struct", "write", "creat"]) {
        const [errno, isEmpty] = await emptied(way, spec);
        expect({ more, way, isEmpty }).toEqual({ more, way, isEmpty: false });
        expect([EACCES, EPERM, ENOSYS]).toContain(errno);
      }
    }
  });

  it("that may be written too is emptied by who opens it for writing", async () => {
    const grants: Words = [
      ["read", file],
      ["write", file],
    ];
    for (const more of ["", "truncate", "openat2"]) {
      for (const way of ["write", "both", "creat", "held"])
        expect({ more, way, is: await emptied(way, specOf(more, grants)) }).toEqual({
          more,
          way,
          is: [0, true],
        });
    }
    expect(await emptied("name", specOf("truncate", grants))).toEqual([0, true]);
    expect(await emptied("struct", specOf("openat2", grants))).toEqual([0, true]);
  });
});

describe("opening by flags in memory", () => {
  const openat2 = callNumber("openat2");
  const policyOf = (supervise: "never" | "always", because?: "alias") => {
    const grant: Grant = { verb: "syscall", object: "openat2", ...(because && { because }) };
    return compilePolicy(specOf("", [], grant), { tokens: {}, supervise }).policy;
  };

  it("is missing where it was not seen, and nobody can look at them", () => {
    const { pass, absent } = policyOf("never", "alias");
    expect(pass).not.toContain(openat2);
    expect(absent).toContain(openat2);
  });

  it("is there where it was seen, or a supervisor looks at them", () => {
    expect(policyOf("never").pass).toContain(openat2);
    expect(policyOf("never").absent).not.toContain(openat2);
    expect(policyOf("always", "alias").absent).not.toContain(openat2);
  });
});
