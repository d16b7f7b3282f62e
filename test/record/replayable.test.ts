/** What traps in loaders, and what only a recording that can be replayed does: the content of small files. */

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  cli,
  compile,
  environment,
  folder,
  makeFolder,
  readWhole,
  record,
  recordAndReplay,
  run,
  stateOf,
} from "./support.js";

/** How many instructions were answered in each process. */
async function traps(file: string): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (const event of (await readWhole(file)).events) {
    const count = counts.get(event.process) ?? 0;
    counts.set(event.process, count + (event.kind === "Trap" ? 1 : 0));
  }
  return counts;
}

describe("time stamps that the loader reads", () => {
  it("trap in the first program, and not in those that follow", async () => {
    const { file } = await record(["sh", "-c", "/bin/true; /bin/true; :"]);
    const [first = 0, ...later] = [...(await traps(file)).values()];
    expect(first).toBeGreaterThan(0);
    expect(later).toEqual([0, 0]);
  });

  it("trap where they are to be shown", async () => {
    const { file, stdout } = await record(["sh", "-c", "LD_DEBUG=statistics /bin/true 2>&1; :"]);
    expect(stdout).toContain("total startup time");
    const [, shown] = [...(await traps(file)).values()];
    expect(shown).toBeGreaterThan(0);
  });
});

describe("what the loader asks of the processor", () => {
  const names = ["LEVEL1_DCACHE_SIZE", "LEVEL2_CACHE_SIZE", "LEVEL3_CACHE_SIZE"];
  // The first programs trap, the later ones find the answers in a table.
  const script = Array.from({ length: 8 }, () => names.map((name) => `getconf ${name};`).join(""));
  for (const mode of [["--observe"], []]) {
    it(`is answered the same each time, with ${mode[0] ?? "no option"}`, async () => {
      const own = execFileSync("sh", ["-c", script[0] ?? ""], { encoding: "utf8" });
      expect(own).toMatch(/[1-9]/);
      const { file, stdout } = await record(["sh", "-c", script.join("")], { options: mode });
      expect(stdout).toBe(own.repeat(script.length));
      if (mode.length > 0) return;
      const env = stateOf(dirname(file));
      expect(await run([cli, "replay", file], { env })).toMatchObject({ code: 0, stdout });
    });
  }
});

it("without a place for programs, says once why no replay is possible, and what helps", async () => {
  const dir = folder();
  // With so long a name there is no place beside the trace either.
  const [file, place] = [join(dir, `${"o".repeat(244)}.trace`), join(dir, "file")];
  writeFileSync(place, "");
  const env = { ...stateOf(dir), XDG_CACHE_HOME: place };
  const { code, stderr } = await run([cli, "record", "-v", "-o", file, "ls", "/"], { env });
  expect(code).toBe(0);
  const why = `mapped files could not be kept: cannot write to the object store ${place}/trace/objects: Not a directory`;
  expect(stderr).toContain(
    `note: the trace cannot be replayed, since ${why}; XDG_CACHE_HOME can name another place\n`,
  );
  const replayed = await run([cli, "replay", file], { env });
  expect(replayed.code).toBe(125);
  expect(replayed.stderr.split("\n")[0]).toBe(`trace: the recording cannot be replayed: ${why}`);
});

describe("where the object store cannot be written", () => {
  const program = ["sh", "-c", "ls -d / && exit 3"];

  it("programs are in the trace itself, and nothing is left beside it", async () => {
    const dir = folder();
    const [file, place, kept] = [
      join(dir, "out.trace"),
      join(dir, "file"),
      makeFolder(join(dir, "kept"), 0o755),
    ];
    writeFileSync(place, "");
    const env = { ...stateOf(dir), XDG_CACHE_HOME: place };
    const { code, stderr } = await run([cli, "record", "-o", file, ...program], { env });
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: `trace: note: mapped files are in the trace itself: cannot write to the object store ${place}/trace/objects: Not a directory; XDG_CACHE_HOME can name another place for them\n`,
    });
    expect(readdirSync(dir).sort()).toEqual(["file", "kept", "out.trace", "state"]);
    const replayed = await run([cli, "replay", file], { env: { ...env, XDG_CACHE_HOME: kept } });
    expect(replayed).toMatchObject({ code: 3, stdout: "/\n", stderr: "" });
    expect((await readWhole(file)).trace.info.facts.get("unreplayable")).toBe("");
  });

  it("they are there when the recorder is killed, too", async () => {
    const dir = folder();
    const [file, place] = [join(dir, "out.trace"), join(dir, "file")];
    writeFileSync(place, "");
    const env = { ...stateOf(dir), XDG_CACHE_HOME: place };
    const words = [cli, "record", "-q", "-o", file, "sh", "-c", "ls -d /; sleep 2; kill -9 $PPID"];
    expect((await run(words, { env })).signal).toBe("SIGKILL");
    const replayed = await run([cli, "replay", file], { env: stateOf(dir) });
    expect(replayed.stderr).toMatch(/^trace: \S+ is cut \(.*\)/);
    expect(replayed).toMatchObject({ code: 0, stdout: "/\n" });
  });
});

describe("calls that no replay could answer", () => {
  const asks = (number: number) =>
    `import ctypes; libc = ctypes.CDLL(None, use_errno=True); libc.syscall(${number}, 0, 0); print(ctypes.get_errno())`;
  const ENOSYS = "38\n";

  it("are refused, and a note says so", async () => {
    const IO_URING_SETUP = 425;
    const { file, stdout } = await record(["python3", "-c", asks(IO_URING_SETUP)]);
    expect(stdout).toBe(ENOSYS);
    const { notes } = (await readWhole(file)).trace.info;
    expect(notes.join()).toMatch(/^io_uring_setup was refused.*--observe/);
  });

  it("are not refused where there is to be no replay", async () => {
    const IO_SETUP = 206;
    const options = { options: ["--observe"] };
    const { file, stdout } = await record(["python3", "-c", asks(IO_SETUP)], options);
    expect(stdout).not.toBe(ENOSYS);
    expect((await readWhole(file)).trace.info.notes).toEqual([]);
  });

  it("are not worth a note when every libc asks for them", async () => {
    const RSEQ = 334;
    const { file, stdout } = await record(["python3", "-c", asks(RSEQ)]);
    expect(stdout).toBe(ENOSYS);
    expect((await readWhole(file)).trace.info.notes).toEqual([]);
  });
});

describe("small files that are mapped", () => {
  it("are in the trace and not in the object store", async () => {
    const [dir, cache] = [folder(), folder()];
    const env = {
      ...environment,
      XDG_CACHE_HOME: cache,
      GIT_CONFIG_GLOBAL: "/dev/null",
      XDG_STATE_HOME: dir,
    };
    const author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
    const git = (...words: string[]): string =>
      execFileSync("git", words, { cwd: dir, env, encoding: "utf8" });
    git("init", "-q", ".");
    writeFileSync(join(dir, "a.txt"), "some content\n");
    git("add", "a.txt");
    git(...author, "commit", "-q", "-m", "first");
    const loose = files(join(dir, ".git/objects")).map((file) => readFileSync(file, "latin1"));
    expect(loose.length).toBeGreaterThan(2);
    const shown = git("cat-file", "-p", "HEAD");
    const { file, stdout } = await record(["git", "cat-file", "-p", "HEAD"], { cwd: dir, env });
    expect(stdout).toBe(shown);
    const kept = files(join(cache, "trace/objects")).filter((path) => statSync(path).size < 4096);
    for (const path of kept) expect(loose).not.toContain(readFileSync(path, "latin1"));
    execFileSync("rm", ["-rf", join(dir, ".git")]);
    const again = await run([cli, "replay", file], { env });
    expect(again).toMatchObject({ code: 0, stdout: shown });
  });
});

function files(dir: string): string[] {
  const entries = readdirSync(dir, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

it("libraries are known again in a user namespace, where they belong to somebody else", async (context) => {
  const program = ["unshare", "--user", "sh", "-c", "id -u; id -u; id -u"];
  if ((await run(program)).code !== 0) context.skip();
  const { stdout } = await recordAndReplay(program, ["--backend=eager-agent"]);
  expect(stdout).toMatch(/^(\d+)\n\1\n\1\n$/);
});

it.each(["--backend=agent", "--backend=ptrace", "--observe", "--observe --backend=ptrace"])(
  "signals to a process go to its first thread, which waits: %s",
  async (words) => {
    const options = words.split(" ");
    const { code, file, stdout } = await record([compile("signal_leader", "-pthread")], {
      options,
    });
    const handled = stdout.replace(/^\w+: 12 by the first thread, 0 by others\n/gm, ".");
    expect({ code, handled }).toEqual({ code: 0, handled: "......." });
    if (options.includes("--observe")) return;
    const again = await run([cli, "replay", "-q", file], { env: stateOf(dirname(file)) });
    expect(again).toMatchObject({ code: 0, stdout, stderr: "" });
  },
);

it.each(["agent", "ptrace"])(
  "what one thread gives back while signals come is gone before another one gets it, with %s",
  async (backend) => {
    const program = compile("signalled_unmaps", "-pthread");
    for (let round = 0; round < 3; round++) {
      const { file, stdout } = await record([program], { options: [`--backend=${backend}`] });
      expect(stdout).toBe("wrong: 0\n");
      const again = await run([cli, "replay", "-q", file], { env: stateOf(dirname(file)) });
      expect(again).toMatchObject({ code: 0, stdout, stderr: "" });
    }
  },
  120_000,
);

// Each has a number of its own, and there was a reason for each.
it("why a recording cannot be replayed is told once for all sockets that were mapped", async () => {
  const { file, ...recorded } = await record([compile("maps_socket")]);
  expect(recorded.code).toBe(0);
  const replayed = await run([cli, "replay", "-q", file], { env: stateOf(dirname(file)) });
  expect(replayed.stderr.split("\n")[0]).toBe(
    "trace: the recording cannot be replayed: it maps a socket, whose memory changes without a call",
  );
});
