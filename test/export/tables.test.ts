/** Tables as files, each read back by a program of its own. */

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { TABLES } from "../../src/tables/registry.js";
import { cli, stateOf } from "../record/support.js";
import { damagedTrace, WHOLE } from "../support/damage.js";
import { shownEvents } from "../support/shown.js";
import { TextTrace, temporaryFolder } from "../support/text_trace.js";
import { lacking } from "../support/tools.js";
import { lackingPython, readBack, titled } from "./python.js";
import { beside, exportTo, recordShell } from "./support.js";

type Row = Readonly<Record<string, unknown>>;

function jsonRows(file: string): Row[] {
  const text = readFileSync(file, "utf8").trimEnd();
  return text === "" ? [] : text.split("\n").map((line) => JSON.parse(line) as Row);
}

/** Rows of a query, as `sqlite3` gives them. */
function sqlite(file: string, sql: string): Row[] {
  const text = execFileSync("sqlite3", ["-json", file, sql], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  return text === "" ? [] : (JSON.parse(text) as Row[]);
}

/** A trace with everything that a column can be hard about. */
async function oddTrace(file: string): Promise<string> {
  const bad = Uint8Array.of(0x2f, 0x74, 0xff, 0xfe, 0x00);
  const trace = new TextTrace()
    .meta("argv", '["odd"]')
    .thread(1, 1, 10, 10)
    .thread(1, 2, 11, 10, 0, 0)
    .object("dir", '/srv/o\'dd,"q"')
    .object("socket", "socket:[1]", "TCP:[10.0.0.1:1->10.0.0.2:443]")
    .call("openat", {
      args: [-100, 0x1000, 0, 0],
      ret: -2,
      captures: [[1, "in", 0x1000, bad]],
      refs: [["cwd", -1, 0]],
    })
    .call("openat", {
      args: [-100, 0x1000, 0, 0],
      ret: -2,
      captures: [[1, "in", 0x1000, "a/../b//c\0"]],
      refs: [["cwd", -1, 0]],
    })
    .call("openat", {
      args: [-100, 0x1000, 0, 0],
      ret: 5,
      captures: [
        [1, "in", 0x1000, "\ufeff/x/./y\0"],
        [1, "resolved", 0, "/real/y"],
      ],
      refs: [["cwd", -1, 0]],
    })
    .call("openat", {
      args: [-100, 0x1000, 0, 0],
      ret: 6,
      captures: [[1, "in", 0x1000, '/"quoted", \n\t\0']],
    })
    .call("chdir", {
      args: [0x1000],
      ret: 0,
      captures: [[0, "in", 0x1000, "\0"]],
      refs: [["cwd", -1, 0]],
    })
    .call("lseek", { args: [5, 0, 0], ret: -(2n ** 62n), flags: 0 })
    .call("mmap", { args: [0, 4096, 3, 34, -1, 0], ret: 0x7fff_ffff_f000 })
    .call("connect", {
      args: [7, 0x2000, 16],
      ret: 0,
      captures: [
        [1, "in", 0x2000, Uint8Array.of(2, 0, 1, 187, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)],
      ],
      refs: [[0, 7, 1]],
    })
    .call("write", { thread: 1, args: [7, 0x3000, 4], ret: 4, refs: [[0, 7, 1]] })
    .call("read", { args: [0, 0x2000, 9], ret: -512, flags: 32 + 8 })
    .call("read", { args: [0, 0x2000, 9], ret: 0, flags: 2, start: 10 })
    .call("write", { arch: 1, args: [1, 2, 3], ret: 0xffff_fff0, flags: 0 })
    .event("call", { code: 12345, args: [1], ret: -38, flags: 8 })
    .event("call", { code: 0x4000_0200, ret: -4095, flags: 8 })
    .event("signal", { code: 15 })
    .event("signal", { code: 64 })
    .event("stop", { code: 19 })
    .event("exit", { thread: 1, code: 11 })
    .event("exit", { code: 0x2a00, args: [1] });
  return trace.write(file);
}

describe.skipIf(lacking("sqlite3"))("exported tables", () => {
  let file = "";
  let odd = "";

  beforeAll(async () => {
    file = await recordShell("ls /etc | sort | head -2; tcp_loopback; cat missing || true");
    odd = await oddTrace(beside(file, "odd.trace"));
  });

  // The addon makes the rows of SQLite's events, TypeScript those of JSON lines.
  it.each(["recorded", "odd"])("are the same rows, whoever makes them: %s", async (which) => {
    const trace = which === "odd" ? odd : file;
    const [database, lines] = [beside(trace, `${which}.sqlite`), beside(trace, `${which}.jsonl`)];
    await exportTo("sqlite", database, trace, "--table", "event");
    await exportTo("jsonl", lines, trace, "--table", "event");
    const plain = jsonRows(lines).map((row) => ({
      ...row,
      ret: row.ret === null ? null : String(row.ret),
      partial: row.partial === true ? 1 : 0,
      path_bytes:
        row.path_bytes === null
          ? null
          : Buffer.from(String(row.path_bytes), "base64").toString("hex").toUpperCase(),
    }));
    const columns = Object.keys(plain[0] ?? {}).map((name) =>
      name === "ret"
        ? "CAST(ret AS TEXT) ret"
        : name === "path_bytes"
          ? "NULLIF(hex(path_bytes), '') path_bytes"
          : name,
    );
    expect(plain.length).toBeGreaterThan(which === "odd" ? 17 : 300);
    expect(sqlite(database, `SELECT ${columns.join(", ")} FROM event ORDER BY rowid`)).toEqual(
      plain,
    );
  });

  it("agree with what show says", async () => {
    const database = beside(file, "agree.sqlite");
    await exportTo("sqlite", database, file);
    const events = await shownEvents(file);
    const counts = new Map<string, { n: number; dur: number; failed: number }>();
    for (const { kind, call, dur = 0, err } of events) {
      if (kind !== "call" || call === undefined) continue;
      const count = counts.get(call) ?? { n: 0, dur: 0, failed: 0 };
      counts.set(call, {
        n: count.n + 1,
        dur: count.dur + dur,
        failed: count.failed + (err === undefined ? 0 : 1),
      });
    }
    const rows = sqlite(
      database,
      "SELECT name, count(*) n, sum(dur) dur, count(err) failed FROM event WHERE kind = 'call' GROUP BY name",
    );
    expect(new Map(rows.map(({ name, ...rest }) => [name, rest]))).toEqual(counts);
    const [other] = sqlite(database, "SELECT count(*) n FROM event");
    expect(other?.n).toBe(events.length);
    const tables = sqlite(database, "SELECT name FROM sqlite_schema WHERE type = 'table'");
    expect(tables.map(({ name }) => name)).toEqual(["run", ...TABLES.map(({ name }) => name)]);
    expect(sqlite(database, "SELECT state, partial, events FROM run")).toEqual([
      { state: "complete", partial: 0, events: expect.any(Number) },
    ]);
    expect(sqlite(database, "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
  });

  it("mask environment values that look like secrets, unless they are asked for", async () => {
    const [masked, shown] = [beside(file, "masked.sqlite"), beside(file, "shown.sqlite")];
    await exportTo("sqlite", masked, file);
    await exportTo("sqlite", shown, file, "--show-secrets");
    expect(readFileSync(masked).includes("hunter2")).toBe(false);
    expect(readFileSync(shown).includes("hunter2")).toBe(true);
    for (const format of ["perfetto", "otlp", "jsonl"]) {
      const output = beside(file, `masked.${format}`);
      await exportTo(format, output, file);
      expect(readFileSync(output).includes("hunter2"), format).toBe(false);
    }
  });

  it("hold the events of a filter", async () => {
    const output = beside(file, "some.jsonl");
    await exportTo("jsonl", output, file, "%file and failed");
    const expected = (await shownEvents(file, "%file and failed")).map(({ seq }) => seq);
    expect(jsonRows(output).map(({ seq }) => seq)).toEqual(expected);
    expect(expected.length).toBeGreaterThan(0);
    const database = beside(file, "some.sqlite");
    await exportTo("sqlite", database, file, "%file and failed");
    expect(sqlite(database, "SELECT seq FROM event").map(({ seq }) => seq)).toEqual(expected);
  });

  it("are CSV that Python reads back", async () => {
    const [output, lines] = [beside(odd, "out.csv"), beside(odd, "csv.jsonl")];
    await exportTo("csv", output, odd);
    await exportTo("jsonl", lines, odd);
    const program =
      "import csv,json,sys; print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='')))))";
    const text = execFileSync("python3", ["-c", program, output], { encoding: "utf8" });
    const rows = JSON.parse(text) as Record<string, string>[];
    const expected = jsonRows(lines).map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => [
          name,
          name === "path_bytes" && value !== null
            ? Buffer.from(String(value), "base64").toString("hex")
            : value === null
              ? ""
              : String(value),
        ]),
      ),
    );
    expect(rows).toEqual(expected);
  });

  it("are compressed where the name says so", async () => {
    const [plain, packed] = [beside(odd, "a.csv"), beside(odd, "a.csv.gz")];
    await exportTo("csv", plain, odd);
    await exportTo("csv", packed, odd);
    expect(gunzipSync(readFileSync(packed))).toEqual(readFileSync(plain));
  });

  it("say the run where there are several", async () => {
    const output = beside(odd, "both.csv");
    await exportTo("csv", output, odd, file);
    const rows = readFileSync(output, "utf8").split("\n");
    expect(rows[0]?.startsWith("run,seq,")).toBe(true);
    expect(rows.filter((row) => row.startsWith("run,")).length).toBe(1);
    expect(rows[1]?.startsWith("07070707-0707-0707-0707-070707070707,0,")).toBe(true);
  });
});

describe.skipIf(lackingPython !== undefined)(titled("Parquet files"), () => {
  let file = "";
  let odd = "";

  beforeAll(async () => {
    file = await recordShell("ls -l /usr/bin | sort -r | head -3; tcp_loopback");
    odd = await oddTrace(beside(file, "odd.trace"));
  });

  it("hold the same rows as JSON lines", async () => {
    for (const [trace, name] of [
      [file, "file"],
      [odd, "odd"],
    ] as const) {
      const [folder, lines] = [beside(file, `${name}.parquet`), beside(file, `${name}.jsonl`)];
      await exportTo("parquet", folder, trace);
      await exportTo("jsonl", lines, trace);
      const names = Object.keys(jsonRows(lines)[0] ?? {});
      const columns = names.map((column) =>
        column === "path_bytes" ? "base64(path_bytes)" : column,
      );
      const [rows] = readBack<unknown[][][]>(
        "query.py",
        `SELECT ${columns.join(", ")} FROM '${folder}/event/*/*.parquet' ORDER BY seq`,
      );
      const expected = jsonRows(lines).map((row) =>
        Object.values(row).map((value, k) =>
          names[k] === "ret" && value !== null ? Number(value) : value,
        ),
      );
      expect(rows).toEqual(expected);
    }
  });

  it("have all tables, a folder per run, and signed integers for times", async () => {
    const folder = beside(file, "all.parquet");
    await exportTo("parquet", folder, file, odd);
    expect(readdirSync(folder).toSorted()).toEqual(
      ["run", ...TABLES.map(({ name }) => name)].toSorted(),
    );
    const runs = readdirSync(join(folder, "event"));
    expect(runs.length).toBe(2);
    expect(runs).toContain("run=07070707-0707-0707-0707-070707070707");
    const [types, counts, state] = readBack<unknown[][][]>(
      "query.py",
      `DESCRIBE SELECT * FROM read_parquet('${folder}/syscall/*/*.parquet', hive_partitioning = true)`,
      `SELECT run, count(*) FROM read_parquet('${folder}/event/*/*.parquet', hive_partitioning = true) GROUP BY run ORDER BY run`,
      `SELECT file, events, partial FROM read_parquet('${folder}/run/*/*.parquet') WHERE events < 30`,
    );
    const typeOf = new Map(types?.map(([name, type]) => [name, type]));
    expect(typeOf.get("time")).toBe("BIGINT");
    expect(typeOf.get("arg0")).toBe("BIGINT");
    expect(typeOf.get("path")).toBe("VARCHAR");
    expect(typeOf.get("path_bytes")).toBe("BLOB");
    expect(typeOf.get("run")).toBe("VARCHAR");
    expect(counts?.length).toBe(2);
    expect(state).toEqual([[odd, 19, false]]);
  });

  it("hold a run once", async () => {
    const folder = beside(file, "twice.parquet");
    await expect(exportTo("parquet", folder, file, file)).rejects.toThrow(/two of the traces are/);
    expect(existsSync(folder)).toBe(false);
  });

  it("add runs to a folder, and replace none unasked", async () => {
    const folder = beside(file, "more.parquet");
    await exportTo("parquet", folder, file, "--table", "exec");
    await exportTo("parquet", folder, odd, "--table", "exec");
    expect(readdirSync(join(folder, "exec")).length).toBe(2);
    await expect(exportTo("parquet", folder, file, "--table", "exec")).rejects.toThrow(
      /exists already/,
    );
    await exportTo("parquet", folder, file, "--table", "exec", "--force");
    expect(readdirSync(join(folder, "exec")).length).toBe(2);
  });
});

describe("an export that goes wrong", () => {
  const folder = temporaryFolder();
  let file = "";

  beforeAll(async () => {
    file = await oddTrace(folder.file("odd.trace"));
  });

  it("does not replace a file unasked", async () => {
    writeFileSync(folder.file("there.csv"), "mine");
    await expect(exportTo("csv", folder.file("there.csv"), file)).rejects.toThrow(/exists already/);
    expect(readFileSync(folder.file("there.csv"), "utf8")).toBe("mine");
    await exportTo("csv", folder.file("there.csv"), file, "--force");
    expect(readFileSync(folder.file("there.csv"), "utf8")).not.toBe("mine");
  });

  it.each(["csv", "sqlite", "parquet", "perfetto"])(
    "says in one line that %s cannot be made",
    async (format) => {
      writeFileSync(folder.file("plain"), "");
      await expect(exportTo(format, folder.file("plain/x"), file)).rejects.toThrow(
        /^cannot create [^\n]*plain\/[^\n]*: not a directory$/i,
      );
    },
  );

  it("says where a folder is missing", async () => {
    await expect(exportTo("csv", folder.file("no/x.csv"), file)).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/cannot create .*: no such file or directory$/) },
    });
  });

  it("ends where no folder can be made", async () => {
    await expect(exportTo("parquet", "/proc/no/such", file)).rejects.toThrow(/^cannot create /);
  });

  // A limit on the size of files fails a write as a full disk does, in the middle.
  it.each(["csv", "jsonl", "perfetto", "strace", "sqlite", "parquet"])(
    "leaves nothing behind where %s does not fit",
    async (format) => {
      const dir = folder.file(`full-${format}`);
      mkdirSync(dir);
      const large = await largeTrace(folder.file("large.trace"));
      const words = [cli, "export", "--to", format, "-o", "out", large];
      const run = spawnSync("sh", ["-c", 'ulimit -f 16; exec "$@"', "sh", ...words], {
        cwd: dir,
        encoding: "utf8",
        env: { ...process.env, ...stateOf(dir) },
      });
      expect(run.status).toBe(2);
      expect(run.stderr).toMatch(/^trace: cannot write \S+: file too large\n(?: {2}.*\n)?$/i);
      expect(readdirSync(dir)).toEqual([]);
    },
  );

  it.each([
    [["--to", "sqlite"], /needs -o/],
    [["--to", "parquet"], /needs -o/],
    [["-o", "x.sqlite.gz"], /sqlite is not compressed with gzip/],
    [["--to", "sqlite", "-o", "x.gz"], /sqlite is not compressed with gzip/],
    [["-o", "x.parquet.gz"], /parquet is not compressed with gzip/],
    [[], /no format is named/],
    [["--to", "csv", "--table", "event", "--table", "exec"], /holds one table/],
    [["--to", "csv", "--table", "evnt"], /there is no table evnt/],
    [["--to", "perfetto", "-o", "x", "--table", "event"], /not made of tables/],
  ] as const)("explains the mistake in %j", async (words, message) => {
    const { runCommand } = await import("../support/run.js");
    const placed = words.map((word) => (word.startsWith("x") ? folder.file(word) : word));
    await expect(runCommand(["export", file, ...placed])).rejects.toThrow(message);
  });

  it.each(["strace", "csv", "perfetto", "folded"])(
    "writes as %s what is before damage, and names it",
    async (format) => {
      const damaged = await damagedTrace(folder.file(`damaged-${format}.trace`));
      const output = folder.file(`damaged.${format}`);
      await expect(exportTo(format, output, damaged)).rejects.toMatchObject({
        cause: { code: "CORRUPT" },
      });
      expect(statSync(output).size).toBeGreaterThan(0);
      if (format !== "strace") return;
      const lines = readFileSync(output, "utf8").trimEnd().split("\n");
      expect(lines.length).toBeGreaterThan(1000);
      expect(lines.length).toBeLessThan(WHOLE);
    },
  );

  it("writes the valid part of a cut trace, and says that it is one", async () => {
    const cut = folder.file("cut.trace");
    const whole = readFileSync(await largeTrace(folder.file("whole.trace")));
    writeFileSync(cut, whole.subarray(0, Math.floor(whole.length * 0.6)));
    const output = folder.file("cut.jsonl");
    const { stderr } = await exportTo("jsonl", output, cut);
    expect(stderr).toMatch(/is cut/);
    const rows = jsonRows(output).length;
    expect(rows).toBeGreaterThan(0);
    expect(rows).toBeLessThan(LARGE);
    await exportTo("jsonl", folder.file("cut-run.jsonl"), cut, "--table", "run");
    expect(jsonRows(folder.file("cut-run.jsonl"))).toMatchObject([{ state: "cut", partial: true }]);
    await exportTo("speedscope", folder.file("cut.speedscope.json"), cut);
    expect(JSON.parse(readFileSync(folder.file("cut.speedscope.json"), "utf8")).name).toMatch(
      /partial/,
    );
    await exportTo("perfetto", folder.file("cut.pftrace"), cut);
    expect(readFileSync(folder.file("cut.pftrace")).includes("partial: ")).toBe(true);
    expect(existsSync(folder.file("cut.pftrace.partial"))).toBe(false);
  });
});

/** Calls of the large trace: more than one block. */
const LARGE = 70_000;

/** A trace that no export of it fits into 8 KiB. */
async function largeTrace(path: string): Promise<string> {
  if (existsSync(path)) return path;
  const trace = new TextTrace().meta("argv", '["large"]').thread(1, 1, 10, 10);
  let random = 1;
  for (let k = 0; k < LARGE; k++) {
    random = (random * 48271) % 0x7fff_ffff;
    trace.call("read", { args: [random % 1000, random, random % 65536], ret: random % 65536 });
  }
  return trace.write(path);
}
