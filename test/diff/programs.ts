/** Programs that are recorded twice: what they do ought to be the same, whatever the system does around them. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Program {
  readonly name: string;
  readonly argv: readonly string[];
  /** Programs that must be installed. */
  readonly needs: readonly string[];
  /** A shell script that makes the files, once. */
  readonly setup?: string;
  /** A shell script that runs before each recording. */
  readonly reset?: string;
  /** Something that runs beside it: words that are put behind `argv`, and how to end it. */
  readonly beside?: () => Promise<{ readonly words: readonly string[]; readonly end: () => void }>;
}

const FILES = `mkdir -p tree && for i in 1 2 3 4 5 6 7 8; do mkdir -p tree/d$i; seq $i 400 > tree/d$i/n.txt; echo "line $i" > tree/d$i/a.txt; done`;

const PYTHON = `cat > run.py <<'END'
import json, os, subprocess, tempfile, threading, time, uuid
with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
    json.dump({"pid": os.getpid(), "id": str(uuid.uuid4()), "at": time.time()}, f); f.flush()
def work(i):
    with open(f"out{i}.txt", "w") as out:
        for k in range(20): out.write(f"{i} {k}\\n")
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(subprocess.run(["sh", "-c", "echo from $$ >&2; cat out0.txt | wc -l"], capture_output=True).stdout)
END`;

const ASYNC = `cat > run.py <<'END'
import asyncio
async def serve(reader, writer):
    writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
async def ask(port, word):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(word.encode() + b"\\n"); answer = await reader.read(); writer.close(); return answer
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*[ask(port, w) for w in ("one", "two", "three", "four")]))
    server.close()
asyncio.run(main())
END`;

const NODE_WORKERS = `cat > run.js <<'END'
const { Worker, isMainThread, parentPort, workerData } = require("node:worker_threads");
const fs = require("node:fs");
if (isMainThread) {
  for (let i = 0; i < 4; i++) new Worker(__filename, { workerData: i }).on("message", (m) => fs.writeFileSync("w" + i, String(m)));
} else parentPort.postMessage(fs.readFileSync(__filename).length * (workerData + 1));
END`;

const NODE_FILES = `cat > run.js <<'END'
const fs = require("node:fs/promises"); const http = require("node:http");
const server = http.createServer((q, s) => s.end("hello " + q.url)).listen(0, "127.0.0.1", async () => {
  await Promise.all([1, 2, 3, 4, 5, 6].map(async (i) => { await fs.writeFile("f" + i, "x".repeat(i * 1000)); return fs.readFile("f" + i); }));
  const answer = await fetch("http://127.0.0.1:" + server.address().port + "/path");
  console.log(await answer.text(), process.pid); server.close();
});
END`;

const SOURCES = `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do printf '#include <stdio.h>\\nint f%d(int x) { return printf("%%d", x * %d); }\\n' $i $i > f$i.c; done
printf 'int main(void) { return 0; }\\n' > main.c
printf 'O = $(patsubst %%.c,%%.o,$(sort $(wildcard *.c)))\\nprog: $(O)\\n\\tgcc -o $@ $^\\n%%.o: %%.c\\n\\tgcc -O1 -c -o $@ $<\\n' > Makefile`;

const JAVA = `cat > Run.java <<'END'
import java.nio.file.*; import java.util.concurrent.*;
public class Run { public static void main(String[] a) throws Exception {
  ExecutorService pool = Executors.newFixedThreadPool(4);
  for (int i = 0; i < 8; i++) { int n = i; pool.submit(() -> Files.writeString(Path.of("j" + n + ".txt"), "n" + n)); }
  pool.shutdown(); pool.awaitTermination(10, TimeUnit.SECONDS);
  System.out.println(Files.readString(Path.of("j3.txt")));
} }
END
javac Run.java`;

const GO = `cat > run.go <<'END'
package main
import ("fmt"; "os"; "sync")
func main() {
  var group sync.WaitGroup
  for i := 0; i < 8; i++ { group.Add(1); go func(n int) { defer group.Done(); os.WriteFile(fmt.Sprintf("g%d.txt", n), []byte(fmt.Sprint(n*n)), 0o644) }(i) }
  group.Wait(); data, _ := os.ReadFile("g7.txt"); fmt.Println(string(data))
}
END
go build -o run run.go`;

const GIT = `git init -q . && git config user.name T && git config user.email t@example.org
for i in 1 2 3 4 5; do echo "$i" > file$i; git add .; git commit -q -m "commit $i"; done`;

async function server(): Promise<{ readonly words: readonly string[]; readonly end: () => void }> {
  const http = createServer((_, answer) => answer.end("hello from here\n".repeat(500)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  return { words: [`http://127.0.0.1:${port}/`], end: () => void http.close() };
}

const script = (name: string): readonly string[] => ["sh", "-c", name];

export const PROGRAMS: readonly Program[] = [
  { name: "ls -lR", argv: ["ls", "-lR", "tree"], needs: ["ls"], setup: FILES },
  {
    name: "git log --stat",
    argv: ["git", "--no-pager", "log", "--stat"],
    needs: ["git"],
    setup: GIT,
  },
  {
    name: "git status, diff",
    argv: script("git status --short && git diff --stat"),
    needs: ["git"],
    setup: `${GIT}\nsleep 1.2; echo more >> file1; echo new > new; git status >/dev/null`,
  },
  {
    name: "python3 with threads and a child",
    argv: ["python3", "run.py"],
    needs: ["python3"],
    setup: PYTHON,
    reset: "rm -f out*.txt",
  },
  {
    name: "python3 asyncio, sockets",
    argv: ["python3", "run.py"],
    needs: ["python3"],
    setup: ASYNC,
  },
  {
    name: "node, 4 workers",
    argv: ["node", "run.js"],
    needs: ["node"],
    setup: NODE_WORKERS,
    reset: "rm -f w*",
  },
  {
    name: "node, file pool and http",
    argv: ["node", "run.js"],
    needs: ["node"],
    setup: NODE_FILES,
    reset: "rm -f f*",
  },
  { name: "npm --version", argv: ["npm", "--version"], needs: ["npm"] },
  {
    name: "make -j4 of 13 files",
    argv: ["make", "-j4"],
    needs: ["make", "gcc"],
    setup: SOURCES,
    reset: "rm -f *.o prog",
  },
  {
    name: "gcc -O2 -c",
    argv: ["gcc", "-O2", "-c", "f1.c"],
    needs: ["gcc"],
    setup: SOURCES,
    reset: "rm -f *.o",
  },
  {
    name: "java, thread pool",
    argv: ["java", "-cp", ".", "Run"],
    needs: ["javac", "java"],
    setup: JAVA,
    reset: "rm -f j*.txt",
  },
  { name: "go, goroutines", argv: ["./run"], needs: ["go"], setup: GO, reset: "rm -f g*.txt" },
  {
    name: "sqlite3 inserts",
    argv: [
      "sqlite3",
      "t.db",
      "create table t(a, b); insert into t values (1, 'x'), (2, 'y'); update t set b = 'z'; select * from t;",
    ],
    needs: ["sqlite3"],
    reset: "rm -f t.db*",
  },
  { name: "curl to localhost", argv: ["curl", "-s"], needs: ["curl"], beside: server },
  {
    name: "sh pipeline",
    argv: script(
      "cat tree/*/n.txt | sort -n | uniq -c | tail -5 > out; for f in tree/*; do wc -l < $f/a.txt; done",
    ),
    needs: ["sh"],
    setup: FILES,
    reset: "rm -f out",
  },
  {
    name: "tar czf",
    argv: ["tar", "czf", "t.tgz", "tree"],
    needs: ["tar", "gzip"],
    setup: FILES,
    reset: "rm -f t.tgz",
  },
  { name: "grep -r", argv: ["grep", "-rn", "line", "tree"], needs: ["grep"], setup: FILES },
  {
    name: "perl, fork and wait",
    argv: [
      "perl",
      "-e",
      'for (1..4) { unless (fork) { open F, ">p$_"; print F "$_ $$\\n"; exit $_ } } 1 while wait != -1; print "done\\n"',
    ],
    needs: ["perl"],
    reset: "rm -f p[0-9]",
  },
  {
    name: "find | xargs -P4",
    argv: script("find tree -name '*.txt' | xargs -P4 -n2 cksum > out"),
    needs: ["find", "xargs"],
    setup: FILES,
    reset: "rm -f out",
  },
  {
    name: "bash with a temporary directory",
    argv: [
      "bash",
      "-c",
      "d=$(mktemp -d); trap 'rm -r $d' EXIT; date > $d/now; sed s/:/-/g $d/now > $d/then; cat $d/then; echo pid $$",
    ],
    needs: ["bash", "mktemp"],
  },
];
