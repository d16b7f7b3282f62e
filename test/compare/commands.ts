/** The real programs that are compared, each with what its work directory needs. Data only. */

export interface Command {
  readonly name: string;
  readonly run: readonly string[];
  /** Shell script that fills the fresh work directory before each run; not traced. */
  readonly setup?: string;
  /** Programs that must be installed; default: the first word of `run`. */
  readonly needs?: readonly string[];
  /** Expected exit code, 0 if absent. */
  readonly exit?: number;
  /** The program prints times or ids. */
  readonly outputVaries?: boolean;
}

const OLD = "find . -exec touch -h -d '2024-01-02 03:04:05' {} +";
const TREE = `mkdir -p tree/a/b tree/c; i=0; while [ $i -lt 20 ]; do
  echo "line $i of a file" > tree/a/file$i; echo "needle $i" > tree/c/other$i.txt; i=$((i+1)); done
  ln -s ../a/file1 tree/c/link; ${OLD}`;
const WORDS =
  'i=0; while [ $i -lt 500 ]; do echo "$((i * 7919 % 1000)) word$i"; i=$((i+1)); done > words';
const HELLO_C = `printf '#include <stdio.h>\\nint main(void) { puts("hello"); return 0; }\\n' > hello.c
  ${OLD}`;
const REPOSITORY = `git init -q -b main .; git config user.name A; git config user.email a@example.org
  git config gc.auto 0; git config maintenance.auto false
  export GIT_AUTHOR_DATE='2024-01-02T03:04:05Z' GIT_COMMITTER_DATE='2024-01-02T03:04:05Z'
  for i in 1 2 3; do echo "text $i" > file$i; touch -d '2024-01-02' file$i
  git add file$i; git commit -q -m "commit $i"; done; echo more >> file1; touch -d '2024-01-03' file1`;
const PROJECT = `for i in 1 2 3; do echo "int f$i(int x) { return x * $i; }" > f$i.c; done
  printf 'int f1(int);\\nint main(void) { return f1(0); }\\n' > main.c
  printf 'app: main.o f1.o f2.o f3.o\\n\\tcc -o app main.o f1.o f2.o f3.o\\n' > Makefile; ${OLD}`;
const JAVA = `printf 'public class Hello { public static void main(String[] a) {
  System.out.println("hello"); } }\\n' > Hello.java; javac Hello.java`;
const GO = `printf 'package main\\nimport "fmt"\\nfunc main() { fmt.Println("hello") }\\n' > hello.go
  GOCACHE=$XDG_CACHE_HOME/../go GO111MODULE=off GOTOOLCHAIN=local go build -o hello hello.go`;

const shell = (name: string, script: string, setup?: string, shellName = "dash"): Command => ({
  name,
  run: [shellName, "-c", script],
  ...(setup === undefined ? {} : { setup }),
});

export const COMMANDS: readonly Command[] = [
  { name: "true", run: ["true"] },
  { name: "false", run: ["false"], exit: 1 },
  { name: "echo", run: ["/bin/echo", "some", "words"] },
  { name: "ls", run: ["ls", "-l", "tree/a"], setup: TREE },
  { name: "ls-recursive", run: ["ls", "-laR", "tree"], setup: TREE },
  { name: "cat", run: ["cat", "words", "words"], setup: WORDS },
  { name: "cp", run: ["cp", "-a", "tree", "copy"], setup: TREE },
  { name: "mv", run: ["mv", "tree/a", "tree/moved"], setup: TREE },
  { name: "rm", run: ["rm", "-rf", "tree"], setup: TREE },
  { name: "ln", run: ["ln", "-sf", "words", "link"], setup: WORDS },
  { name: "mkdir", run: ["mkdir", "-p", "one/two/three"] },
  { name: "chmod", run: ["chmod", "-R", "u+rwX,go-w", "tree"], setup: TREE },
  { name: "touch", run: ["touch", "-d", "2024-01-02", "new"] },
  { name: "stat", run: ["stat", "-c", "%n %s %f", "words"], setup: WORDS },
  { name: "du", run: ["du", "-a", "tree"], setup: TREE },
  { name: "wc", run: ["wc", "words"], setup: WORDS },
  { name: "head", run: ["head", "-n", "5", "words"], setup: WORDS },
  { name: "sort", run: ["sort", "--parallel=1", "-n", "words"], setup: WORDS },
  { name: "uniq", run: ["uniq", "-c", "words"], setup: WORDS },
  { name: "tr", run: ["cut", "-d", " ", "-f", "2", "words"], setup: WORDS },
  { name: "od", run: ["od", "-An", "-tx1", "words"], setup: WORDS },
  { name: "sha256sum", run: ["sha256sum", "words"], setup: WORDS },
  { name: "dd", run: ["dd", "if=words", "of=out", "bs=512", "status=none"], setup: WORDS },
  { name: "split", run: ["split", "-l", "100", "words", "part."], setup: WORDS },
  { name: "env", run: ["env", "-i", "A=1", "/usr/bin/env"] },
  { name: "timeout", run: ["timeout", "5", "true"] },
  { name: "find", run: ["find", "tree", "-name", "*.txt", "-size", "-2"], setup: TREE },
  {
    name: "find-exec",
    run: ["find", "tree", "-type", "f", "-exec", "cat", "{}", "+"],
    setup: TREE,
  },
  { name: "grep", run: ["grep", "-rn", "needle 1", "tree"], setup: TREE },
  { name: "sed", run: ["sed", "-i", "s/word/WORD/", "words"], setup: WORDS },
  { name: "awk", run: ["awk", "{ s += $1 } END { print s }", "words"], setup: WORDS },
  {
    name: "diff",
    run: ["diff", "-u", "words", "other"],
    exit: 1,
    setup: `${WORDS}; echo x > other; ${OLD}`,
  },
  { name: "xargs", run: ["xargs", "-a", "words", "-n", "500", "echo"], setup: WORDS },
  { name: "tar-create", run: ["tar", "--sort=name", "-cf", "out.tar", "tree"], setup: TREE },
  {
    name: "tar-extract",
    run: ["tar", "-xf", "t.tar"],
    setup: `${TREE}; tar -cf t.tar tree; rm -r tree`,
  },
  { name: "gzip", run: ["gzip", "-kn", "words"], setup: WORDS },
  { name: "bzip2", run: ["bzip2", "-k", "words"], setup: WORDS },
  { name: "xz", run: ["xz", "-k", "-T1", "words"], setup: WORDS },
  { name: "zstd", run: ["zstd", "-q", "--single-thread", "words"], setup: WORDS },
  { name: "openssl-dgst", run: ["openssl", "dgst", "-sha512", "words"], setup: WORDS },
  { name: "curl-file", run: ["curl", "-s", "file:///proc/sys/kernel/ostype"] },
  { name: "bc", run: ["bc", "-q", "sum"], setup: "printf '2^200\\nquit\\n' > sum" },
  shell("dash-loop", "for i in 1 2 3 4 5; do /bin/echo $i; done"),
  shell("dash-pipe", "cat words | sort -n | tail -n 3 | wc -l", WORDS),
  shell(
    "dash-subshell",
    'x=$(cat words | wc -l); (cd / && pwd); echo "$x" > out; test -s out',
    WORDS,
  ),
  shell("dash-background", "sleep 0.05 & wait $!; kill -0 $$; exec /bin/true"),
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell expands it
  shell("bash-script", 'declare -A m; m[a]=1; for k in "${!m[@]}"; do echo "$k"; done', "", "bash"),
  shell("bash-process-substitution", "diff <(sort words) <(sort words)", WORDS, "bash"),
  shell("bash-pipe", "set -o pipefail; seq 100 | grep 5 | tail -n 2", "", "bash"),
  { name: "busybox-static", run: ["busybox", "ls", "-l", "tree/a"], setup: TREE },
  {
    name: "busybox-sh",
    run: ["busybox", "sh", "-c", "busybox cat words | busybox wc -l"],
    setup: WORDS,
  },
  { name: "git-status", run: ["git", "status", "--short"], setup: REPOSITORY },
  { name: "git-log", run: ["git", "--no-pager", "log", "--stat"], setup: REPOSITORY },
  { name: "git-diff", run: ["git", "--no-pager", "diff"], setup: REPOSITORY },
  {
    name: "git-commit",
    run: ["git", "commit", "-q", "-a", "-m", "last", "--date=2024-01-05T00:00:00Z"],
    setup: REPOSITORY,
  },
  { name: "git-init", run: ["git", "init", "-q", "-b", "main", "new"] },
  { name: "gcc-compile", run: ["gcc", "-O2", "-c", "hello.c", "-o", "hello.o"], setup: HELLO_C },
  { name: "gcc-link", run: ["gcc", "hello.o", "-o", "hello"], setup: `${HELLO_C}; gcc -c hello.c` },
  {
    name: "cpp",
    run: ["gcc", "-E", "-P", "hello.c", "-o", "hello.i"],
    needs: ["gcc"],
    setup: HELLO_C,
  },
  { name: "make", run: ["make", "-j1"], needs: ["make", "cc"], setup: PROJECT },
  {
    name: "ar",
    run: ["ar", "rcsD", "lib.a", "hello.o"],
    needs: ["ar", "gcc"],
    setup: `${HELLO_C}; gcc -c hello.c`,
  },
  {
    name: "readelf",
    run: ["readelf", "-h", "-S", "hello.o"],
    needs: ["readelf", "gcc"],
    setup: `${HELLO_C}; gcc -c hello.c`,
  },
  { name: "python", run: ["python3", "-S", "-c", "print(sum(range(1000)))"] },
  {
    name: "python-json",
    run: ["python3", "-m", "json.tool", "in.json"],
    setup: `echo '{"a": [1, 2]}' > in.json`,
  },
  {
    name: "python-compileall",
    run: ["python3", "-m", "compileall", "-q", "code"],
    setup: `mkdir code; echo 'x = 1' > code/one.py; echo 'def f(): pass' > code/two.py; ${OLD}`,
  },
  {
    name: "python-subprocess",
    run: [
      "python3",
      "-c",
      "import subprocess; print(subprocess.run(['/bin/echo', 'x'], capture_output=True).stdout)",
    ],
  },
  {
    name: "perl",
    run: ["perl", "-ne", "$s += $1 if /^(\\d+)/; END { print $s }", "words"],
    setup: WORDS,
  },
  {
    name: "sqlite3",
    run: [
      "sqlite3",
      "db",
      "create table t(a); insert into t values (1),(2); select sum(a) from t;",
    ],
  },
  {
    name: "node",
    run: ["node", "-e", "console.log(require('fs').readFileSync('words').length)"],
    setup: WORDS,
  },
  { name: "java-version", run: ["java", "-Xshare:auto", "-XX:-UsePerfData", "-version"] },
  {
    name: "java-hello",
    run: ["java", "-XX:-UsePerfData", "-XX:+UseSerialGC", "-cp", ".", "Hello"],
    needs: ["java", "javac"],
    setup: JAVA,
  },
  { name: "go-version", run: ["go", "version"] },
  { name: "go-hello", run: ["./hello"], needs: ["go"], setup: GO },
  { name: "gdb-version", run: ["gdb", "-nx", "--version"] },
  {
    name: "musl-static",
    run: ["./hello"],
    needs: ["musl-gcc"],
    setup: `${HELLO_C}; musl-gcc -static hello.c -o hello`,
  },
  {
    name: "glibc-static",
    run: ["./hello"],
    needs: ["gcc"],
    setup: `${HELLO_C}; gcc -static hello.c -o hello`,
  },
  {
    name: "i386-static",
    run: ["./hello"],
    needs: ["gcc"],
    setup: `${HELLO_C}; gcc -m32 -static hello.c -o hello`,
  },
];
