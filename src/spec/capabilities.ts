/**
 * Capabilities that a program of root keeps only where a grant needs them: those by which it changes the network, and makes packets
 * of its own. What the kernel asks them for stands in memory in part, where no filter sees it: messages to netlink sockets, control
 * data of a message (`SO_MARK`).
 */

import { known } from "../decode/flags.js";
import { choiceOf } from "./choices.js";
import type { Grant, Spec } from "./model.js";

/** Requests of messages to netlink sockets that are granted: see `netlinkChange`. */
const CHANGE = /^sendto\(netlink,/;

const NETWORK_FILES = /^\/(?:proc\/sys\/net|sys\/class\/net|sys\/devices|dev\/net)(?:\/|$)/;

/** Whether a grant may take the capability, by its name. */
const NEEDS: readonly (readonly [name: string, by: (grant: Grant) => boolean])[] = [
  [
    "CAP_NET_ADMIN",
    ({ verb, object }) =>
      changesSockets(verb, object) ||
      (verb === "syscall" && (CHANGE.test(object) || /^bpf\(/.test(object))) ||
      ((verb === "write" || verb.startsWith("ioctl:")) && NETWORK_FILES.test(object)),
  ],
  [
    "CAP_NET_RAW",
    ({ verb, object }) =>
      changesSockets(verb, object) ||
      (verb === "syscall" &&
        /^socket\((?!(?:unix|netlink),)[^,]*,(?:raw|packet|\*|\d+),/.test(object)) ||
      (verb === "syscall" && /^socket\((?:packet|\*|\d+),/.test(object)),
  ],
];

/** Options of sockets and requests to interfaces that reach beyond the own socket. */
function changesSockets(verb: string, object: string): boolean {
  const call = verb === "syscall" ? choiceOf(object)?.call : undefined;
  return call === "setsockopt" || call === "ioctl";
}

/** Numbers of the capabilities that no role of a spec needs. */
export function unneededCapabilities({ roles }: Spec): number[] {
  const grants = roles.flatMap((role) => role.grants);
  return NEEDS.filter(([, needs]) => !grants.some(needs)).map(([name]) =>
    known("capability", name),
  );
}

/** Protocols of which no message changes anything but the socket that is asked: sock_diag(7) apart, all types are told. */
const DESTROYS = 21;
const KIND_MASK = 3;
const GET = 2;
/** Types below are of the protocol itself: done, error. Of generic netlink it is also the one that tells families. */
const FIRST_TYPE = 16;

/**
 * What a message to a netlink socket of that protocol is granted as, `sendto(netlink,route,16)`: undefined when it only asks.
 * `type`: of `struct nlmsghdr`.
 */
export function netlinkChange(protocol: string, type: number): string | undefined {
  const asks =
    type < FIRST_TYPE ||
    (protocol === "route" && (type & KIND_MASK) === GET) ||
    (protocol === "sock_diag" && type !== DESTROYS) ||
    (protocol === "generic" && type === FIRST_TYPE) ||
    protocol === "audit" ||
    protocol === "kobject_uevent";
  return asks ? undefined : `sendto(netlink,${protocol},${type})`;
}
