import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Learner } from "../../src/spec/learner.js";
import type { Verb } from "../../src/spec/model.js";
import { tokensOf } from "../../src/spec/tokens.js";

const TOKENS = tokensOf((name) => ({ HOME: "/home/me", TMPDIR: "/tmp" })[name], "/home/me/work");

describe("learning from refusals", () => {
  it("proposes what a recording would show of a run that is learnt from", () => {
    const forms = [
      { verb: "create", object: "$TMP/cc*.o" },
      { verb: "create", object: "$PWD/*" },
      { verb: "read", object: "$TMP/x*" },
    ] as const;
    const learner = new Learner(TOKENS, forms);
    const of = (verb: Verb, object: string) => learner.proposal({ verb, object }).object;
    expect(of("read", "$TMP/ccV1owEG.o")).toBe("$TMP/cc*.o");
    expect(of("list", "$TMP/ccV1owEG.o/below/it")).toBe("$TMP/cc*.o/below/it");
    expect(of("create", "$TMP/ccV1owEG.o/.qhw8yvt8")).toBe("$TMP/cc*.o/.*");
    expect(of("read", "$TMP/xV1owEG.o")).toBe("$TMP/xV1owEG.o");
    expect(of("read", "$PWD/words")).toBe("$PWD/words");
    expect(of("read", "$TMP/zz3aB9xQ")).toBe("$TMP/zz3aB9xQ");
    expect(of("create", "$TMP/zz3aB9xQ")).toBe("$TMP/zz*");
    expect(of("read", "$TMP/zz3aB9xQ")).toBe("$TMP/zz*");
    expect(of("create", "/etc/log.12345")).toBe("/etc/log.12345");
    expect(of("accept", "tcp:127.0.0.1:41975")).toBe("tcp:127.0.0.1:41975");
    expect(of("bind", "tcp:127.0.0.1:0")).toBe("tcp:127.0.0.1:0");
    expect(of("accept", "tcp:127.0.0.1:41975")).toBe("tcp:127.0.0.1:*");
    expect(of("connect", "tcp:127.0.0.1:80")).toBe("tcp:127.0.0.1:80");
    expect(of("syscall", "unlink")).toBe("unlink");
  });

  it("remembers names as long as there is room for them", () => {
    const learner = new Learner(TOKENS, []);
    const long = `$TMP/${"x".repeat(4000)}`;
    for (let k = 0; !learner.isFull; k++)
      learner.proposal({ verb: "create", object: `${long}/${k}` });
    const of = (verb: Verb) => learner.proposal({ verb, object: "$TMP/zz3aB9xQ" }).object;
    expect(of("create")).toBe("$TMP/zz3aB9xQ");
    expect(of("read")).toBe("$TMP/zz3aB9xQ");
  });

  it("proposes the form that a new name has in common with one of the recording, and what it adds", () => {
    const dir = mkdtempSync(join(tmpdir(), "trace-proposal-"));
    try {
      for (const name of ["job-else.log", "other"]) writeFileSync(join(dir, name), "");
      const tokens = { PWD: dir };
      const grants = ["job-myqfeqda.log", ".a.FIAPOI", "Makefile"].map(
        (name) => ({ verb: "create", object: `$PWD/${name}` }) as const,
      );
      const learner = new Learner(tokens, grants);
      const of = (verb: Verb, object: string) => learner.proposal({ verb, object });
      const job = { object: "$PWD/job-*.log", rung: "sibling", adds: 1 };
      expect(of("read", "$PWD/job-ighxzago.log").object).toBe("$PWD/job-ighxzago.log");
      expect(of("create", "$PWD/job-ighxzago.log")).toEqual({ verb: "create", ...job });
      expect(of("delete", "$PWD/job-ighxzago.log")).toEqual({ verb: "delete", ...job });
      expect(of("delete", "$PWD/job-qqxyzzya.log")).toEqual({ verb: "delete", ...job });
      expect(of("create", "$PWD/.a.abcdef").object).toBe("$PWD/.a.*");
      expect(of("create", "/etc/x/49b85118")).toEqual({
        verb: "create",
        object: "/etc/x/49b85118",
        beyond: "/etc/x/*, but /etc is protected",
      });
      expect(of("create", "$PWD/settings")).toEqual({ verb: "create", object: "$PWD/settings" });
      expect(of("create", "$PWD/49b85118")).toEqual({
        verb: "create",
        object: "$PWD/*",
        rung: "directory",
        adds: 2,
      });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
