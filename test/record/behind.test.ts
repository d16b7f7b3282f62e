/** What a program leaves running goes on, and right, when its recording is ended by a signal. */

import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openTrace } from "../../src/trace/open.js";
import { cli, compile, ended, folder, recordWords, start, stateOf } from "./support.js";

const FILTERED = "the agent, where calls are filtered already";
const OBSERVING = "the agent, observing, where calls are filtered already";
/** The kernel sends calls back there that are not the agent's: a thread may be asked to stop when one has just been. */
const underFilter = new Set([FILTERED, OBSERVING]);

const ways = {
  [FILTERED]: ["--backend=eager-agent"],
  [OBSERVING]: ["--observe", "--backend=eager-agent"],
  "the usual way": [],
  "the agent": ["--backend=eager-agent"],
  "the agent, observing": ["--observe", "--backend=eager-agent"],
  ptrace: ["--backend=ptrace"],
  "a capture filter": ["-e", "openat,read"],
};

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return "";
  }
}

/** What the environment of all that a test starts has in it. */
const markOf = (dir: string) => `TRACE_TEST_MARK=${dir}`;

/** The processes whose environment has the mark of a test, or of a folder of tests. */
function marked(mark: string): string[] {
  return readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/environ`, "latin1").includes(mark);
    } catch {
      return false;
    }
  });
}

/** Those of them that keep what recordings left behind: other tests, and other users, have their own. */
const keepers = (mark: string) =>
  marked(mark).filter((pid) => /^Name:\ttrace-keeper$/m.test(statusOf(pid)));

/** Whether a process was started by another one that still waits for it. */
const isChildOf = (pid: string, parent: number | undefined) =>
  new RegExp(`^PPid:\\t${parent}$`, "m").test(statusOf(pid));

/** Whether a process runs a program. */
function isOf(pid: string, program: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === program;
  } catch {
    return false;
  }
}

/** Kilobytes that a process has for itself, and does not share with the files that they are from. */
function memoryOf(pid: string): number {
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(statusOf(pid))?.[1] ?? 0);
}

for (const [name, options] of Object.entries(ways)) {
  test.each([0, 1, 7])(
    `recorded by ${name}, with %i threads more`,
    async (threads) => {
      const dir = folder();
      const file = join(dir, "x.trace");
      const [ready, go, result] = ["ready", "go", "result"].map((part) => join(dir, part)) as [
        string,
        string,
        string,
      ];
      const program = [compile("left_behind", "-pthread"), ready, go, result, String(threads)];
      const mark = markOf(dir);
      onTestFinished(() => {
        for (const pid of marked(mark)) process.kill(Number(pid), "SIGKILL");
      });
      const under = underFilter.has(name) ? [compile("refuse"), "enosys=1000", "--"] : [];
      const recorder = start([...under, ...recordWords(file, ...options), ...program], {
        env: { ...stateOf(dir), TRACE_TEST_MARK: dir },
      });
      const end = ended(recorder);
      await until(() => existsSync(ready));
      // The first program ends then; before that the signal would be for it.
      await until(() => !marked(mark).some((pid) => isChildOf(pid, recorder.pid)));
      recorder.kill("SIGTERM");
      const exit = await new Promise<number | null>((resolve) => recorder.once("exit", resolve));
      expect(exit).toBe(7);
      // Not its events, of which there are millions where the recorder has to wait for a CPU.
      const trace = await openTrace(file);
      trace.close();
      expect(trace.state).toBe("complete");
      const left = marked(mark);
      expect(left.length).toBeGreaterThan(0);
      expect(left.filter((pid) => /^TracerPid:\t[1-9]/m.test(statusOf(pid)))).toEqual([]);
      // A page or two of its own, and variables of the program that it was forked from.
      const own = keepers(mark).filter((pid) => isOf(pid, cli));
      if (name === "the agent") expect(own).not.toEqual([]);
      if (underFilter.has(name)) expect(own).toEqual([]);
      expect(own.filter((keeper) => memoryOf(keeper) > 2048)).toEqual([]);
      writeFileSync(go, "");
      await until(() => existsSync(result) && readFileSync(result, "utf8").endsWith("\n"));
      expect(readFileSync(result, "utf8")).toBe("0 wrong\n");
      expect(await end).toMatchObject({ code: 7, stdout: "", stderr: "" });
      await until(() => marked(mark).length === 0);
    },
    180_000,
  );
}

test("nobody stays for what has ended", async () => {
  await until(() => keepers(markOf(dirname(folder()))).length === 0);
});

for (const kind of ["strict", "undumpable"]) {
  test(`one that is ${kind}, recorded by an ordinary user`, async () => {
    const dir = folder();
    const [file, result] = [join(dir, "x.trace"), join(dir, "result")] as const;
    const words = recordWords(file, "--backend=eager-agent");
    const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const program = [compile("left_closed"), kind, result];
    const recorder = start([...user, ...words, ...program], {
      env: { ...stateOf(dir), HOME: dir, TRACE_TEST_MARK: dir },
      stdio: ["ignore", "ignore", "ignore"],
    });
    const end = ended(recorder);
    await until(() => existsSync(result) && readFileSync(result, "latin1").length > 2);
    recorder.kill("SIGTERM");
    await end;
    await until(() => readFileSync(result, "latin1").endsWith("end"));
    await until(() => keepers(markOf(dir)).length === 0);
  });
}
