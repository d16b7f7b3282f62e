import { existsSync, readFileSync, statSync, truncateSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SAVED_QUERIES } from "../../src/answer/saved/index.js";
import { rowLimit } from "../../src/commands/query.js";
import { splitTraces } from "../../src/commands/selection.js";
import { TABLES } from "../../src/tables/registry.js";
import { type FailedRun, runCommand } from "../support/run.js";
import { sampleTrace, temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
const path = folder.file("sample.trace");
const other = folder.file("other.trace");

beforeAll(async () => {
  await sampleTrace().write(path);
  await sampleTrace().write(other);
});
afterAll(() => folder.remove());

async function query(...words: string[]): Promise<string> {
  const { stdout, stderr, status } = await runCommand(["query", ...words], { HOME: folder.path });
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  return stdout;
}

async function failure(...words: string[]) {
  const error = (await runCommand(["query", ...words]).catch(
    (reason: unknown) => reason,
  )) as FailedRun;
  return error.cause as { code: string; message: string; hint?: string };
}

describe("a question", () => {
  it("is a filter over events", async () => {
    const text = await query(path, "failed", "--columns", "seq,name,err,path", "--format=csv");
    expect(text).toMatch(/^seq,name,err,path\n\d+,openat,ENOENT,sub\/..\/missing.conf\n/);
  });

  it("takes selectors and strace's flags like the other commands", async () => {
    const words = ["--columns=proc", "--format=csv"];
    expect(await query(path, "p2", "%desc", ...words)).toBe("proc\np2\n");
    expect(await query(path, "-Z", "-e", "openat", ...words)).toBe("proc\np1\n");
  });

  it("is a filter over a table", async () => {
    const text = await query(
      path,
      "-t",
      "file",
      "opens > 0",
      "--columns=path,opens,bytes_read",
      "--format=csv",
    );
    expect(text).toBe("path,opens,bytes_read\n/etc/passwd,1,5\n");
  });

  it("is a whole table without a filter, and in an order", async () => {
    const text = await query(
      path,
      "-t",
      "exec",
      "--columns",
      "proc",
      "--sort",
      "-seq",
      "--format=csv",
    );
    expect(text).toBe("proc\np2\np1\n");
    expect(
      await query(
        path,
        "-t",
        "exec",
        "--columns",
        "proc",
        "--sort",
        "-seq",
        "--limit",
        "1",
        "--format=csv",
      ),
    ).toBe("proc\np2\n");
  });

  it("is a saved query, with a filter and columns of its own", async () => {
    const text = await query(
      path,
      "@top-files",
      "path startswith /etc",
      "--columns=path,reads",
      "--format=csv",
    );
    expect(text).toBe("path,reads\n/etc/passwd,1\n");
    for (const { name, columns } of SAVED_QUERIES) {
      expect(await query(path, `@${name}`, "--format=csv")).toMatch(
        new RegExp(`^${columns.join(",")}\n`),
      );
    }
  });

  it("is SQL where it looks like it, and a filter where it does not", async () => {
    expect(await query(path, "SELECT count(*) AS n FROM exec", "--format=csv")).toBe("n\n2\n");
    expect(await query(path, "from exec select pid order by 1 limit 1", "--format=csv")).toMatch(
      /^pid\n\d+\n$/,
    );
    expect(await query(path, "(SELECT 1 AS one)", "--format=csv")).toBe("one\n1\n");
    expect(await query(path, "/* how many */ SELECT 7 AS n;", "--format=csv")).toBe("n\n7\n");
    // The syscall select, which nobody calls here.
    for (const text of ["select", "select or select", "(select)", "select,poll"]) {
      expect(await query(path, text, "--columns=seq", "--format=csv")).toBe("seq\n");
    }
  });

  it("may be about several traces", async () => {
    const text = await query(path, other, "-t", "exec", "--columns=proc", "--format=csv");
    expect(text).toBe(
      "run,proc\nsample.trace,p1\nsample.trace,p2\nother.trace,p1\nother.trace,p2\n",
    );
    const sql = await query(
      path,
      other,
      "SELECT run, count(*) AS n FROM exec GROUP BY run ORDER BY run",
      "--format=csv",
    );
    expect(sql).toBe("run,n\nother.trace,2\nsample.trace,2\n");
    const same = await query(path, path, "SELECT DISTINCT run FROM exec", "--format=csv");
    expect(same.split("\n")[1]).toBe(path);
  });

  it("masks secrets unless told otherwise", async () => {
    const words = [path, "-t", "env", "name = API_TOKEN", "--columns=value", "--format=csv"];
    expect(await query(...words)).toBe("value\n***\n***\n");
    expect(await query(...words, "--show-secrets")).toBe("value\ns3cret\ns3cret\n");
    const sql = "SELECT DISTINCT value FROM env WHERE name = 'API_TOKEN'";
    expect(await query(path, sql, "--format=csv")).toBe("value\n***\n");
    expect(await query(path, sql, "--show-secrets", "--format=csv")).toBe("value\ns3cret\n");
    for (const table of TABLES) {
      expect(await query(path, "-t", table.name, "--format=jsonl")).not.toContain("s3cret");
    }
  });
});

describe("what there is to ask", () => {
  it("is listed", async () => {
    const list = await query("--list");
    for (const { name, doc } of SAVED_QUERIES) expect(list).toContain(`@${name}`.padEnd(16) + doc);
    const tables = await query("--schema");
    for (const { name, doc } of TABLES)
      expect(tables).toMatch(new RegExp(`^${name} .*${doc.slice(0, 20)}`, "m"));
    expect(await query("--schema", "fd")).toMatch(/^fd: .*\ncolumn .*\nfd_id +BIGINT/);
    expect(await query("--schema", "exec", "--format=md")).toMatch(
      /^### exec\n\n.*\n\n\| column \|/,
    );
    const json = JSON.parse(await query("--schema", "--format=json"));
    expect(json.tables.map(({ name }: { name: string }) => name)).toEqual(
      TABLES.map(({ name }) => name),
    );
  });
});

describe("Parquet", () => {
  it("has what a filter chooses, and what SQL answers", async () => {
    const file = folder.file("out.parquet");
    const to = ["--format=parquet", "-o", file];
    expect(await query(path, other, "-t", "exec", "--columns=proc,argv", ...to)).toBe("");
    expect(readFileSync(file).subarray(0, 4).toString()).toBe("PAR1");
    const back = `SELECT run, proc, argv FROM '${file}'`;
    expect(await query(path, back, "--format=csv")).toContain("other.trace,p2,cat it's\n");
    expect(await failure(path, "failed", ...to)).toMatchObject({ code: "EXISTS" });
    await query(path, "SELECT 5 AS five", ...to, "--force");
    expect(await query(path, `FROM '${file}'`, "--format=csv")).toBe("five\n5\n");
    expect(existsSync(`${file}.partial`)).toBe(false);
  });

  it("has the rows of a saved query in their groups and order", async () => {
    const file = folder.file("saved.parquet");
    for (const { name } of SAVED_QUERIES) {
      await query(path, `@${name}`, "--format=parquet", "-o", file, "--force");
      const expected = await query(path, `@${name}`, "--format=csv");
      expect(await query(path, `FROM '${file}'`, "--format=csv"), name).toBe(expected);
    }
    await query(
      path,
      "--sort=-seq",
      "--limit=2",
      "--columns=seq",
      "--format=parquet",
      "-o",
      file,
      "--force",
    );
    expect(await query(path, `FROM '${file}'`, "--format=csv")).toBe("seq\n14\n13\n");
  });

  it("needs a file that can be written", async () => {
    expect(await failure(path, "failed", "--format=parquet")).toMatchObject({ code: "USAGE" });
    const nowhere = folder.file("no/where.parquet");
    expect(await failure(path, "failed", "--format=parquet", "-o", nowhere)).toMatchObject({
      code: "IO",
    });
  });
});

describe("how many rows are asked for", () => {
  it("is no more than are shown, and one that says that there are others, where all have to be ordered", () => {
    const order = { by: ["dur"], descending: true };
    expect(rowLimit({ format: "text", sort: "-dur" })).toBe(1001);
    expect(rowLimit({ format: "md" }, { order })).toBe(1001);
    expect(rowLimit({ format: "text" })).toBe(0);
    expect(rowLimit({ format: "csv", sort: "-dur" })).toBe(0);
    expect(rowLimit({ format: "parquet" }, { order, limit: 20 })).toBe(20);
    expect(rowLimit({ format: "text", sort: "dur", limit: 0 }, { order, limit: 20 })).toBe(0);
    expect(rowLimit({ format: "text", sort: "dur", limit: 5000 })).toBe(5000);
  });
});

describe("mistakes", () => {
  it.each([
    [["-t", "fil"], "NO_TABLE", "there is no table fil", "did you mean file?"],
    [["--schema", "evnt"], "NO_TABLE", "there is no table evnt", "did you mean event?"],
    [["@top"], "NO_QUERY", "there is no saved query @top", "did you mean @top-files?"],
    [["@zzz"], "NO_QUERY", "there is no saved query @zzz", "trace query --list lists them"],
    [["--columns=seq,nam"], "NO_COLUMN", "table event has no column nam", "did you mean name?"],
    [["--sort=-durr"], "NO_COLUMN", "table event has no column durr", "did you mean dur?"],
    [
      ["-t", "file", "wrtes > 1"],
      "BAD_FILTER",
      /column 1: there is no column `wrtes`/,
      /\^\^\^\^\^\ndid you mean writes\?/,
    ],
    [["er = ENOENT"], "BAD_FILTER", /there is no field `er`/, /did you mean err\?/],
    [["-t", "file", "-Z"], "USAGE", /choose calls; table file has none/, undefined],
    [["SELECT zz FROM exec"], "BAD_SQL", /there is no column `zz`/, /\^/],
    [["SELECT 1", "--columns=a"], "USAGE", "--columns is for filters, not for SQL", undefined],
    [["--sql"], "USAGE", "--sql: there is no question", /SELECT 1/],
  ])("%j", async (words, code, message, hint) => {
    const needsNoTrace = words.includes("--schema");
    const error = await failure(...(needsNoTrace ? [] : [path]), ...words);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    if (hint !== undefined) expect(error.hint).toMatch(hint);
  });
});

describe("an answer", () => {
  it("goes into the file of -o in any format, which is not replaced unasked", async () => {
    const file = folder.file("answer.csv");
    const words = [path, "failed", "--columns=name", "--format=csv"];
    expect(await query(...words, "-o", file)).toBe("");
    const text = readFileSync(file, "utf8");
    expect(text).toBe(await query(...words));
    expect(await failure(...words, "-o", file)).toMatchObject({ code: "EXISTS" });
    expect(await query(...words, "-o", file, "--force")).toBe("");
    const nowhere = folder.file("no/where.csv");
    expect(await failure(...words, "-o", nowhere)).toMatchObject({ code: "NO_DIRECTORY" });
  });

  it("names the columns of a table, also when a trace is named", async () => {
    expect(await query(path, "--schema", "exec")).toBe(await query("--schema", "exec"));
  });

  it("says how a statement gets more memory", async () => {
    const error = await failure(path, "--memory=1", "SELECT count(*) FROM event");
    expect(error).toMatchObject({ code: "OUT_OF_MEMORY" });
    expect(error.hint).toContain("--memory=4G");
  });
});

describe("a trace that was cut", () => {
  it("is asked as far as it goes, and the answer says so", async () => {
    const cut = folder.file("cut.trace");
    await sampleTrace().write(cut);
    truncateSync(cut, statSync(cut).size - 30);
    const { stdout, stderr } = await runCommand(["query", cut, "-t", "lost", "--format=json"]);
    expect(stderr).toContain("is cut");
    expect(JSON.parse(stdout)).toMatchObject({
      partial: true,
      rows: expect.arrayContaining([expect.objectContaining({ what: "cut" })]),
    });
    const sql = await runCommand([
      "query",
      cut,
      "SELECT count(*) AS n FROM event",
      "--format=json",
    ]);
    expect(JSON.parse(sql.stdout)).toMatchObject({ partial: true });
  });
});

describe("words", () => {
  it("begin with traces; others end in .trace", () => {
    const env = { TRACE_FILE: "/latest.trace" };
    const split = (...args: string[]) => splitTraces({ args, env });
    expect(split("a.trace", "b.trace", "openat")).toEqual({
      paths: ["a.trace", "b.trace"],
      words: ["openat"],
    });
    expect(split("openat", "a.trace")).toEqual({ paths: ["a.trace"], words: ["openat"] });
    expect(split("SELECT 1 FROM 'x.trace'")).toEqual({
      paths: ["/latest.trace"],
      words: ["SELECT 1 FROM 'x.trace'"],
    });
    expect(split()).toEqual({ paths: ["/latest.trace"], words: [] });
  });
});
