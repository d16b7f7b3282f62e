/** The commands as a build server meets them: kernels that lack something, and specs that a change makes wider. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli } from "../support/command.js";
import { lacking } from "../support/tools.js";
import { SpecPlace } from "./support.js";

const TIMEOUT = { timeout: 120_000 };
const OLD_KERNEL = fileURLToPath(new URL("old-kernel.c", import.meta.url));

let place: SpecPlace;

beforeAll(() => {
  place = new SpecPlace({ words: "b\na\n", other: "other\n" });
  place.learn("cat", "words");
});

afterAll(() => place.leave());

const text = (name: string) => readFileSync(join(place.base, name), "utf8");

describe.skipIf(lacking("gcc"))("a kernel without Landlock", TIMEOUT, () => {
  const old = (...words: string[]) => place.run("./old-kernel", cli, "spec", "run", ...words);

  beforeAll(() => {
    const built = place.run("gcc", "-o", "old-kernel", OLD_KERNEL);
    expect(built.status, built.stderr).toBe(0);
  });

  it("is told, with what stays open there, and nothing is run", () => {
    const done = old("../app.spec");
    expect(done).toMatchObject({ status: 125, stdout: "" });
    expect(done.stderr).toContain("version 0 of Landlock");
    expect(done.stderr).toContain("any path can be read and written as the user may");
    expect(done.stderr).toContain("TCP ports");
    expect(done.stderr).toContain("--weaker");
  });

  it("does when that is accepted, and calls that were not granted are refused there too", () => {
    expect(old("--weaker", "../app.spec")).toMatchObject({ status: 0, stdout: "b\na\n" });
    const denied = old("--weaker", "--supervise=always", "../app.spec", "--", "cat", "other");
    expect(denied.status).toBe(1);
    expect(denied.stderr).toContain("refused read");
  });

  it("has a supervisor judge what Landlock would, whatever it is there for", () => {
    // Without libraries: Landlock would hold all that it opens to the letter.
    const reader =
      "#include <fcntl.h>\n#include <unistd.h>\nint main(int argc, char **argv) {\n  char text[9];\n  int fd = open(argv[argc - 1], O_RDONLY);\n  return fd < 0 || write(1, text, read(fd, text, 9)) < 1;\n}\n";
    const own = new SpecPlace({ words: "b\na\n", other: "other\n", "reader.c": reader });
    const built = own.run("gcc", "-static", "-o", "reader", "reader.c");
    expect(built.status, built.stderr).toBe(0);
    own.learn("./reader", "words");
    const spec = readFileSync(join(own.base, "app.spec"), "utf8");
    const more = spec.replace("grants:\n", "grants:\n      - {verb: chmeta, object: $PWD/words}\n");
    expect(more).not.toBe(spec);
    writeFileSync(join(own.base, "chmeta.spec"), more);
    const run = (...words: string[]) =>
      own.run(join(place.work, "old-kernel"), cli, "spec", "run", "--weaker", ...words);
    expect(run("../chmeta.spec")).toMatchObject({ status: 0, stdout: "b\na\n" });
    const denied = run("../chmeta.spec", "--", "./reader", "other");
    expect(denied).toMatchObject({ status: 1, stdout: "" });
    expect(denied.stderr).toContain("refused read");
    own.leave();
  });
});

describe.skipIf(lacking("setpriv") || process.geteuid?.() !== 0)(
  "an ordinary user",
  TIMEOUT,
  () => {
    it("records, enforces and proves, and cannot do more than was granted", () => {
      const own = new SpecPlace({ words: "b\na\n" });
      own.run("chown", "-R", "65534:65534", own.base);
      const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", cli];
      const command = [
        "sh",
        "-c",
        "sort words > out; mkdir d; mv out d/out; mv d e; cat e/out; rm -r e",
      ];
      const run = (...words: string[]) => own.run(...user, ...words);
      run("record", "-q", "--observe", "-o", "../app.trace", "--", ...command);
      expect(run("spec", "gen", "-o", "../app.spec", "../app.trace").status).toBe(0);
      expect(run("spec", "run", "../app.spec")).toEqual({
        status: 0,
        stdout: "a\nb\n",
        stderr: "",
      });
      const proof = run("spec", "prove", "../app.spec", "../app.trace");
      expect(proof.status, proof.stderr).toBe(0);
      const denied = run("spec", "run", "../app.spec", "--", "sh", "-c", "cat /etc/hostname");
      expect(denied.status).not.toBe(0);
      expect(denied.stderr).toContain("cat: refused read");
      own.leave();
    });
  },
);

describe("descriptors of whoever starts a program", TIMEOUT, () => {
  it("are passed on to one that was recorded with them, and to no other", () => {
    const own = new SpecPlace({ words: "b\na\n" });
    const script = "cat <&3 || echo none";
    const given = (...words: string[]) =>
      own.run("sh", "-c", 'exec 3< words; exec "$@"', "sh", ...words);
    const record = [cli, "record", "-q", "--observe", "-o"];
    const enforce = (spec: string) => given(cli, "spec", "run", spec, "--", "sh", "-c", script);
    own.run(...record, "../without.trace", "--", "sh", "-c", script);
    given(...record, "../with.trace", "--", "sh", "-c", script);
    for (const name of ["with", "without"]) {
      const made = own.trace("spec", "gen", "-o", `../${name}.spec`, `../${name}.trace`);
      expect(made.status, made.stderr).toBe(0);
    }
    expect(enforce("../with.spec").stdout).toBe("b\na\n");
    expect(enforce("../without.spec").stdout).toBe("none\n");
    own.leave();
  });
});

describe("what is said", TIMEOUT, () => {
  it("of a grant that is not there is which ones are like it", () => {
    const done = place.trace("spec", "explain", "../app.spec", "words");
    expect(done.status).not.toBe(0);
    expect(done.stderr).toContain("there is: 'read $PWD/words'");
  });

  it("of a pipe to whoever starts several programs is nothing: its other end is not in the tree", () => {
    const words = "record -q --force --observe -o ../piped.trace -- sh -c 'echo a; cat words'";
    place.run("sh", "-c", `${cli} ${words} | cat`);
    expect(place.trace("spec", "gen", "--force", "-o", "../piped.spec", "../piped.trace")).toEqual({
      status: 0,
      stdout: "",
      stderr: "",
    });
    expect(place.trace("spec", "validate", "../piped.spec")).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/: 2 roles, 0 errors, 0 warnings\n$/),
    });
  });

  it("of a role that is not there, or has it not, is which are", () => {
    const explain = (role: string, grant: string) =>
      place.trace("spec", "explain", "--role", role, "../app.spec", grant).stderr;
    expect(explain("cta", "read $PWD/words")).toMatch(
      /^trace: there is no role cta\n {2}there is: .*\bcat\b/,
    );
    expect(explain("cat", "read /nowhere")).toMatch(/^trace: cat does not have a grant read \/now/);
  });

  it("of what is no spec is what it is", () => {
    const validate = (file: string) => place.trace("spec", "validate", file).stderr;
    expect(validate("..")).toMatch(/^trace: \.\.: a directory, and no spec\n/);
    expect(place.trace("spec", "merge", "../base.trace").stderr).toMatch(
      /^trace: \.\.\/base\.trace: a recording, and no spec\n.*trace spec gen/,
    );
    writeFileSync(join(place.base, "none.spec"), "traceSpec: 1\nroles: []\n");
    expect(place.trace("spec", "validate", "../none.spec")).toMatchObject({
      status: 2,
      stdout: expect.stringMatching(/^error: roles: there is none: no program may run\n/),
    });
  });

  it("of a file that is made is every verb that it needs", () => {
    const done = place.trace("spec", "run", "--learn", "../app.spec", "--", "cp", "words", "new");
    expect(done).toMatchObject({ status: 0 });
    expect(done.stderr).toContain("- {verb: write, object: $PWD/new}");
    expect(done.stderr).toContain("- {verb: create, object: $PWD/new}");
  });

  it("of a failure that only the kernel knows of is how to see it", () => {
    const done = place.trace("spec", "run", "../app.spec", "--", "cat", "other");
    expect(done.status).toBe(1);
    expect(done.stderr).toContain("to see that: trace spec run --supervise=always");
    const seen = place.trace(
      "spec",
      "run",
      "--supervise=always",
      "../app.spec",
      "--",
      "cat",
      "other",
    );
    expect(seen.stderr).toContain("cat: refused read");
    expect(seen.stderr).not.toContain("note:");
  });

  it("of a descriptor is through which channel it leads", () => {
    const other = new SpecPlace({ words: "b\na\n" });
    other.learn("sh", "-c", "cat words | sort");
    const spec = readFileSync(join(other.base, "app.spec"), "utf8");
    other.leave();
    expect(spec).toMatch(/name: cat\n(?:.*\n)*? {6}- \{fd: 1, is: pipe1, use: \[write\]\}/);
    expect(spec).toContain("{name: pipe1, kind: pipe, writers: [cat], readers: [sort]}");
  });
});

describe("specs of two versions of a program", TIMEOUT, () => {
  /** As a pull request's: the spec of the main branch, and the one that is recorded anew. */
  const compared = (...command: string[]) => {
    const before = text("app.spec");
    writeFileSync(join(place.base, "before.spec"), before);
    place.learn(...command);
    const done = place.trace("spec", "diff", "--format=md", "../before.spec", "../app.spec");
    writeFileSync(join(place.base, "app.spec"), before);
    return done;
  };

  it("are equal when it does the same", () => {
    expect(compared("cat", "words").status).toBe(0);
    expect(compared("cat", "-u", "./words").status).toBe(0);
  });

  it("differ by the file that one more reads, with exit code 1", () => {
    const wider = compared("cat", "words", "other");
    expect(wider.status).toBe(1);
    expect(wider.stdout).toContain("wider");
    expect(wider.stdout).toContain("read $PWD/other");
  });

  it("are refused when a newer version wrote one of them", () => {
    writeFileSync(
      join(place.base, "new.spec"),
      text("app.spec").replace(/traceSpec: \d+/, "traceSpec: 9"),
    );
    for (const words of [
      ["diff", "../app.spec", "../new.spec"],
      ["run", "../new.spec"],
      ["check", "../new.spec", "../base.trace"],
    ]) {
      const done = place.trace("spec", ...words);
      expect(done.status, words.join(" ")).toBeGreaterThan(1);
      expect(done.stderr).toContain("version 9");
    }
  });
});
