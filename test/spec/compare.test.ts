import { describe, expect, it } from "vitest";
import { allowingLine } from "../../src/spec/check.js";
import { compareSpecs, differenceMarkdown, differenceText } from "../../src/spec/compare.js";
import { deputiesOf } from "../../src/spec/deputies.js";
import { mergeSpecs } from "../../src/spec/merge.js";
import type { Grant, Role, Spec } from "../../src/spec/model.js";
import { meetsPath } from "../../src/spec/object.js";
import { validateSpec } from "../../src/spec/validate.js";
import { specWith } from "./support.js";

function spec(grants: readonly string[], rest: Partial<Role> = {}, more: Partial<Spec> = {}): Spec {
  const role: Role = {
    name: "app",
    exe: ["/usr/bin/app"],
    from: [],
    grants: grants.map((text): Grant => {
      const [verb = "", object = ""] = text.split(" ");
      return { verb: verb as Grant["verb"], object };
    }),
    ...rest,
  };
  return { ...specWith(role), ...more };
}

const BASE = [
  "read /etc/app.conf",
  "connect tcp:10.0.0.1:443",
  "write /var/app/*",
  "exec /usr/bin/app",
];

describe("comparing specs", () => {
  it.each([
    ["one host", "connect tcp:10.0.0.2:443"],
    ["one written path", "write /etc/passwd"],
    ["one program", "exec /bin/sh"],
    ["a wider pattern", "write /var/**"],
    ["another port", "connect tcp:10.0.0.1:*"],
  ])("a change that adds %s is wider", (_, grant) => {
    const difference = compareSpecs(spec(BASE), spec([...BASE, grant]));
    expect(difference.verdict).toBe("widened");
    expect(differenceText(difference)).toContain(`+ ${grant}`);
    expect(differenceMarkdown(difference)).toContain("wider");
    expect(compareSpecs(spec([...BASE, grant]), spec(BASE)).verdict).toBe("narrowed");
  });

  it("another order, other counts, another role name and covered grants are equal", () => {
    const counted = spec([...BASE].reverse().concat("write /var/app/x", "stat /etc/app.conf"), {
      name: "other",
    });
    const grants =
      counted.roles[0]?.grants.map((grant) => ({ ...grant, count: 7, runs: [1] })) ?? [];
    const roles = counted.roles.map((role) => ({ ...role, grants }));
    expect(compareSpecs(spec(BASE), { ...counted, roles }).verdict).toBe("equal");
  });

  it("a grant for one phase that becomes one for the whole life is wider", () => {
    const phased = spec([]);
    const grants: Grant[] = [{ verb: "read", object: "/key", phase: "init" }];
    const before = { ...phased, roles: phased.roles.map((role) => ({ ...role, grants })) };
    expect(compareSpecs(before, spec(["read /key"])).verdict).toBe("widened");
    expect(compareSpecs(spec(["read /key"]), before).verdict).toBe("narrowed");
  });

  it("tells many calls in one line, and the phase of a grant", () => {
    const calls = ["accept", "bind", "brk", "close", "fstat", "listen", "mmap", "read"];
    const role: Role = {
      name: "other",
      exe: ["/bin/other"],
      from: ["app"],
      grants: [
        { verb: "read", object: "/a|b", phase: "init" },
        ...calls.map((object): Grant => ({ verb: "syscall", object })),
      ],
    };
    const after = { ...spec(BASE), roles: [...spec(BASE).roles, role] };
    const difference = compareSpecs(spec(BASE), after);
    const folded = `8 syscalls: ${calls.join(" ")}`;
    expect(differenceText(difference)).toBe(
      `other  (new role)\n  + read /a|b (in init)\n  + ${folded}\nwidened: 9 grants wider, 0 narrower\n`,
    );
    expect(differenceMarkdown(difference).split("\n").slice(4)).toEqual([
      "| other (new) | wider | `read /a\\|b (in init)` |",
      `| other (new) | wider | \`${folded}\` |`,
      "",
    ]);
    const few = compareSpecs(spec([]), spec(["syscall read"]));
    expect(differenceText(few)).toBe("app\n  + syscall read\nwidened: 1 grant wider, 0 narrower\n");
  });

  it("tells of programs that get the role of another one, or one at all", () => {
    const strong: Role = { ...(spec(["read /key"]).roles[0] as Role), name: "strong" };
    const weak: Role = { ...strong, name: "weak", exe: ["/usr/bin/weak"], grants: [] };
    const before = specWith(strong, weak);
    const both = { ...strong, exe: [...strong.exe, ...weak.exe] };
    expect(differenceText(compareSpecs(before, specWith(both, weak)))).toBe(
      "strong\n  + read /key\nwidened: 1 grant wider, 0 narrower\n",
    );
    // The first that names a program has it.
    expect(compareSpecs(before, specWith(weak, both)).verdict).toBe("equal");
    const other = { ...strong, exe: [...strong.exe, "/usr/bin/other"] };
    expect(differenceText(compareSpecs(before, specWith(other, weak)))).toBe(
      "strong /usr/bin/other  (new role)\n  + read /key\nwidened: 1 grant wider, 0 narrower\n",
    );
    expect(compareSpecs(specWith(both, weak), specWith(both, weak)).verdict).toBe("equal");
    expect(compareSpecs(specWith(both, weak), before).verdict).toBe("narrowed");
  });

  it("tells that programs are started with whatever is open", () => {
    const after = spec(BASE, { descriptors: [{ fd: 7, is: "file /x", use: ["read"] }] });
    const difference = compareSpecs(spec(BASE), after);
    expect(difference.verdict).toBe("widened");
    expect(differenceText(difference)).toMatch(/^\+ programs are started with all descriptors/);
    expect(differenceMarkdown(difference)).toContain("Wider: programs are started with all");
    expect(compareSpecs(after, after).verdict).toBe("equal");
  });

  it("a grant for all of a run is wider by the phase that it was not for", () => {
    const [name, key] = ["app", { verb: "read", object: "/key" } as const];
    const role = (...grants: Grant[]): Spec => specWith({ name, exe: ["/app"], from: [], grants });
    const always = role(key);
    const init = role({ ...key, phase: "init" });
    const each = role({ ...key, phase: "init" }, { ...key, phase: "serve" });
    expect(differenceText(compareSpecs(init, always))).toBe(
      "app\n  + read /key (in serve)\nwidened: 1 grant wider, 0 narrower\n",
    );
    expect(differenceText(compareSpecs(always, init))).toBe(
      "app\n  - read /key (in serve)\nnarrowed: 0 grants wider, 1 narrower\n",
    );
    expect(compareSpecs(each, always).verdict).toBe("equal");
  });

  it("what was refused in one phase is allowed in place of the other one", () => {
    const role: Role = { name: "app", exe: ["/app"], from: [], grants: [] };
    const key: Grant = { verb: "read", object: "/key", phase: "init" };
    const line = "- {verb: read, object: /key}";
    expect(allowingLine([role], "app", key)).toBe(line);
    const other = { ...role, name: "other", grants: [key] };
    expect(allowingLine([role, other], "app", key)).toBe(line);
    expect(allowingLine([{ ...role, grants: [key] }], "app", key)).toBe(
      `${line}, in place of that for phase init`,
    );
  });

  it("merging gives what either allows, and nothing else", () => {
    const merged = mergeSpecs([spec(BASE), spec(["read /x"], { name: "renamed" })]);
    expect(merged.roles).toHaveLength(1);
    for (const part of [spec(BASE), spec(["read /x"])]) {
      expect(compareSpecs(part, merged).changes.flatMap(({ narrowed }) => narrowed)).toEqual([]);
    }
    expect(compareSpecs(merged, spec([...BASE, "read /x"])).verdict).toBe("equal");
  });
});

describe("roles that act for others", () => {
  const two = (
    writes: string,
    reads: string,
    exe = "/usr/bin/python3",
    more: Partial<Role> = {},
  ) => {
    const grant = (text: string): Grant => {
      const [verb = "", object = ""] = text.split(/ (.*)/);
      return { verb: verb as Grant["verb"], object };
    };
    const writer: Role = { name: "w", exe: ["/bin/w"], from: [], grants: [grant(writes)] };
    const grants = [reads, "connect tcp:192.0.2.1:443", "write /out"].map(grant);
    const runner: Role = { name: "r", exe: [exe], from: ["w"], grants, ...more };
    return { ...spec([]), roles: [writer, runner] };
  };
  const found = (checked: Spec) =>
    deputiesOf(checked, { PWD: "/srv/app" }).map(({ writer, runner, meets }) => [
      `${writer} ${runner}`,
      ...meets.map(({ writes, runs }) => `${writes}: ${runs}`),
    ]);

  it.each([
    ["its program", two("write /opt/*", "read /x", "/opt/tool"), "write /opt/*: program /opt/tool"],
    [
      "its script",
      two("rename $PWD/run", "read /x", "/bin/sh", { script: "/srv/app/run" }),
      "rename $PWD/run: script /srv/app/run",
    ],
    [
      "its loader",
      two("create /lib/ld.so", "exec /lib/ld.so"),
      "create /lib/ld.so: exec /lib/ld.so",
    ],
    ["a library", two("write /x/**", "read /x/l.so.1", "/bin/r"), "write /x/**: read /x/l.so.1"],
    [
      "a hook of the loader",
      two("create /etc/**", "read /etc/ld.so.preload", "/bin/r"),
      "create /etc/**: read /etc/ld.so.preload",
    ],
    ["libraries of one form", two("write /x/**", "read /x/l*.so"), "write /x/**: read /x/l*.so"],
    ["what it imports", two("write $PWD/a.py", "read $PWD/**"), "write $PWD/a.py: read $PWD/**"],
    ["what it could import", two("write /x/**", "read /x/*"), "write /x/**: read /x/*"],
    [
      "a makefile",
      two("write /m/*", "read /m/Makefile", "/bin/make"),
      "write /m/*: read /m/Makefile",
    ],
  ])("run %s, which another one writes", (_, checked, meeting) => {
    expect(found(checked)).toEqual([["w r", meeting]]);
  });

  it.each([
    ["data", two("write /x/data", "read /x/data")],
    ["data of one form", two("write /x/*.log", "read /x/*")],
    ["what another tool runs", two("write /x/a.py", "read /x/a.py", "/bin/perl")],
    ["names that meet nowhere", two("write /x/t*", "read /x/a*.py")],
    ["anything that no interpreter reads", two("write /x/**", "read /x/**", "/bin/r")],
    ["devices", two("write /dev/**", "read /dev/x.so")],
  ])("are not seen in %s", (_, checked) => {
    expect(found(checked)).toEqual([]);
  });

  it("are none where the writer may do the same itself", () => {
    const checked = two("write /**", "read /x/a.py");
    const [writer, runner] = checked.roles as [Role, Role];
    expect(deputiesOf(checked, {})[0]?.gains).toEqual([
      "connect tcp:192.0.2.1:443",
      "read /x/a.py",
    ]);
    const grants = [...writer.grants, ...runner.grants];
    expect(found({ ...checked, roles: [{ ...writer, grants }, runner] })).toEqual([]);
  });

  it("are told by validating, each pair once", () => {
    const checked = two("write /opt/**", "read /opt/lib.so", "/opt/tool");
    const told = validateSpec(checked, {}).filter(({ deputy }) => deputy !== undefined);
    expect(told.map(({ level, about, message }) => [level, about, message])).toEqual([
      [
        "warning",
        "role w",
        "may have r act for it: write /opt/** meets program /opt/tool (and in 1 more way), and r may connect tcp:192.0.2.1:443 (and 2 more)",
      ],
    ]);
  });
});

describe("patterns that meet", () => {
  it.each([
    ["/a/*.so", "/a/lib*", true],
    ["/a/*.so", "/a/*.py", false],
    ["/a/**", "/a", true],
    ["/a/**", "/b/**", false],
    ["/**", "/", true],
    ["/a/*", "/a/b/c", false],
    ["/a/x@{pid}", "/a/x1", true],
    ["/a/x@{pid}", "/a/x*1", true],
    ["/a/x@{pid}y", "/a/x1*2y", true],
    ["/a/x@{pid}", "/a/xy", false],
    ["/a/\\*", "/a/b", false],
    ["/a/\\*", "/a/*", true],
    ["/a/*b*c", "/a/*c*b", false],
  ])("%s and %s: %s", (one, other, meets) => {
    expect(meetsPath(one, other)).toBe(meets);
    expect(meetsPath(other, one)).toBe(meets);
  });
});

describe("validating specs", () => {
  const messages = (checked: Spec) =>
    validateSpec(checked, {}).map(({ level, message }) => `${level}: ${message}`);

  it("finds nothing in a good one", () => {
    expect(messages(spec(["read /etc/passwd"], { exe: ["/bin/sh"] }))).toEqual([]);
  });

  it.each([
    [
      "a role that is not there",
      spec([], { from: ["ap"] }),
      /error: there is no role ap; did you mean app/,
    ],
    ["a circle", spec([], { from: ["app"] }), /error: none is the first/],
    [
      "a pipe nobody reads",
      spec([], {}, { channels: [{ name: "pipe1", kind: "pipe", writers: ["app"], readers: [] }] }),
      /error: a pipe that nobody reads from/,
    ],
    [
      "a trigger of nothing",
      spec([], {}, { triggers: [{ role: "app", on: "connection", of: "listener1" }] }),
      /error: there is no channel listener1/,
    ],
    [
      "a misspelt call",
      spec(["syscall opennat"]),
      /error: there is no syscall opennat; did you mean openat/,
    ],
    [
      "what nobody judges",
      spec(["syscall io_uring_setup"]),
      /warning: io_uring: nobody judges what is done by rings/,
    ],
    [
      "a path that is gone",
      spec(["read /nonexistent/file"]),
      /warning: paths that are not there now: \/nonexistent\/file/,
    ],
    [
      "a program that is gone",
      spec([], { exe: ["/nonexistent/app"] }),
      /warning: its program .* is gone/,
    ],
  ])("finds %s", (_, checked, message) => {
    expect(messages(checked).join("\n")).toMatch(message);
  });
});
