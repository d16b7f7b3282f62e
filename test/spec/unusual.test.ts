/** Calls as few programs make them (`unusual.c`) do under a supervisor what they do without, when they were recorded. */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lacking } from "../support/tools.js";
import { compileStatic, SpecPlace } from "./support.js";

/** What it prints without a spec; the same has to be printed under one, of which nothing is refused. `words`: of the run. */
function runs(group: string, ...words: readonly string[]): string {
  const place = new SpecPlace();
  try {
    const program = compileStatic("unusual", place.base, "-pthread");
    /** In a directory that is as empty as before. */
    const anew = (act: () => ReturnType<SpecPlace["run"]>) => {
      const done = act();
      place.run("sh", "-c", "rm -rf ./*");
      return done;
    };
    const plain = anew(() => place.run(program, group, ...words));
    expect(plain.status).toBe(0);
    anew(() => {
      place.learn(program, group);
      return plain;
    });
    const own = ["--", program, group, ...words];
    const enforced = anew(() =>
      place.trace("spec", "run", "--supervise=always", "../app.spec", ...own),
    );
    expect(enforced).toEqual(plain);
    const again = ["record", "-q", "--observe", "-o", "../again.trace", ...own];
    expect(anew(() => place.trace(...again)).status).toBe(0);
    const checked = place.trace("spec", "check", "../app.spec", "../again.trace");
    expect(checked.status, checked.stdout).toBe(0);
    rmSync(join(place.base, "again.trace"));
    return plain.stdout;
  } finally {
    place.leave();
  }
}

describe.skipIf(lacking("gcc"))("unusual calls", { timeout: 120_000 }, () => {
  it("make files by links that lead nowhere yet, and tell kinds of files by their errors", () => {
    expect(runs("names")).toContain('lstat("made", &facts): 0\n');
  });

  it("change what has no name by descriptors, whatever their numbers are", () => {
    expect(runs("held", "one", "more")).toContain("self: 1\n");
  });

  it("use the descriptors of their own thread", () => {
    expect(runs("threads").match(/accept\(.*: 0\n/g)).toHaveLength(2);
  });

  it("listen by a name that takes all the room there is, and where they were not bound", () => {
    expect(runs("sockets")).toContain("111 108\n");
  });

  it("run programs that are removed or in memory, and hand scripts to a shell", () => {
    expect(runs("programs")).toBe("in memory: 0\nremoved: 0\nplain\nwithout an interpreter: 0\n");
  });
});
