/** A test for each fixture program of a set: recorded once, replayed where nothing of it is left. */

import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  buildFixtures,
  type FixtureSet,
  type Fixtures,
  fixtureNames,
} from "../support/fixtures.js";
import {
  difference,
  isDesync,
  leave,
  makePlace,
  mannerOf,
  recordCopy,
  refusal,
  replay,
} from "./faithful.js";
import { REFUSED, REPEATED, UNSEEN } from "./refused.js";

const TIMEOUT_MS = 60_000;

/** How often each recording is replayed: more often with `npm run replay:table -- --fixtures`. */
const REPLAYS = Number(process.env.REPLAYS ?? 1);

/** The half of the set `replay` that is about threads, processes and memory: two test files run at the same time. */
export const isOfTasks = (name: string): boolean => /^(thr|proc|mem)_/.test(name);

/** @param wanted which programs of the set; all that no other test file takes */
export function proveReplay(set: FixtureSet, wanted: (name: string) => boolean = () => true): void {
  let built: Fixtures;
  beforeAll(() => {
    built = buildFixtures(set);
  }, 180_000);

  describe(`fixtures/${set}: replays are what the recording was`, () => {
    for (const [number, name] of fixtureNames(set).filter(wanted).entries()) {
      it(
        name,
        async ({ skip }) => {
          skip(!built.names.includes(name), "its compiler is not installed here");
          await recordAndReplay(join(built.dir, name), name, number);
        },
        TIMEOUT_MS * (1 + REPLAYS),
      );
    }
  });
}

async function recordAndReplay(program: string, name: string, number: number): Promise<void> {
  const place = makePlace();
  try {
    const recording = await recordCopy(place, program, TIMEOUT_MS);
    const { ended, stderr } = recording.outcome;
    // A fixture that checks itself ends with 0; what it says otherwise is on stderr.
    expect({ ended, said: ended === "exit 0" ? "" : stderr.toString() }).toEqual({
      ended: "exit 0",
      said: "",
    });
    for (let k = 0; k < REPLAYS; k++) {
      const { repeated, ...replayed } = await replay(recording, mannerOf(number + k), TIMEOUT_MS);
      const reason = REFUSED.get(name);
      if (
        UNSEEN.get(name)?.test(refusal(replayed) ?? "") ||
        (UNSEEN.has(name) && isDesync(replayed))
      )
        continue;
      if (!REPEATED.has(name)) expect(repeated).toBeUndefined();
      if (reason === undefined) expect(difference(recording.outcome, replayed)).toBeUndefined();
      else expect(refusal(replayed) ?? "it is replayed").toMatch(reason);
    }
  } finally {
    leave(place);
  }
}
