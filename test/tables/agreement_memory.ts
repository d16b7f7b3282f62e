/** Tables `map` and `elf` against lines of show. */

import { expect } from "vitest";
import type { ShownEvent } from "../support/shown.js";
import { type Descriptor, isOk, procOf } from "./lines.js";
import { readTable, withTrace } from "./support.js";

const joined = (names: unknown) => (Array.isArray(names) ? names.join("|") : names);

/** What a mapping is: who has it, where it is from, where it begins, how long it is, what may be done with it, of what. */
type Mapping = readonly unknown[];

/** Every mmap that succeeded, and the code that the kernel mapped by itself. */
function mappingsOf(lines: readonly ShownEvent[]): Mapping[] {
  const last = new Map<string, bigint>();
  return lines.flatMap((line): Mapping[] => {
    const process = procOf(line);
    if (line.kind === "map") {
      // Tables have 64-bit values with a sign.
      const base = BigInt.asIntN(64, BigInt(line.base ?? 0));
      if (last.get(process) === base) return [];
      const prot = joined(line.prot);
      return [[line.seq, process, "exec", base, line.length, prot, line.path, line.offset]];
    }
    if (line.call !== "mmap" || !isOk(line)) return [];
    const { len, prot, fd, off } = line.args ?? {};
    const base = BigInt.asIntN(64, BigInt(line.ret ?? 0));
    const { path } = fd as Descriptor;
    last.set(process, base);
    const offset = path === undefined ? undefined : off;
    return [[line.seq, process, "mmap", base, len, joined(prot), path, offset]];
  });
}

export async function compareMemory(file: string, lines: readonly ShownEvent[]): Promise<void> {
  await withTrace(file, async (trace) => {
    const rows = await readTable(trace, "map");
    expect(
      rows.map((row) => [
        ...[row.seq, row.proc, row.source, BigInt(row.base as number | bigint)],
        ...[row.length, row.prot, row.path, row.offset],
      ]),
    ).toEqual(mappingsOf(lines));
    const images = new Map<string, ShownEvent[]>();
    for (const line of lines) {
      if (line.kind !== "map") continue;
      images.set(line.path ?? "", [...(images.get(line.path ?? "") ?? []), line]);
    }
    const elves = await readTable(trace, "elf");
    expect(
      elves.map((row) => [row.path, row.build_id, row.first_seq, row.first, row.maps, row.procs]),
    ).toEqual(
      [...images].map(([path, all]) => {
        const [first] = all;
        const processes = new Set(all.map(procOf));
        const id = first?.buildId ?? undefined;
        return [path, id, first?.seq, first?.time, all.length, processes.size];
      }),
    );
  });
}
