/** How much authority a spec gives, counted: granted against used, per role and against one profile for the whole tree. */

import { type Dirent, readdirSync } from "node:fs";
import { type Grant, isPathVerb, type Role, SOCKET_VERBS, type Spec } from "./model.js";
import { PathPattern, plainPath, subtreeOf } from "./object.js";
import { isSecret } from "./places.js";
import { expanded, type Tokens } from "./tokens.js";

export interface RoleMetrics {
  readonly role: string;
  /** Files that grants name, and what patterns match now. */
  readonly filesGranted: number;
  readonly filesUsed: number;
  readonly portsGranted: number;
  readonly portsUsed: number;
  readonly callsGranted: number;
  readonly callsUsed: number;
  /** Secrets that it may read. */
  readonly secrets: readonly string[];
  /** Whether it may reach the network (anything but unix sockets). */
  readonly network: boolean;
}

export interface SpecMetrics {
  readonly roles: readonly RoleMetrics[];
  /** Grants over all roles, and what they would be if each had the union. */
  readonly grants: number;
  readonly grantsAsOneProfile: number;
}

/** Most names that one pattern is counted to. */
const MAX_COUNTED = 50_000;

export function specMetrics(spec: Spec, tokens: Tokens): SpecMetrics {
  const union = new Set(spec.roles.flatMap(({ grants }) => grants.map(keyOf)));
  return {
    roles: spec.roles.map((role) => roleMetrics(role, tokens)),
    grants: spec.roles.reduce((sum, { grants }) => sum + grants.length, 0),
    grantsAsOneProfile: union.size * spec.roles.length,
  };
}

function keyOf({ verb, object }: Grant): string {
  return `${verb} ${object}`;
}

function roleMetrics(role: Role, tokens: Tokens): RoleMetrics {
  const files = role.grants.filter(({ verb }) => isPathVerb(verb));
  const objects = [...new Set(files.map(({ object }) => expanded(object, tokens)))];
  const sockets = role.grants.filter(({ verb }) => SOCKET_VERBS.has(verb));
  const calls = role.grants.filter(({ verb }) => verb === "syscall");
  const ports = [...new Set(sockets.map(({ object }) => object))];
  const readable = files.filter(({ verb }) => verb === "read" || verb === "exec");
  const secrets = readable.map(({ object }) => expanded(object, tokens)).filter(isSecret);
  return {
    role: role.name,
    filesGranted: objects.reduce((sum, object) => sum + matching(object), 0),
    filesUsed: new Set(files.filter(isUsed).map(({ object }) => object)).size,
    portsGranted: ports.reduce((sum, object) => sum + portsOf(object), 0),
    portsUsed: new Set(sockets.filter(isUsed).map(({ object }) => object)).size,
    callsGranted: calls.length,
    callsUsed: calls.filter(isUsed).length,
    secrets: [...new Set(secrets)],
    network: sockets.some(({ object }) => !object.startsWith("unix:")),
  };
}

function isUsed({ count }: Grant): boolean {
  return (count ?? 0) > 0;
}

function portsOf(object: string): number {
  return object.startsWith("unix:") || !object.endsWith(":*") ? 1 : 65_535;
}

/** How many names the object stands for now. */
function matching(object: string): number {
  if (plainPath(object) !== undefined) return 1;
  const fixed = object.slice(0, object.search(/(?<!\\)[*]|@\{pid\}/));
  const directory = fixed.slice(0, fixed.lastIndexOf("/")) || "/";
  return Math.max(
    1,
    countBelow(directory, new PathPattern(object), subtreeOf(object) !== undefined),
  );
}

function countBelow(directory: string, pattern: PathPattern, isTree: boolean): number {
  let count = 0;
  let looked = 0;
  const waiting = [directory];
  for (let next = waiting.pop(); next !== undefined && looked < MAX_COUNTED; next = waiting.pop()) {
    for (const entry of entriesOf(next)) {
      const path = `${next === "/" ? "" : next}/${entry.name}`;
      looked++;
      if (pattern.matches(path)) count++;
      if (
        entry.isDirectory() &&
        (isTree || pattern.object.split("/").length > path.split("/").length)
      ) {
        waiting.push(path);
      }
    }
  }
  return count;
}

function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}
