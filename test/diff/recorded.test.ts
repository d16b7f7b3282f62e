/** A few of the programs and planted changes of the tables, really recorded. `npm run diff:same` and `diff:seeded` run all. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { diff } from "../../src/diff/diff.js";
import { lacking } from "../support/tools.js";
import { PROGRAMS } from "./programs.js";
import { leave, makePlace, type Place, prepare, record } from "./recording.js";
import { compareRuns } from "./same.js";
import { trySeed } from "./seeded.js";
import { SEEDS } from "./seeds.js";

const LIMIT = 120_000;

describe("the same program twice is the same", () => {
  const chosen = [
    "ls -lR",
    "python3 with threads and a child",
    "gcc -O2 -c",
    "sh pipeline",
    "perl, fork and wait",
  ];
  for (const program of PROGRAMS.filter(({ name }) => chosen.includes(name))) {
    it.skipIf(program.needs.some(lacking))(program.name, { timeout: LIMIT }, async () => {
      const { reports } = await compareRuns(program, 1, []);
      expect(reports).toEqual([]);
    });
  }
});

describe("the first cause names what was changed", () => {
  const chosen = [
    ...[
      "an environment variable",
      "a missing file",
      "a slower fsync",
      "a dropped fsync",
      "a swapped library",
    ],
    ...["a race in a thread pool", "data at the far end of a pipe", "an option"],
  ];
  for (const seed of SEEDS.filter(({ name }) => chosen.includes(name))) {
    it.skipIf((seed.needs ?? []).some(lacking))(seed.name, { timeout: LIMIT }, async () => {
      const { result, named } = await trySeed(seed);
      expect(result?.verdict).toBe("different");
      expect(named, result?.firstCause?.summary).toBe(true);
    });
  }
});

describe("two recordings of one program", () => {
  let place: Place;
  beforeAll(() => {
    place = makePlace();
    prepare(place, "mkdir -p ann bob && for p in ann bob; do echo a > $p/in.txt; done");
  });
  afterAll(() => leave(place));

  it("are the same at two places of two users", { timeout: LIMIT }, async () => {
    const run = (user: string) => {
      const home = `${place.work}/${user}`;
      const env = { HOME: home, USER: user, LOGNAME: user };
      const script =
        'cp in.txt "$HOME/out.txt"; pwd > where; echo "$USER at $HOME" >> where; cat where';
      return record(place, user, { argv: ["sh", "-c", script], cwd: home, env });
    };
    const result = await diff(await run("ann"), await run("bob"));
    expect(result.differences).toEqual([]);
    expect(result.maps.map(({ what }) => what)).toEqual(
      expect.arrayContaining(["working directory", "user"]),
    );
  });

  it("are the same with --observe and without", { timeout: LIMIT }, async () => {
    const spec = { argv: ["sh", "-c", "cat in.txt | wc -l; ls"], cwd: `${place.work}/ann` };
    const a = await record(place, "replayable", spec);
    const b = await record(place, "observed", { ...spec, options: ["--observe"] });
    const result = await diff(a, b);
    expect(result.differences).toEqual([]);
    expect(result.notes.join()).toMatch(/threads took turns in A only/);
  });

  it("without data compare all but the data", { timeout: LIMIT }, async () => {
    const spec = { argv: ["cat", "in.txt"], cwd: `${place.work}/ann` };
    const a = await record(place, "with", spec);
    const b = await record(place, "without", { ...spec, options: ["--observe", "--data=paths"] });
    const result = await diff(a, b);
    expect(result.differences).toEqual([]);
    expect(result.notes.join()).toMatch(/not all recorded/);
  });
});
