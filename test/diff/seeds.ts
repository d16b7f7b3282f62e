/** Changes that are planted between two runs of a program: what changes, and what the first cause has to name. */

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { CLI, type Place, type RecordSpec } from "./recording.js";

export interface Seed {
  readonly name: string;
  readonly argv: readonly string[];
  readonly needs?: readonly string[];
  /** Shell scripts: once; before each of the two runs; and between them. */
  readonly setup?: string;
  readonly reset?: string;
  readonly change?: string;
  /** How the second run is recorded otherwise. */
  readonly second?: Partial<RecordSpec>;
  /** For both. */
  readonly spec?: Partial<RecordSpec>;
  /** Runs beside run 0 or 1; the end of it. */
  readonly beside?: (place: Place, run: number) => Promise<() => void>;
  /** Makes the second trace of the first, in place of a second run. */
  readonly rewrite?: (place: Place, first: string) => string;
  /** A file that has to come out otherwise: the second run is repeated, with the threads in another order, until it does. */
  readonly differs?: string;
  /** The first cause, its lines and what followed from it must have this. */
  readonly object: RegExp;
}

const sh = (script: string): readonly string[] => ["sh", "-c", script];

const SOURCES = `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do printf 'int f%d(int x) { return x * %d; }\\n' $i $i > f$i.c; done
printf 'int main(void) { return 0; }\\n' > main.c
printf '#define EXTRA 1\\n' > extra.h
printf 'O = $(patsubst %%.c,%%.o,$(sort $(wildcard *.c)))\\nprog: $(O)\\n\\tgcc -o $@ $^\\n%%.o: %%.c\\n\\tgcc -c -o $@ $<\\n' > Makefile`;
const CLEAN = "rm -f *.o prog";

const WRITER = `cat > writer.c <<'END'
#include <fcntl.h>
#include <unistd.h>
int main(void) {
  int fd = open("data.txt", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (write(fd, "precious\\n", 9) != 9) return 1;
#ifndef CARELESS
  fsync(fd);
#endif
  close(fd);
  return rename("data.txt", "final.txt");
}
END
gcc -o writer writer.c`;

const LIBRARY = `printf 'int answer(void) { return 42; }\\n' > lib.c
printf '#include <stdio.h>\\nint answer(void);\\nint main(void) { printf("%%d\\\\n", answer()); return 0; }\\n' > use.c
gcc -shared -fPIC -o libanswer.so lib.c && gcc -o use use.c -L. -lanswer -Wl,-rpath,.`;

/** Two threads that append to one file without a lock. */
const RACE = `cat > race.c <<'END'
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
static int fd;
static void *work(void *word) {
  for (int k = 0; k < 4; k++) { if (write(fd, word, strlen(word)) < 0) return 0; sched_yield(); getppid(); }
  return 0;
}
int main(void) {
  pthread_t a, b;
  fd = open("race.log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
  pthread_create(&a, 0, work, "first\\n"); pthread_create(&b, 0, work, "second\\n");
  pthread_join(a, 0); pthread_join(b, 0);
  return 0;
}
END
gcc -o race race.c -lpthread`;

const ORDER = `cat > order.py <<'END'
import os, sys
steps = open("steps").read().split()
fd = os.open("out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(fd, b"x")
for step in steps:
    if step == "sync": os.fsync(fd)
    if step == "rename": os.rename("out", "final")
END
echo "sync rename" > steps`;

/** Answers every request with one text. */
async function serve(port: number, text: string): Promise<() => void> {
  const server = createServer((_, answer) => answer.end(text));
  await new Promise<void>((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return () => {
    server.closeAllConnections();
    server.close();
  };
}

const PORT = 20_000 + (process.pid % 10_000);

/** Holds a lock for a while. */
async function lock(place: Place, run: number): Promise<() => void> {
  if (run === 0) return () => {};
  const { spawn } = await import("node:child_process");
  const holder = spawn("flock", ["the.lock", "sh", "-c", "echo held; sleep 1.5"], {
    cwd: place.work,
    stdio: ["ignore", "pipe", "ignore"],
  });
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  return () => void holder.kill();
}

/** The same recording, in which one call took half a second longer. */
function slowed(place: Place, first: string, call: RegExp): string {
  const text = join(place.base, "twin.txt");
  const second = join(place.base, "slow.trace");
  const run = (...words: string[]) => spawnSync(CLI, words);
  run("dump", first, "-o", text, "--force");
  let isDone = false;
  const changed = readFileSync(text, "latin1").replace(/^event .*$/gm, (line) => {
    if (isDone || !call.test(line)) return line;
    isDone = true;
    return line.replace(/ end=(\d+)/, (_, end: string) => ` end=${Number(end) + 500_000_000}`);
  });
  writeFileSync(text, changed, "latin1");
  const made = run("dump", "--assemble", text, "-o", second, "--force");
  if (!isDone || made.status !== 0) throw new Error(`not slowed: ${made.stderr}`);
  return second;
}

export const SEEDS: readonly Seed[] = [
  {
    name: "an include line in one of 13 files",
    argv: ["make", "-j4"],
    needs: ["make", "gcc"],
    setup: SOURCES,
    reset: CLEAN,
    change: `sed -i '1i #include "extra.h"' f5.c`,
    object: /f5\.c/,
  },
  {
    name: "a source that was touched",
    argv: ["make", "-j4"],
    needs: ["make", "gcc"],
    setup: `${SOURCES}\nmake -s -j4\ntouch -d '1 hour ago' *.c`,
    change: "touch f5.c",
    object: /f5\.[co]/,
  },
  {
    name: "a compiler flag in the Makefile",
    argv: ["make"],
    needs: ["make", "gcc"],
    setup: SOURCES,
    reset: CLEAN,
    change: "sed -i 's/gcc -c/gcc -O1 -c/' Makefile",
    object: /Makefile/,
  },
  {
    name: "an environment variable",
    argv: sh('echo "$GREETING"'),
    spec: { env: { GREETING: "hello" } },
    second: { env: { GREETING: "goodbye" } },
    object: /GREETING/,
  },
  {
    name: "a variable that is gone",
    argv: sh('echo "$' + '{EDITOR_NAME-none}"'),
    spec: { env: { EDITOR_NAME: "ed" } },
    second: { env: {} },
    object: /EDITOR_NAME/,
  },
  {
    name: "a missing file",
    argv: ["cat", "config.txt", "other.txt"],
    setup: "echo a > config.txt; echo b > other.txt",
    change: "rm config.txt",
    object: /config\.txt/,
  },
  {
    name: "a permission of a program",
    argv: sh("./tool || echo failed"),
    setup: "printf '#!/bin/sh\\necho tool\\n' > tool; chmod 755 tool",
    change: "chmod 644 tool",
    object: /tool/,
  },
  {
    name: "a mode of a file that is listed",
    argv: ["ls", "-l", "dir"],
    setup: "mkdir dir; echo a > dir/one; echo b > dir/two",
    change: "chmod 600 dir/two",
    object: /dir\/two/,
  },
  {
    name: "another locale",
    argv: sh("printf 'b\\nA\\na\\n' | sort"),
    second: { env: { LC_ALL: "C" } },
    object: /LC_ALL/,
  },
  {
    name: "another time zone",
    argv: ["date", "-d", "@0"],
    second: { env: { TZ: "Asia/Tokyo" } },
    object: /TZ/,
  },
  {
    name: "an added network call",
    argv: ["python3", "net.py"],
    needs: ["python3"],
    setup: "echo 'print(1)' > net.py",
    change: `printf 'import socket\\nsocket.socket().connect_ex(("127.0.0.1", ${PORT + 1}))\\nprint(1)\\n' > net.py`,
    object: /net\.py[\s\S]*127\.0\.0\.1/,
  },
  {
    name: "a network call that a setting turns on",
    argv: ["python3", "net.py"],
    needs: ["python3"],
    setup: `printf 'import socket\\nif open("setting").read() == "on": socket.socket().connect_ex(("127.0.0.1", ${PORT + 1}))\\n' > net.py; printf off > setting`,
    change: "printf on > setting",
    object: /setting/,
  },
  {
    name: "a server that does not run",
    argv: ["curl", "-s", `http://127.0.0.1:${PORT}/`],
    needs: ["curl"],
    beside: async (_, run) => (run === 0 ? serve(PORT, "hello\n") : () => {}),
    object: new RegExp(`127\\.0\\.0\\.1:${PORT}`),
  },
  {
    name: "a server that answers otherwise",
    argv: ["curl", "-s", `http://127.0.0.1:${PORT}/`],
    needs: ["curl"],
    beside: (_, run) => serve(PORT, run === 0 ? "version 1\n" : "version 2\n"),
    object: /version 2/,
  },
  {
    name: "a lock that somebody else holds",
    argv: ["flock", "the.lock", "true"],
    needs: ["flock"],
    setup: "touch the.lock",
    beside: lock,
    object: /the\.lock/,
  },
  {
    name: "a slower fsync",
    argv: ["./writer"],
    needs: ["gcc"],
    setup: WRITER,
    rewrite: (place, first) => slowed(place, first, / code=74 /),
    object: /fsync.*data\.txt/,
  },
  {
    name: "a slower read",
    argv: ["cat", "big.txt"],
    setup: "seq 1 1000 > big.txt",
    rewrite: (place, first) => slowed(place, first, / code=0 .*ret=3893 /),
    object: /big\.txt/,
  },
  {
    name: "a dropped fsync",
    argv: ["./writer"],
    needs: ["gcc"],
    setup: WRITER,
    change: "gcc -DCARELESS -o writer writer.c",
    object: /writer[\s\S]*fsync/,
  },
  {
    name: "fsync after rename instead of before",
    argv: ["python3", "order.py"],
    needs: ["python3"],
    setup: ORDER,
    change: `echo "rename sync" > steps`,
    object: /steps/,
  },
  {
    name: "a swapped library",
    argv: ["./use"],
    needs: ["gcc"],
    setup: LIBRARY,
    change: "sed -i s/42/43/ lib.c; gcc -shared -fPIC -o libanswer.so lib.c",
    object: /libanswer\.so/,
  },
  {
    name: "a library that is missing",
    argv: ["./use"],
    needs: ["gcc"],
    setup: LIBRARY,
    change: "rm libanswer.so",
    object: /libanswer\.so/,
  },
  {
    name: "a preloaded library",
    argv: ["true"],
    needs: ["gcc"],
    setup: "echo 'int nothing;' > pre.c; gcc -shared -o pre.so pre.c",
    second: { env: { LD_PRELOAD: "./pre.so" } },
    object: /LD_PRELOAD/,
  },
  {
    name: "a value in a JSON file",
    argv: [
      "python3",
      "-c",
      "import json; c = json.load(open('config.json')); open('out', 'w').write('x' * c['size'])",
    ],
    needs: ["python3"],
    setup: `echo '{"size": 10}' > config.json`,
    reset: "rm -f out",
    change: `echo '{"size": 20}' > config.json`,
    object: /config\.json/,
  },
  {
    name: "one byte of the same length",
    argv: ["cksum", "data"],
    setup: "seq 1 2000 > data",
    change: "sed -i 's/^1000$/1x00/' data",
    object: /\bdata\b/,
  },
  {
    name: "a truncated file",
    argv: ["wc", "-l", "data"],
    setup: "seq 1 2000 > data",
    change: "truncate -s 100 data",
    object: /\bdata\b/,
  },
  {
    name: "a race in a thread pool",
    argv: ["./race"],
    needs: ["gcc"],
    setup: RACE,
    differs: "race.log",
    object: /race\.log/,
  },
  {
    name: "an option",
    argv: ["sort", "-n", "data"],
    setup: "seq 1 20 > data",
    second: { argv: ["sort", "-r", "data"] },
    object: /argument.*-r/,
  },
  {
    name: "one more file to read",
    argv: ["cat", "a"],
    setup: "echo a > a; echo b > b",
    second: { argv: ["cat", "a", "b"] },
    object: /argument.*\bb\b/,
  },
  {
    name: "a link that leads elsewhere",
    argv: ["cat", "link"],
    setup: "echo a > one; echo bb > two; ln -s one link",
    change: "ln -sfn two link",
    object: /link|one|two/,
  },
  {
    name: "a directory in place of a file",
    argv: ["cat", "thing"],
    setup: "echo a > thing",
    change: "rm thing; mkdir thing",
    object: /thing/,
  },
  {
    name: "other standard input",
    argv: ["tr", "a-z", "A-Z"],
    spec: { input: "first\n" },
    second: { input: "second\n" },
    object: /stdin/,
  },
  {
    name: "an entry more in a directory",
    argv: ["ls", "dir"],
    setup: "mkdir dir; touch dir/a dir/b",
    change: "touch dir/c",
    object: /dir/,
  },
  {
    name: "a program that comes first in PATH",
    argv: sh("tool"),
    setup: "mkdir one two; printf '#!/bin/sh\\necho two\\n' > two/tool; chmod +x two/tool",
    spec: { env: { PATH: "one:two:/usr/bin:/bin" } },
    change: "printf '#!/bin/sh\\necho one\\n' > one/tool; chmod +x one/tool",
    object: /one\/tool/,
  },
  {
    name: "a child that fails",
    argv: sh("./step && echo done"),
    setup: "printf '#!/bin/sh\\nexit 0\\n' > step; chmod +x step",
    change: "sed -i s/0/3/ step",
    object: /step/,
  },
  {
    name: "a row in a database",
    argv: ["sqlite3", "t.db", "select * from t"],
    needs: ["sqlite3"],
    setup: "sqlite3 t.db 'create table t(a); insert into t values (1)'",
    change: "sqlite3 t.db 'insert into t values (2)'",
    object: /t\.db/,
  },
  {
    name: "a setting of git",
    argv: ["git", "config", "user.name"],
    needs: ["git"],
    setup: "git init -q .; git config user.name one",
    change: "git config user.name two",
    object: /\.git\/config/,
  },
  {
    name: "a module that shadows another",
    argv: ["python3", "main.py"],
    needs: ["python3"],
    setup: "echo 'import json; print(json.dumps(1))' > main.py",
    change: "echo 'def dumps(x): return 2' > json.py",
    object: /json\.py|work$|work\b/,
  },
  {
    name: "data at the far end of a pipe",
    argv: sh("cat data | sort | uniq -c | tail -1 > out"),
    setup: "seq 1 50 > data",
    change: "echo 99 >> data",
    object: /\bdata\b/,
  },
  {
    name: "another dependency of node",
    argv: ["node", "main.js"],
    needs: ["node"],
    setup: `mkdir -p node_modules/dep; echo '{"main":"a.js"}' > node_modules/dep/package.json; echo 'module.exports = 1' > node_modules/dep/a.js; echo 'module.exports = 2' > node_modules/dep/b.js; echo 'console.log(require("dep"))' > main.js`,
    change: `echo '{"main":"b.js"}' > node_modules/dep/package.json`,
    object: /package\.json/,
  },
  {
    name: "a missing temporary directory",
    argv: sh("mktemp"),
    setup: "mkdir tmp",
    spec: { env: { TMPDIR: "tmp" } },
    reset: "rm -f tmp/*",
    change: "rm -r tmp",
    object: /\/tmp\b/,
  },
];
