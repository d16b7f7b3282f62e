import { describe, expect, it } from "vitest";
import { agreedStamps, StampFinder, withoutStamps } from "../../src/spec/stamps.js";

/** A moment whose first digits in microseconds, in base 36, are letters. */
const START = 1_795_820_902;
const SECOND = 1e9;

/** The pattern of a name that process 1 made a second after the start, told the numbers before. */
function form(name: string, told: readonly number[] = []): string {
  const finder = new StampFinder({ startSeconds: START, startNanos: 0 });
  for (const id of told) finder.told(1, id);
  finder.made(1, `/w/${name}`, SECOND);
  return withoutStamps(name, finder.found.get(`/w/${name}`) ?? new Map());
}

describe("a name tells", () => {
  it("the number of the process that made it, which it has asked for", () => {
    expect(form("run.1305.pid", [1305])).toBe("run.@{pid}.pid");
    expect(form("1305", [1304, 1305])).toBe("@{pid}");
    expect(form("run.1305.pid", [1304])).toBe("run.1305.pid");
    expect(form("run.1305.pid")).toBe("run.1305.pid");
  });

  it("no number where it is a part of a word, or may be many things", () => {
    expect(form("sha256.txt", [256])).toBe("sha256.txt");
    expect(form("v13050", [1305])).toBe("v13050");
    expect(form("page.7", [7])).toBe("page.7");
  });

  it("such a number in hexadecimal at the end of a word", () => {
    expect(form("Rscript41cb.c0", [0x41cb])).toBe("Rscript*.c0");
    expect(form("41cb", [0x41cb])).toBe("*");
    expect(form("#sql-temptable-6565-1-1c.MAI", [0x6565])).toBe("#sql-temptable-*-1-1c.MAI");
    expect(form("run.650", [0x650])).toBe("run.650");
    expect(form("Rscripta41cb", [0x41cb])).toBe("Rscripta41cb");
    expect(form("cafe", [0xcafe])).toBe("cafe");
    expect(form("x1000", [0x1000])).toBe("x1000");
  });

  it("the moment at which it was made, as a number with letters", () => {
    const micros = ((START + 0.5) * 1e6).toString(36);
    expect(form(`s-${micros}-working`)).toBe("s-*-working");
    expect(form(`${(START * 1e3 + 500).toString(36)}.tmp`)).toBe("*.tmp");
    expect(form(`x.${START.toString(16)}`)).toBe("x.*");
  });

  it("such a moment although it has letters only", () => {
    const word = Array.from({ length: 1000 }, (_, k) => (START * 1e6 + k * 997).toString(36)).find(
      (text) => /^[a-z]+$/.test(text),
    );
    expect(word).toBeDefined();
    expect(form(`s-${word}-working`)).toBe("s-*-working");
  });

  it("the day on which it was made, in any time zone", () => {
    const day = (offset: number) =>
      new Date((START + offset) * 1e3).toISOString().slice(0, 10).replaceAll("-", "");
    expect(form(`x${day(0)}-1305-lmbups`, [1305])).toBe("x*-@{pid}-lmbups");
    expect(form(`backup_${day(14 * 3600)}.tar`)).toBe("backup_*.tar");
    expect(form(`log.${day(-12 * 3600)}T101500Z`)).toBe("log.*");
    const other = day(3 * 24 * 3600);
    expect(form(`backup_${other}.tar`)).toBe(`backup_${other}.tar`);
    expect(form(`${day(0)}0123456789abcdef`)).toBe(`${day(0)}0123456789abcdef`);
  });

  it("no other moment, and none in a word", () => {
    expect(form(((START - 3600) * 1e3).toString(36))).not.toContain("*");
    expect(form(((START + 3600) * 1e6).toString(36))).not.toContain("*");
    expect(form("makefile")).toBe("makefile");
    expect(form("0123456789abcdef0123456789abcdef")).toBe("0123456789abcdef0123456789abcdef");
  });

  it("what a process was told before it was forked, and not what its child was", () => {
    const finder = new StampFinder({ startSeconds: START, startNanos: 0 });
    finder.told(1, 1305);
    finder.fork(1, 2);
    finder.told(2, 1306);
    finder.made(2, "/w/1305", SECOND);
    finder.made(1, "/w/1306", SECOND);
    expect(finder.found.get("/w/1305")?.size).toBe(1);
    expect(finder.found.get("/w/1306")?.size).toBe(0);
  });

  it("nothing that one of its makers was not told", () => {
    const finder = new StampFinder({ startSeconds: START, startNanos: 0 });
    finder.told(1, 1305);
    finder.made(1, "/w/1305", SECOND);
    finder.made(2, "/w/1305", SECOND);
    expect(finder.found.get("/w/1305")?.size).toBe(0);
  });

  it("nothing that two runs have made alike, but by the same process number", () => {
    const stamp = new Map([["1305", "@{pid}"]]);
    const other = new Map<string, string>();
    const agreed = (...runs: (typeof stamp)[]) =>
      agreedStamps(new Map([["/w/1305", new Map(runs.map((own, run) => [run, own]))]]));
    expect(agreed(stamp).get("/w/1305")).toEqual(stamp);
    expect(agreed(stamp, stamp).get("/w/1305")).toEqual(stamp);
    expect(agreed(stamp, other).size).toBe(0);
  });
});

describe("a name that was made for its maker alone", () => {
  const found = (...made: (readonly [name: string, isPrivate: boolean])[]) => {
    const finder = new StampFinder({ startSeconds: START, startNanos: 0 });
    for (const [name, isPrivate] of made) finder.made(1, `/w/${name}`, SECOND, isPrivate);
    return finder.found;
  };
  const general = (name: string, isScratch = true) =>
    withoutStamps(name, found([name, true]).get(`/w/${name}`) ?? new Map(), isScratch);

  it("has the number of its maker beside what is random", () => {
    const finder = new StampFinder({ startSeconds: START, startNanos: 0 });
    finder.told(1, 6669);
    const path = "/w/valgrind_proc_6669_auxv_9da44e32";
    finder.made(1, path, SECOND, true);
    expect(withoutStamps(path.slice(3), finder.found.get(path) ?? new Map(), true)).toBe(
      "valgrind_proc_@{pid}_auxv_*",
    );
  });

  it("is random among temporary files, though it be letters alone", () => {
    expect(general("uogyfryj")).toBe("*");
    expect(general("pip-uogyfryj.whl")).toBe("pip-*.whl");
    expect(general("h_b2rmo5")).toBe("*");
    expect(general(".requires-i4ek_m4u~", false)).toBe(".requires-*~");
    expect(general("tmpq_ab12cd")).toBe("tmp*");
    expect(general("tmpq_ab12cd.txt")).toBe("tmp*.txt");
    expect(general("sh-thd.FIAPOI")).toBe("sh-thd.*");
    expect(general("socket")).toBe("socket");
    expect(general("app.socket")).toBe("app.socket");
    expect(general("uogyfryj", false)).toBe("uogyfryj");
    expect(general("FIAPOI", false)).toBe("FIAPOI");
  });

  it("is random anywhere, as mkstemp makes it behind a name", () => {
    expect(general(".a.FIAPOI", false)).toBe(".a.*");
    expect(general("kR.tmp.aBcdef.tmp", false)).toBe("kR.tmp.*.tmp");
    expect(general("app.socket", false)).toBe("app.socket");
    expect(general("app-settings", false)).toBe("app-settings");
    expect(general(".qhwzyvt8", false)).toBe(".*");
  });

  it("is not when it was there before, and stays so when it is made again", () => {
    const again = found(["uogyfryj", true], ["uogyfryj", false]);
    expect(withoutStamps("uogyfryj", again.get("/w/uogyfryj") ?? new Map(), true)).toBe("*");
    const late = found(["uogyfryj", false], ["uogyfryj", true]);
    expect(withoutStamps("uogyfryj", late.get("/w/uogyfryj") ?? new Map(), true)).toBe("uogyfryj");
  });

  it("is not when two runs made it", () => {
    const one = found(["uogyfryj", true]).get("/w/uogyfryj") ?? new Map();
    const runs = new Map([
      [
        "$TMP/uogyfryj",
        new Map([
          [1, one],
          [2, one],
        ]),
      ],
    ]);
    expect(agreedStamps(runs).size).toBe(0);
  });
});
