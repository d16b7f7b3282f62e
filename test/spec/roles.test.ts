import { describe, expect, it } from "vitest";
import { argvShape, matchRole, scriptOf } from "../../src/spec/roles.js";

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
