/** Lists by key, in the order in which their elements came. */

export function groupBy<K, T>(all: Iterable<T>, keyOf: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of all) append(groups, keyOf(one), one);
  return groups;
}

/** Puts `one` at the end of the list under `key`, which begins with it when there is none. */
export function append<K, T>(groups: Map<K, T[]>, key: K, one: T): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [one]);
  else group.push(one);
}
