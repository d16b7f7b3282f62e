/**
 * Words behind the name of a call that is granted, `socket(inet,stream,tcp)`: which calls have any, and how they are written. There is
 * one way, as some are compared as text by who checks recordings, and as numbers by who enforces.
 */

import { constant } from "../decode/flags.js";
import { socketWords } from "./access.js";
import { USER_CALLS } from "./calls.js";
import { isChoice, isChoiceFault } from "./choices.js";

/** Why the words of a granted call are none that it has; undefined when they are, or when there are none. */
export function wordsFault(object: string): string | undefined {
  const [, call, inner = ""] = /^(\w+)\((.*)\)$/s.exec(object) ?? [];
  if (call === undefined) return undefined;
  const words = inner.split(",");
  if (isChoice(call)) {
    return isChoiceFault(object)
      ? "no such choice of the call: its constants as in setsockopt(SOL_SOCKET,SO_MARK), numbers, or *"
      : undefined;
  }
  const ids = USER_CALLS.get(call);
  if (ids !== undefined) {
    const areIds = words.length === ids && words.every((word) => /^(?:-1|\d{1,10})$/.test(word));
    return areIds ? undefined : `not ids of a user or group, ${new Array(ids).fill("1000").join()}`;
  }
  if (call === "socket") return socketFault(words);
  if (call === "sendto") {
    return words.length === 3 && words[0] === "netlink" && /^(?:\d+|\*)$/.test(words[2] ?? "")
      ? undefined
      : "not a message to a netlink socket: sendto(netlink,route,16), sendto(netlink,route,*)";
  }
  return `the call has no words behind it: syscall ${call}`;
}

const EXAMPLE = "family, type and protocol as in socket(inet,stream,tcp), or *";

function socketFault(words: readonly string[]): string | undefined {
  const [family = "", type = "", protocol = ""] = words;
  if (words.length !== 3) return `not a kind of socket: ${EXAMPLE}`;
  const value = (set: string, prefix: string, word: string): number | undefined => {
    if (word === "*") return 0;
    if (/^\d{1,9}$/.test(word)) return Number(word);
    const found = constant(set, `${prefix}${word.toUpperCase()}`);
    return found === undefined ? undefined : Number(found);
  };
  const values = [
    value("addr_family", "AF_", family),
    value("socket_type", "SOCK_", type),
    value("socket_protocol_inet", "IPPROTO_", protocol),
  ] as const;
  const unknown = words.find((_, k) => values[k] === undefined);
  if (unknown !== undefined) return `no kind of socket has the word ${unknown}: ${EXAMPLE}`;
  const [f = 0, t = 0, p = 0] = values;
  // What any protocol belongs to, is not known where the family may be any.
  const plain = family === "*" ? words : socketWords(f, t, p).split(",");
  const meant = words.map((word, k) => (word === "*" ? "*" : plain[k])).join();
  return meant === words.join() ? undefined : `write socket(${meant})`;
}
