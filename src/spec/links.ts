/**
 * Symbolic links on the way to what was used. Grants speak of the files themselves, whatever name led to them; where the tree of
 * files is made anew (`export/bwrap.ts`) programs still ask by the names that they know.
 */

import type { Link } from "./model.js";

/** Of these each sandbox has its own. */
const VIRTUAL = /^\/(?:proc|dev)(?:\/|$)/;

/**
 * Whether a name, as it was `given` and absolute, and the path that it led to tell of a link. Those of a merged /usr are everywhere.
 * `..` behind a link leads to another place than it seems to.
 */
export function isLink(given: string, named: string, path: string): boolean {
  if (path === named || path === `/usr${named}` || VIRTUAL.test(named)) return false;
  return !/[^/.][^/]*\/+\.\.(?:\/|$)/.test(given);
}

/**
 * Links that lead from all the names to their paths. Which directory on the way is the link is not in a recording: it is the one
 * nearest to the root about which several names agree and none disagrees, else the name itself. `objects`: what was used by its
 * own path.
 */
export function fewestLinks(
  seen: ReadonlyMap<string, string>,
  objects: Iterable<string>,
): readonly Link[] {
  const real = directoriesAbove(objects);
  // Where each directory of a name would lead, and how many names say so; undefined: not all agree.
  const targets = new Map<string, { to: string; count: number } | undefined>();
  for (const [name, to] of seen) {
    const shared = sharedEnd(name, to);
    for (let drop = 1; drop < name.split("/").length; drop++) {
      const above = withoutLast(name, drop);
      const target = drop <= shared ? withoutLast(to, drop) : undefined;
      const known = targets.has(above) ? targets.get(above) : { to: target ?? "", count: 0 };
      const agrees = target !== undefined && known?.to === target;
      targets.set(above, agrees ? { to: target, count: known.count + 1 } : undefined);
    }
  }
  const links = new Map<string, string>();
  for (const [name, to] of seen) {
    let [from, target] = [name, to];
    for (let drop = sharedEnd(name, to); drop > 0; drop--) {
      const above = withoutLast(name, drop);
      const led = targets.get(above);
      if (led === undefined || led.count < 2 || real.has(above) || !above.includes("/")) continue;
      [from, target] = [above, led.to];
      break;
    }
    links.set(from, target);
  }
  return [...links].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, to]) => ({ name, to }));
}

/** How many of the last names two paths have in common; of each, one is left at least. */
function sharedEnd(one: string, other: string): number {
  const [a, b] = [one.split("/"), other.split("/")];
  const most = Math.min(a.length, b.length) - 2;
  let count = 0;
  while (count < most && a.at(-1 - count) === b.at(-1 - count)) count++;
  return count;
}

function withoutLast(path: string, count: number): string {
  return path.split("/").slice(0, -count).join("/");
}

/** The objects themselves, and every directory above one. */
function directoriesAbove(objects: Iterable<string>): ReadonlySet<string> {
  const found = new Set<string>();
  for (const object of objects) {
    let at = object;
    while (at !== "" && !found.has(at)) {
      found.add(at);
      at = at.slice(0, Math.max(0, at.lastIndexOf("/")));
    }
  }
  return found;
}
