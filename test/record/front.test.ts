/** The native command and the one in TypeScript, given the same words: they say, leave and end the same. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { cli, environment, folder, read, run, stateOf } from "./support.js";

const front = fileURLToPath(new URL("../../dist/trace", import.meta.url));
const reference = join(dirname(front), "cli.cjs");

interface Case {
  readonly words: readonly string[];
  /** Puts something there first. */
  readonly prepare?: (dir: string) => void;
  /** A shell that starts the command as `"$@"`. */
  readonly shell?: string;
}

/** Times, sizes and places differ each time. */
function masked(text: string, dir: string): string {
  return text
    .replaceAll(dir, "DIR")
    .replace(/[\d.]+ KiB, [\d.]+ s/g, "SIZE, TIME")
    .replace(/^(bash|sh): line \d+: +\d+ /gm, "$1: ");
}

async function whatHappens(command: readonly string[], { words, prepare, shell }: Case) {
  const dir = folder();
  prepare?.(dir);
  const argv = [...command, ...words];
  const start = shell === undefined ? argv : ["bash", "-c", shell, "bash", ...argv];
  const done = await run(start, { cwd: dir, env: stateOf(dir) });
  const files = readdirSync(dir).filter((name) => name.endsWith(".trace"));
  const traces = await Promise.all(files.map((name) => facts(join(dir, name))));
  return {
    code: done.code,
    signal: done.signal,
    stdout: masked(done.stdout, dir),
    stderr: masked(done.stderr, dir),
    traces: JSON.parse(masked(JSON.stringify(traces), dir)) as unknown,
    files,
    latest: masked(text(join(dir, "state", "trace", "latest")), dir),
  };
}

function text(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** What a trace says besides addresses, times and the order in which processes took turns. */
async function facts(file: string) {
  const bytes = readFileSync(file);
  if (bytes.subarray(1, 4).toString() !== "TRC") return bytes.toString();
  const { trace, events } = await read(file);
  const { argv, cwd, kernel, backend, data, mode, status, notes } = Object.fromEntries(
    trace.info.facts,
  );
  return {
    state: trace.state,
    meta: { argv, cwd, kernel, backend, data, mode, status, notes },
    processes: trace.processes.length,
    events: events.map(({ kind, name, code }) => `${kind} ${name} ${code}`).sort(),
  };
}

const quiet = (...words: string[]): Case => ({ words: ["record", "-q", ...words] });
const spoken = (...words: string[]): Case => ({ words: ["record", "-v", ...words] });
const old = (dir: string) => writeFileSync(join(dir, "old.trace"), "precious");

describe("native and TypeScript agree", () => {
  it("are two commands", () => {
    expect(cli).not.toBe(reference);
    expect(environment.PATH).toContain("/");
  });

  it.each<[string, Case]>([
    ["a name of its own", spoken("true")],
    [
      "a name that is taken",
      { ...spoken("true"), prepare: (d) => writeFileSync(join(d, "true-1.trace"), "") },
    ],
    ["-o", spoken("-o", "a/../x.trace", "true")],
    ["--output", spoken("--output", "x.trace", "true")],
    ["--output=", spoken("--output=./x.trace", "--", "true")],
    ["--force", { ...spoken("--force", "-o", "old.trace", "true"), prepare: old }],
    ["--observe", spoken("--observe", "true")],
    ["--data=paths", spoken("--observe", "--data=paths", "true")],
    ["--data none", spoken("--observe", "--data", "none", "true")],
    ["--backend=agent", spoken("--observe", "--backend=agent", "true")],
    ["a note", { words: ["record", "--backend=agent", "--detach-on-exit", "true"] }],
    ["--backend=agent, to be replayed", spoken("--backend=agent", "true")],
    ["--no-pin", spoken("--no-pin", "true")],
    ["--detach-on-exit", spoken("--detach-on-exit", "true")],
    ["-f and no summary", { words: ["record", "-f", "true"] }],
    ["-q over -v", spoken("--quiet", "true")],
    ["an exit code", quiet("sh", "-c", "exit 43")],
    ["a signal", quiet("sh", "-c", "kill -TERM $$")],
    ["a signal with a core", quiet("sh", "-c", "kill -SEGV $$")],
    ["children", spoken("sh", "-c", "/bin/true; echo out; echo err >&2")],
    ["arguments that are odd", quiet("printf", "%s", '"\\\n\u0001\u007fé', "")],
    [
      "bytes that are not UTF-8",
      {
        words: ["record", "-q"],
        shell: '"$@" printf "%s" "$(printf "\\377\\342\\202z\\355\\240\\200")"',
      },
    ],
    [
      "a file name that is not UTF-8",
      { words: ["record", "-v"], shell: '"$@" -o "$(printf "\\377").trace" true' },
    ],
    ["a name from a path", quiet("/bin/true")],
    [
      "nobody reads what it says",
      { words: ["record", "-v", "true"], shell: '"$@" 2>&1 | true; echo "$PIPESTATUS"' },
    ],
    [
      "SIGHUP ignored",
      { ...quiet("grep", "SigIgn", "/proc/self/status"), shell: 'trap "" HUP; "$@"; true' },
    ],
    ["a limit on files", { words: ["record", "true"], shell: 'ulimit -f 0; "$@"' }],
    ["a limit on files, quietly", { words: ["record", "-q", "true"], shell: 'ulimit -f 0; "$@"' }],
    ["no program", { words: ["record"] }],
    ["an empty program", quiet("")],
    ["a missing program", quiet("no-such-program")],
    [
      "a missing program and an old file",
      { ...quiet("--force", "-o", "old.trace", "nope"), prepare: old },
    ],
    ["a directory", quiet("/tmp")],
    [
      "no format",
      { ...quiet("./x"), prepare: (d) => writeFileSync(join(d, "x"), "echo\n", { mode: 0o755 }) },
    ],
    [
      "no interpreter",
      {
        ...quiet("./x"),
        prepare: (d) => writeFileSync(join(d, "x"), "#!/no/such\n", { mode: 0o755 }),
      },
    ],
    [
      "no permission",
      { ...quiet("./x"), prepare: (d) => writeFileSync(join(d, "x"), "#!/bin/sh\n") },
    ],
    ["an output that exists", { ...quiet("-o", "old.trace", "true"), prepare: old }],
    [
      "an output that is a directory",
      { ...quiet("--force", "-o", "d", "true"), prepare: (d) => mkdirSync(join(d, "d")) },
    ],
    ["an output in no directory", quiet("-o", "no/x.trace", "true")],
    ["a full disk", quiet("--force", "-o", "/dev/full", "true")],
    ["--data without --observe", quiet("--data=none", "true")],
    ["a wrong value", quiet("--data=most", "true")],
    ["an unknown option", quiet("--nothing", "true")],
    ["options of TypeScript", quiet("-E", "X=1", "-e", "openat", "sh", "-c", "echo $X")],
    ["an option joined to its value", quiet("-ox.trace", "true")],
    ["an option without its value", { words: ["record", "-o"] }],
    ["help", { words: ["record", "--help"] }],
    ["no command", { words: [] }],
    ["another command", { words: ["show", "nothing.trace"] }],
  ])("%s", async (_, which) => {
    const native = await whatHappens([front], which);
    expect(native).toEqual(await whatHappens([process.execPath, reference], which));
  });
});

describe("without node", () => {
  const env = { PATH: "/nonexistent" };

  it("plain recordings run", async () => {
    const dir = folder();
    const words = [front, "record", "-q", "-o", "x.trace", "/bin/true"];
    const done = await run(words, { cwd: dir, env: { ...stateOf(dir), ...env } });
    expect(done).toEqual({ code: 0, signal: null, stdout: "", stderr: "" });
    expect(readdirSync(dir)).toContain("x.trace");
  });

  it("the rest says what is missing, and ends as a shell would", async () => {
    const done = await run([front, "show"], { env });
    expect(done).toMatchObject({ code: 127, stdout: "" });
    expect(done.stderr).toMatch(/^trace: node is not found in PATH.*\n {2}install Node 20/);
  });
});

it("the program finds the signals and descriptors that were there", async () => {
  const dir = folder();
  const look = ["sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd"];
  const script = "trap '' PIPE USR1 TSTP INT; exec 7</dev/null 0<&-; \"$@\"";
  const options = { cwd: dir, env: stateOf(dir) };
  const alone = await run(["bash", "-c", script, "bash", ...look], options);
  const recorded = await run(
    ["bash", "-c", script, "bash", front, "record", "-q", ...look],
    options,
  );
  expect(recorded).toEqual(alone);
});

// Node opens /dev/null in their place: what was to be written there was lost, and the command ended as if it had been written.
describe("standard streams that are closed", () => {
  const shell = (redirection: string) => ["sh", "-c", `exec "$@" ${redirection}`, "sh", front];

  it("are told of when there is something to write", async () => {
    const done = await run([...shell(">&-"), "fields"]);
    expect(done).toMatchObject({ code: 2, stderr: expect.stringMatching(/bad file descriptor/) });
  });

  it.each([
    { redirection: ">&-", program: ["echo", "lost"] },
    { redirection: "<&-", program: ["cat"] },
  ])("are none to a program that node starts: $redirection", async ({ redirection, program }) => {
    const words = [
      ...shell(redirection),
      "record",
      "-q",
      "-e",
      "openat",
      "-o",
      join(folder(), "t.trace"),
    ];
    const done = await run([...words, ...program]);
    expect(done).toMatchObject({ code: 1, stderr: expect.stringMatching(/Bad file descriptor/) });
  });

  it("take nothing from errors of others", async () => {
    const done = await run([...shell("2>&-"), "show", "/nowhere/t.trace"]);
    expect(done).toMatchObject({ code: 2, stdout: "", stderr: "" });
  });
});
