/** Specs of real programs, enforced by the built command. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingGuarantees } from "../../src/spec/enforce.js";
import { compile } from "../record/support.js";
import { cli } from "../support/command.js";
import { syscallNumber } from "../support/number.js";
import { lacking } from "../support/tools.js";
import { type Ran, SpecPlace } from "./support.js";

const TIMEOUT = { timeout: 120_000 };

let place: SpecPlace;
let spec: string;
const COMMAND =
  "cat secret | wc -c; sort words > out/sorted; mv out/sorted out/final; cat out/final";

beforeAll(() => {
  place = new SpecPlace({ secret: "secret text\n", words: "b\na\n", other: "other\n" });
  mkdirSync(join(place.work, "out"));
  spec = place.learn("sh", "-c", COMMAND);
});

afterAll(() => place.leave());

/** Hangs as long as there is something in a file, where a signal alone does not end it, and with a daemon that hangs as well. */
const HANGING = `import os, signal, time
def hang():
    while True:
        time.sleep(0.05)
        if os.stat("hang").st_size == 0: break
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: hang()
    os._exit(0)
os.wait()
hang()
`;

const SOCKETS = `import os, socket
for path in ("link/a", "./sub/../link/b", os.getcwd() + "/sub/./../real/c", "real//d", 'real/\xe9 "q" *x'):
    server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    client.connect(path)
    client.send(b"x")
    print(server.accept()[0].recv(1))
    os.unlink(path)
`;

/** Whether a process is there, and not only to be waited for. */
function runs(pid: string): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** How a verb of spec with a limit of time ends where the program hangs, and the processes that stay in its directory. */
function hanging(verb: string, ...words: string[]): { own: Ran; left: string[] } {
  writeFileSync(join(place.work, "hang.py"), HANGING);
  writeFileSync(join(place.work, "hang"), "");
  const command = ["python3", "hang.py"];
  place.trace("record", "-q", "--force", "--observe", "-o", "../hang.trace", "--", ...command);
  place.trace("spec", "gen", "--force", "-o", "../hang.spec", "../hang.trace");
  writeFileSync(join(place.work, "hang"), "on");
  const own = place.trace("spec", verb, "--timeout=1500ms", ...words, "--", ...command);
  const left = readdirSync("/proc").filter((pid) => cwdOf(pid) === place.work);
  return { own, left };
}

/** Where a process stands; undefined when it is none, or has ended. */
function cwdOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

describe.each(["always", "never"])("spec run --supervise=%s that is killed", TIMEOUT, (how) => {
  it("ends the program and all that it has started", async () => {
    const other = new SpecPlace();
    // The second one has lost its parent, the third one has its own session.
    const command = [
      'sleep "$0" & echo $! > one; (sleep "$0" & echo $! > two)',
      'setsid sh -c \'echo $$ > three; sleep "$0"; true\' "$0" & echo $$ > pid; read line; true',
    ].join("; ");
    const own = other.learn("sh", "-c", command, "0.1");
    const pidOf = (name: string) => readFileSync(join(other.work, name), "utf8").trim();
    const names = ["one", "two", "three", "pid"];
    for (const name of names) writeFileSync(join(other.work, name), "");
    const words = ["spec", "run", `--supervise=${how}`, own, "--", "sh", "-c", command, "60"];
    const { cwd, env } = { cwd: other.work, env: other.env };
    // What it reads from does not end with it.
    const running = spawn(cli, words, { cwd, env, stdio: ["pipe", "ignore", "ignore"] });
    const until = (holds: () => boolean) => expect.poll(holds, { timeout: 20_000 }).toBe(true);
    await until(() => names.every((name) => pidOf(name) !== ""));
    expect(names.filter((name) => !runs(pidOf(name)))).toEqual([]);
    running.kill("SIGKILL");
    await until(() => names.every((name) => !runs(pidOf(name))));
    running.stdin.destroy();
    other.leave();
  });
});

describe("what a program leaves running", TIMEOUT, () => {
  it("is waited for, which is told, until a signal ends that", async () => {
    const other = new SpecPlace();
    const own = other.learn("sh", "-c", 'sleep "$0" > /dev/null 2>&1 & echo $! > pid', "0.1");
    const pid = () => readFileSync(join(other.work, "pid"), "utf8").trim();
    const words = ["spec", "run", "-v", own, "--", "sh", "-c"];
    const command = ['sleep "$0" > /dev/null 2>&1 & echo $! > pid', "60"];
    const { work: cwd, env } = other;
    const running = spawn(cli, [...words, ...command], { cwd, env });
    let told = "";
    running.stderr.setEncoding("utf8").on("data", (text: string) => {
      told += text;
    });
    const ended = new Promise((resolve) => running.once("exit", (_, signal) => resolve(signal)));
    await expect
      .poll(() => told, { timeout: 20_000 })
      .toContain("trace: the program has ended; what it has left running goes on");
    expect(runs(pid())).toBe(true);
    running.kill("SIGTERM");
    expect(await ended).toBe("SIGTERM");
    expect(runs(pid())).toBe(true);
    process.kill(Number(pid()), "SIGKILL");
    other.leave();
  });
});

describe("trace spec run", TIMEOUT, () => {
  it("changes nothing for a program that does what it did", () => {
    const plain = place.run("sh", "-c", COMMAND);
    for (let run = 0; run < 3; run++) {
      const own = place.trace("spec", "run", spec, "--", "sh", "-c", COMMAND);
      expect(own).toEqual(plain);
    }
  });

  it.skipIf(lacking("python3")).each(["always", "never"])(
    "lets sockets be, whatever leads to them (%s)",
    (how) => {
      const other = new SpecPlace({ "sockets.py": SOCKETS });
      try {
        mkdirSync(join(other.work, "real"));
        mkdirSync(join(other.work, "sub"));
        symlinkSync("real", join(other.work, "link"));
        const plain = other.run("python3", "sockets.py");
        const own = other.learn("python3", "sockets.py");
        expect(other.trace("spec", "run", `--supervise=${how}`, own)).toEqual(plain);
        expect(plain.stdout).toBe("b'x'\n".repeat(5));
      } finally {
        other.leave();
      }
    },
  );

  it.skipIf(process.geteuid?.() !== 0)("does not supervise as root what gives root up", () => {
    const dropping = ["perl", "-e", "$) = 65534; $> = 65534; system('cat words'); print qq($>\n)"];
    const other = new SpecPlace({ words: "b\na\n" });
    const own = other.learn(...dropping);
    const refused = other.trace("spec", "run", "--supervise=always", own);
    other.leave();
    expect(refused.status).toBe(125);
    expect(refused.stderr).toContain("programs that give root up");
    expect(refused.stderr).toContain("--weaker");
  });

  it("takes the command of the recording when none is named", () => {
    expect(place.trace("spec", "run", spec).stdout).toBe("12\na\nb\n");
  });

  it("refuses what was not granted, and says which grant is missing", () => {
    const own = place.trace("spec", "run", spec, "--", "sh", "-c", "cat other");
    expect(own.status).toBe(1);
    expect(own.stderr).toContain("cat: refused read");
    expect(own.stderr).toContain("- {verb: read, object: $PWD/other}");
  });

  it("gives each program its own grants: the shell may not read what cat may", () => {
    const own = place.trace("spec", "run", spec, "--", "sh", "-c", "read line < secret");
    expect(own.status).not.toBe(0);
    expect(own.stderr).toContain("sh: refused read");
    expect(place.trace("spec", "run", spec, "--", "sh", "-c", "cat secret").stdout).toBe(
      "secret text\n",
    );
  });

  it("does not run other programs", () => {
    const own = place.trace("spec", "run", spec, "--", "sh", "-c", "id");
    expect(own.status).not.toBe(0);
    expect(own.stderr).toMatch(/refused (?:stat|exec) \/usr\/bin\/id/);
  });

  it("ends with the exit code and signal of the program", () => {
    expect(place.trace("spec", "run", spec, "--", "sh", "-c", "exit 7").status).toBe(7);
  });

  it("learns: refuses nothing, and tells the grants", () => {
    const own = place.trace("spec", "run", "--learn", spec, "--", "sh", "-c", "cat other");
    expect(own.stdout).toBe("other\n");
    expect(own.stderr).toContain("cat needs: - {verb: read, object: $PWD/other}");
  });

  it.skipIf(lacking("perl"))("learns of no rings, by which all would pass unseen", () => {
    const other = new SpecPlace();
    const script = 'my $p = "\\0" x 120; syscall(425, 1, $p) < 0 and print $! + 0';
    const own = other.trace("spec", "run", "--learn", other.learn("perl", "-e", script));
    expect(own.stdout).toBe(String(constants.errno.ENOSYS));
    expect(own.stderr).not.toContain("io_uring");
    other.leave();
  });

  it("learns nothing from a program that does what it did", () => {
    const own = place.trace("spec", "run", "--learn", spec);
    expect(own).toEqual({ status: 0, stdout: "12\na\nb\n", stderr: "" });
  });

  it("learns what the kernel opens to run a program", () => {
    const text = readFileSync(join(place.base, "app.spec"), "utf8");
    const lines = text
      .split("\n")
      .filter((line) => !/verb: exec|verb: \w+, object: \$PWD\/out/.test(line));
    writeFileSync(join(place.base, "lacking.spec"), lines.join("\n"));
    const own = place.trace("spec", "run", "--learn", "../lacking.spec");
    expect(own.stdout).toBe("12\na\nb\n");
    expect(own.stderr).toMatch(/sh needs: - \{verb: exec, object: \S*\/ld-linux-x86-64\.so\.2\}/);
    expect(own.stderr).toMatch(/sh needs: - \{verb: exec, object: \/usr\/bin\/(?:da|ba)?sh\}/);
    expect(own.stderr).toContain("sh needs: - {verb: create, object: $PWD/out/sorted}");
  });

  it("says that it cannot be nested, and what to do then", () => {
    const words = ["spec", "run", spec, "--", "sh", "-c", "true"];
    const own = place.trace("spec", "run", "--learn", "-q", spec, "--", cli, ...words);
    expect(own.status).not.toBe(0);
    expect(own.stderr).toContain("another supervisor already");
    expect(own.stderr).toContain("--no-supervisor --weaker");
  });

  it("says what a container lacks, and what to do then", () => {
    const under = [compile("refuse"), `eperm=${syscallNumber("pidfd_getfd", 0)}`, "--", cli];
    const own = place.run(...under, "spec", "run", spec);
    expect(own.status).toBe(125);
    expect(own.stderr).toContain("pidfd_getfd(2) is refused: Operation not permitted");
    expect(own.stderr).toContain("--cap-add=SYS_PTRACE");
    const other = place.run(...under, "spec", "run", "--no-supervisor", "--weaker", spec);
    expect(other.stdout).toBe("12\na\nb\n");
  });

  it("works without a supervisor, more coarsely, and says how", () => {
    const own = place.trace("spec", "run", "-v", "--no-supervisor", spec);
    expect(own.stdout).toBe("12\na\nb\n");
    expect(own.stderr).toContain("enforced by the kernel alone");
    expect(own.stderr).toContain("not told apart: 5 roles");
    const denied = place.trace(
      "spec",
      "run",
      "--no-supervisor",
      spec,
      "--",
      "sh",
      "-c",
      "cat < /etc/passwd",
    );
    expect(denied.status).not.toBe(0);
    expect(denied.stdout).toBe("");
  });

  it.skipIf(lacking("python3"))("ends a program after a time, and all that it has started", () => {
    const { own, left } = hanging("run", "../hang.spec");
    expect(own.status).toBe(124);
    expect(own.stderr).toContain("ended after 1.50 s (--timeout)");
    expect(left).toEqual([]);
    const inTime = place.trace("spec", "run", "--timeout=60", spec);
    expect(inTime).toMatchObject({ status: 0, stdout: "12\na\nb\n" });
  });

  it("runs a program that was built anew in a directory that was made anew", () => {
    const other = new SpecPlace();
    try {
      const build = "rm -rf b; mkdir b; cp /usr/bin/id b/app; ./b/app -u > b/id; cat b/id";
      other.run("sh", "-c", build);
      const own = other.learn("sh", "-c", build);
      const plain = other.run("sh", "-c", build);
      for (const way of ["auto", "never"])
        expect(other.trace("spec", "run", `--supervise=${way}`, own), way).toEqual(plain);
    } finally {
      other.leave();
    }
  });

  it("names what a kernel lacks", () => {
    expect(missingGuarantees(0)[0]).toContain("files");
    expect(missingGuarantees(3).join()).toContain("TCP ports");
    expect(missingGuarantees(7)).toEqual([]);
  });
});

describe("trace spec check", TIMEOUT, () => {
  it("lists what a recording did outside, with event and grant, and ends with 2", () => {
    place.trace("record", "-q", "--force", "-o", "../next.trace", "--", "sh", "-c", "cat other");
    const own = place.trace("spec", "check", spec, "../next.trace");
    expect(own.status).toBe(2);
    expect(own.stdout).toMatch(
      /cat\n {2}@\d+ {2}read .*\/other\n.*- \{verb: read, object: \$PWD\/other\}/s,
    );
  });

  it("ends with 0 inside", () => {
    const own = place.trace("spec", "check", spec, "../base.trace");
    expect(own).toMatchObject({ status: 0 });
  });

  it.skipIf(lacking("gcc"))("ends with 3 when io_uring hides what was done", () => {
    writeFileSync(
      join(place.work, "ring.c"),
      "#include <sys/syscall.h>\n#include <unistd.h>\nint main(void) {\n  char p[120] = {0};\n  long context = 0;\n  if (syscall(SYS_io_uring_setup, 1, p) >= 0) return 0;\n  return syscall(SYS_io_setup, 1, &context) < 0 ? 1 : 2;\n}\n",
    );
    expect(place.run("gcc", "-o", "ring", "ring.c").status).toBe(0);
    place.trace("record", "-q", "--force", "--observe", "-o", "../ring.trace", "--", "./ring");
    const made = place.trace("spec", "gen", "--force", "-o", "../ring.spec", "../ring.trace");
    expect(made.stderr).toContain("io_uring is used");
    expect(readFileSync(join(place.base, "ring.spec"), "utf8")).not.toContain(
      "object: io_uring_setup",
    );
    const own = place.trace("spec", "check", "../ring.spec", "../ring.trace");
    expect(own.status).toBe(3);
    expect(own.stdout).toContain("cannot tell: io_uring");
    // Under the spec the ring is refused as by a kernel that has none, upon which programs make older calls.
    expect(place.trace("spec", "run", "../ring.spec", "--", "./ring").status).toBe(2);
  });
});

describe("trace spec explain", TIMEOUT, () => {
  it("shows the events that need a grant", () => {
    const own = place.trace("spec", "explain", spec, "read $PWD/secret", "../base.trace");
    expect(own.stdout).toMatch(
      /^cat: read \$PWD\/secret; .*\n {2}@\d+ {2}p\d+ {2}openat\(.*secret", O_RDONLY\) = \d/,
    );
  });
});

describe("a shell that was recorded with PWD", TIMEOUT, () => {
  it("asks where it is when it is started without", () => {
    const own = new SpecPlace();
    own.env.PWD = own.work;
    const spec = own.learn("sh", "-c", "echo here");
    delete own.env.PWD;
    const ran = own.trace("spec", "run", spec);
    own.leave();
    expect(ran).toEqual({ status: 0, stdout: "here\n", stderr: "" });
  });
});

describe("a program that ends right after a call", TIMEOUT, () => {
  it("may do that in the directory where it stood", () => {
    const place = new SpecPlace();
    place.learn("mkdir", "-p", "a", "b/c/d");
    // Where it stood could not be asked for any more.
    const events = place.trace("dump", "../base.trace").stdout.split(/\n(?=event )/);
    const cut = events.map((event) =>
      / code=83 /.test(event)
        ? event.replace(/\n {2}(?:ref slot=cwd|capture slot=0 side=resolved) [^\n]*/g, "")
        : event,
    );
    expect(cut).not.toEqual(events);
    writeFileSync(join(place.base, "cut.txt"), cut.join("\n"));
    place.trace("dump", "--assemble", "../cut.txt", "-o", "../cut.trace");
    place.trace("spec", "gen", "--force", "-o", "../app.spec", "../cut.trace");
    const spec = readFileSync(join(place.base, "app.spec"), "utf8");
    for (const name of ["a", "b", "b/c", "b/c/d"])
      expect(spec).toContain(`{verb: create, object: $PWD/${name},`);
    place.leave();
  });
});

describe("a program that was killed in a call when it was recorded", TIMEOUT, () => {
  it("may make that call", () => {
    const place = new SpecPlace();
    const script = "mkfifo pipe; timeout 1 cat pipe; echo $?; rm pipe";
    place.learn("sh", "-c", script);
    const ran = place.trace("spec", "run", "--supervise=always", "../app.spec");
    expect(ran).toMatchObject({ status: 0, stdout: "124\n", stderr: "" });
    place.leave();
  });
});

describe("a program that read all it had when it was recorded", TIMEOUT, () => {
  it("goes back in a file that has more than it uses", () => {
    const own = new SpecPlace({ words: "a\n" });
    const spec = own.learn("head", "-2", "words");
    writeFileSync(join(own.work, "words"), "a\nb\nc\n");
    const ran = own.trace("spec", "run", spec);
    own.leave();
    expect(ran).toEqual({ status: 0, stdout: "a\nb\n", stderr: "" });
  });
});

describe.skipIf(lacking("python3"))("a program that tries very long names", TIMEOUT, () => {
  it("is not told of for ever", () => {
    const other = new SpecPlace({
      "app.py": `import os
for k in range(int(open("count").read())):
    try: os.open("${`${"x".repeat(200)}/`.repeat(15)}" + str(k), os.O_WRONLY | os.O_CREAT)
    except OSError: pass
print("done")`,
      count: "0",
    });
    mkdirSync(join(other.work, `${"x".repeat(200)}/`.repeat(15)), { recursive: true });
    const app = other.learn("python3", "app.py");
    writeFileSync(join(other.work, "count"), "8000");
    const words = `${cli} spec run --supervise=always ${app} 2>&1 | grep -v refused`;
    const { stdout } = other.run("sh", "-c", words);
    expect(stdout).toMatch(/^trace: \d+ different accesses were told: others are not$/m);
    expect(stdout).toMatch(/^done$/m);
    other.leave();
  });
});

describe("a command that the spec has no role for", TIMEOUT, () => {
  it("is told, with how it comes to one", () => {
    const own = new SpecPlace({ "app.sh": "cat words\n", "other.sh": "echo\n", words: "b\n" });
    const spec = own.learn("sh", "app.sh");
    const script = own.trace("spec", "run", spec, "--", "sh", "other.sh");
    const program = own.trace("spec", "run", spec, "--", "ls");
    own.leave();
    expect(script.stderr).toBe(
      "trace: /usr/bin/dash: ended: the spec has no role for it but with app.sh; record such a run as well, and give both recordings to trace spec gen\n",
    );
    expect(program.status).toBe(126);
    expect(program.stderr).toContain(
      "the spec does not let it be run: it is for sh app.sh; record",
    );
  });
});

describe("a program that is made anew in each run", TIMEOUT, () => {
  it("has its role wherever it is made", () => {
    const own = new SpecPlace();
    const script =
      'dir=$(mktemp -d) && cp /usr/bin/printf "$dir/tool" && "$dir/tool" made && rm -r "$dir"';
    const spec = own.learn("sh", "-c", script);
    const text = readFileSync(join(own.base, "app.spec"), "utf8");
    const ran = own.trace("spec", "run", spec);
    const other = own.run("sh", "-c", `mv ../base.trace ../first.trace; ${script}`);
    own.learn("sh", "-c", script);
    writeFileSync(join(own.base, "first.spec"), text);
    const checked = own.trace("spec", "check", "../first.spec", "../base.trace");
    const proof = own.trace("spec", "prove", "../first.spec", "../first.trace");
    own.leave();
    expect(text).toMatch(/- name: tool\n {4}exe: \["?\$TMP\/tmp\S*\*\/tool"?\]/);
    expect(text).toContain("tool is made anew in each run");
    expect(ran).toEqual({ status: 0, stdout: "made", stderr: "" });
    expect(other.status).toBe(0);
    expect(checked.status, checked.stdout).toBe(0);
    expect(proof.status, proof.stderr).toBe(0);
  });
});

describe.skipIf(lacking("gcc"))("a program that aborts as it never did before", TIMEOUT, () => {
  it("ends by the signal that says so, under a supervisor as well", () => {
    const own = new SpecPlace({
      "app.c": `#include <stdio.h>
#include <stdlib.h>
int main(void) { FILE *file = fopen("mode", "r"); if (getc(file) == 'x') abort(); return 0; }
`,
      mode: "-",
    });
    try {
      expect(own.run("gcc", "-o", "app", "app.c").status).toBe(0);
      const made = own.learn("sh", "-c", "./app; echo $?");
      writeFileSync(join(own.work, "mode"), "x");
      const { stdout, stderr } = own.trace("spec", "run", made);
      expect(stdout).toBe(`${128 + constants.signals.SIGABRT}\n`);
      expect(stderr).not.toContain("refused");
    } finally {
      own.leave();
    }
  });
});

describe("trace spec prove", TIMEOUT, () => {
  it("proves a spec by its recording, an enforced run and attempts that fail", () => {
    const own = place.trace("spec", "prove", "--record=../proof.trace", spec, "../base.trace");
    expect(own.status, own.stderr).toBe(0);
    expect(own.stderr).toMatch(/attempts that failed, as they should: (\d+) of \1 /);
    expect(own.stderr).toContain("proved on 1 recording and an enforced run (exit 0, supervised)");
  });

  it.skipIf(lacking("gcc"))("ends with 3 when a recording cannot tell what was done", () => {
    writeFileSync(
      join(place.work, "falls_back.c"),
      "#include <sys/syscall.h>\n#include <unistd.h>\nint main(void) {\n  char p[120] = {0};\n  syscall(SYS_io_uring_setup, 1, p);\n  return 0;\n}\n",
    );
    expect(place.run("gcc", "-o", "falls_back", "falls_back.c").status).toBe(0);
    const [spec, file] = ["../falls_back.spec", "../falls_back.trace"];
    place.trace("record", "-q", "--force", "--observe", "-o", file, "--", "./falls_back");
    place.trace("spec", "gen", "--force", "-o", spec, file);
    const own = place.trace("spec", "prove", spec, file);
    expect(own.status, own.stderr).toBe(3);
    expect(own.stderr).toContain("cannot tell: io_uring");
    expect(own.stderr).toContain("proved as far as recordings can tell on 1 recording");
  });

  it("names the first call that is refused and had worked, and the grant that it lacks", () => {
    const text = readFileSync(join(place.base, "app.spec"), "utf8");
    const lines = text.split("\n").filter((line) => !/verb: read, object: \$PWD\/words/.test(line));
    writeFileSync(join(place.base, "less.spec"), lines.join("\n"));
    const own = place.trace(
      "spec",
      "prove",
      "--record=../denied.trace",
      "../less.spec",
      "../base.trace",
    );
    expect(own.status).toBe(2);
    expect(own.stderr).toMatch(/sort: read .*words fails with EACCES \(@\d+\), and worked before/);
    expect(own.stderr).toContain("to allow it: - {verb: read, object: $PWD/words}");
    // The recording of the enforced run has the refused call.
    const shown = place.trace("show", "../denied.trace", "err = EACCES and path contains words");
    expect(shown.stdout).toContain("openat");
  });

  it("names what is refused under a name that is new in each run, in whatever directory", () => {
    const script = "echo > w-$(echo $$ | tr 0-9 a-j); exit 0";
    place.trace("record", "-q", "--force", "-o", "../new.trace", "--", "sh", "-c", script);
    place.trace("spec", "gen", "--force", "-o", "../new.spec", "../new.trace");
    const there = 'mkdir -p ../there && cd ../there && exec "$@"';
    const words = [cli, "spec", "prove", "../new.spec", "../new.trace"];
    const own = place.run("sh", "-c", there, "sh", ...words);
    expect(own.stderr).toMatch(/sh: create .*\/there\/w-[a-j]+ fails with EACCES \(@\d+\)/);
    expect(own.status).toBe(2);
  });

  it.skipIf(lacking("python3"))("ends a program that hangs, and all that it has started", () => {
    const { own, left } = hanging("prove", "../hang.spec", "../hang.trace");
    expect(own.status).toBe(2);
    expect(own.stderr).toContain("had not ended after 1.50 s, and was ended");
    expect(own.stderr).toContain("not proved");
    expect(left).toEqual([]);
  });

  it("leaves out what is not needed", () => {
    const command = ["cat", "words"];
    place.trace("record", "-q", "--force", "-o", "../cat.trace", "--", ...command);
    place.trace("spec", "gen", "--force", "-o", "../cat.spec", "../cat.trace");
    const text = readFileSync(join(place.base, "cat.spec"), "utf8");
    const extra = "      - {verb: read, object: /etc/shadow-not-needed}\n    ";
    writeFileSync(
      join(place.base, "cat.spec"),
      text.replace(/(grants:\n)/, `$1${extra.trimEnd()}\n`),
    );
    const own = place.trace(
      "spec",
      "prove",
      "--minimize",
      "--force",
      "-o",
      "../small.spec",
      "../cat.spec",
      "../cat.trace",
    );
    expect(own.status, own.stderr).toBe(0);
    const small = readFileSync(join(place.base, "small.spec"), "utf8");
    expect(small).not.toContain("shadow-not-needed");
    expect(small).toContain("object: $PWD/words");
    expect(place.trace("spec", "run", "../small.spec").stdout).toBe("b\na\n");
    expect(existsSync(join(place.base, "small.spec"))).toBe(true);
  });

  it("writes what it has found when it is interrupted, and leaves nothing behind", async () => {
    const other = new SpecPlace({ words: "b\n" });
    // Each run adds a line.
    const command = ["sh", "-c", "echo >> runs; sleep 0.3; exec cat words"];
    const own = other.learn(...command);
    const scratch = join(other.base, "tmp");
    const words = ["spec", "prove", "--minimize", "-o", "../small.spec", own, "../base.trace"];
    const running = spawn(cli, [...words, "--", ...command], { cwd: other.work, env: other.env });
    let said = "";
    running.stderr.on("data", (piece: Buffer) => {
      said += piece.toString();
    });
    // Recorded, proved, run twice as it is: the next one has fewer grants.
    const timer = setInterval(() => {
      if (readFileSync(join(other.work, "runs"), "utf8").length <= 4) return;
      clearInterval(timer);
      running.kill("SIGINT");
    }, 50);
    const [, signal] = (await once(running, "close")) as [number | null, string | null];
    expect(signal, said).toBe("SIGINT");
    expect(said).toContain("interrupted: grants that were not tried by then are left in");
    expect(other.trace("spec", "run", "../small.spec")).toMatchObject({ status: 0, stdout: "b\n" });
    expect(readdirSync(scratch)).toEqual([]);
    expect(readdirSync(other.base).filter((name) => name.startsWith(".trace"))).toEqual([]);
    const again = other.trace(...words);
    expect(again).toMatchObject({ status: 2, stderr: expect.stringContaining("exists already") });
    other.leave();
  });

  it("leaves in what changes something, and what a program only complains about", () => {
    const other = new SpecPlace({ words: "b\n", note: "n\n" });
    const minimize = (own: string, ...command: string[]) =>
      other.trace(
        ...["spec", "prove", "--minimize", "--force", "-o", "../small.spec", own],
        ...["../base.trace", "--", ...command],
      );
    // The second run finds what the first one left.
    const command = ["sh", "-c", "cat words > out; cat note > /dev/null; cat out"];
    const done = minimize(other.learn(...command), ...command);
    expect(done.status, done.stderr).toBe(0);
    const small = readFileSync(join(other.base, "small.spec"), "utf8");
    for (const grant of ["write, object: $PWD/out", "create, object: $PWD/out"])
      expect(small).toContain(`{verb: ${grant}`);
    expect(small).toContain("{verb: read, object: $PWD/note");
    expect(small).not.toContain("{verb: stat, object: $PWD/");
    const once = ["mkdir", "new"];
    const own = other.learn(...once);
    other.run("rmdir", "new");
    expect(minimize(own, ...once)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/trace: the program does not print and end the same when it/),
    });
    other.leave();
  });
});
