/** Every export is read by the tool that it is made for; where the tool can run it, the program works in it. */

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { apparmor } from "../../src/spec/export/apparmor.js";
import { bwrap } from "../../src/spec/export/bwrap.js";
import { firejail } from "../../src/spec/export/firejail.js";
import { kubernetes } from "../../src/spec/export/kubernetes.js";
import { landlock } from "../../src/spec/export/landlock.js";
import { deno, exportNode } from "../../src/spec/export/runtimes.js";
import { systemd } from "../../src/spec/export/systemd.js";
import type { Target } from "../../src/spec/export/target.js";
import { readSpec } from "../../src/spec/file.js";
import type { Role } from "../../src/spec/model.js";
import { literalPath } from "../../src/spec/object.js";
import { installed, lackingPython } from "../export/python.js";
import { cli } from "../support/command.js";
import { lacking } from "../support/tools.js";
import { type Ran, roleOf, SpecPlace, specWith, type Words } from "./support.js";

const TIMEOUT = { timeout: 120_000 };
const OPTIONS = { tokens: { TMP: "/scratch" }, base: "none", name: "app", known: undefined };
const COMMAND = "cat words | sort > out; cat out";

/** crun refuses machines with cgroups of both versions, even where it is to make none: here it sees those of the second. */
const CRUN = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec crun --cgroup-manager=disabled "$@"';

let place: SpecPlace;

beforeAll(() => {
  place = new SpecPlace({ words: "b\na\n" });
  place.learn("sh", "-c", COMMAND);
});

afterAll(() => place.leave());

function exportTo(to: string, file: string, ...more: string[]): Ran {
  const words = [`--to=${to}`, "--force", "-o", file, ...more, "../app.spec"];
  return place.trace("spec", "export", ...words);
}

/** Exports to a file; what stands on the standard error. */
function exported(to: string, file: string, ...more: string[]): string {
  const done = exportTo(to, file, ...more);
  expect(done.status, done.stderr).toBe(0);
  return done.stderr;
}

/** Has systemd verify a unit, with no others about than those that each depends on: it warns of all that it reads. */
function verified(own: SpecPlace, file: string, work = own.work): Ran {
  const units = join(own.base, "units");
  mkdirSync(units, { recursive: true });
  for (const name of ["sysinit", "basic", "shutdown"])
    writeFileSync(join(units, `${name}.target`), `[Unit]\nDescription=${name}\n`);
  const verify = ["systemd-analyze", "verify", "--recursive-errors=yes", file];
  return own.run("env", "-C", work, `SYSTEMD_UNIT_PATH=${units}`, ...verify);
}

const read = (file: string) => readFileSync(join(place.work, file), "utf8");

describe("exports", TIMEOUT, () => {
  it("say of every grant whether it is kept, widened or lost", () => {
    for (const to of [
      "oci-seccomp",
      "bwrap",
      "systemd",
      "landlock",
      "apparmor",
      "firejail",
      "k8s-networkpolicy",
    ]) {
      const report = exported(to, `../out.${to}`, "--losses");
      const judged = report.split("\n").filter((line) => /^(?:kept|widened|lost) /.test(line));
      const grants = read("../app.spec")
        .split("\n")
        .filter(
          (line) => /^ {6}- \{verb: .*(?:count|because)/.test(line) && !line.includes("error:"),
        );
      expect(judged.length, to).toBe(grants.length);
      expect(report, to).toMatch(/\d+ grants kept, \d+ widened, \d+ lost\n$/);
    }
  });

  it.skipIf(lacking("bwrap"))("bubblewrap runs the program", () => {
    exported("bwrap", "../in-bwrap");
    const done = place.run("sh", "../in-bwrap", "sh", "-c", COMMAND);
    expect(done).toEqual({ status: 0, stdout: "a\nb\n", stderr: "" });
    expect(place.run("sh", "../in-bwrap", "sh", "-c", "cat < /etc/passwd").status).not.toBe(0);
  });

  it.skipIf(lacking("bwrap"))(
    "bubblewrap has what is removed, and links that lead on to others",
    () => {
      const files = { data: "text\n", old: "old\n" };
      const other = new SpecPlace(files);
      try {
        for (const name of ["app/etc", "app/bin", "far"])
          mkdirSync(join(other.base, name), { recursive: true });
        // As /usr/bin/awk leads to /etc/alternatives/awk, and on; and a link beside the directory that its file stands in.
        writeFileSync(join(other.base, "app/bin/real"), "real\n");
        writeFileSync(join(other.base, "app/bin/main"), "main\n");
        symlinkSync(join(other.base, "app/bin/real"), join(other.base, "app/bin/other"));
        symlinkSync(join(other.base, "app/bin/other"), join(other.base, "app/etc/far"));
        const script =
          "cat ../app/etc/far ../app/bin/main; cat old; rm old; cp data new; mv new last; cat last";
        const own = other.learn("sh", "-c", script);
        writeFileSync(join(other.work, "old"), files.old);
        other.trace("spec", "export", "--to=bwrap", "--force", "-o", "../in-bwrap", own);
        const done = other.run("sh", "../in-bwrap", "sh", "-c", script);
        expect(done).toEqual({ status: 0, stdout: "real\nmain\nold\ntext\n", stderr: "" });
      } finally {
        other.leave();
      }
    },
  );

  it.skipIf(lacking("bwrap"))("bubblewrap has the links by whose names the program asks", () => {
    const other = new SpecPlace();
    try {
      const { base, work } = other;
      for (const name of ["far/deep", "conf", "work/releases/5/bin"])
        mkdirSync(join(base, name), { recursive: true });
      writeFileSync(join(base, "conf/main"), "main\n");
      writeFileSync(join(work, "releases/5/bin/go"), "cat main\n");
      writeFileSync(join(work, "releases/5/one"), "one\n");
      // To a file from far away; to a directory; and one behind that.
      symlinkSync("../../conf/main", join(base, "far/deep/other"));
      symlinkSync("releases/5", join(work, "current"));
      symlinkSync("../../../conf/main", join(work, "current/main"));
      const script = "cat ../far/deep/other current/one current/main; cd current && . ./bin/go";
      const own = other.learn("sh", "-c", script);
      other.trace("spec", "export", "--to=bwrap", "-o", "../in-bwrap", own);
      const done = other.run("sh", "../in-bwrap", "sh", "-c", script);
      expect(done).toEqual({ status: 0, stdout: "main\none\nmain\nmain\n", stderr: "" });
    } finally {
      other.leave();
    }
  });

  it.skipIf(lacking("systemd-analyze"))("systemd finds nothing wrong with the unit", () => {
    exported("systemd", "../app.service");
    const done = verified(place, "../app.service");
    expect(done.status, done.stderr).toBe(0);
    expect(done.stderr).not.toContain("app.service:");
  });

  it("names of any kind are written so that their readers take them", () => {
    const paths = ["/x/new\nline", "/x/tab\ty", '/x/"quoted"', "/x/it's"];
    const grants: Words = paths.map((path) => ["write", path]);
    const spec = specWith(roleOf("app", "/usr/bin/app", "", grants));
    const text = (target: Target) => target.export(spec, OPTIONS).text;
    const lost = systemd
      .export(spec, OPTIONS)
      .judged.filter(({ note = "" }) => note.includes("has no word"));
    const binds = place.run("sh", "-c", text(bwrap).replace("exec bwrap", "printf '<%s>'"));
    for (const path of paths) expect(binds.stdout).toContain(`<--bind-try><${path}><${path}>`);
    expect(
      text(systemd)
        .match(/(?<=^ReadWritePaths=-).*$/gm)
        ?.sort(),
    ).toEqual(['"/x/\\"quoted\\""', `"/x/it's"`, '"/x/tab\ty"']);
    // A line of a list has no escapes: it would be that of another file.
    expect(lost.map(({ grant, verdict }) => [grant.object, verdict])).toEqual([
      ["/x/new\nline", "lost"],
    ]);
    expect(text(apparmor)).toContain("/x/new\\012line wk,");
    const ends: Words = [
      ["write", "/x/a blank\\\\"],
      ["write", "/x/b blank"],
    ];
    const profile = apparmor.export(
      specWith(roleOf("app", "/usr/bin/app", "", ends)),
      OPTIONS,
    ).text;
    expect(profile).toContain('"/x/a blank\\134" wk,');
  });

  it.skipIf(lacking("systemd-analyze"))("systemd starts the very command", () => {
    const other = new SpecPlace({ script: "#!/bin/sh\ncat words\n", words: "b\n" });
    try {
      const work = join(other.base, "work of 5 % and $x");
      cpSync(other.work, work, { recursive: true });
      chmodSync(join(work, "script"), 0o755);
      const unit = (...command: string[]) => {
        const record = ["record", "-q", "--force", "--observe", "-o", "a.trace", "--", ...command];
        for (const words of [record, ["spec", "gen", "--force", "-o", "a.spec", "a.trace"]])
          expect(other.run("env", "-C", work, cli, ...words).stderr).toBe("");
        const export_ = ["spec", "export", "--to=systemd", "--force", "-o", "a.service", "a.spec"];
        expect(other.run("env", "-C", work, cli, ...export_).status).toBe(0);
        expect(verified(other, "a.service", work)).toMatchObject({ status: 0, stderr: "" });
        return /^ExecStart=(.*)$/m.exec(readFileSync(join(work, "a.service"), "utf8"))?.[1];
      };
      expect(unit("./script")).toBe(`"@${work.replace("%", "%%")}/script" ./script`);
      expect(unit("sh", "-c", "echo $$ '%'\n", ";", "")).toBe(
        `@/usr/bin/dash sh -c "echo $$$$ '%%'\\n" \\; ""`,
      );
    } finally {
      other.leave();
    }
  });

  it("a unit makes a mount of no file that is removed, replaced, built or bound", () => {
    const grants: Words = [
      ["write", "/srv/app/data"],
      ["rename", "/srv/app/data"],
      ["create", "/srv/app/build/tool"],
      ["exec", "/srv/app/build/tool"],
      ["bind", "unix:/run/app/socket"],
      ["write", "/root/log"],
      ["exec", "/usr/bin/app"],
    ];
    const spec = specWith(roleOf("app", "/usr/bin/app", "", grants));
    const { text, judged } = systemd.export(spec, OPTIONS);
    const paths = (directive: string) =>
      [...text.matchAll(new RegExp(`^${directive}=-?(.*)$`, "gm"))].map(([, path]) => path);
    expect(paths("ReadWritePaths")).toEqual(["/run/app", "/srv/app", "/root/log"]);
    expect(paths("ReadOnlyPaths")).toEqual(["/home", "/root", "/run", "/run/user", "/dev/shm"]);
    expect(paths("ExecPaths")).toEqual(["/srv/app", "/usr/bin/app"]);
    expect(paths("NoExecPaths")).toContain("/run/app");
    expect(paths("NoExecPaths")).not.toContain("/srv/app");
    const ran = judged.filter(({ grant }) => grant.verb === "exec");
    expect(ran.map(({ verdict }) => verdict)).toEqual(["widened", "kept"]);
  });

  it("what a unit cannot name is told", () => {
    const remarks = (command: string[], PWD = "/") =>
      systemd.export(
        { ...specWith(roleOf("app", "/usr/bin/app", "", [])), command },
        { ...OPTIONS, tokens: { PWD } },
      );
    expect(remarks(["/x/it's"]).remarks.join("\n")).toContain("give /x/it's another name");
    expect(remarks(["/x/its"]).remarks.join("\n")).not.toContain("another name");
    const { text, remarks: told } = remarks(["/x/its"], "/x\nExecStartPre=/bin/rm");
    expect(text).not.toMatch(/^ExecStartPre|^WorkingDirectory/m);
    expect(told.join("\n")).toContain("the working directory has a name that a unit cannot hold");
  });

  it.skipIf(lacking("apparmor_parser"))(
    "AppArmor compiles the profile, with a child profile for each role",
    () => {
      exported("apparmor", "../app.aa");
      const done = place.run("apparmor_parser", "-QKT", "../app.aa");
      expect(done.status, done.stderr).toBe(0);
      expect(read("../app.aa").match(/^ {2}profile /gm)).toHaveLength(3);
    },
  );

  it.skipIf(lacking("apparmor_parser"))(
    "AppArmor has each program go to its profile from any other, with what it was started with",
    () => {
      const files = { words: "b\na\n", script: "sort words > out\n" };
      const other = new SpecPlace(files);
      try {
        const script = "env sh script; kill -0 0; sort words > last";
        const own = other.learn("sh", "-c", script);
        other.trace("spec", "export", "--to=apparmor", "--name=app", "-o", "../app.aa", own);
        const done = other.run("apparmor_parser", "-QKT", "../app.aa");
        expect(done.status, done.stderr).toBe(0);
        const [main = "", ...children] = readFileSync(join(other.base, "app.aa"), "utf8").split(
          /^ {2}profile /m,
        );
        const child = (name: string) => children.find((text) => text.startsWith(`${name}_`)) ?? "";
        expect(main).toMatch(/^ {2}\/usr\/bin\/env Cx -> env_\d,$/m);
        expect(child("env")).toMatch(/^ {4}\/usr\/bin\/dash Px -> app\/\/sh_\d,$/m);
        expect(child("env")).not.toContain("Cx");
        // Two processes of one role, each with another file.
        for (const name of ["out", "last"]) {
          expect(child("sort")).toMatch(new RegExp(`^ {4}\\S*/work/${name} w,$`, "m"));
        }
        expect(main).toContain("signal (send, receive) peer=app{,//*},");
        expect(child("sort")).toContain("signal (receive) peer=app{,//*},");
        expect(child("sort")).toContain("signal (send) peer=@{profile_name},");
        expect(`${main}${children}`).not.toMatch(/^ *signal,/m);
      } finally {
        other.leave();
      }
    },
  );

  it.skipIf(lacking("firejail"))("firejail runs the program", () => {
    exported("firejail", "../app.profile");
    const done = place.run("firejail", "--quiet", "--profile=../app.profile", "sh", "-c", COMMAND);
    expect(done.status, done.stderr).toBe(0);
    expect(done.stdout).toBe("a\nb\n");
  });

  it.skipIf(lacking("firejail"))(
    "firejail is given no more by names that it has no word for",
    () => {
      const names = [
        "plain",
        "a  b",
        'q"q',
        "a&b;c,d",
        "a#b",
        "%{x}",
        "a*b",
        "a\\b",
        "a\nb",
        "a ",
        "ü'ñ",
      ];
      const grants = names.map(
        (name) => ["create", `${place.work}/${literalPath(name)}/f`] as const,
      );
      const shell = readSpec(join(place.base, "app.spec")).roles;
      const { text, judged } = firejail.export(
        specWith(...shell, roleOf("names", "/bin/sh", "", grants)),
        OPTIONS,
      );
      writeFileSync(join(place.base, "names.profile"), text);
      for (const name of names) {
        mkdirSync(join(place.work, name));
        const file = join(place.work, name, "f");
        const done = place.run(
          "firejail",
          "--profile=../names.profile",
          "sh",
          "-c",
          ': > "$0"',
          file,
        );
        const isNamed = name === "plain" || name === "ü'ñ";
        if (isNamed) expect(done, name).toMatchObject({ status: 0, stderr: "" });
        else expect(done.status, JSON.stringify(name)).not.toBe(0);
      }
      const notes = judged.filter(({ note }) => note?.startsWith("firejail has no word"));
      expect(notes).toHaveLength(names.length - 2);
      expect(notes.every(({ verdict }) => verdict === "lost")).toBe(true);
      mkdirSync(join(place.work, "other"));
      const other = join(place.work, "other", "f");
      expect(
        place.run("firejail", "--profile=../names.profile", "sh", "-c", ': > "$0"', other).status,
      ).not.toBe(0);
    },
  );

  it("node runs a script with its flags, and refuses other files", () => {
    writeFileSync(
      join(place.work, "own.cjs"),
      'console.log(require("node:fs").readFileSync("words", "utf8"));\n',
    );
    place.trace(
      "record",
      "-q",
      "--force",
      "--observe",
      "-o",
      "../node.trace",
      "--",
      process.execPath,
      "own.cjs",
    );
    place.trace("spec", "gen", "--force", "-o", "../node.spec", "../node.trace");
    const flags = place
      .trace("spec", "export", "--to=node", "../node.spec")
      .stdout.replace(/\\\n/g, "");
    const script = (text: string) =>
      place.run("sh", "-c", `exec ${process.execPath} ${flags.trim()} ${text}`);
    expect(script("own.cjs").stdout).toBe("b\na\n\n");
    writeFileSync(
      join(place.work, "own.cjs"),
      'console.log(require("node:fs").readFileSync("/etc/passwd", "utf8"));\n',
    );
    expect(script("own.cjs").stderr).toContain("ERR_ACCESS_DENIED");
  });

  it("node and deno have no flags for programs that they do not run", () => {
    for (const [to, runtime] of [
      ["node", "Node.js"],
      ["deno", "Deno"],
    ] as const) {
      const done = exportTo(to, "../flags");
      expect(done.status).toBe(2);
      expect(done.stdout).toBe("");
      expect(done.stderr).toContain(
        `no program of the spec is run by ${runtime}, so there are no flags: it has sh`,
      );
      expect(existsSync(join(place.base, "flags"))).toBe(false);
    }
  });

  it("flags of several programs are told apart", () => {
    const [a, b] = ["node:a.js", "node:b.js"].map((name) => roleOf(name, "/usr/bin/node", "", []));
    const { remarks } = exportNode(specWith(a as Role, b as Role), OPTIONS, 20);
    expect(remarks).toContain("flags of 2 programs, in this order: node:a.js, node:b.js");
  });

  it("node is given nothing by a name with a star", () => {
    const other = new SpecPlace({
      "own.cjs": 'console.log(require("node:fs").readFileSync("x *y/words", "utf8"));\n',
    });
    try {
      mkdirSync(join(other.work, "x *y"));
      writeFileSync(join(other.work, "x *y", "words"), "b\n");
      const own = other.learn(process.execPath, "own.cjs");
      const exported = other.trace("spec", "export", "--to=node", own);
      expect(exported.stderr).toContain(`no word for such a name: it is refused`);
      const flags = exported.stdout.replace(/\\\n/g, "").trim();
      const ran = other.run("sh", "-c", `exec ${process.execPath} ${flags} own.cjs`);
      expect(ran.stderr).toContain("ERR_ACCESS_DENIED");
      expect(exported.stdout).not.toContain("*y");
    } finally {
      other.leave();
    }
  });

  it("deno is given nothing by a name with a comma, which its lists cannot hold", () => {
    const grants: Words = [
      ["read", "/w/a,b/c"],
      ["write", "/a,b/c"],
      ["exec", "/bin/a,b"],
    ];
    const { text, judged } = deno.export(
      specWith(roleOf("deno", "/usr/bin/deno", "", grants)),
      OPTIONS,
    );
    expect(text.split(/[\s\\]+/)).toEqual(["--no-prompt", ""]);
    expect(judged.slice(-3).map(({ verdict }) => verdict)).toEqual(["lost", "lost", "lost"]);
  });

  it("landlockconfig is given nothing by a name that looks like a variable", () => {
    const name = `a\${HOME}b`;
    mkdirSync(join(place.work, name));
    const grants: Words = [["list", `${place.work}/${name}`]];
    const { text, judged } = landlock.export(specWith(roleOf("a", "/bin/sh", "", grants)), OPTIONS);
    expect(text).not.toContain("HOME");
    expect(judged.at(-1)?.verdict).toBe("lost");
  });

  it("node gets no directory that its loader only passes by", () => {
    const other = new SpecPlace({
      "own.cjs": 'require("./lib.cjs"); require("node:fs").readdirSync("seen");\n',
      "lib.cjs": 'for (const p of ["/", "."]) require("node:fs").statSync(p);\n',
    });
    try {
      mkdirSync(join(other.work, "seen"));
      const own = other.learn(process.execPath, "own.cjs");
      const exported = other.trace("spec", "export", "--to=node", "--losses", own);
      const flags = exported.stdout.replace(/\\\n/g, "").split(/\s+/);
      expect(flags).toContain(`--allow-fs-read=${other.work}/lib.cjs`);
      expect(flags).toContain(`--allow-fs-read=${other.work}/seen`);
      for (const path of ["/", other.work, other.base])
        expect(flags).not.toContain(`--allow-fs-read=${path}`);
      expect(exported.stderr).toMatch(/^lost .*: stat \/ \(the loader may, a script is refused/m);
      expect(exported.stderr).toMatch(/^widened .*: list \$PWD\/seen \(all that is below can be/m);
    } finally {
      other.leave();
    }
  });

  it("node looks for what is not there as it does without flags", () => {
    const script = `const fs = require("node:fs");
for (const name of ["gone", ".env"]) {
  try { fs.statSync(name); } catch (error) { console.log(name, error.code); }
}
`;
    const other = new SpecPlace({ "own.cjs": script });
    try {
      const own = other.learn(process.execPath, "own.cjs");
      const { stdout } = other.trace("spec", "export", "--to=node", own);
      const flags = stdout.replace(/\\\n/g, "").trim();
      const done = other.run("sh", "-c", `eval "exec $0 $1 own.cjs"`, process.execPath, flags);
      expect(done.stdout, done.stderr).toBe("gone ENOENT\n.env ERR_ACCESS_DENIED\n");
    } finally {
      other.leave();
    }
  });

  it("what was looked for in vain is told of only where flags were added for it", () => {
    const remarks = (to: "node" | "deno", probes: Role["probes"], ...grants: Words) => {
      const role = { ...roleOf(to, `/usr/bin/${to}`, "", grants), probes: probes ?? [] };
      const { remarks: told } =
        to === "deno"
          ? deno.export(specWith(role), OPTIONS)
          : exportNode(specWith(role), OPTIONS, 24);
      return told.join("\n");
    };
    const probe = (object: string, error = "ENOENT") => [{ verb: "read" as const, object, error }];
    for (const to of ["node", "deno"] as const) {
      const said = "names that were looked for in vain";
      expect(remarks(to, probe("/srv/gone"))).toContain(said);
      // Granted in another run or with all that is below; the loader's; refused; and none of a file.
      expect(remarks(to, probe("/srv/gone"), ["read", "/srv/gone"])).not.toContain(said);
      expect(remarks(to, probe("/srv/gone"), ["read", "/srv/**"])).not.toContain(said);
      expect(remarks(to, probe("/srv/node_modules/x"))).not.toContain(said);
      expect(remarks(to, probe("/srv/gone", "EACCES"))).not.toContain(said);
      const connect = [
        { verb: "connect" as const, object: "tcp:127.0.0.1:1", error: "ECONNREFUSED" },
      ];
      expect(remarks(to, connect)).not.toContain(said);
    }
  });

  it("node is given the network where it has to be", () => {
    const spec = specWith(roleOf("node", "/usr/bin/node", "", [["connect", "unix:$TMP/s"]]));
    const flags = (major: number) => exportNode(spec, OPTIONS, major).text;
    expect(flags(20)).toBe("--experimental-permission\n");
    expect(flags(24)).toBe("--permission\n");
    expect(flags(26)).toMatch(/^--permission[\s\\]+--allow-net\n$/);
  });

  it("deno is given the sockets that it uses, and addresses in its own words", () => {
    const flags = (...grants: Words) =>
      deno.export(specWith(roleOf("deno", "/usr/bin/deno", "", grants)), OPTIONS).text;
    expect(flags(["connect", "unix:$TMP/s"]).split(/[\s\\]+/)).toEqual([
      "--no-prompt",
      "--allow-read=/scratch/s",
      "--allow-write=/scratch/s",
      "--allow-net=unix:/scratch/s",
      "",
    ]);
    expect(flags(["connect", "tcp:[::1]:80"])).toContain("--allow-net=[::1]:80");
    expect(flags(["connect", "tcp:*:80"])).toMatch(/--allow-net\n$/);
  });

  it.skipIf(lackingPython !== undefined)(
    "deno runs a script with its flags, and refuses other files",
    () => {
      const script = join(place.work, "own.js");
      const name = installed("deno");
      mkdirSync(join(place.work, "a,b"));
      writeFileSync(join(place.work, "a,b", "words"), "b\na\n");
      const read = (name: string) =>
        `try { console.log(Deno.readTextFileSync("${name}")); } catch {}\n`;
      writeFileSync(script, read("words") + read("a,b/words"));
      const command = [name, "run", "--no-prompt", "--allow-read=.", "own.js"];
      const recorded = place.trace(
        ...["record", "-q", "--force", "--observe", "-o", "../deno.trace", "--"],
        ...command,
      );
      expect(recorded.status, recorded.stderr).toBe(0);
      place.trace("spec", "gen", "--force", "-o", "../deno.spec", "../deno.trace");
      const exported = place.trace("spec", "export", "--to=deno", "../deno.spec");
      expect(exported.stderr).toContain("no word for such a name: it is refused");
      const flags = exported.stdout.replace(/\\\n/g, "").trim();
      const run = () => place.run("sh", "-c", `exec ${name} run ${flags} own.js`);
      const words = readFileSync(join(place.work, "words"), "utf8");
      expect(run()).toMatchObject({ status: 0, stdout: `${words}\n` });
      writeFileSync(script, 'console.log(Deno.readTextFileSync("/etc/shadow"));\n');
      expect(run().stderr).toContain("Requires read access");
      writeFileSync(script, 'Deno.writeTextFileSync("words", "");\n');
      expect(run().stderr).toContain("Requires write access");
    },
  );

  it("landlockconfig's schema takes the ruleset", () => {
    exported("landlock", "../app.landlock");
    const validate = new Ajv2020({ strict: false }).compile(LANDLOCKCONFIG);
    expect(validate(JSON.parse(read("../app.landlock"))), JSON.stringify(validate.errors)).toBe(
      true,
    );
  });

  it("addresses of IPv4 in the form of IPv6 are those of what is sent", () => {
    const grants: Words = [
      ["connect", "tcp:[::ffff:10.0.0.1]:80"],
      ["connect", "tcp:[::ffff:127.0.0.1]:81"],
    ];
    const spec = specWith(roleOf("app", "/usr/bin/app", "socket connect", grants));
    const text = (target: Target) => target.export(spec, OPTIONS).text;
    expect(text(systemd)).toMatch(/^IPAddressAllow=10\.0\.0\.1 127\.0\.0\.1$/m);
    expect(text(kubernetes)).toContain("cidr: 10.0.0.1/32");
    expect(text(kubernetes)).not.toMatch(/port: 81|::ffff/);
  });

  it("the network policy is named as Kubernetes takes it", () => {
    for (const name of ["node:server.js", "g++", "_x_", `${"a".repeat(60)}-----bc`]) {
      const { text } = kubernetes.export(specWith(), { ...OPTIONS, name });
      const { metadata, spec } = parse(text) as {
        metadata: { name: string };
        spec: { podSelector: { matchLabels: { app: string } } };
      };
      expect(metadata.name).toMatch(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/);
      expect(spec.podSelector.matchLabels.app).toMatch(/^[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?$/);
    }
  });

  it("the network policy has the shape of networking.k8s.io/v1", () => {
    exported("k8s-networkpolicy", "../app.netpol");
    const policy = parse(read("../app.netpol")) as {
      kind: string;
      spec: { policyTypes: string[]; egress: unknown[] };
    };
    expect(policy.kind).toBe("NetworkPolicy");
    expect(policy.spec.policyTypes).toEqual(["Ingress", "Egress"]);
    expect(policy.spec.egress).toHaveLength(1);
  });

  it.skipIf(lacking("scmp_sys_resolver"))(
    "libseccomp knows every name of the seccomp profile",
    () => {
      const report = exported("oci-seccomp", "../seccomp.json");
      expect(report).not.toContain("were not checked");
      const { syscalls } = JSON.parse(read("../seccomp.json")) as {
        syscalls: { names: string[] }[];
      };
      for (const name of syscalls.flatMap(({ names }) => names).slice(0, 40)) {
        expect(
          Number(place.run("scmp_sys_resolver", "-a", "x86_64", name).stdout),
          name,
        ).toBeGreaterThanOrEqual(0);
      }
    },
  );

  describe.each([
    ["runc", ["runc"]],
    ["crun", ["unshare", "--mount", "--propagation=private", "sh", "-c", CRUN, "crun"]],
  ] as const)("%s", (runtime, command) => {
    it.skipIf(lacking(runtime) || process.getuid?.() !== 0)(
      "starts a container with the profile, and the program works in it",
      () => {
        exported("oci-seccomp", "../seccomp.json", `--base=${runtime}`);
        const bundle = join(place.base, runtime);
        for (const program of ["/bin/sh", "/bin/cat", "/usr/bin/sort"]) install(bundle, program);
        const config = containerConfig(JSON.parse(read("../seccomp.json")) as object, place.work);
        writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
        const name = `trace-spec-${process.pid}`;
        const state = join(place.base, `${runtime}-state`);
        const done = place.run(...command, "--root", state, "run", "--bundle", bundle, name);
        expect(done.status, done.stderr).toBe(0);
        expect(done.stdout).toBe("a\nb\n");
      },
    );
  });
});

/** Copies a program and its libraries to where it finds them in a container. */
function install(bundle: string, program: string): void {
  const libraries = spawnSync("ldd", [program], { encoding: "utf8" }).stdout.match(/\/\S+/g) ?? [];
  for (const file of [program, ...libraries]) {
    const to = join(bundle, "rootfs", file);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(realpathSync(file), to);
  }
  for (const name of ["proc", "dev", "work", "sys"])
    mkdirSync(join(bundle, "rootfs", name), { recursive: true });
}

function containerConfig(seccomp: object, work: string): object {
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ["/bin/sh", "-c", COMMAND],
      env: ["PATH=/usr/bin:/bin"],
      cwd: "/work",
      noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: true },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs" },
      { destination: "/work", type: "bind", source: work, options: ["rbind", "rw"] },
    ],
    linux: {
      namespaces: [{ type: "pid" }, { type: "mount" }, { type: "ipc" }, { type: "uts" }],
      seccomp,
    },
  };
}

const rights = [
  ..."execute write_file read_file read_dir remove_dir remove_file make_char make_dir make_reg make_sock make_fifo".split(
    " ",
  ),
  ..."make_block make_sym refer truncate ioctl_dev abi.all abi.read_execute abi.read_write".split(
    " ",
  ),
];
const list = (items: object) => ({ type: "array", minItems: 1, items });

/** What landlockconfig's own schema says of its JSON form. */
const LANDLOCKCONFIG = {
  type: "object",
  additionalProperties: false,
  minProperties: 1,
  properties: {
    abi: { type: "integer" },
    variable: list({ type: "object", required: ["name", "literal"] }),
    ruleset: list({
      type: "object",
      additionalProperties: false,
      properties: {
        handledAccessFs: list({ enum: rights }),
        handledAccessNet: list({ enum: ["bind_tcp", "connect_tcp", "abi.all"] }),
        scoped: list({ enum: ["abstract_unix_socket", "signal", "abi.all"] }),
      },
    }),
    pathBeneath: list({
      type: "object",
      additionalProperties: false,
      required: ["allowedAccess", "parent"],
      properties: { allowedAccess: list({ enum: rights }), parent: list({ type: "string" }) },
    }),
    netPort: list({
      type: "object",
      additionalProperties: false,
      required: ["allowedAccess", "port"],
      properties: {
        allowedAccess: list({ enum: ["bind_tcp", "connect_tcp", "abi.all"] }),
        port: list({ type: "integer", minimum: 0, maximum: 65_535 }),
      },
    }),
  },
};
