/**
 * Real programs whose output is the same in every run: what `npm run spec:table` makes specs of and enforces them on. Each
 * is a shell script that runs in a directory of its own, with its own home; `setup` makes files before, unrecorded.
 */

export interface RealProgram {
  readonly name: string;
  readonly needs: readonly string[];
  readonly script: string;
  readonly setup?: string;
  readonly files?: Readonly<Record<string, string>>;
}

const SERVER = `import http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
print(server.server_port, flush=True)
server.serve_forever()
`;

const MAKEFILE = `app: main.o one.o two.o
\tgcc -o app main.o one.o two.o
%.o: %.c
\tgcc -c $<
`;

const GO = `package main
import ("fmt"; "io"; "net"; "net/http"; "os")
func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil { fmt.Println(err); os.Exit(1) }
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.URL.Path) })
	go http.Serve(listener, nil)
	answer, err := http.Get("http://" + listener.Addr().String() + "/you")
	if err != nil { fmt.Println(err); os.Exit(1) }
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(string(text))
}
`;

const RUST = `use std::{fs, thread};
fn main() {
    let parts: Vec<_> = (0..4u64).map(|k| thread::spawn(move || (k * 1000..(k + 1) * 1000).sum::<u64>())).collect();
    let sum: u64 = parts.into_iter().map(|part| part.join().unwrap()).sum();
    fs::write("sum", sum.to_string()).unwrap();
    println!("{}", fs::read_to_string("sum").unwrap());
}
`;

const JAVA = `import java.nio.file.*;
import java.util.stream.*;
public class Main {
  public static void main(String[] args) throws Exception {
    Path path = Path.of("numbers");
    Files.write(path, IntStream.range(0, 1000).mapToObj(Integer::toString).toList());
    System.out.println(Files.readAllLines(path).parallelStream().mapToInt(Integer::parseInt).sum());
  }
}
`;

const NODE_SERVER = `const http = require("node:http");
const { parse } = require("yaml");
const server = http.createServer((request, response) => response.end(JSON.stringify(parse("a: [1, 2, three]"))));
server.listen(0, "127.0.0.1", () => {
  http.get({ port: server.address().port, agent: false }, (response) => {
    response.on("data", (part) => console.log(String(part)));
    response.on("end", () => server.close());
  });
});
`;

const NGINX = `pid nginx.pid; error_log error.log; daemon off; worker_processes 2; user root;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server { listen unix:socket; location / { root html; } }
}
`;

export const PROGRAMS: readonly RealProgram[] = [
  { name: "cat", needs: ["cat"], script: "cat words", files: { words: "some words\nof text\n" } },
  {
    name: "shell pipeline",
    needs: ["grep", "sort", "head"],
    script: "seq 1 1000 | grep 7 | sort -rn | head -n 5 | tr '\\n' ' '; echo $((1 + 2))",
  },
  {
    name: "gcc",
    needs: ["gcc"],
    script: "gcc -O2 -o hello hello.c && ./hello",
    files: { "hello.c": '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n' },
  },
  {
    name: "g++",
    needs: ["g++"],
    script: "g++ -o words words.cpp && ./words",
    files: {
      "words.cpp":
        '#include <iostream>\n#include <map>\n#include <string>\nint main() { std::map<std::string, int> m{{"a", 1}, {"b", 2}}; for (auto& [k, v] : m) std::cout << k << v << "\\n"; }\n',
    },
  },
  {
    name: "make",
    needs: ["make", "gcc"],
    script: "make -s && ./app",
    files: {
      Makefile: MAKEFILE,
      "main.c":
        '#include <stdio.h>\nint one(void); int two(void);\nint main(void) { printf("%d\\n", one() + two()); return 0; }\n',
      "one.c": "int one(void) { return 1; }\n",
      "two.c": "int two(void) { return 2; }\n",
    },
  },
  {
    name: "make -j and a job server",
    needs: ["make", "gcc"],
    script: "make -s -j2 && cat below/both",
    files: {
      Makefile: "all: one.o two.o three.o sub\nsub:\n\t+$(MAKE) -C below\n.PHONY: sub\n",
      "below.mk": "both: a b\n\tcat a b > both\na b:\n\techo $@ > $@\n",
      "one.c": "int one(void) { return 1; }\n",
      "two.c": "int two(void) { return 2; }\n",
      "three.c": "int three(void) { return 3; }\n",
    },
    setup: "mkdir below; mv below.mk below/Makefile",
  },
  {
    name: "cargo build",
    needs: ["cargo"],
    script: "cargo build -q --offline && ./target/debug/app",
    files: {
      "Cargo.toml":
        '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n[[bin]]\nname = "app"\npath = "main.rs"\n',
      "main.rs": RUST,
    },
  },
  {
    name: "git commit",
    needs: ["git"],
    setup:
      "git init -q repo; cd repo; git config user.name a; git config user.email a@b; echo 1 > file; git add file",
    script: "cd repo && git commit -qm one && git log --format='%an %s' && git status --short",
  },
  {
    name: "tar",
    needs: ["tar", "gzip"],
    setup: "mkdir in; seq 1 2000 > in/a; seq 1 500 > in/b",
    script:
      "tar czf all.tgz in && mkdir out && tar xzf all.tgz -C out && cat out/in/a out/in/b | md5sum && tar tzf all.tgz | sort",
  },
  {
    name: "ssh-keygen",
    needs: ["ssh-keygen"],
    script:
      "ssh-keygen -q -t ed25519 -N '' -C me -f key && ssh-keygen -y -f key | wc -w && ls key*",
  },
  {
    name: "curl and a python server",
    needs: ["curl", "python3"],
    setup: "seq 1 5000 > numbers",
    files: { "server.py": SERVER },
    script:
      'python3 server.py > port & until [ -s port ]; do sleep 0.02; done; curl -s "http://127.0.0.1:$(cat port)/numbers" | md5sum; kill $!; wait $! 2>/dev/null; echo done',
  },
  {
    name: "python web server",
    needs: ["python3"],
    files: {
      "both.py":
        'import http.server, threading, urllib.request\nclass H(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200); self.end_headers(); self.wfile.write(b"hello")\n    def log_message(self, *a): pass\ns = http.server.HTTPServer(("127.0.0.1", 0), H)\nthreading.Thread(target=s.serve_forever, daemon=True).start()\nprint(urllib.request.urlopen("http://127.0.0.1:%d/" % s.server_port).read())\ns.shutdown()\n',
    },
    script: "exec python3 both.py",
  },
  {
    name: "python processes",
    needs: ["python3"],
    files: {
      "pool.py":
        'import multiprocessing, subprocess\nif __name__ == "__main__":\n    pool = multiprocessing.Pool(2); print(sum(pool.map(abs, range(-100, 0)))); pool.close(); pool.join()\n    print(subprocess.run(["wc", "-c"], input=b"12345", capture_output=True).stdout)\n',
    },
    script: "exec python3 pool.py",
  },
  {
    name: "node http and an npm package",
    needs: ["node"],
    setup: 'mkdir node_modules; cp -r "$NODE_PACKAGES/yaml" node_modules/',
    files: { "server.cjs": NODE_SERVER },
    script: "exec node server.cjs",
  },
  {
    name: "redis",
    needs: ["redis-server", "redis-cli"],
    script:
      'redis-server --port 0 --unixsocket "$PWD/s" --save "" --dir "$PWD" > log & until redis-cli -s "$PWD/s" ping 2> /dev/null | grep -q PONG; do sleep 0.02; done; redis-cli -s "$PWD/s" set key value; redis-cli -s "$PWD/s" get key; redis-cli -s "$PWD/s" shutdown nosave; wait; echo $?',
  },
  {
    name: "nginx and curl",
    needs: ["nginx", "curl"],
    setup: "mkdir html; seq 1 5000 > html/numbers",
    files: { "nginx.conf": NGINX },
    script:
      'nginx -p "$PWD" -c nginx.conf -e error.log & until [ -S socket ] && curl -s --unix-socket socket http://x/numbers -o copy; do sleep 0.02; done; md5sum copy; kill -QUIT "$(cat nginx.pid)"; wait; echo done',
  },
  {
    name: "sqlite",
    needs: ["sqlite3"],
    script:
      'sqlite3 db "create table t(a, b); begin; insert into t values (1, 2), (3, 4); commit; select sum(a), max(b) from t; pragma integrity_check;"',
  },
  {
    name: "openssl s_server and s_client",
    needs: ["openssl"],
    setup:
      "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=localhost 2> /dev/null",
    script:
      'openssl s_server -unix socket -cert cert.pem -key key.pem -quiet -naccept 1 -rev > log 2>&1 & until [ -s out ]; do sleep 0.02; { echo "some text"; sleep 1; } | openssl s_client -unix socket -CAfile cert.pem -quiet -no_ign_eof > out 2> /dev/null; done; cat out; wait; echo done',
  },
  {
    name: "openssl digest and cipher",
    needs: ["openssl"],
    files: { text: "text\n" },
    script:
      "openssl dgst -sha256 text; openssl enc -aes-128-cbc -K 00112233445566778899aabbccddeeff -iv 00 -in text -out enc 2> /dev/null; openssl enc -d -aes-128-cbc -K 00112233445566778899aabbccddeeff -iv 00 -in enc 2> /dev/null",
  },
  {
    name: "go http",
    needs: ["go"],
    files: { "main.go": GO },
    setup: "go build -o app main.go",
    script: "exec ./app",
  },
  {
    name: "rust threads",
    needs: ["rustc"],
    files: { "main.rs": RUST },
    setup: "rustc -O -o app main.rs",
    script: "exec ./app",
  },
  {
    name: "java streams",
    needs: ["java", "javac"],
    files: { "Main.java": JAVA },
    setup: "javac Main.java",
    script: "exec java -Xshare:auto -cp . Main",
  },
  {
    name: "perl",
    needs: ["perl"],
    script:
      'perl -MFile::Temp=tempfile -e \'my ($f, $n) = tempfile(UNLINK => 1); print $f "x" x 10; close $f; print -s $n, "\\n"; print `echo sub`\'',
  },
  {
    name: "ruby",
    needs: ["ruby"],
    script:
      'ruby -rjson -e \'puts JSON.generate({a: [1, 2]}); File.write("f", "x"); puts File.size("f")\'',
  },
  {
    name: "awk and sed",
    needs: ["awk", "sed"],
    script: "seq 1 100 | awk '{ s += $1 } END { print s }'; echo abc > f; sed -i s/b/x/ f; cat f",
  },
  {
    name: "find and xargs",
    needs: ["find", "xargs"],
    setup: "mkdir -p d/e/f; touch d/1 d/e/2 d/e/f/3",
    script: "find d -type f | sort | xargs -n 1 basename",
  },
  {
    name: "compression",
    needs: ["gzip", "bzip2", "xz"],
    setup: "seq 1 3000 > n",
    script:
      "gzip -k n; bzip2 -k n; xz -k n; zcat n.gz | md5sum; bzcat n.bz2 | md5sum; xzcat n.xz | md5sum",
  },
  {
    name: "rsync",
    needs: ["rsync"],
    setup: "mkdir -p a/b; seq 1 100 > a/x; seq 1 50 > a/b/y",
    script: "rsync -r a/ c/ && cat c/x c/b/y | md5sum",
  },
  {
    name: "bc and tclsh",
    needs: ["bc", "tclsh"],
    script: 'echo "2^100" | bc; echo "puts [expr {6 * 7}]" | tclsh',
  },
  {
    name: "diff and cp",
    needs: ["diff", "cp"],
    files: { a: "1\n2\n", b: "1\n3\n" },
    script: "diff a b; cp a c; mv c d; ln d e; ln -s e f; cat f; rm d e f; ls",
  },
  {
    name: "busybox",
    needs: ["busybox"],
    files: { a: "x y\n" },
    script:
      "busybox wc -w < a; busybox cat a | busybox rev; busybox mkdir t; busybox rmdir t; echo $?",
  },
  {
    name: "bash",
    needs: ["bash"],
    script:
      "exec bash -c 'set -- 3 1 2; for i; do echo $i; done | sort; printf %s\\\\n {x,y}; cat <<< here; read -r l < <(echo sub); echo $l'",
  },
  {
    name: "python udp and unix sockets",
    needs: ["python3"],
    files: {
      "net.py":
        'import socket, os\na = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(("127.0.0.1", 0))\nb = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.sendto(b"ping", a.getsockname()); print(a.recv(10))\ns = socket.socket(socket.AF_UNIX); s.bind("s"); s.listen(1)\nc = socket.socket(socket.AF_UNIX); c.connect("s"); d, _ = s.accept(); c.send(b"hi"); print(d.recv(5)); os.unlink("s")\n',
    },
    script: "exec python3 net.py",
  },
  {
    name: "restic",
    needs: ["restic"],
    files: { a: "one\n", b: "two\n" },
    setup: "mkdir data; mv a b data; printf x > key; restic -q -r repo -p key init",
    script:
      "restic -q -r repo -p key backup data; restic -q -r repo -p key check; restic -q -r repo -p key restore latest --target out; cat out/data/a out/data/b",
  },
  {
    name: "borg",
    needs: ["borg"],
    files: { a: "one\n", b: "two\n" },
    script:
      "export BORG_BASE_DIR=$PWD/state BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes; borg init -e none repo; borg create repo::first a b; mkdir out; cd out; borg extract ../repo::first; cat a b; borg list --short ../repo",
  },
  {
    name: "emacs --batch",
    needs: ["emacs"],
    files: { a: "b\na\nc\n" },
    script:
      "exec emacs --batch -Q a --eval '(progn (sort-lines nil (point-min) (point-max)) (write-file \"sorted\") (princ (buffer-string)))' 2> /dev/null",
  },
  {
    name: "cmake and ninja",
    needs: ["cmake", "ninja", "gcc"],
    files: {
      "CMakeLists.txt":
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\nadd_library(one STATIC one.c)\nadd_executable(app main.c)\ntarget_link_libraries(app one)\n",
      "one.c": "int one(void) { return 1; }\n",
      "main.c": '#include <stdio.h>\nint one(void);\nint main(void) { printf("%d\\n", one()); }\n',
    },
    script: "cmake -G Ninja -S . -B build > /dev/null && ninja -C build > /dev/null && ./build/app",
  },
  {
    name: "gpg",
    needs: ["gpg", "gpgconf"],
    files: { a: "text\n" },
    script:
      'mkdir -m 700 keys; export GNUPGHOME="$PWD/keys"; gpg -q --batch --passphrase "" --quick-generate-key me@example.org ed25519 sign never 2> /dev/null; gpg -q --batch -s -o a.gpg a; gpg -q --batch -d a.gpg 2> /dev/null; gpgconf --kill all; echo done',
  },
  {
    name: "sftp and rsync",
    needs: ["sftp", "rsync", "md5sum"],
    files: { a: "text\n" },
    script:
      "printf 'put a b\\nmkdir d\\nrename b d/c\\nls d\\n' | sftp -q -b - -D /usr/lib/openssh/sftp-server | grep -v ^sftp; rsync -a d/ e; rsync -a --delete --checksum a e/; find e -type f | sort | xargs md5sum",
  },
  {
    name: "unbound",
    needs: ["unbound", "dig"],
    files: {
      "unbound.conf":
        'server:\n  interface: 127.0.0.1\n  port: 5399\n  chroot: ""\n  username: ""\n  directory: "."\n  pidfile: "unbound.pid"\n  use-syslog: no\n  logfile: "log"\n  do-daemonize: no\n  num-threads: 2\n  local-zone: "test." static\n  local-data: "host.test. A 192.0.2.7"\nremote-control:\n  control-enable: no\n',
    },
    script:
      "unbound -c unbound.conf & until dig +short +time=1 +tries=1 -p 5399 @127.0.0.1 host.test | grep '^[0-9]'; do sleep 0.05; done; kill $!; wait $!; echo done",
  },
  {
    name: "haproxy and a python server",
    needs: ["haproxy", "curl", "python3"],
    files: {
      "server.py": SERVER,
      numbers: "1\n2\n3\n",
      "haproxy.cfg":
        // biome-ignore lint/suspicious/noTemplateCurlyInString: haproxy replaces it.
        "global\n  nbthread 2\n  stats socket unix@admin\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\nfrontend in\n  bind unix@front\n  default_backend out\nbackend out\n  server one 127.0.0.1:${BACK}\n",
    },
    script:
      "python3 server.py > port & server=$!; until [ -s port ]; do sleep 0.02; done; BACK=$(cat port) haproxy -db -f haproxy.cfg 2> log & until [ -S front ] && curl -s --unix-socket front http://x/numbers -o copy; do sleep 0.02; done; cat copy; kill $! $server; wait 2> /dev/null; echo done",
  },
  {
    name: "mosquitto",
    needs: ["mosquitto", "mosquitto_pub"],
    files: {
      "mosquitto.conf":
        "listener 18993 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location ./\nlog_dest none\nuser root\n",
    },
    script:
      "mosquitto -c mosquitto.conf & until mosquitto_pub -p 18993 -t t -m hello -r 2> /dev/null; do sleep 0.05; done; mosquitto_sub -p 18993 -t t -C 1; kill $!; wait $!; ls *.db",
  },
  {
    name: "openmpi",
    needs: ["mpirun", "hostname"],
    script:
      "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; mpirun --oversubscribe -n 3 sh -c 'echo $OMPI_COMM_WORLD_RANK' | sort",
  },
  {
    name: "git gc",
    needs: ["git"],
    files: { a: "one\n" },
    setup:
      "git init -q .; git config user.email a@b.c; git config user.name n; for n in 1 2 3; do echo $n >> a; git add a; git commit -qm $n; done; git branch other HEAD~1",
    script:
      "git gc -q --prune=now; git fsck --no-progress; git log --format=%s --all; ls .git/objects/pack | wc -l",
  },
  {
    name: "typescript compiler",
    needs: ["node"],
    files: {
      "a.ts": "export const twice = (n: number): number => 2 * n;\nconsole.log(twice(21));\n",
    },
    script: 'node "$NODE_PACKAGES/typescript/bin/tsc" --module commonjs a.ts && node a.js',
  },
  {
    name: "ripgrep",
    needs: ["rg"],
    setup: "mkdir -p d/e; seq 1 3000 > d/a; seq 1 500 > d/e/b; echo d/a > .ignore",
    script: "rg -c --sort path 7; rg --no-ignore --sort path -n '^77' d; rg --files | sort",
  },
  {
    name: "imagemagick",
    needs: ["convert", "identify"],
    script:
      "convert -size 64x64 gradient:red-blue -resize 50% a.png && identify a.png && convert a.png -rotate 90 rgb:- | md5sum",
  },
  {
    name: "ghostscript",
    needs: ["gs"],
    files: {
      "a.ps": "%!PS\n/Helvetica findfont 40 scalefont setfont 20 20 moveto (text) show showpage\n",
    },
    script:
      "gs -q -dBATCH -dNOPAUSE -sDEVICE=pbmraw -r36 -sOutputFile=a.pbm a.ps && md5sum a.pbm && gs -q -dBATCH -dNOPAUSE -sDEVICE=pdfwrite -sOutputFile=a.pdf a.ps && gs -q -dBATCH -dNOPAUSE -sDEVICE=txtwrite -sOutputFile=- a.pdf",
  },
  {
    name: "tesseract",
    needs: ["gs", "tesseract"],
    files: {
      "a.ps": "%!PS\n/Helvetica findfont 40 scalefont setfont 20 20 moveto (HELLO) show showpage\n",
    },
    setup:
      "gs -q -dBATCH -dNOPAUSE -sDEVICE=pnggray -r100 -dDEVICEWIDTHPOINTS=200 -dDEVICEHEIGHTPOINTS=80 -sOutputFile=a.png a.ps",
    script: "tesseract a.png - 2> /dev/null",
  },
  {
    name: "php web server",
    needs: ["php", "curl"],
    files: {
      "index.php":
        "<?php session_save_path(__DIR__); session_start(); echo strtoupper($_GET['a']), \"\\n\";",
    },
    script:
      'php -S 127.0.0.1:0 2> log & until port=$(sed -n \'s/.*127.0.0.1:\\([0-9]*\\)) started.*/\\1/p\' log) && [ -n "$port" ]; do sleep 0.02; done; curl -s "http://127.0.0.1:$port/?a=hello"; kill $!; wait $!; echo $?',
  },
  {
    name: "ffmpeg",
    needs: ["ffmpeg"],
    script:
      "ffmpeg -v error -f lavfi -i testsrc=d=1:s=64x64:r=5 -c:v mpeg4 -bitexact a.avi && ffmpeg -v error -i a.avi -f framemd5 -bitexact -",
  },
  {
    name: "latex",
    needs: ["pdflatex"],
    files: {
      "a.tex":
        "\\documentclass{article}\\begin{document}\\section{One}\\label{o} See \\ref{o}. $x^2$\\end{document}\n",
    },
    script:
      "export SOURCE_DATE_EPOCH=0 FORCE_SOURCE_DATE=1; pdflatex -interaction=batchmode a > /dev/null; pdflatex -interaction=batchmode a > /dev/null; grep -c Output a.log; cat a.aux",
  },
  {
    name: "sphinx",
    needs: ["sphinx-build"],
    files: {
      "conf.py": "project = 'p'\n",
      "index.rst": "Title\n=====\n\nSome *text*.\n\n.. code-block:: python\n\n   print(1)\n",
    },
    script: "sphinx-build -q -b html . out && grep -c print out/index.html && ls out",
  },
  {
    name: "gunicorn",
    needs: ["gunicorn", "curl"],
    files: {
      "app.py":
        "def app(environ, start):\n    start('200 OK', [])\n    return [environ['PATH_INFO'].encode() + b'\\n']\n",
    },
    script:
      "gunicorn -w 2 -b unix:$PWD/sock app:app 2> log & until [ -S sock ] && curl -s --unix-socket sock http://x/one; do sleep 0.05; done; for n in 1 2 3 4; do curl -s --unix-socket sock http://x/$n; done; kill $!; wait $!; echo $?",
  },
  {
    name: "cargo test",
    needs: ["cargo"],
    files: {
      "Cargo.toml":
        '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n',
      "lib.rs":
        'pub fn two() -> u32 { 2 }\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn is_two() { std::fs::write(std::env::temp_dir().join("x"), b"x").unwrap(); assert_eq!(super::two(), 2); }\n    #[test]\n    fn threads() { assert_eq!(std::thread::spawn(super::two).join().unwrap(), 2); }\n}\n',
    },
    script: "cargo test -q --offline 2> /dev/null | sed 's/finished in .*//'",
  },
];
