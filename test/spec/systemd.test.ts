/** Exported units, run by a systemd: the programs work, and what their specs do not grant is refused. */

import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lacking } from "../support/tools.js";
import { SpecPlace } from "./support.js";
import { lackingSystemd, Systemd } from "./systemd.js";

const TIMEOUT = { timeout: 120_000 };
const lackingIt = lackingSystemd();

/** Gives out a file; asked for `/others`, tries what no recording has shown, and tells how that went. */
const SERVER = `import http.server, os, pathlib, socket, subprocess, threading
def tried(name, attempt):
    try:
        attempt()
        return f"{name}: done\\n"
    except OSError as error:
        return f"{name}: {error.strerror or error}\\n"
def others():
    return "".join([
        tried("write", lambda: open("../outside", "w")),
        tried("run", lambda: subprocess.run(["id"])),
        tried("packet socket", lambda: socket.socket(socket.AF_PACKET)),
        tried("connect", lambda: socket.create_connection(("${Systemd.otherHost}", 9), timeout=1)),
        tried("device", lambda: os.mknod("device", 0o20600, os.makedev(1, 7))),
        tried("change root", lambda: os.chroot(".")),
    ]).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = others() if self.path == "/others" else pathlib.Path("words").read_bytes()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/stop":
            threading.Thread(target=self.server.shutdown).start()
    def log_message(self, *words): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
pathlib.Path("port").write_text(str(server.server_port))
server.serve_forever()
`;

/** Asks it for the paths that are given, once it serves. */
const CLIENT = `until [ -s port ]; do sleep 0.05; done
for path; do curl --silent --max-time 10 "http://127.0.0.1:$(cat port)/$path"; done; rm port`;

describe.skipIf(lackingIt !== undefined)(
  `units under systemd${lackingIt === undefined ? "" : ` (left out: ${lackingIt})`}`,
  TIMEOUT,
  () => {
    let place: SpecPlace;
    let systemd: Systemd;

    beforeAll(async () => {
      place = new SpecPlace({ words: "b\na\n" });
      const base = join(place.base, "systemd");
      mkdirSync(base);
      systemd = new Systemd(base);
      await systemd.started();
    });

    afterAll(async () => {
      await systemd.leave();
      place.leave();
    });

    /** Makes a unit of what was recorded last; `type` as of systemd.service(5). */
    function install(name: string, type: string, spec: string): void {
      const done = place.trace("spec", "export", "--to=systemd", "--force", "-o", "../unit", spec);
      expect(done.status, done.stderr).toBe(0);
      const environment = Object.entries(place.env).map(
        ([key, value]) => `Environment=${key}=${value}`,
      );
      const output = ["output", "error"].map(
        (stream) =>
          `Standard${stream === "output" ? "Output" : "Error"}=truncate:${place.base}/${name}.${stream}`,
      );
      const unit = readFileSync(join(place.base, "unit"), "utf8");
      systemd.unit(
        `${name}.service`,
        `${unit}Type=${type}\n${[...environment, ...output].join("\n")}\n`,
      );
      expect(systemd.systemctl("daemon-reload").status).toBe(0);
    }

    /** Starts a unit; of one that ends by itself, waits for its end. */
    function start(name: string) {
      systemd.systemctl("start", name);
      const shown = systemd.systemctl("show", "--property=Result", "--value", name).stdout;
      const said = (stream: string) => readFileSync(join(place.base, `${name}.${stream}`), "utf8");
      return { result: shown.trim(), output: said("output"), error: said("error") };
    }

    it("a shell pipeline", () => {
      const write = (more: string) =>
        writeFileSync(join(place.work, "job"), `sort words > out\ncat out\n${more}`);
      write("");
      install("pipeline", "oneshot", place.learn("sh", "job"));
      expect(start("pipeline")).toEqual({ result: "success", output: "a\nb\n", error: "" });
      // What stands beside the file that it writes can be written, as the report says. Nothing else can, and nothing else be run.
      write(
        `echo > new; for dir in .. /root /home /run /dev/shm; do echo > $dir/outside; done; ls; ./job; :`,
      );
      chmodSync(join(place.work, "job"), 0o755);
      const { output, error } = start("pipeline");
      expect(output).toBe("a\nb\n");
      expect(error.replace(/^job: \d+: /gm, "")).toBe(
        [
          ...["..", "/root", "/home", "/run", "/dev/shm"].map(
            (dir) => `cannot create ${dir}/outside: Read-only file system\n`,
          ),
          "ls: Permission denied\n",
          "./job: Permission denied\n",
        ].join(""),
      );
    });

    it.skipIf(lacking("gcc"))("a compiler and what it builds", () => {
      writeFileSync(
        join(place.work, "main.c"),
        '#include <stdio.h>\nint main(void) { return puts("built") < 0; }\n',
      );
      const write = (more: string) =>
        writeFileSync(
          join(place.work, "build"),
          `rm -f main\ngcc -o main main.c && ./main\n${more}`,
        );
      write("");
      install("build", "oneshot", place.learn("sh", "build"));
      // Whether or not what it builds is there before.
      const works = { result: "success", output: "built\n", error: "" };
      expect(start("build")).toEqual(works);
      expect(start("build")).toEqual(works);
      write("gcc -o ../main main.c; cpp main.c");
      expect(start("build").error).toMatch(/cannot open output file ..\/main: Read-only/);
    });

    it.skipIf(lacking("python3") || lacking("curl"))("a server", () => {
      writeFileSync(join(place.work, "server.py"), SERVER);
      const ask = spawn("sh", ["-c", CLIENT, "sh", "words", "stop"], {
        cwd: place.work,
        stdio: "ignore",
      });
      install("server", "exec", place.learn("python3", "server.py"));
      ask.kill("SIGKILL");
      expect(start("server").result).toBe("success");
      const answered = systemd.run(
        "sh",
        "-c",
        `cd ${place.work} && set -- words others stop && ${CLIENT}`,
      );
      expect(answered.stdout.split("\n")).toEqual([
        "b",
        "a",
        "write: Read-only file system",
        "run: Operation not permitted",
        "packet socket: Address family not supported by protocol",
        "connect: timed out",
        "device: Operation not permitted",
        "change root: Operation not permitted",
        "b",
        "a",
        "",
      ]);
    });
  },
);
