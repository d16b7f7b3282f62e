import { describe, expect, it } from "vitest";
import { ProcessGroups } from "../../src/spec/groups.js";

/** Processes 1, 2, ... with the numbers 101, 102, ... of the system. */
function groups(count: number): ProcessGroups {
  return new ProcessGroups(
    Array.from({ length: count }, (_, k) => ({ number: k + 1, pid: 101 + k })),
  );
}

describe("a process group", () => {
  it("has those that joined it, and what they have forked", () => {
    const found = groups(4);
    found.fork(1, 2);
    found.join(1, 102, 102);
    found.fork(2, 3);
    found.fork(1, 4);
    found.join(1, 104, 102);
    expect(found.members(102)).toEqual([2, 3, 4]);
    found.join(4, 0, 0);
    expect(found.members(102)).toEqual([2, 3]);
    expect(found.members(104)).toEqual([4]);
  });

  it("keeps one that has ended until it is waited for", () => {
    const found = groups(2);
    found.lead(1);
    found.fork(1, 2);
    expect(found.members(101)).toEqual([1, 2]);
    found.waitedFor(102);
    expect(found.members(101)).toEqual([1]);
  });

  it("of whoever started the recording is nobody's", () => {
    const found = groups(2);
    found.fork(1, 2);
    expect(found.members(101)).toEqual([]);
  });
});
