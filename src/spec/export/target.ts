/**
 * What an exporter is: a spec in, a file of another tool out, and for each grant whether that tool keeps it. Nothing is
 * translated in silence: what a format cannot say is either given more widely than it was granted, or not at all.
 */

import { dirname } from "node:path";
import type { Grant, Role, Spec } from "../model.js";
import { plainPath, type SocketAddress, subtreeOf } from "../object.js";
import { expanded, type Tokens } from "../tokens.js";

/** `kept`: exactly this; `widened`: this and more; `lost`: the format does not speak of it, so that nothing holds it there. */
export type Verdict = "kept" | "widened" | "lost";

export interface Judged {
  readonly role: string;
  readonly grant: Grant;
  readonly verdict: Verdict;
  /** What is given instead, or why it is not there. */
  readonly note?: string;
}

export interface Exported {
  /** Content of the file. */
  readonly text: string;
  readonly judged: readonly Judged[];
  /** What whoever uses the file has to know. */
  readonly remarks: readonly string[];
}

export interface ExportOptions {
  readonly tokens: Tokens;
  /** Runtime whose own calls have to pass a seccomp profile: `runc`, `crun` or `none`. */
  readonly base: string;
  /** Name of the profile or unit. */
  readonly name: string;
  /** Names of syscalls that the target's own table has; undefined: it is not installed here. */
  readonly known: ReadonlySet<string> | undefined;
}

export interface Target {
  readonly name: string;
  readonly summary: string;
  /** Whether the tool can hold each program of the tree to its own grants. */
  readonly perRole: boolean;
  export(spec: Spec, options: ExportOptions): Exported;
}

/** What one format makes of one grant. */
export type Judge = (grant: Grant, role: Role) => readonly [Verdict, note?: string];

export function judgeAll(spec: Spec, judge: Judge): Judged[] {
  return spec.roles.flatMap((role) =>
    role.grants.map((grant) => {
      const [verdict, note] = judge(grant, role);
      return { role: role.name, grant, verdict, ...(note !== undefined && { note }) };
    }),
  );
}

/** For formats with one profile for the whole tree. */
export function unionRemark(spec: Spec): string[] {
  const { length } = spec.roles;
  return length > 1
    ? [`one profile for ${length} programs: each gets what any of them was granted`]
    : [];
}

/** Calls of all roles, without those that have argument rules only. */
export function callsOf(spec: Spec): string[] {
  const names = new Set<string>();
  for (const { grants } of spec.roles) {
    for (const { verb, object } of grants) {
      if (verb === "syscall" && !object.includes("(")) names.add(object);
    }
  }
  return [...names].sort();
}

/** Kinds of sockets that any role may make: `inet,stream,tcp`. */
export function socketKinds(spec: Spec): string[] {
  const kinds = new Set<string>();
  for (const { grants } of spec.roles) {
    for (const { verb, object } of grants) {
      const inner = /^socket\((.*)\)$/.exec(object)?.[1];
      if (verb === "syscall" && inner !== undefined) kinds.add(inner);
    }
  }
  return [...kinds].sort();
}

export interface PathUse {
  /** Expanded; no pattern: what stands for it in formats without patterns. */
  readonly path: string;
  /** The grant's object was wider or another one. */
  readonly isExact: boolean;
  readonly isTree: boolean;
}

/** A path for formats that know only files and whole directories. */
export function pathUse(object: string, tokens: Tokens): PathUse {
  const own = expanded(object, tokens);
  const tree = subtreeOf(own);
  const plain = plainPath(tree ?? own);
  if (plain !== undefined) return { path: plain, isExact: true, isTree: tree !== undefined };
  const at = own.search(/(?<!\\)\*|@\{pid\}/);
  const fixed = own.slice(0, at);
  const path = plainPath(fixed.slice(0, Math.max(1, fixed.lastIndexOf("/")))) ?? "/";
  return { path, isExact: false, isTree: true };
}

/** The host, which may be an address of IPv4 in the form of IPv6: what is sent there is IPv4. */
export function sentTo({ host }: SocketAddress): string {
  return /^::ffff:(\d+(?:\.\d+){3})$/.exec(host)?.[1] ?? host;
}

/** Every path once, shortest first: what stands below another comes behind it. */
export function inOrder(paths: Iterable<string>): string[] {
  return [...new Set(paths)].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
}

/** Whether one of the others is a directory that it stands in, near or far; the root is none. */
export function isBelow(path: string, others: ReadonlySet<string>): boolean {
  for (let at = dirname(path); at !== "/"; at = dirname(at)) if (others.has(at)) return true;
  return false;
}

/** Those of ASCII: formats that refuse control characters read names byte by byte. */
export const ASCII_CONTROL = /[^\P{Cc}\u0080-\u009f]/gu;

/** Shared libraries and addons of Node.js, which are mapped for execution. */
export function isLibrary(path: string): boolean {
  return /\.(?:so(?:\.\w+)*|node)$/.test(path);
}
