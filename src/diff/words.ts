/** Differences in a sentence. */

import { baseName } from "../report/path.js";
import { fromDifference } from "../report/text.js";
import { shellCommand } from "../tree/shell.js";
import type { Aspect, Difference, LoneProcess, ProcessRef } from "./result.js";

/** `p3 gcc -c x.c`; `p3 (p4 in B)` where the numbers differ. */
export function processText({ a, b, command }: ProcessRef): string {
  const number =
    a === undefined ? `${b} of B` : b === undefined || a === b ? a : `${a} (${b} in B)`;
  const words = shellCommand(command.slice(0, 1).map(baseName).concat(command.slice(1)));
  return `${number} ${words.length > 48 ? `${words.slice(0, 45)}...` : words}`.trimEnd();
}

export function lonePhrase({ only, process, parent, path, paths }: LoneProcess): string {
  const what =
    process.command.length > 0 ? shellCommand(process.command) : path || "a copy of itself";
  const short = what.length > 100 ? `${what.slice(0, 97)}...` : what;
  const who = parent === undefined ? "" : `${processText(parent)} `;
  const later = paths.length > 1 ? ` (then ${paths.slice(1).map(baseName).join(", ")})` : "";
  return `${who}starts ${short}${later} only in ${only.toUpperCase()}`;
}

function quoted(text: string | null): string {
  if (text === null) return "nothing";
  return text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED - 3)}...` : text;
}

const MOST_QUOTED = 80;

/** `5 in A, 6 in B`. */
export function inBoth({ a, b }: Pick<Aspect, "a" | "b">): string {
  const [one, other] = a === null || b === null ? [a, b] : fromDifference(a, b, MOST_QUOTED);
  return `${quoted(one)} in A, ${quoted(other)} in B`;
}

const READS: Readonly<Record<string, string>> = {
  read: "reads other bytes from",
  pread: "reads other bytes from",
  receive: "receives other bytes on",
  list: "finds other entries in",
  readlink: "finds another target of",
};

const WRITES: Readonly<Record<string, string>> = {
  write: "writes other bytes to",
  pwrite: "writes other bytes to",
  send: "sends other bytes on",
};

/** What differs, without the process. */
export function phrase(one: Difference): string {
  const { kind, aspects } = one;
  if (kind === "added" || kind === "removed") {
    const errno = aspects.find(({ what }) => what === "errno");
    const failed = errno === undefined ? "" : ` (${errno.a ?? errno.b})`;
    return `${callText(one)}${failed} only in ${kind === "added" ? "B" : "A"}`;
  }
  if (kind === "moved") return `${callName(one)} comes at another place among other calls`;
  if (kind === "time") {
    const [aspect] = aspects;
    return `${callName(one)} takes ${aspect?.a} in A, ${aspect?.b} in B`;
  }
  return changed(one);
}

function changed(one: Difference): string {
  const { verb, object, aspects } = one;
  const errno = aspects.find(({ what }) => what === "errno");
  if (errno !== undefined) {
    return `${callName(one)} gives ${errno.a} in A, ${errno.b} in B`;
  }
  if (verb === "exec") return startText(aspects);
  if (verb === "end") return `ends with ${aspects[0]?.a} in A, ${aspects[0]?.b} in B`;
  if (verb === "image")
    return `the file ${object} is another one (contents ${aspects[0]?.a} in A, ${aspects[0]?.b} in B)`;
  if (aspects.some(({ what }) => what === "data")) {
    return `${READS[verb] ?? WRITES[verb] ?? `moves other bytes by ${verb} with`} ${object}`;
  }
  const [first] = aspects;
  const more = aspects.length > 1 ? ` and ${aspects.length - 1} more` : "";
  const what = first?.what.replace(/^.*\.(?:stx?_)?/, "") ?? "";
  return `${callName(one)}: ${what} is ${inBoth(first ?? { a: null, b: null })}${more}`;
}

/** Of two values that differ and are masked. */
export const ANOTHER_SECRET = "another one, masked here (--show-secrets)";

function startText(aspects: readonly Aspect[]): string {
  const parts = aspects.slice(0, 3).map(({ what, a, b }) => {
    if (a === null) return `${what} ${quoted(b)} only in B`;
    if (b === null) return `${what} ${quoted(a)} only in A`;
    if (a === b) return `${what} is ${ANOTHER_SECRET}`;
    return `${what} is ${inBoth({ a, b })}`;
  });
  const more = aspects.length > 3 ? `, and ${aspects.length - 3} more` : "";
  return `is started otherwise: ${parts.join("; ")}${more}`;
}

function callText(one: Difference): string {
  const { opens } = one;
  const how = opens === undefined || opens === "read" ? "" : ` to ${opens}`;
  return callName(one) + how;
}

/** What is called, and on what: `stat /etc/hosts`, `prlimit64 RLIMIT_NOFILE`, `sync`. */
function callName({ verb, object, about = "" }: Difference): string {
  return [verbText(verb), object || about].filter((word) => word !== "").join(" ");
}

const NAMES: Readonly<Record<string, string>> = {
  end: "the end",
  image: "mapping",
  exec: "start of",
  list: "listing",
  fork: "starting a process",
};

function verbText(verb: string): string {
  return NAMES[verb] ?? verb;
}

/** How much a difference tells: 0 most. Ends and starts, results that changed, what was written; last what only looks. */
export function weightOf({ kind, verb, aspects, opens }: Difference): number {
  const isSole = kind === "added" || kind === "removed";
  if (verb === "end") return 0;
  if (verb === "exec" || verb === "image") return 1;
  if (aspects.some(({ what }) => what === "errno")) return isSole ? 7 : 2;
  if (kind === "changed" || kind === "time") return 3;
  if (["write", "pwrite", "send", "unlink", "rename", "connect", "fsync"].includes(verb)) return 3;
  if (opens !== undefined) return opens === "read" ? 5 : 4;
  return ["close", "fcntl", "lseek", "ioctl", "map", "stat", "access", "readlink"].includes(verb)
    ? 6
    : 5;
}

/** Weight from which on a difference is not worth a sentence of its own. */
export const QUIET = 6;
