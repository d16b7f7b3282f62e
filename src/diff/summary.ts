/** Differences by what people ask first: files, programs, addresses, starts, counts. */

import type { Canonical } from "./canon/canonical.js";
import type {
  Aspect,
  CountChange,
  Difference,
  FileChange,
  NetChange,
  ProcessRef,
} from "./result.js";

export const FILE_VERBS: Readonly<Record<string, FileChange["what"]>> = {
  read: "read",
  pread: "read",
  stat: "looked for",
  access: "looked for",
  list: "read",
  write: "written",
  pwrite: "written",
  copy: "written",
  truncate: "written",
  ftruncate: "written",
  fsync: "written",
  chmod: "written",
  chown: "written",
  utime: "written",
  unlink: "deleted",
  rename: "renamed",
  link: "created",
  symlink: "created",
  mkdir: "created",
  mknod: "created",
  image: "mapped",
  map: "mapped",
  exec: "executed",
};

export const OPENS = { read: "read", write: "written", create: "created" } as const;
/** The most telling first. */
const ORDER = [
  "deleted",
  "renamed",
  "created",
  "written",
  "executed",
  "mapped",
  "read",
  "looked for",
] as const;

export function isMoreTelling(one: FileChange["what"], other: FileChange["what"]): boolean {
  return ORDER.indexOf(one) < ORDER.indexOf(other);
}

/** Files that differ, and those that only processes touched that one trace has alone. */
export function filesOf(
  differences: readonly Difference[],
  lone: readonly FileChange[],
): FileChange[] {
  const found = new Map<string, FileChange>();
  const put = (change: FileChange): void => {
    const known = found.get(change.path);
    const isMore = known === undefined || isMoreTelling(change.what, known.what);
    const only = known === undefined || known.only === change.only ? change.only : "both";
    const base = known !== undefined && !isMore ? known : change;
    found.set(change.path, { ...base, only, note: known?.note || change.note });
  };
  for (const one of differences) {
    const change = fileChange(one);
    if (change !== undefined) put(change);
  }
  for (const change of lone) put(change);
  const all = [...found.values()];
  return all.sort(
    (x, y) => ORDER.indexOf(x.what) - ORDER.indexOf(y.what) || (x.path < y.path ? -1 : 1),
  );
}

function fileChange(one: Difference): FileChange | undefined {
  const { kind, verb, object, opens, aspects, a, b } = one;
  if (!object.startsWith("/") || kind === "time" || kind === "moved") return undefined;
  // How a program was started is told with the programs.
  if (verb === "exec" && kind === "changed") return undefined;
  const failed = aspects.some(({ what }) => what === "errno");
  const plain = opens === undefined ? FILE_VERBS[verb] : OPENS[opens];
  const what = failed && kind !== "changed" ? "looked for" : plain;
  if (what === undefined) return undefined;
  const only = kind === "added" ? "b" : kind === "removed" ? "a" : "both";
  const path = object.split(", ")[0] ?? object;
  return { path, what, only, a: a?.seq, b: b?.seq, note: noteOf(aspects) };
}

function noteOf(aspects: readonly Aspect[]): string {
  const parts = aspects.slice(0, 2).map(({ what, a, b }) => {
    const name = what.replace(/^.*\.(?:stx?_)?/, "");
    return a === null || b === null ? "" : `${name} ${short(a)} -> ${short(b)}`;
  });
  return parts.filter((part) => part !== "").join(", ");
}

function short(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}

export const NET_VERBS: ReadonlySet<string> = new Set(["connect", "bind", "accept", "send"]);

/** The address in the name of what a call speaks to; undefined where it has none. */
export function addressOf(object: string): string | undefined {
  const address = object.split(", ").at(-1) ?? object;
  return /^(?:\d|\[|\/|@)/.test(address) ? address : undefined;
}

/** Addresses that differ, and those to which only processes spoke that one trace has alone. */
export function netOf(
  differences: readonly Difference[],
  lone: readonly NetChange[],
): readonly NetChange[] {
  const found = new Map<string, NetChange>();
  const put = (change: NetChange): void => {
    const key = `${change.what} ${change.address} ${change.only}`;
    if (!found.has(key)) found.set(key, change);
  };
  for (const { verb, object, kind, a, b } of differences) {
    if (!NET_VERBS.has(verb) || kind === "time" || kind === "moved") continue;
    const address = addressOf(object);
    if (address === undefined) continue;
    const only = kind === "added" ? "b" : kind === "removed" ? "a" : "both";
    put({ address, what: verb, only, a: a?.seq, b: b?.seq });
  }
  for (const change of lone) put(change);
  return [...found.values()];
}

export function startsOf(
  differences: readonly Difference[],
): { readonly process: ProcessRef; readonly aspects: readonly Aspect[] }[] {
  const told = new Set<string>();
  const found: { process: ProcessRef; aspects: readonly Aspect[] }[] = [];
  for (const { verb, kind, process, aspects } of differences) {
    if (verb !== "exec" || kind !== "changed") continue;
    // Children inherit the environment: the same change is told once.
    const fresh = aspects.filter(({ what, a, b }) => !told.has(`${what}=${a}=${b}`));
    for (const { what, a, b } of fresh) told.add(`${what}=${a}=${b}`);
    if (fresh.length > 0) found.push({ process, aspects: fresh });
  }
  return found;
}

/** Calls that differ by a fifth and by so many, and the time of the whole. */
const LEAST_CALLS = 200;
const SHARE = 0.2;
const LEAST_NANOS = 100_000_000;

export function countsOf(c: Canonical): CountChange[] {
  const totals = ([c.a, c.b] as const).map(({ canon }) => {
    const calls = new Map<string, number>();
    for (const process of canon.processes.values()) {
      for (const [name, count] of process.calls) calls.set(name, (calls.get(name) ?? 0) + count);
    }
    return calls;
  });
  const found: CountChange[] = [];
  const [a, b] = totals;
  for (const what of new Set([...(a?.keys() ?? []), ...(b?.keys() ?? [])])) {
    const [one, other] = [a?.get(what) ?? 0, b?.get(what) ?? 0];
    if (Math.abs(one - other) < Math.max(LEAST_CALLS, SHARE * Math.min(one, other))) continue;
    found.push({ what, a: one, b: other, unit: "calls" });
  }
  found.sort((x, y) => Math.abs(y.a - y.b) - Math.abs(x.a - x.b));
  const [timeA, timeB] = [c.a.canon.trace.duration, c.b.canon.trace.duration];
  if (Math.abs(timeA - timeB) >= Math.max(LEAST_NANOS, SHARE * Math.min(timeA, timeB))) {
    found.unshift({ what: "whole run", a: timeA, b: timeB, unit: "ns" });
  }
  return found.slice(0, 12);
}
