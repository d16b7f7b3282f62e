/** Files whose time of last change a process found to be another one in the other run. */

import type { Value } from "../decode/value.js";
import { type Canonical, nameText } from "./canon/canonical.js";
import { NameKind } from "./canon/names.js";
import type { Explainer } from "./explain.js";
import type { ProcessRef } from "./result.js";
import { KERNEL_FILE } from "./rules.js";

export interface FileTime {
  readonly path: string;
  readonly a: string;
  readonly b: string;
}

/** Events that are looked at, and files that are told of: where more differ, all were made anew. */
const MOST_EVENTS = 4000;
const MOST_FILES = 3;

/** Empty when no file has another time, or too many have. */
export async function changedTimes(
  c: Canonical,
  explainer: Explainer,
  process: ProcessRef,
  beforeA: number,
): Promise<FileTime[]> {
  const a = await timesOf(c, explainer, "a", process.a, beforeA);
  if (a.size === 0) return [];
  const b = await timesOf(c, explainer, "b", process.b, Number.POSITIVE_INFINITY);
  const found: FileTime[] = [];
  for (const [path, one] of a) {
    const other = b.get(path);
    if (other !== undefined && other !== one) found.push({ path, a: one, b: other });
    if (found.length > MOST_FILES) return [];
  }
  return found;
}

/** By path: the time that the first stat of it gave. */
async function timesOf(
  c: Canonical,
  explainer: Explainer,
  key: "a" | "b",
  process: string | undefined,
  before: number,
): Promise<Map<string, string>> {
  const times = new Map<string, string>();
  const side = c[key];
  const { canon } = side;
  const number = Number(process?.slice(1) ?? 0);
  const stat = c.verbs.of("stat");
  let looked = 0;
  for (const thread of canon.infos.get(number)?.threads ?? []) {
    const stream = canon.streams[thread];
    for (let entry = 0; entry < (stream?.length ?? 0); entry++) {
      if (stream === undefined || stream.verb.at(entry) !== stat || stream.seq.at(entry) > before)
        continue;
      const name = stream.name.at(entry);
      if (canon.names.kind.at(name) !== NameKind.Path || ++looked > MOST_EVENTS) continue;
      const path = nameText(side, name);
      if (times.has(path) || KERNEL_FILE.test(path) || path.startsWith("/dev/")) continue;
      const time = await lastChange(explainer, key, stream.seq.at(entry));
      if (time !== undefined) times.set(path, time);
    }
  }
  return times;
}

type Fields = Extract<Value, { kind: "struct" }>["fields"];

/** Time of the last change of a file, as stat or statx gave it. */
async function lastChange(
  explainer: Explainer,
  key: "a" | "b",
  seq: number,
): Promise<string | undefined> {
  const row = await explainer.events[key].row(seq);
  const call = row && explainer.events[key].call(row);
  const status = call?.args.find(({ value }) => value.kind === "struct")?.value;
  if (status?.kind !== "struct") return undefined;
  const member = (of: Fields, name: string): number => {
    const value = of.find((field) => (field.key ?? field.name) === name)?.value;
    return value?.kind === "int" ? Number(value.value) : Number.NaN;
  };
  const mode = member(status.fields, "st_mode") || member(status.fields, "stx_mode");
  if ((mode & 0o170000) !== 0o100000) return undefined;
  const timestamp = status.fields.find(({ name }) => name === "stx_mtime")?.value;
  const [seconds, nanos] =
    timestamp?.kind === "struct"
      ? [member(timestamp.fields, "tv_sec"), member(timestamp.fields, "tv_nsec")]
      : [member(status.fields, "st_mtime"), member(status.fields, "st_mtime_nsec")];
  // What was changed during the run is no cause of it; files of /proc, under whatever name, come to be when they are asked for.
  const { startSeconds, startNanos } = explainer.events[key].side.canon.trace;
  const since = seconds - startSeconds || (nanos || 0) - startNanos;
  if (!(since <= 0)) return undefined;
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime())
    ? undefined
    : date.toISOString().slice(0, 19).replace("T", " ");
}
