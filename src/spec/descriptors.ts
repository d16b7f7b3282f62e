/** Descriptors that programs of a spec are started with. */

import type { Spec } from "./model.js";

/**
 * Whether a program of the tree was started with a descriptor besides the standard ones that comes from outside. If not, none
 * gets any: they would be authority that no grant tells of.
 */
export function needsDescriptors({ roles, channels }: Spec): boolean {
  const own = new Set(channels.map(({ name }) => name));
  return roles.some(({ descriptors = [] }) =>
    descriptors.some(({ fd, is }) => fd > STDERR && !own.has(is)),
  );
}
const STDERR = 2;
