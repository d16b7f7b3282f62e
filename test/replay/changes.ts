/** Changes of events of a recording, as text, by which its replay is put to the test. */

import type { TextEvent } from "./support.js";

const hex = (value: bigint) => `0x${BigInt.asUintN(64, value).toString(16)}`;

/** One change of one event, in place; false when the event has nothing of that sort. */
export type Change = (event: TextEvent, pick: number, events: TextEvent[]) => boolean;

export const changes: Readonly<Record<string, Change>> = {
  "taken out": (event, _, events) => events.splice(events.indexOf(event), 1).length === 1,
  "swapped with the next": (event, _, events) => {
    const at = events.indexOf(event);
    const [next] = events.splice(at + 1, 1);
    if (next === undefined) return false;
    events.splice(at, 0, next);
    return true;
  },
  result: ({ kind, fields }, pick) => {
    if (kind !== "call") return false;
    const delta = [1n, -1n, 4096n, -4096n, 1n << 32n][pick % 5] ?? 1n;
    const ret = BigInt(fields.ret ?? 0) + delta;
    fields.ret = String(ret);
    fields.flags = String((Number(fields.flags) & ~8) | (ret < 0n && ret > -4096n ? 8 : 0));
    return true;
  },
  argument: ({ fields }, pick) => {
    const args = (fields.args ?? "").split(",").filter((word) => word !== "");
    if (args.length === 0) return false;
    const at = pick % args.length;
    args[at] = hex(BigInt(args[at] ?? 0) ^ (1n << BigInt(pick % 40)));
    fields.args = args.join(",");
    return true;
  },
  number: ({ kind, fields }, pick) => {
    if (kind !== "call") return false;
    fields.code = String((Number(fields.code) + 1 + (pick % 300)) % 330);
    return true;
  },
  place: ({ fields }, pick) => {
    const column = pick % 2 === 0 ? "ip" : "sp";
    fields[column] = hex(BigInt(fields[column] ?? 0) ^ (1n << BigInt(pick % 48)));
    return true;
  },
  memory: (event, pick) => {
    const captures = event.more.filter((line) => line.includes('"'));
    const line = captures[pick % Math.max(1, captures.length)];
    if (line === undefined) return false;
    const start = line.indexOf('"') + 1;
    const bytes = line.slice(start, -1).match(/\\x..|\\.|[^\\]/g) ?? [];
    if (bytes.length === 0) return false;
    bytes[pick % bytes.length] = bytes[pick % bytes.length] === "A" ? "B" : "A";
    event.more[event.more.indexOf(line)] = `${line.slice(0, start)}${bytes.join("")}"`;
    return true;
  },
};
