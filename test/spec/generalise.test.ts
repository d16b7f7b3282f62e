import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  Climber,
  commonForm,
  DEFAULT_LADDER,
  type Draft,
  firstRung,
  Learner,
  namesAdded,
  siblingName,
} from "../../src/spec/generalise.js";
import type { Verb } from "../../src/spec/model.js";
import { isSecret, protection } from "../../src/spec/places.js";
import { argvShape, matchRole, scriptOf } from "../../src/spec/roles.js";
import { expanded, tokensOf } from "../../src/spec/tokens.js";

const TOKENS = tokensOf((name) => ({ HOME: "/home/me", TMPDIR: "/tmp" })[name], "/home/me/work");

/** What one run created. */
const created = (run: number, object: string, rung: Draft["rung"]): Draft => ({
  verb: "create",
  object,
  rung,
  because: undefined,
  count: 1,
  runs: new Set([run]),
  first: `${run}@1`,
  phases: 1,
});

describe("the ladder", () => {
  it.each([
    ["/home/me/work/a", "$PWD/a", "token"],
    ["/home/me/.bashrc", "$HOME/.bashrc", "token"],
    ["/home/me", "$HOME", "token"],
    ["/home/meow", "/home/meow", "literal"],
    ["/tmp/x*y", "$TMP/x\\*y", "token"],
    ["/proc/\u0000/stat", "/proc/@{pid}/stat", "token"],
    ["/dev/pts/7", "/dev/pts/*", "sibling"],
  ])("%s becomes %s (%s)", (path, object, rung) => {
    expect(firstRung({ verb: "read", object: path }, TOKENS)).toEqual({ object, rung });
  });

  it.each([
    ["ccKTh2kE.s", "cc*.s"],
    ["ccYJzNQl.cdtor.c", "cc*.cdtor.c"],
    ["tmpab12cd34", "tmp*"],
    ["sem.eYf7hK", "sem.*"],
    ["uN3pLnqC4J", "*"],
    ["fooAb3xYz", "foo*"],
    ["e83c5163316f89bfbde7d9ab23ca2e25604af290", "*"],
    ["out.12345.log", "out.*.log"],
    [".tmp-12345-pack-e83c5163316f89bfbde7d9ab23ca2e25604af290.idx", ".tmp-*-pack-*.idx"],
    ["s-hok6-0wb43bj-dvljdgx0tzqfxdp9ai8nvxuhv", "s-hok6-0wb43bj-*"],
    ["aarch64linuxandroid24.txt", undefined],
    ["2026-11-27T16_13_30_773Z-debug-0.log", "*-debug-0.log"],
    ["app-2026-11-27.log", "app-*.log"],
    ["rb20261127-27887-q1qamy", "rb*-*-*"],
    ["CMakeCache.txt.tmpe864f", "CMakeCache.txt.tmp*"],
    ["CMakeCache.txt", undefined],
    ["report_2", undefined],
    ["readTheDocs", undefined],
    ["Makefile", undefined],
    ["hello", undefined],
    ["archive.tar", undefined],
    ["report2", undefined],
  ])("the temporary name %s becomes %s", (name, general) => {
    expect(siblingName(name, true)).toBe(general);
  });

  it.each([
    ["3m_aryhb", "*"],
    ["pip-install-ss0k3x_1", "pip-install-*"],
    ["pip-ephem-wheel-cache-v2lewtd4", "pip-ephem-wheel-cache-*"],
    ["x_ab0cd_9x.whl", "x_*.whl"],
    ["ccjpFuit.s", "cc*.s"],
    // Letters that make a word, or a name of python's, or numbers.
    ["ccWNUWZJ.s", "cc*.s"],
    ["cckaluft.o", "cc*.o"],
    ["ccMauvw1.res", "cc*.res"],
    ["ccpah7c7.s", "cc*.s"],
    ["cc54676D.ltrans0.ltrans.o", "cc*.ltrans0.ltrans.o"],
    ["ansible-local-22095hl4vv4hi", "ansible-local-*"],
    ["12345report.csv", "*report.csv"],
    ["report2", undefined],
    ["archives", undefined],
  ])("%s of python becomes %s among temporary files", (name, general) => {
    expect(siblingName(name, true, true)).toBe(general);
  });

  it("takes names of two runs together that differ where they are made up", () => {
    expect(commonForm("/w/obj/3f/aa11bb", "/w/obj/c0/dd22ee")).toBe("/w/obj/*/*");
    expect(commonForm("/w/build-1a/out", "/w/build-2b/out")).toBe("/w/build-*/out");
    expect(commonForm("$PWD/run.1305.pid", "$PWD/run.1344.pid")).toBe("$PWD/run.*.pid");
    expect(commonForm("$PWD/run.99.pid", "$PWD/run.100.pid")).toBe("$PWD/run.*.pid");
    expect(commonForm("/w/obj/3f/x", "/w/obj/3a/x")).toBe("/w/obj/*/x");
    expect(commonForm("/w/v1beta1", "/w/v1beta2")).toBe("/w/v1beta*");
    expect(commonForm("/w/.tmp-12-pack-*.idx", "/w/.tmp-17-pack-*.idx")).toBe(
      "/w/.tmp-*-pack-*.idx",
    );
    expect(commonForm("/tmp/abcdefgh", "/tmp/ijklmnop")).toBeUndefined();
    expect(commonForm("/tmp/abcdefgh", "/tmp/ijklmnop", true)).toBe("/tmp/*");
    expect(commonForm("/w/s-0ooeoxn.lock", "/w/s-0hdhye8.lock")).toBe("/w/s-*.lock");
    expect(commonForm("/w/s-ab3cd.lock", "/w/s-xy9zd.lock")).toBe("/w/s-*.lock");
    expect(commonForm("/w/cc3eisk2", "/w/ccdh4e8x")).toBe("/w/cc*");
    expect(commonForm("/w/z1*.o", "/w/z7*.o")).toBe("/w/z*.o");
    expect(commonForm("/w/z1\\*.o", "/w/z7\\*.o")).toBe("/w/z*\\*.o");
    expect(commonForm("/w/job-myqfeqda.log", "/w/job-mqxyzzya.log")).toBe("/w/job-*.log");
    expect(commonForm("/w/x-reportaa.log", "/w/x-reporzzz.log")).toBe(undefined);
    expect(commonForm("/1", "/2")).toBeUndefined();
    expect(commonForm("/w/alpha", "/w/gamma")).toBeUndefined();
    expect(commonForm("/a/b/c", "/a/b/c/d")).toBeUndefined();
    expect(commonForm("/w/x/y/z1", "/w/a/b/c2")).toBeUndefined();
  });

  it("compares what is known of each name before the names themselves", () => {
    const make = (run: number, object: string) => created(run, object, "literal");
    const runs = ["/w/s-123456-0wb43bj-working", "/w/s-123789-04la2zb-working"];
    const drafts = runs.flatMap((directory, k) => [
      make(k + 1, directory),
      make(k + 1, `${directory}/8eisk26j3n6ihmqih4pxv6xub.o`),
      make(k + 1, `${directory}/1bpip7_voqrcq1lwhndz8.o`),
    ]);
    const climber = new Climber(TOKENS, DEFAULT_LADDER, 2, false, new Map());
    const [climbed = []] = climber.climb([drafts], new Set());
    expect(climbed.map(({ object }) => object)).toEqual([
      "/w/s-*-*-working",
      "/w/s-*-*-working/*.o",
      "/w/s-*-*-working/1bpip7_voqrcq1lwhndz8.o",
    ]);
  });

  it("counts the names that a pattern takes in besides those that were used", () => {
    const dir = mkdtempSync(join(tmpdir(), "trace-adds-"));
    try {
      for (const name of ["x.tmp", "one", "two", "12"]) writeFileSync(join(dir, name), "");
      const added = (...used: string[]) =>
        namesAdded(`${dir}/*`, new Set(used.map((name) => `${dir}/${name}`)));
      // Those that are gone are no fewer.
      expect(added("gone-1", "gone-2", "gone-3")).toBe(4);
      expect(added("one", "gone-1")).toBe(3);
      expect(added("*.tmp", "@{pid}", "two")).toBe(1);
      expect(namesAdded(`${dir}/*/x`, new Set())).toBeUndefined();
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

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

  it("says where all names of a directory are granted", () => {
    const drafts = ["$PWD/49b85118", "$TMP/49b85118"].map((object) => created(1, object, "token"));
    const climber = new Climber(TOKENS, DEFAULT_LADDER, 1, false, new Map());
    const [climbed = []] = climber.climb([drafts], new Set());
    expect(climbed.map(({ object, rung }) => [object, rung])).toEqual([
      ["$PWD/*", "directory"],
      ["$TMP/*", "directory"],
    ]);
    expect([...climber.remarks]).toEqual([
      expect.stringMatching(/^\$PWD\/\* is granted whole \(create\): /),
    ]);
  });

  it("never climbs into protected places", () => {
    for (const place of [
      "/",
      "/etc",
      "/etc/ssl",
      "/usr/bin",
      "/home/me",
      "/home/me/.ssh",
      "/home/me/.config/app",
      "/home/me/.npm",
      "/home/me/.npm/_logs2",
      "/home/me/.ssh/tmp",
      "/home/me/.ansible/tmp2",
      "/home/me/.config/go",
      "/root/x",
    ]) {
      expect(protection(place, "/home/me"), place).toBeDefined();
    }
    for (const place of [
      "/tmp",
      "/home/me/work",
      "/home/me/.cache/app",
      "/home/me/.npm/_logs",
      "/home/me/.ansible/tmp",
      "/home/me/.config/go/telemetry/local",
      "/var/lib/app",
      "/dev/shm",
    ]) {
      expect(protection(place, "/home/me"), place).toBeUndefined();
    }
    for (const secret of [
      "/etc/shadow",
      "/home/me/.ssh/id_rsa",
      "/x/server.key",
      "/home/me/.aws/credentials",
      "/app/.env",
    ]) {
      expect(isSecret(secret), secret).toBe(true);
    }
    expect(isSecret("/etc/ssl/certs/ca.pem")).toBe(false);
  });

  it("tokens mean what they mean here", () => {
    expect(expanded("$PWD/a", { PWD: "/x*y" })).toBe("/x\\*y/a");
    expect(expanded("unix:$HOME/s", { HOME: "/h" })).toBe("unix:/h/s");
    expect(expanded("$HOME/a", {})).toBe("$HOME/a");
    expect(expanded("$__proto__/a", {})).toBe("$__proto__/a");
  });
});

describe("roles", () => {
  it.each([
    [["/bin/dash", "sh", "build.sh", "x"], "build.sh"],
    [["/bin/dash", "sh", "-c", "echo"], undefined],
    [["/usr/bin/python3.11", "python3", "-u", "-W", "error", "app.py"], "app.py"],
    [["/usr/bin/python3.11", "python3", "-m", "http.server"], "http.server"],
    [["/usr/bin/java", "java", "-cp", ".", "Main"], "Main"],
    [["/usr/bin/ls", "ls", "file"], undefined],
  ])("the script of %j is %s", ([exe = "", ...argv], script) => {
    expect(scriptOf(exe, argv)).toBe(script);
  });

  it("have the shape of their command lines", () => {
    expect(
      argvShape([
        ["gcc", "-c", "a.c"],
        ["gcc", "-c", "b.c"],
      ]),
    ).toEqual(["gcc", "-c", "*"]);
    expect(argvShape([["cat", "a"], ["cat"]])).toEqual(["cat", "**"]);
  });
});

describe("the role of a command line", () => {
  const exe = ["/usr/bin/python3"];
  const roles = [{ exe, script: "/srv/app.py" }, { exe, script: "mod" }, { exe }] as const;
  const roleOf = (line: string) =>
    matchRole(roles, "/usr/bin/python3", line.split(" "), "/srv", (text) => text);

  it("is that of the script that it runs", () => {
    for (const line of ["python3 /srv/app.py", "python3 -u app.py x", "python3 -W error ./app.py"])
      expect(roleOf(line), line).toBe(roles[0]);
    expect(roleOf("python3 -m mod")).toBe(roles[1]);
  });

  it("is not that of a script that it only names", () => {
    for (const line of [
      "python3 -c pass /srv/app.py",
      "python3 x.py /srv/app.py",
      "python3 -W mod x.py",
    ])
      expect(roleOf(line), line).toBe(roles[2]);
  });
});
