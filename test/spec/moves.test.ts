import { describe, expect, it } from "vitest";
import type { Draft } from "../../src/spec/generalise.js";
import { gainedByMoves } from "../../src/spec/moves.js";
import { draft } from "./support.js";

/** What the old name of a rename gains, as `verb object`. */
function gained(from: string, to: string, others: readonly Draft[]): string[] {
  const move = { from: draft("rename", from), to: draft("rename", to), name: to };
  const drafts = [move.from, move.to, ...others];
  return gainedByMoves([move], drafts, {}).map(({ verb, object }) => `${verb} ${object}`);
}

describe("objects that are renamed", () => {
  it("have the grants of their new names before", () => {
    const others = [draft("write", "/d/old"), draft("read", "/d/new"), draft("write", "/d/new")];
    expect(gained("/d/old", "/d/new", others)).toEqual(["read /d/old"]);
    expect(gained("/d/tmp*", "/d/new", [draft("exec", "/d/*")])).toEqual([]);
    expect(gained("/e/tmp*", "/d/new", [draft("exec", "/d/*")])).toEqual(["exec /e/tmp*"]);
  });

  it("have those of what stands in the new directory in the old one", () => {
    const others = [draft("read", "/d/new/key"), draft("write", "/d/new/log*")];
    const both = ["read /d/old/key", "write /d/old/log*"];
    expect(gained("/d/old", "/d/new", others)).toEqual(both);
    expect(gained("/d/old", "/d/new", [...others, draft("read", "/d/**")])).toEqual([both[1]]);
  });

  it("have those of patterns that reach into the new directory", () => {
    const held = draft("write", "/x/old/log");
    expect(gained("/x/old", "/new", [held, draft("read", "/*/log")])).toEqual(["read /x/old/log"]);
    expect(gained("/old", "/new", [held, draft("read", "/*/log")])).toEqual([]);
    // Nobody knows of anything below it.
    expect(gained("/x/old", "/new", [draft("read", "/*/log")])).toEqual([]);
    const all = [draft("write", "/x/old/log"), draft("read", "/new/**"), draft("exec", "/n*/**")];
    const both = ["read /x/old", "exec /x/old", "read /x/old/**", "exec /x/old/**"];
    expect(gained("/x/old", "/new", all)).toEqual(both);
    // A directory of another form may have that name.
    expect(gained("/x/old", "/n*", [held, draft("read", "/new/log")])).toEqual([]);
    expect(gained("/x/o*", "/n*", [draft("write", "/n*/a"), draft("read", "/*/l*")])).toEqual([
      "write /x/o*/a",
      "read /x/o*/l*",
    ]);
  });

  it("may be looked at before when they may be afterwards", () => {
    const look = draft("stat", "/new/key");
    expect(gained("/old", "/new", [look])).toEqual(["stat /old/key"]);
    expect(gained("/old", "/new", [look, draft("create", "/old/key")])).toEqual([]);
    expect(gained("/old", "/new", [draft("stat", "/new")])).toEqual([]);
    // So may what can be removed.
    expect(gained("/old", "/new", [draft("delete", "/new/key")])).toEqual(["stat /old/key"]);
  });

  it("have those of the last of several names", () => {
    const first = draft("rename", "/d/a");
    const second = draft("rename", "/d/b");
    const third = draft("rename", "/d/c");
    const moves = [
      { from: first, to: second, name: "/d/b" },
      { from: second, to: third, name: "/d/c" },
    ];
    const own = gainedByMoves(moves, [first, second, third, draft("exec", "/d/c")], {});
    expect(own.map(({ verb, object }) => `${verb} ${object}`)).toEqual(["exec /d/b", "exec /d/a"]);
    // A directory that moves into itself again and again has an end.
    const inner = [{ from: draft("rename", "/d/*"), to: draft("rename", "/d"), name: "/d" }];
    expect(gainedByMoves(inner, [draft("read", "/d/x")], {}).length).toBeLessThan(20);
  });

  it("have those of the name that was replaced where all of its directory is granted", () => {
    const from = draft("rename", "/d/new*");
    const to: Draft = { ...draft("rename", "/d/*"), because: "replaced" };
    const drafts = [from, to, draft("read", "/d/new/key"), draft("write", "/d/other/key")];
    const own = gainedByMoves([{ from, to, name: "/d/new" }], drafts, {});
    expect(own.map(({ verb, object }) => `${verb} ${object}`)).toEqual(["read /d/new*/key"]);
  });

  it("gain nothing that is about names, and nothing that others have", () => {
    const others = [draft("delete", "/d/new"), draft("create", "/d/new"), draft("read", "/d/x")];
    expect(gained("/d/old", "/d/new", others)).toEqual([]);
  });

  it("have it in the phase in which the new name has it", () => {
    const old = draft("read", "/d/old", 1);
    expect(gained("/d/old", "/d/new", [old, draft("read", "/d/new", 2)])).toEqual([]);
    expect(old.phases).toBe(3);
  });
});
