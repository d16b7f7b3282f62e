import { describe, expect, it } from "vitest";
import { Climber, DEFAULT_LADDER, type Draft, firstRung } from "../../src/spec/generalise.js";
import { tokensOf } from "../../src/spec/tokens.js";

const TOKENS = tokensOf((name) => ({ HOME: "/home/me", TMPDIR: "/tmp" })[name], "/home/me/work");

/** What one run created. */
const created = (run: number, object: string, rung: Draft["rung"]): Draft => ({
  verb: "create",
  object,
  rung,
  because: undefined,
  count: 1,
  runs: new Set([run]),
  first: `${run}@1`,
  phases: 1,
});

describe("the ladder", () => {
  it.each([
    ["/home/me/work/a", "$PWD/a", "token"],
    ["/home/me/.bashrc", "$HOME/.bashrc", "token"],
    ["/home/me", "$HOME", "token"],
    ["/home/meow", "/home/meow", "literal"],
    ["/tmp/x*y", "$TMP/x\\*y", "token"],
    ["/proc/\u0000/stat", "/proc/@{pid}/stat", "token"],
    ["/dev/pts/7", "/dev/pts/*", "sibling"],
  ])("%s becomes %s (%s)", (path, object, rung) => {
    expect(firstRung({ verb: "read", object: path }, TOKENS)).toEqual({ object, rung });
  });

  it("compares what is known of each name before the names themselves", () => {
    const make = (run: number, object: string) => created(run, object, "literal");
    const runs = ["/w/s-123456-0wb43bj-working", "/w/s-123789-04la2zb-working"];
    const drafts = runs.flatMap((directory, k) => [
      make(k + 1, directory),
      make(k + 1, `${directory}/8eisk26j3n6ihmqih4pxv6xub.o`),
      make(k + 1, `${directory}/1bpip7_voqrcq1lwhndz8.o`),
    ]);
    const climber = new Climber(TOKENS, DEFAULT_LADDER, 2, false, new Map());
    const [climbed = []] = climber.climb([drafts], new Set());
    expect(climbed.map(({ object }) => object)).toEqual([
      "/w/s-*-*-working",
      "/w/s-*-*-working/*.o",
      "/w/s-*-*-working/1bpip7_voqrcq1lwhndz8.o",
    ]);
  });

  it("takes two digits for those of a hash where there is the rest of it, and for a name elsewhere", () => {
    const names = [".git/objects/4b", ".git/objects/4b/825dc642cb6eb9a060e54bf8d69288fbee4904"];
    const objects = [...names, "db", "ff", "cafe/db", "cafe/db/CURRENT"].map(
      (name) => `$PWD/${name}`,
    );
    const climber = new Climber(TOKENS, DEFAULT_LADDER, 1, false, new Map());
    const [climbed = []] = climber.climb(
      [objects.map((object) => created(1, object, "token"))],
      new Set(),
    );
    expect(climbed.map(({ object }) => object)).toEqual([
      "$PWD/.git/objects/*",
      "$PWD/.git/objects/*/*",
      ...objects.slice(2),
    ]);
  });

  it("grants keys that are new in each run by one pattern, and others by themselves", () => {
    const of = (run: number, object: string): Draft => ({
      ...created(run, object, "literal"),
      verb: "syscall",
    });
    const drafts = [1, 2].flatMap((run) => [
      of(run, "shmget(0x4b01)"),
      of(run, `shmget(0x51f${run})`),
      of(run, `msgget(0x77${run}0)`),
      of(run, `setsockopt(SOL_SOCKET,${run + 100})`),
    ]);
    drafts.push(of(1, "semget(0x9001)"));
    const climber = new Climber(TOKENS, DEFAULT_LADDER, 2, false, new Map());
    const both = drafts.map((draft) =>
      draft.object === "shmget(0x4b01)" ? { ...draft, runs: new Set([1, 2]) } : draft,
    );
    const [climbed = []] = climber.climb([both], new Set());
    expect(climbed.map(({ object }) => object)).toEqual([
      "shmget(0x4b01)",
      "shmget(*)",
      "msgget(*)",
      "setsockopt(SOL_SOCKET,101)",
      "setsockopt(SOL_SOCKET,102)",
      "semget(0x9001)",
    ]);
    expect(climber.remarks.size).toBe(2);
  });

  it("says where all names of a directory are granted", () => {
    const drafts = ["$PWD/49b85118", "$TMP/49b85118"].map((object) => created(1, object, "token"));
    const climber = new Climber(TOKENS, DEFAULT_LADDER, 1, false, new Map());
    const [climbed = []] = climber.climb([drafts], new Set());
    expect(climbed.map(({ object, rung }) => [object, rung])).toEqual([
      ["$PWD/*", "directory"],
      ["$TMP/*", "directory"],
    ]);
    expect([...climber.remarks]).toEqual([
      expect.stringMatching(/^\$PWD\/\* is granted whole \(create\): /),
    ]);
  });
});
