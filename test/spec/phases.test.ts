import { describe, expect, it } from "vitest";
import type { Observed } from "../../src/spec/collect.js";
import { INIT, PhaseTracker, SERVE } from "../../src/spec/phases.js";

const MAIN = 0;
const BOTH = INIT | SERVE;

/** The phases of one access by each thread that is named, in the order of `steps`. */
function phasesOf(...steps: ((tracker: PhaseTracker) => PhaseTracker | undefined)[]): number[] {
  const accesses: Observed[] = [];
  let tracker = new PhaseTracker();
  for (const step of steps) {
    const next = step(tracker);
    if (next !== undefined) tracker = next;
    else if (tracker.current >= 0) {
      const seq = accesses.length * 10;
      const access: Observed = { verb: "read", object: "/x", count: 1, first: seq, phases: 0 };
      accesses.push(access);
      tracker.made(access, seq);
      tracker.current = -1;
    }
  }
  return accesses.map(({ phases }) => phases);
}

const by = (thread: number) => (tracker: PhaseTracker) => {
  tracker.current = thread;
  return undefined;
};
const accepts = (thread: number) => (tracker: PhaseTracker) => {
  tracker.serves(thread);
  return undefined;
};
/** `seq`: between the accesses, which have tens. */
const starts = (parent: number, thread: number, seq: number) => (tracker: PhaseTracker) => {
  tracker.thread(parent, thread, seq);
  return undefined;
};

describe("phases", () => {
  it("are before and behind the first connection, of a single thread", () => {
    expect(phasesOf(by(MAIN), accepts(MAIN), by(MAIN))).toEqual([INIT, SERVE]);
  });

  it("are both for connections themselves: more of them may come", () => {
    const tracker = new PhaseTracker();
    const accept: Observed = { verb: "accept", object: "tcp:*:80", count: 1, first: 0, phases: 0 };
    tracker.current = MAIN;
    tracker.made(accept, 0);
    tracker.serves(MAIN);
    expect(accept.phases).toBe(BOTH);
  });

  it("are both where another thread accepts meanwhile", () => {
    const steps = [by(MAIN), starts(MAIN, 1, 5), by(MAIN), by(1), accepts(1), by(MAIN), by(1)];
    expect(phasesOf(...steps)).toEqual([INIT, BOTH, INIT, BOTH, SERVE]);
  });

  it("are behind for threads that are started for a connection", () => {
    const steps = [by(MAIN), accepts(MAIN), starts(MAIN, 1, 5), by(1)];
    expect(phasesOf(...steps)).toEqual([INIT, SERVE]);
  });

  it("are those of whoever forks, and begin anew with another program", () => {
    const forks = (tracker: PhaseTracker) => tracker.fork(MAIN, 7);
    const runs = (tracker: PhaseTracker) => {
      tracker.exec();
      return undefined;
    };
    expect(phasesOf(accepts(MAIN), forks, by(7), runs, by(7))).toEqual([SERVE, INIT]);
    const beside = [starts(MAIN, 1, -1), accepts(1), forks, by(7)];
    expect(phasesOf(...beside)).toEqual([BOTH]);
  });
});
