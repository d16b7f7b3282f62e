/** What cannot be recorded: one clear line, the way out, and the exit code that shells use for it. */

import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { cli, compile, folder, record, run, stateOf } from "./support.js";

interface Mistake {
  readonly code: number;
  /** What the first line says. */
  readonly line: string;
  /** What the second line, the way out, says. */
  readonly hint: string;
}

const isRoot = process.getuid?.() === 0;

async function refused(
  words: readonly string[],
  mistake: Mistake,
  { dir = folder(), prefix = [] as readonly string[] } = {},
): Promise<void> {
  const command = [...prefix, cli, "record", ...words];
  const { code, signal, stdout, stderr } = await run(command, { cwd: dir, env: stateOf(dir) });
  const [line = "", hint = "", ...rest] = stderr.split("\n");
  expect({ line, hint }).toEqual({
    line: expect.stringContaining(mistake.line),
    hint: expect.stringContaining(mistake.hint),
  });
  expect(line).toMatch(/^trace: \S/);
  expect(hint).toMatch(/^ {2}\S/);
  expect({ code, signal, stdout, rest }).toEqual({
    code: mistake.code,
    signal: null,
    stdout: "",
    rest: [""],
  });
}

/** No trace is left of what never began. */
function expectNoTrace(dir: string): void {
  expect(readdirSync(dir).filter((name) => name.endsWith(".trace"))).toEqual([]);
}

describe("a program that", () => {
  it("does not exist in PATH", async () => {
    const dir = folder();
    await refused(
      ["no-such-program"],
      {
        code: 127,
        line: "no-such-program: not found in PATH (/usr/bin:",
        hint: "check the spelling",
      },
      { dir },
    );
    expectNoTrace(dir);
  });

  it("does not exist at its path", () =>
    refused(["./no/such"], {
      code: 127,
      line: "./no/such: no such file",
      hint: "check the spelling",
    }));

  it("is a link that leads nowhere", async () => {
    const dir = folder();
    symlinkSync("nowhere", join(dir, "link"));
    await refused(["./link"], { code: 127, line: "./link: no such file", hint: "" }, { dir });
  });

  it("may not be executed", async () => {
    const dir = folder();
    writeFileSync(join(dir, "plain"), "#!/bin/sh\n", { mode: 0o644 });
    await refused(
      ["./plain"],
      { code: 126, line: "./plain: no permission to execute it", hint: "chmod +x" },
      { dir },
    );
    expectNoTrace(dir);
  });

  it("is a directory", () =>
    refused(["/tmp"], { code: 126, line: "/tmp: is a directory", hint: "name a program inside" }));

  it("is in something that is no directory", () =>
    refused(["/etc/passwd/x"], {
      code: 126,
      line: "/etc/passwd/x: Not a directory",
      hint: "is a file",
    }));

  it("has no known format", async () => {
    const dir = folder();
    writeFileSync(join(dir, "script"), "echo hello\n", { mode: 0o755 });
    await refused(
      ["./script"],
      {
        code: 126,
        line: "./script: not a program of a known format",
        hint: "trace record sh FILE",
      },
      { dir },
    );
    expectNoTrace(dir);
  });

  it("is an empty file", async () => {
    const dir = folder();
    writeFileSync(join(dir, "empty"), "", { mode: 0o755 });
    await refused(["./empty"], { code: 126, line: "known format", hint: "interpreter" }, { dir });
  });

  it("needs an interpreter that is missing", async () => {
    const dir = folder();
    writeFileSync(join(dir, "script"), "#!/no/such/interpreter\n", { mode: 0o755 });
    await refused(
      ["./script"],
      { code: 127, line: "./script: it exists, but the interpreter", hint: "first line" },
      { dir },
    );
    expectNoTrace(dir);
  });

  it("is not named", () =>
    refused([], { code: 125, line: "no program", hint: "trace record ls -l" }));

  it("is an empty string", () =>
    refused([""], { code: 125, line: "no program to run: the command is empty", hint: "ls -l" }));

  it("is for another machine", async () => {
    const dir = folder();
    // A real ELF header with the number of another machine (EM_AARCH64) at e_machine.
    const elf = readFileSync("/bin/true");
    elf.writeUInt16LE(183, 18);
    writeFileSync(join(dir, "foreign"), elf, { mode: 0o755 });
    await refused(["./foreign"], { code: 126, line: "./foreign: ", hint: "" }, { dir });
  });
});

describe("an output file that", () => {
  it("exists is kept, unless --force says otherwise", async () => {
    const dir = folder();
    const file = join(dir, "old.trace");
    writeFileSync(file, "precious");
    await refused(
      ["-o", "old.trace", "true"],
      { code: 125, line: "old.trace", hint: "--force" },
      { dir },
    );
    expect(readFileSync(file, "utf8")).toBe("precious");
    const forced = [cli, "record", "--force", "-o", "old.trace", "true"];
    expect((await run(forced, { cwd: dir, env: stateOf(dir) })).code).toBe(0);
    expect(readFileSync(file, "utf8")).not.toBe("precious");
  });

  it("is kept too when the program cannot be found", async () => {
    const dir = folder();
    writeFileSync(join(dir, "old.trace"), "precious");
    const words = ["--force", "-o", "old.trace", "no-such-program"];
    await refused(words, { code: 127, line: "not found", hint: "spelling" }, { dir });
    expect(readFileSync(join(dir, "old.trace"), "utf8")).toBe("precious");
  });

  it("is in a directory that is missing", () =>
    refused(["-o", "no/such/x.trace", "true"], {
      code: 125,
      line: "no/such/x.trace",
      hint: "mkdir -p ",
    }));

  it("is a directory", async () => {
    const dir = folder();
    mkdirSync(join(dir, "d"));
    await refused(
      ["-o", "d", "--force", "true"],
      { code: 125, line: "/d", hint: "name a file" },
      { dir },
    );
  });

  it("is on a full disk", () =>
    refused(["-o", "/dev/full", "--force", "true"], {
      code: 125,
      line: "/dev/full: No space left on device",
      hint: "make room",
    }));

  it.runIf(isRoot)("may not be made", async () => {
    const dir = folder();
    chmodSync(dir, 0o755);
    await refused(
      ["-o", "x.trace", "true"],
      { code: 125, line: "x.trace", hint: "permission" },
      { dir, prefix: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] },
    );
  });

  it("is chosen when none is given, with the first free number", async () => {
    const dir = folder();
    const words = [cli, "record", "-q", "true"];
    for (let k = 0; k < 2; k++) await run(words, { cwd: dir, env: stateOf(dir) });
    expect(
      readdirSync(dir)
        .filter((name) => name.endsWith(".trace"))
        .sort(),
    ).toEqual(["true-1.trace", "true-2.trace"]);
  });
});

describe("options that", () => {
  it("do not exist", () =>
    refused(["--no-such-option", "true"], {
      code: 125,
      line: "unknown option '--no-such-option'",
      hint: "trace help record",
    }));

  it("have a wrong value", () =>
    refused(["--data=everything", "true"], {
      code: 125,
      line: "everything",
      hint: "trace help record",
    }));

  it("name a syscall that does not exist", async () => {
    const words = ["record", "-e", "trace=read,opnat", "true"];
    const { code, stderr } = await run([cli, ...words], { cwd: folder() });
    expect(code).toBe(125);
    expect(stderr).toBe(
      "trace: in the filter, column 12: `opnat` is not a syscall\n  trace=read,opnat\n             ^^^^^\n  did you mean openat?\n",
    );
  });

  it("filter by what only a finished call has", () =>
    refused(["-e", "err = ENOENT", "true"], {
      code: 125,
      line: "a capture filter can only name syscalls and classes",
      hint: "trace show -e",
    }));

  it("change a variable without a name", () =>
    refused(["-E", "=x", "true"], {
      code: 125,
      line: "-E =x: the name is missing",
      hint: "-E NAME=value",
    }));

  it("name a user that does not exist", () =>
    refused(["-u", "no-such-user", "true"], {
      code: 125,
      line: "no user no-such-user",
      hint: "getent",
    }));

  it("contradict each other", () =>
    refused(["-e", "openat", "--detach-on-exit", "true"], {
      code: 125,
      line: "a capture filter stays in the processes that are left behind",
      hint: "no -e",
    }));

  it("name a process that does not exist", () =>
    refused(["-p", "4194303"], { code: 125, line: "there is no process 4194303", hint: "" }));

  it("name both a process that runs and a program to start", async () => {
    const dir = folder();
    await refused(
      ["-p", String(process.pid), "ls"],
      { code: 125, line: "-p observes what runs already, and ls is to be started", hint: "one of" },
      { dir },
    );
    expectNoTrace(dir);
  });

  it.runIf(isRoot)("ask for another user without being root", async () => {
    const prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const dir = folder();
    await refused(
      ["-u", "root", "true"],
      {
        code: 125,
        line: "cannot become the requested user: Operation not permitted",
        hint: "root",
      },
      { dir, prefix },
    );
    expectNoTrace(dir);
  });
});

describe("a kernel that", () => {
  it("shows other processes in /proc", async ({ skip }) => {
    const prefix = ["unshare", "--user", "--map-root-user", "--pid", "--fork"];
    if ((await run([...prefix, "true"])).code !== 0) skip();
    const dir = folder();
    const mistake = { code: 125, line: "another pid namespace", hint: "mount -t proc proc /proc" };
    await refused(["true"], mistake, { dir, prefix });
    expectNoTrace(dir);
    const { file } = await record(["true"]);
    const env = stateOf(dirname(file));
    const replayed = await run([...prefix, cli, "replay", file], { env });
    expect(replayed).toMatchObject({ code: 125, stderr: expect.stringContaining(mistake.line) });
  });

  it("lets no signal be pending", async () => {
    const dir = folder();
    const mistake = {
      code: 125,
      line: "no signal may be pending",
      hint: "raise the limit: ulimit -i",
    };
    await refused(["true"], mistake, { dir, prefix: ["prlimit", "--sigpending=0"] });
    expectNoTrace(dir);
  });

  it("does not let us trace", async () => {
    const dir = folder();
    await refused(
      ["true"],
      {
        code: 125,
        line: "the kernel does not let this process trace its child: Operation not permitted",
        hint: "trace doctor",
      },
      { dir, prefix: [compile("noptrace")] },
    );
    expectNoTrace(dir);
  });

  it("has given us a tracer already, which is named", async () => {
    const dir = folder();
    const inner = [cli, "record", "-o", "inner.trace", "true"];
    const command = [cli, "record", "-q", "-o", "outer.trace", ...inner];
    const { code, stderr } = await run(command, { cwd: dir, env: stateOf(dir) });
    expect(code).toBe(125);
    expect(stderr.split("\n")[0]).toMatch(
      /^trace: the kernel does not let this process trace its child: Operation not permitted, as it is itself traced by trace \(\d+\)$/,
    );
    expect(readdirSync(dir)).not.toContain("inner.trace");
  });
});
