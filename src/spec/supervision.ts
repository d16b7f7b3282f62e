/**
 * What a supervisor is for: the calls that it judges, why the kernel alone would not do for a spec, and what is left coarse when
 * the kernel is alone all the same.
 */

import { known } from "../decode/flags.js";
import {
  CHANGES_DESCRIPTOR,
  callNumber,
  EXECS,
  OPENS,
  PATH_ARGUMENTS,
  REACHES_INTO,
  SIGNALS,
  USER_CALLS,
} from "./calls.js";
import { holdsMore, isAboutName, opensBelow, reachesOthers } from "./landlock.js";
import { isPathVerb, type Role, SOCKET_VERBS, type Spec } from "./model.js";
import { parseAddress, plainPath, subtreeOf } from "./object.js";
import type { PolicyGrant, PolicyRole, SocketRule } from "./policy.js";

/** Calls that a supervisor performs, or decides about. */
const SUPERVISED: ReadonlySet<string> = new Set([
  ...PATH_ARGUMENTS.keys(),
  ...OPENS.keys(),
  ...EXECS,
  ...SIGNALS.keys(),
  ...REACHES_INTO.keys(),
  ...CHANGES_DESCRIPTOR,
  ..."socket connect bind listen accept accept4 sendto sendmsg sendmmsg getsockname".split(" "),
  // They lead to files past all names, and to mounts. What fanotify tells of comes with descriptors of it.
  ..."open_by_handle_at fanotify_init fanotify_mark".split(" "),
  ..."fsopen fsconfig fsmount open_tree_attr".split(" "),
  // They change as whom the program acts, and the supervisor has to act as the same.
  ...USER_CALLS.keys(),
  "setgroups",
  // By it the supervisor would wait for the program when it reads its memory.
  "userfaultfd",
]);

const JUDGED: readonly number[] = [...SUPERVISED].flatMap((name) => callNumber(name) ?? []);

const GETSOCKNAME = callNumber("getsockname");

/** Numbers of the calls that are judged under a supervisor. */
export function judgedCalls(roles: readonly PolicyRole[]): readonly number[] {
  return bindsToPaths(roles) ? JUDGED : JUDGED.filter((call) => call !== GETSOCKNAME);
}

/** Whether sockets get names of files, which the supervisor gives them in a way that the kernel tells otherwise. */
function bindsToPaths(roles: readonly PolicyRole[]): boolean {
  return roles.some(({ grants }) =>
    grants.some(({ verb, object }) => verb === "bind" && object.startsWith("unix:/")),
  );
}

/** Why the kernel alone would not do. */
export function reasonsOf(spec: Spec, roles: readonly PolicyRole[]): string[] {
  const reasons: string[] = [];
  if (roles.length > 1) reasons.push(`${roles.length} roles with grants of their own`);
  const grants = roles.flatMap((role) => role.grants);
  const has = (test: (grant: PolicyGrant) => boolean) => grants.some(test);
  const isHost = (object: string) => {
    const address = parseAddress(object);
    return address !== undefined && (address.protocol !== "tcp" || address.host !== "*");
  };
  if (
    has(
      ({ verb, object }) =>
        SOCKET_VERBS.has(verb) && (object.startsWith("unix:") || isHost(object)),
    )
  ) {
    reasons.push("addresses of sockets, of which Landlock knows TCP ports only");
  } else if (roles.some(reachesFreely) || spec.roles.some(pairsReach)) {
    reasons.push("sockets that reach any address, as Landlock knows TCP ports only");
  }
  if (has(({ verb }) => verb === "chmeta") || roles.some(changesNothing))
    reasons.push("changes of metadata, which Landlock does not restrict");
  if (has(({ verb, object }) => (verb === "signal" || verb === "ptrace") && object !== "self")) {
    reasons.push("signals to certain processes");
  }
  if (spec.roles.some((role) => role.grants.some(({ phase }) => phase !== undefined))) {
    reasons.push("grants of a phase");
  }
  const isForm = ({ verb, object }: PolicyGrant) =>
    isPathVerb(verb) &&
    plainPath(object) === undefined &&
    plainPath(subtreeOf(object) ?? object.replace(/\/\*$/, "")) === undefined;
  if (has(isForm)) reasons.push("names of one form in a directory");
  if (roles.some(opensBelow))
    reasons.push("directories without what is below those in them, as Landlock gives all of it");
  if (roles.some(reachesOthers))
    reasons.push(
      "files that are made or removed, of whose directory Landlock gives all others too",
    );
  return reasons;
}

const AF_UNIX = known("addr_family", "AF_UNIX");
const AF_INET = known("addr_family", "AF_INET");
const AF_INET6 = known("addr_family", "AF_INET6");
const SOCK_STREAM = known("socket_type", "SOCK_STREAM");
const IPPROTO_TCP = known("socket_protocol_inet", "IPPROTO_TCP");

const ADDRESSES = "connect bind sendto sendmsg sendmmsg"
  .split(" ")
  .flatMap((name) => callNumber(name) ?? []);

/**
 * Whether a role that was granted no address could name any: its sockets are of a family or protocol that nobody asks for those.
 * Programs make such sockets to no end: a libc asks for a name service that is not there.
 */
function reachesFreely({ sockets, calls }: PolicyRole): boolean {
  return sockets.some(isUnrestricted) && ADDRESSES.some((call) => calls.includes(call));
}

/**
 * Whether a role could name any address to one of a pair of sockets, which is one like all others. A filter sees the address of
 * sendto(2) only, and does not tell a netlink socket, which has one too, from a pair.
 */
function pairsReach(role: Role): boolean {
  const seen = seenCalls(role);
  const isSent =
    seen.has("sendto") &&
    [...seen].some((call) => call.startsWith("socket(") && !/^socket\(inet6?,/.test(call));
  return seen.has("socketpair") && (isSent || REACHING.some((call) => seen.has(call)));
}

const REACHING = "connect bind sendmsg sendmmsg".split(" ");

/** Calls of a role, but for those that are only other names of what was seen. */
export function seenCalls({ grants }: Role): Set<string> {
  const seen = grants.filter(({ verb, because }) => verb === "syscall" && because !== "alias");
  return new Set(seen.map(({ object }) => object));
}

/** Calls that change what is told of files. */
const CHANGES: readonly number[] = [
  ...CHANGES_DESCRIPTOR,
  ...[...PATH_ARGUMENTS].filter(([, verbs]) => verbs.includes("chmeta")).map(([name]) => name),
].flatMap((name) => callNumber(name) ?? []);

/** Whether a role makes such calls, and none was granted a file: all have failed, or were about what has no name. */
function changesNothing({ calls, grants }: PolicyRole): boolean {
  return (
    CHANGES.some((call) => calls.includes(call)) && !grants.some(({ verb }) => verb === "chmeta")
  );
}

function isUnrestricted([family, type, protocol]: SocketRule): boolean {
  const isInternet = family === AF_INET || family === AF_INET6;
  const isTcp = type === SOCK_STREAM && (protocol === 0 || protocol === IPPROTO_TCP);
  return family === -1 || family === AF_UNIX || (isInternet && !isTcp);
}

export function coarseOf(roles: readonly PolicyRole[], reasons: readonly string[]): string[] {
  const coarse = ["which files are looked at (stat, access, readlink) is not restricted"];
  if (roles.some(({ grants }) => grants.some(isAboutName)))
    coarse.push(
      "what is made, removed or renamed in a directory is not restricted to the granted names",
    );
  const wide = roles.some(({ grants }) =>
    grants.some(({ verb, object }) => isPathVerb(verb) && holdsMore(verb, object)),
  );
  if (wide) coarse.push("granted directories are open with all that is below them");
  return [...coarse, ...reasons.map((reason) => `not told apart: ${reason}`)];
}
