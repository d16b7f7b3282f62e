/** Ports that the kernel chooses, which are others in each run. */

import type { Grant } from "./model.js";

/** First port that Linux gives out by itself (ip(7), ip_local_port_range). */
const FIRST_EPHEMERAL = 32768;

/** A bind to port 0, or to nothing before it listens. */
export function choosesPort({ verb, object }: Pick<Grant, "verb" | "object">): boolean {
  return (verb === "bind" || verb === "listen") && object.endsWith(":0");
}

/** An address with a port that the kernel may have chosen: what stands before it. */
export function ephemeralPort(object: string): { head: string; protocol: string } | undefined {
  const found = /^((tcp|udp):.*:)(\d+)$/.exec(object);
  if (found === null || Number(found[3]) < FIRST_EPHEMERAL) return undefined;
  return { head: found[1] ?? "", protocol: found[2] ?? "" };
}
