import { describe, expect, it } from "vitest";
import {
  combineStraceExpressions,
  compileFilter,
  type Filter,
  formatFilter,
  parseFilter,
  parseStraceExpression,
} from "../../../src/query/filter/index.js";
import { type Row, RowResolver, table } from "./rows.js";

const calls: readonly Row[] = table.map(({ name, classes }) => ({
  kind: "call",
  name,
  class: classes,
  arch: "x86_64",
}));
const signal: Row = { kind: "signal", signal: "SIGCHLD" };

function names(filter: Filter): string {
  const fits = compileFilter(filter, new RowResolver(calls));
  return calls.flatMap((row, i) => (fits(i) ? [row.name] : [])).join(" ");
}

describe("-e trace=", () => {
  it.each([
    ["trace=openat", "openat"],
    ["t=openat,close", "openat close"],
    ["openat,close", "openat close"],
    ["%file", "open openat stat"],
    ["file", "open openat stat"],
    ["%network", "socket connect"],
    ["%net", "socket connect"],
    ["%stat", "stat"],
    ["%%stat", "stat"],
    ["%pure", "getpid getuid"],
    ["class = %stat", "stat"],
    ["class in (%%stat, network)", "stat socket connect"],
    ["/^get", "getpid getuid"],
    ["/^get/", "getpid getuid"],
    ["/^(open|close)(at)?$/,read", "read open openat close"],
    ["/^o.{3,5}$/,read", "read open openat"],
    ["trace=openat,%network,/^get/,!getuid", "openat getpid socket connect"],
    ["trace=%file,!open,!stat", "openat"],
    ["!%desc", "stat getpid getuid socket connect kill"],
    ["trace=!%desc,%file", "getpid getuid socket connect kill"],
    ["trace=!%desc,!%file", "getpid getuid socket connect kill"],
    ["!%desc,!%file", "getpid getuid socket connect kill"],
    ["trace!=%desc,%file", "getpid getuid socket connect kill"],
    ["trace=all,!%file", "read write close getpid getuid socket connect kill"],
    ["trace=none", ""],
    ["trace=!none", "read write open openat close stat getpid getuid socket connect kill"],
    ["trace=?nosuchcall,close", "close"],
    ["trace=open@32,close@64", "close"],
    ["name ~ ^get and not getuid", "getpid"],
  ])("%s", (expression, expected) => {
    expect(names(parseStraceExpression(expression))).toBe(expected);
  });

  it("is part of any filter", () => {
    expect(names(parseFilter("(trace=%file,!stat or close) and not open"))).toBe("openat close");
    expect(formatFilter(parseFilter("%file and !close and failed"))).toBe(
      "%file and not close and failed",
    );
  });

  it("takes numbers", () => {
    expect(parseStraceExpression("trace=257")).toEqual(parseFilter("sysno = 257"));
  });
});

describe("-e status=, signal=, fd=", () => {
  it.each([
    ["status=failed", "status = failed"],
    ["status=successful,unfinished", "status in (successful, unfinished)"],
    ["status=detached", "status = detached"],
    ["status=!failed", "status != failed"],
    ["signal=SIGIO", "signal = SIGIO"],
    ["signals=!int,hup", "signal not in (SIGINT, SIGHUP)"],
    ["s=all", "signal exists"],
    ["signal=none", "not signal exists"],
    ["signal=!all", "not signal exists"],
    ["fd=3", "fd = 3"],
    ["trace-fds=3,4", "fd in (3, 4)"],
    ["fds=!3", "fd != 3"],
    ["err = ENOENT and fd.path contains x", "err = ENOENT and fd.path contains x"],
  ])("%s", (expression, expected) => {
    expect(formatFilter(parseStraceExpression(expression))).toBe(expected);
  });
});

describe("several -e", () => {
  const all = [...calls, signal, { kind: "exit" }];

  function chosen(...texts: string[]): string {
    const filter = combineStraceExpressions(texts);
    if (filter === undefined) throw new Error("no filter");
    const fits = compileFilter(filter, new RowResolver(all));
    return all.flatMap((row, i) => (fits(i) ? [row.name ?? row.kind] : [])).join(" ");
  }

  it("choose among events of their own kind", () => {
    expect(chosen("trace=openat")).toBe("openat signal exit");
    expect(chosen("trace=openat", "signal=none")).toBe("openat exit");
    expect(chosen("signal=SIGINT", "trace=%network")).toBe("socket connect exit");
  });

  it("replace earlier ones with the same qualifier", () => {
    expect(chosen("trace=openat", "close")).toBe("close signal exit");
  });

  it("join filters that are no list of strace's", () => {
    expect(chosen("trace=%file", "name contains at")).toBe("openat stat");
  });

  it("are undefined when there are none", () => {
    expect(combineStraceExpressions([])).toBeUndefined();
  });
});
