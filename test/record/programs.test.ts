/** Real programs: they do what they do without the recorder, and their trees are whole. */

import { mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findProgram, lacking } from "../support/tools.js";
import { calls, folder, readWhole, recordWords, run, stateOf, stringsOf } from "./support.js";

interface Case {
  readonly name: string;
  readonly argv: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
  readonly processes?: number;
  readonly threads?: number;
  /** Runs before the program, in its folder. */
  readonly prepare?: readonly string[];
}

const many = Array.from({ length: 6 }, (_, k) => `part${k}`);

const cases: readonly Case[] = [
  {
    name: "git: init, add, commit, log, gc",
    argv: [
      "sh",
      "-ec",
      "git init -q . && git add . && git commit -qm one && git gc -q && git log --format=%s%n%T && git fsck",
    ],
    files: { "a.txt": "one\n", "b.txt": "two\n" },
    processes: 10,
  },
  {
    name: "gcc: compiles, links, and the program runs",
    argv: ["sh", "-ec", "gcc -O2 -pipe -o hello hello.c && ./hello"],
    files: { "hello.c": '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n' },
    processes: 5,
  },
  {
    name: "make -j2",
    argv: ["make", "-j2", "--output-sync", "all"],
    files: {
      Makefile: `all: ${many.map((name) => `${name}.o`).join(" ")}\n%.o: %.c\n\t@gcc -c -o $@ $<\n`,
      ...Object.fromEntries(many.map((name) => [`${name}.c`, `int ${name}(void) { return 1; }\n`])),
    },
    processes: 13,
  },
  {
    name: "sqlite3: a transaction on disk",
    argv: [
      "sqlite3",
      "test.db",
      "create table t(a, b); begin; insert into t select value, value * 2 from generate_series(1, 500); commit; select count(*), sum(b) from t; pragma integrity_check;",
    ],
  },
  {
    name: "python: multiprocessing with a pool and a queue",
    argv: ["python3", "pool.py"],
    files: {
      "pool.py": `import multiprocessing as mp
def square(n): return n * n
def put(queue): queue.put("from the child")
if __name__ == "__main__":
    with mp.Pool(3) as pool: print(sum(pool.map(square, range(100))))
    context = mp.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=put, args=(queue,))
    child.start(); print(queue.get()); child.join(); print(child.exitcode)
`,
    },
    processes: 5,
    threads: 8,
  },
  {
    name: "python: threads and subprocesses",
    argv: ["python3", "threads.py"],
    files: {
      "threads.py": `import subprocess, threading
def work(n): subprocess.run(["sh", "-c", f"exit {n}"], check=False)
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(subprocess.check_output(["echo", "done"]).decode(), end="")
`,
    },
    processes: 10,
    threads: 18,
  },
  {
    name: "node: workers and a child process",
    argv: [process.execPath, "workers.cjs"],
    files: {
      "workers.cjs": `const { Worker, isMainThread, parentPort } = require("node:worker_threads");
const { execFileSync } = require("node:child_process");
const { readFile } = require("node:fs/promises");
if (!isMainThread) parentPort.postMessage(40 + 2);
else {
  let left = 3;
  for (let k = 0; k < 3; k++) new Worker(__filename).on("message", async (n) => {
    const text = await readFile(__filename, "utf8");
    if (--left === 0) console.log(n, text.length, execFileSync("echo", ["child"]).toString());
  });
}
`,
    },
    processes: 2,
    threads: 10,
  },
  {
    name: "perl: fork, pipe and a signal",
    argv: [
      "perl",
      "-e",
      '$SIG{USR1} = sub { print "signal\\n"; exit 3 }; $| = 1; pipe(R, W); if (!fork) { print W "x"; close W; exit } read(R, $_, 1); kill "USR1", $$; sleep 5;',
    ],
    processes: 2,
  },
  {
    name: "tar and gzip",
    argv: ["sh", "-ec", "tar czf - in | tar tzv --numeric-owner | cut -c1-10 | sort"],
    prepare: ["sh", "-ec", "mkdir in; cp /etc/passwd in; ln -s passwd in/link; mkfifo in/pipe"],
    processes: 6,
  },
  {
    name: "openssl",
    argv: [
      "sh",
      "-ec",
      "openssl enc -aes-128-cbc -K 00 -iv 00 -in in 2>/dev/null | openssl dgst -sha256",
    ],
    files: { in: "secret\n" },
    processes: 3,
  },
  {
    name: "busybox: a shell with its own tools",
    argv: ["busybox", "sh", "-c", "for i in 1 2 3; do busybox echo $i | busybox cat; done"],
    processes: 4,
  },
  {
    name: "java: threads and a child process",
    argv: ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "Main.java"],
    files: {
      "Main.java": `import java.util.concurrent.*;
public class Main {
  public static void main(String[] args) throws Exception {
    var pool = Executors.newFixedThreadPool(4);
    var sum = 0;
    var tasks = new java.util.ArrayList<Future<Integer>>();
    for (int i = 0; i < 50; i++) { int n = i; tasks.add(pool.submit(() -> n * n)); }
    for (var task : tasks) sum += task.get();
    pool.shutdown();
    var child = new ProcessBuilder("echo", "child").redirectErrorStream(true).start();
    System.out.print(new String(child.getInputStream().readAllBytes()));
    System.out.println(sum + " " + child.waitFor());
  }
}
`,
    },
    processes: 2,
    threads: 12,
  },
];

function needs(argv: readonly string[]): string {
  const first = argv[0] ?? "";
  if (first !== "sh") return first;
  return /\b(git|gcc|openssl|tar)\b/.exec(argv.at(-1) ?? "")?.[1] ?? first;
}

/** Java and Go are too large to be installed for this; the others are there where it counts. */
function isMissing(program: string): boolean {
  const isLarge = program === "java" || program === "go";
  return isLarge
    ? findProgram(program) === undefined
    : !program.startsWith("/") && lacking(program);
}

async function prepare({ files = {}, prepare: first }: Case): Promise<string> {
  const dir = folder();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  if (first !== undefined) expect((await run(first, { cwd: dir })).code).toBe(0);
  return dir;
}

const author = {
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.org",
  GIT_AUTHOR_DATE: "1700000000 +0000",
  GIT_COMMITTER_NAME: "A",
  GIT_COMMITTER_EMAIL: "a@example.org",
  GIT_COMMITTER_DATE: "1700000000 +0000",
  GIT_CONFIG_NOSYSTEM: "1",
};

describe("the same output, and a whole tree", () => {
  for (const test of cases) {
    const missing = isMissing(needs(test.argv));
    it.skipIf(missing)(
      test.name,
      async () => {
        const [plain, traced, state] = [await prepare(test), await prepare(test), folder()];
        const env = { ...author, ...stateOf(state), HOME: state };
        const file = join(state, "x.trace");
        const native = await run(test.argv, { cwd: plain, env });
        const recorded = await run([...recordWords(file), ...test.argv], { cwd: traced, env });
        expect(recorded).toEqual(native);
        const { trace } = await readWhole(file);
        expect(trace.processes.length).toBeGreaterThanOrEqual(test.processes ?? 1);
        expect(trace.threads.length).toBeGreaterThanOrEqual(test.threads ?? 1);
        expect(trace.info.notes).toEqual([]);
        expect(trace.info.lost).toMatchObject({ tasks: 0, descriptors: 0, unknownCalls: 0 });
      },
      120_000,
    );
  }
});

describe("servers", () => {
  it.skipIf(isMissing("go"))(
    "a Go server and its clients in one process",
    async () => {
      const dir = folder();
      writeFileSync(join(dir, "go.mod"), "module server\n\ngo 1.20\n");
      writeFileSync(
        join(dir, "main.go"),
        `package main

import (
	"fmt"
	"io"
	"net"
	"sync"
)

func serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			io.Copy(connection, connection)
			connection.Close()
		}()
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go serve(listener)
	var wait sync.WaitGroup
	lengths := make(chan int, 50)
	for i := 0; i < 50; i++ {
		i := i
		wait.Add(1)
		go func() {
			defer wait.Done()
			connection, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(connection, "/%d", i)
			connection.(*net.TCPConn).CloseWrite()
			body, _ := io.ReadAll(connection)
			lengths <- len(body)
		}()
	}
	wait.Wait()
	sum := 0
	for i := 0; i < 50; i++ {
		sum += <-lengths
	}
	fmt.Println(sum)
}
`,
      );
      const env = { ...stateOf(dir), HOME: dir, GOFLAGS: "-mod=mod", GOTOOLCHAIN: "local" };
      const built = await run(["go", "build", "-o", "server", "."], {
        cwd: dir,
        env: { ...env, GOCACHE: process.env.GOCACHE ?? join(homedir(), ".cache/go-build") },
      });
      expect({ code: built.code, stderr: built.stderr }).toEqual({ code: 0, stderr: "" });
      const file = join(dir, "x.trace");
      const done = await run([...recordWords(file), join(dir, "server")], { env });
      expect({ ...done }).toEqual({ code: 0, signal: null, stdout: "140\n", stderr: "" });
      const { trace, events } = await readWhole(file);
      expect(trace.threads.length).toBeGreaterThan(3);
      expect(calls(events, "accept4").filter((call) => call.ret >= 0).length).toBeGreaterThan(0);
    },
    120_000,
  );

  it.skipIf(lacking("redis-server"))("redis on a socket, stopped by its client", async () => {
    const dir = folder();
    mkdirSync(join(dir, "data"));
    const file = join(dir, "x.trace");
    const socket = join(dir, "socket");
    const script = `
      redis-server --port 0 --unixsocket ${socket} --dir ${dir}/data --save '' --daemonize yes >/dev/null
      while ! redis-cli -s ${socket} ping 2>/dev/null | grep -q PONG; do sleep 0.02; done
      redis-cli -s ${socket} set key value; redis-cli -s ${socket} get key
      redis-cli -s ${socket} shutdown nosave; echo end $?`;
    const done = await run([...recordWords(file), "sh", "-c", script], { env: stateOf(dir) });
    expect({ ...done }).toEqual({
      code: 0,
      signal: null,
      stdout: "OK\nvalue\nend 0\n",
      stderr: "",
    });
    const { events } = await readWhole(file);
    const execs = events
      .filter((event) => event.kind === "Exec")
      .map((event) => stringsOf(event, 1)[0]);
    expect(execs.filter((name) => name === "redis-server").length).toBe(1);
  });
});
