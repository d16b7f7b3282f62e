import { totalmem } from "node:os";
import { describe, expect, it } from "vitest";
import { databaseMemory, memoryBound } from "../../src/sql/limits.js";

function files(all: Readonly<Record<string, string>>): (path: string) => string | undefined {
  return (path) => all[path];
}

describe("memory", () => {
  it("is bounded by the group, and by those that it is in", () => {
    const read = files({
      "/proc/self/cgroup": "0::/a/b\n",
      "/sys/fs/cgroup/a/b/memory.max": "max\n",
      "/sys/fs/cgroup/a/memory.max": "536870912\n",
    });
    expect(memoryBound(read)).toBe(536_870_912);
  });

  it("is bounded by groups of version 1, and by what a container sees as the root", () => {
    const read = files({
      "/proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/1\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
    });
    expect(memoryBound(read)).toBe(268_435_456);
  });

  it("is that of the machine without a bound, or with one beyond it", () => {
    expect(memoryBound(files({}))).toBe(totalmem());
    const unlimited = files({
      "/proc/self/cgroup": "4:memory:/\n0::/\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
      "/sys/fs/cgroup/memory.max": "garbage",
    });
    expect(memoryBound(unlimited)).toBe(totalmem());
  });

  it("is shared with others", () => {
    expect(databaseMemory(2 ** 30)).toBe(2 ** 27);
    expect(databaseMemory(2 ** 33)).toBe(2 ** 30);
    expect(databaseMemory(2 ** 40)).toBe(2 ** 32);
  });
});
