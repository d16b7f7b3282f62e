import { describe, expect, it } from "vitest";
import type { Draft } from "../../src/spec/generalise.js";
import { changesOfMade } from "../../src/spec/metadata.js";
import { draft } from "./support.js";

/** What is granted besides, as `verb object`. */
const besides = (...drafts: Draft[]) =>
  changesOfMade(drafts).map(({ verb, object }) => `${verb} ${object}`);

describe("a program that sets times of what it makes", () => {
  it("may do so with all of it, whichever of it differed", () => {
    const made = [draft("create", "/e"), draft("create", "/e/.a.*"), draft("chmeta", "/e/.a.*")];
    expect(besides(...made)).toEqual(["chmeta /e"]);
    expect(changesOfMade(made)).toMatchObject([{ because: "needed", count: 0 }]);
  });

  it("may do so with nothing else, and not with what has no name", () => {
    const others = [draft("write", "/b"), draft("create", "/d/#tmpfile"), draft("chmeta", "/c")];
    expect(besides(draft("create", "/a"), ...others)).toEqual([]);
    expect(besides(draft("create", "/c"), ...others)).toEqual([]);
    expect(besides(draft("create", "/a"))).toEqual([]);
  });
});
