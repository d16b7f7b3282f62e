import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { namesAdded } from "../../src/spec/names_added.js";

describe("what a pattern adds", () => {
  it("counts the names that a pattern takes in besides those that were used", () => {
    const dir = mkdtempSync(join(tmpdir(), "trace-adds-"));
    try {
      for (const name of ["x.tmp", "one", "two", "12"]) writeFileSync(join(dir, name), "");
      const added = (...used: string[]) =>
        namesAdded(`${dir}/*`, new Set(used.map((name) => `${dir}/${name}`)));
      // Those that are gone are no fewer.
      expect(added("gone-1", "gone-2", "gone-3")).toBe(4);
      expect(added("one", "gone-1")).toBe(3);
      expect(added("*.tmp", "@{pid}", "two")).toBe(1);
      expect(namesAdded(`${dir}/*/x`, new Set())).toBeUndefined();
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
