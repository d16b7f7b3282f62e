/** The commands as a build server meets them: kernels that lack something, and specs that a change makes wider. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli } from "../support/command.js";
import { lacking } from "../support/tools.js";
import { SpecPlace } from "./support.js";

const TIMEOUT = { timeout: 120_000 };
const OLD_KERNEL = fileURLToPath(new URL("old-kernel.c", import.meta.url));

let place: SpecPlace;

beforeAll(() => {
  place = new SpecPlace({ words: "b\na\n", other: "other\n" });
  place.learn("cat", "words");
});

afterAll(() => place.leave());

const text = (name: string) => readFileSync(join(place.base, name), "utf8");

describe.skipIf(lacking("gcc"))("a kernel without Landlock", TIMEOUT, () => {
  const old = (...words: string[]) => place.run("./old-kernel", cli, "spec", "run", ...words);

  beforeAll(() => {
    const built = place.run("gcc", "-o", "old-kernel", OLD_KERNEL);
    expect(built.status, built.stderr).toBe(0);
  });

  it("is told, with what stays open there, and nothing is run", () => {
    const done = old("../app.spec");
    expect(done).toMatchObject({ status: 125, stdout: "" });
    expect(done.stderr).toContain("version 0 of Landlock");
    expect(done.stderr).toContain("any path can be read and written as the user may");
    expect(done.stderr).toContain("TCP ports");
    expect(done.stderr).toContain("--weaker");
  });

  it("does when that is accepted, and calls that were not granted are refused there too", () => {
    expect(old("--weaker", "../app.spec")).toMatchObject({ status: 0, stdout: "b\na\n" });
    const denied = old("--weaker", "--supervise=always", "../app.spec", "--", "cat", "other");
    expect(denied.status).toBe(1);
    expect(denied.stderr).toContain("refused read");
  });
});

describe("specs of two versions of a program", TIMEOUT, () => {
  /** As a pull request's: the spec of the main branch, and the one that is recorded anew. */
  const compared = (...command: string[]) => {
    const before = text("app.spec");
    writeFileSync(join(place.base, "before.spec"), before);
    place.learn(...command);
    const done = place.trace("spec", "diff", "--format=md", "../before.spec", "../app.spec");
    writeFileSync(join(place.base, "app.spec"), before);
    return done;
  };

  it("are equal when it does the same", () => {
    expect(compared("cat", "words").status).toBe(0);
    expect(compared("cat", "-u", "./words").status).toBe(0);
  });

  it("differ by the file that one more reads, with exit code 1", () => {
    const wider = compared("cat", "words", "other");
    expect(wider.status).toBe(1);
    expect(wider.stdout).toContain("wider");
    expect(wider.stdout).toContain("read $PWD/other");
  });

  it("are refused when a newer version wrote one of them", () => {
    writeFileSync(
      join(place.base, "new.spec"),
      text("app.spec").replace(/traceSpec: \d+/, "traceSpec: 9"),
    );
    for (const words of [
      ["diff", "../app.spec", "../new.spec"],
      ["run", "../new.spec"],
      ["check", "../new.spec", "../base.trace"],
    ]) {
      const done = place.trace("spec", ...words);
      expect(done.status, words.join(" ")).toBeGreaterThan(1);
      expect(done.stderr).toContain("version 9");
    }
  });
});
