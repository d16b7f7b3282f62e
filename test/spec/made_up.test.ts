import { describe, expect, it } from "vitest";
import { siblingName } from "../../src/spec/made_up.js";

describe("made-up names", () => {
  it.each([
    ["ccKTh2kE.s", "cc*.s"],
    ["ccYJzNQl.cdtor.c", "cc*.cdtor.c"],
    ["tmpab12cd34", "tmp*"],
    ["sem.eYf7hK", "sem.*"],
    ["uN3pLnqC4J", "*"],
    ["fooAb3xYz", "foo*"],
    ["e83c5163316f89bfbde7d9ab23ca2e25604af290", "*"],
    ["out.12345.log", "out.*.log"],
    [".tmp-12345-pack-e83c5163316f89bfbde7d9ab23ca2e25604af290.idx", ".tmp-*-pack-*.idx"],
    ["s-hok6-0wb43bj-dvljdgx0tzqfxdp9ai8nvxuhv", "s-hok6-0wb43bj-*"],
    ["aarch64linuxandroid24.txt", undefined],
    ["2026-11-27T16_13_30_773Z-debug-0.log", "*-debug-0.log"],
    ["app-2026-11-27.log", "app-*.log"],
    ["rb20261127-27887-q1qamy", "rb*-*-*"],
    ["CMakeCache.txt.tmpe864f", "CMakeCache.txt.tmp*"],
    ["CMakeCache.txt", undefined],
    [".dirstate-38Chr8~", ".dirstate-*~"],
    ["notes.txt~", undefined],
    ["report_2", undefined],
    ["readTheDocs", undefined],
    ["Makefile", undefined],
    ["hello", undefined],
    ["archive.tar", undefined],
    ["report2", undefined],
  ])("the temporary name %s becomes %s", (name, general) => {
    expect(siblingName(name, true)).toBe(general);
  });

  it.each([
    ["3m_aryhb", "*"],
    ["pip-install-ss0k3x_1", "pip-install-*"],
    ["pip-ephem-wheel-cache-v2lewtd4", "pip-ephem-wheel-cache-*"],
    ["x_ab0cd_9x.whl", "x_*.whl"],
    [".requires-i4ek_m4u~", ".requires-*~"],
    ["tmpee55078q", "tmp*"],
    ["tmp397198_l.json", "tmp*.json"],
    ["ccjpFuit.s", "cc*.s"],
    // Letters that make a word, or a name of python's, or numbers.
    ["ccWNUWZJ.s", "cc*.s"],
    ["cckaluft.o", "cc*.o"],
    ["ccMauvw1.res", "cc*.res"],
    ["ccpah7c7.s", "cc*.s"],
    ["cc54676D.ltrans0.ltrans.o", "cc*.ltrans0.ltrans.o"],
    ["ansible-local-22095hl4vv4hi", "ansible-local-*"],
    ["12345report.csv", "*report.csv"],
    ["report2", undefined],
    ["archives", undefined],
  ])("%s of python becomes %s among temporary files", (name, general) => {
    expect(siblingName(name, true, true)).toBe(general);
  });
});
