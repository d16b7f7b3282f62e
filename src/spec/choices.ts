/**
 * Calls that are many in one, told apart by words in registers: setsockopt(2) by level and option, ioctl(2) by request, keyctl(2)
 * by command. What is granted with the call itself concerns nothing but the program and its own sockets and files. The rest reaches
 * further (routes, interfaces, keys of the user, memory of other programs) and is granted by its words:
 * `syscall setsockopt(SOL_SOCKET,SO_MARK)`, where `*` stands for any word. Filters and supervisor decide by the same registers.
 */

import { choiceName, constant, known } from "../decode/flags.js";
import { OPTION_SETS } from "../decode/irregular/socket.js";
import { callNumber } from "./calls.js";
import type { ArgumentTest, ChoicePolicy, ChoiceRule } from "./policy.js";

interface Choice {
  /** Arguments that say which, of which the kernel looks at the lower half. */
  readonly args: readonly number[];
  /** The set of names of a value, by those before it; undefined: it has none. */
  readonly set: (before: readonly number[]) => string | undefined;
  /** What comes with the call itself: any of these lists of tests holds. */
  readonly free: readonly (readonly ArgumentTest[])[];
}

/** Stands for any value. */
export const ANY_VALUE = -1;

const named =
  (set: string): Choice["set"] =>
  () =>
    set;

const values = (set: string, names: string): number[] =>
  names.split(/\s+/).map((name) => known(set, name));

/** Options of one level up to the last known one, but for some. Those that a newer kernel has are granted by name. */
function optionsBut(level: string, set: string, last: string, reaching: string): ArgumentTest[] {
  const others = values(set, reaching).map((option): ArgumentTest => [2, "ne", option]);
  return [[1, "eq", known("sockopt_level", level)], [2, "le", known(set, last)], ...others];
}

/** Of other levels, those of families and protocols that few programs use, every option is granted by name. */
const SOCKET_OPTIONS: Choice = {
  args: [1, 2],
  set: ([level]) => (level === undefined ? "sockopt_level" : OPTION_SETS[level]),
  free: [
    optionsBut(
      "SOL_SOCKET",
      "sockopt_socket",
      "SO_INQ",
      `SO_DEBUG SO_PRIORITY SO_BINDTODEVICE SO_BINDTOIFINDEX SO_MARK SO_RCVMARK SO_SNDBUFFORCE SO_RCVBUFFORCE SO_TXTIME
       SO_ATTACH_FILTER SO_LOCK_FILTER SO_ATTACH_BPF SO_ATTACH_REUSEPORT_CBPF SO_ATTACH_REUSEPORT_EBPF SO_BUSY_POLL
       SO_PREFER_BUSY_POLL SO_BUSY_POLL_BUDGET SO_RESERVE_MEM SO_NOFCS`,
    ),
    optionsBut(
      "SOL_TCP",
      "sockopt_tcp",
      "TCP_DELACK_MAX_US",
      `TCP_REPAIR TCP_REPAIR_QUEUE TCP_QUEUE_SEQ TCP_REPAIR_OPTIONS TCP_REPAIR_WINDOW TCP_AO_REPAIR TCP_CONGESTION TCP_ULP
       TCP_MD5SIG TCP_MD5SIG_EXT TCP_AO_ADD_KEY TCP_AO_DEL_KEY`,
    ),
    optionsBut(
      "SOL_IP",
      "sockopt_ip",
      "IP_LOCAL_PORT_RANGE",
      `IP_HDRINCL IP_ROUTER_ALERT IP_FREEBIND IP_IPSEC_POLICY IP_XFRM_POLICY IP_TRANSPARENT IP_NODEFRAG IP_ADD_MEMBERSHIP
       IP_ADD_SOURCE_MEMBERSHIP IP_MSFILTER MCAST_JOIN_GROUP MCAST_JOIN_SOURCE_GROUP MCAST_MSFILTER`,
    ),
    optionsBut(
      "SOL_IPV6",
      "sockopt_ipv6",
      "IPV6_FREEBIND",
      `IPV6_ADDRFORM IPV6_NEXTHOP IPV6_ADD_MEMBERSHIP IPV6_ROUTER_ALERT IPV6_ROUTER_ALERT_ISOLATE IPV6_JOIN_ANYCAST
       IPV6_FLOWLABEL_MGR IPV6_IPSEC_POLICY IPV6_XFRM_POLICY IPV6_HDRINCL IPV6_HOPOPTS IPV6_DSTOPTS MCAST_JOIN_GROUP
       MCAST_JOIN_SOURCE_GROUP MCAST_MSFILTER IP6T_SO_SET_REPLACE IP6T_SO_SET_ADD_COUNTERS IPV6_TRANSPARENT IPV6_FREEBIND`,
    ),
    optionsBut("SOL_UDP", "sockopt_udp", "UDP_GRO", "UDP_ENCAP"),
    // Which messages of ICMP a socket of its own receives: ICMP_FILTER, ICMPV6_FILTER.
    [
      [1, "eq", known("sockopt_level", "SOL_RAW")],
      [2, "eq", 1],
    ],
    [
      [1, "eq", known("sockopt_level", "SOL_ICMPV6")],
      [2, "eq", 1],
    ],
  ],
};

/** Requests to sockets that only ask, and (FIOSETOWN, SIOCSPGRP) those that are judged by whom they are about. */
const ASKS = values(
  "ioctl_names",
  `FIOSETOWN SIOCSPGRP FIOGETOWN SIOCGPGRP SIOCATMARK SIOCGSTAMP_OLD SIOCGSTAMPNS_OLD SIOCGIFNAME SIOCGIFCONF SIOCGIFFLAGS
   SIOCGIFADDR SIOCGIFDSTADDR SIOCGIFBRDADDR SIOCGIFNETMASK SIOCGIFMETRIC SIOCGIFMEM SIOCGIFMTU SIOCGIFENCAP SIOCGIFHWADDR
   SIOCGIFSLAVE SIOCGIFINDEX SIOCGIFPFLAGS SIOCGIFCOUNT SIOCGIFBR SIOCGIFTXQLEN SIOCGMIIPHY SIOCGMIIREG SIOCOUTQNSD SIOCGARP
   SIOCGRARP SIOCGIFMAP SIOCGIFVLAN SIOCGHWTSTAMP`,
);
/** First and last request to sockets, of linux/sockios.h; those of wireless interfaces come last, of linux/wireless.h. */
const SOCKET_REQUESTS = [0x8900, 0x8bff] as const;
const WIRELESS_REQUESTS = [0x8b00, 0x8bdf] as const;

const REQUESTS: Choice = {
  args: [1],
  set: named("ioctl_names"),
  free: [
    [[1, "le", SOCKET_REQUESTS[0] - 1]],
    [[1, "ge", SOCKET_REQUESTS[1] + 1]],
    ...ASKS.map((request): ArgumentTest[] => [[1, "eq", request]]),
    // Odd ones ask.
    [
      [1, "ge", WIRELESS_REQUESTS[0]],
      [1, "le", WIRELESS_REQUESTS[1]],
      [1, "has", 1],
    ],
  ],
};

/** What is about the process alone, or takes something from it. */
const PROCESS_OPTIONS: Choice = {
  args: [0],
  set: named("prctl_option"),
  free: [
    [
      [0, "le", known("prctl_option", "PR_SET_CFI")],
      ...values(
        "prctl_option",
        "PR_SET_MM PR_SET_KEEPCAPS PR_SET_SECUREBITS PR_CAP_AMBIENT PR_MCE_KILL PR_SET_IO_FLUSHER PR_SCHED_CORE",
      ).map((option): ArgumentTest => [0, "ne", option]),
    ],
    [[0, "eq", known("prctl_option", "PR_SET_VMA")]],
    [[0, "eq", known("prctl_option", "PR_GET_AUXV")]],
  ],
};

/** Every command by its name. */
const commands = (arg: number, set: string): Choice => ({
  args: [arg],
  set: named(set),
  free: [],
});

/** Objects of System V by their keys, which all programs of the user share; without a key it is a new one. */
const KEYS: Choice = {
  args: [0],
  set: () => undefined,
  free: [[[0, "eq", known("ipc_key", "IPC_PRIVATE")]]],
};

const CHOICES: ReadonlyMap<string, Choice> = new Map([
  ["setsockopt", SOCKET_OPTIONS],
  ["ioctl", REQUESTS],
  ["prctl", PROCESS_OPTIONS],
  ["keyctl", commands(0, "keyctl_op")],
  ["bpf", commands(0, "bpf_cmd")],
  ["syslog", commands(0, "syslog_action")],
  ["reboot", commands(2, "reboot_cmd")],
  // The kind of quota stands in the lower bits of the command.
  ["quotactl", { args: [0], set: () => undefined, free: [] }],
  ["quotactl_fd", { args: [1], set: () => undefined, free: [] }],
  ["shmget", KEYS],
  ["msgget", KEYS],
  ["semget", KEYS],
  ["shmctl", commands(1, "shmctl_cmd")],
  ["msgctl", commands(1, "msgctl_cmd")],
  ["semctl", commands(2, "semctl_cmd")],
]);

/** Arguments by which a call chooses; undefined: it does one thing. */
export function choosesBy(call: string): readonly number[] | undefined {
  return CHOICES.get(call)?.args;
}

/**
 * What a call with these values of its arguments has to be granted besides the call, as an object of `syscall`; undefined: nothing.
 * `chosen`: values of the arguments of `choosesBy`.
 */
export function choiceObject(call: string, chosen: readonly number[]): string | undefined {
  const choice = CHOICES.get(call);
  if (choice === undefined) return undefined;
  const own = chosen.map((value) => value >>> 0);
  const of = (arg: number) => own[choice.args.indexOf(arg)] ?? 0;
  if (choice.free.some((tests) => tests.every((test) => holds(test, of(test[0])))))
    return undefined;
  const words = own.map((value, k) => {
    const set = choice.set(own.slice(0, k));
    return (set && choiceName(set, value)) ?? (value < 0x10000 ? `${value}` : hex(value));
  });
  return `${call}(${words.join()})`;
}

const hex = (value: number): string => `0x${value.toString(16)}`;

function holds([, is, value]: ArgumentTest, own: number): boolean {
  switch (is) {
    case "eq":
      return own === value;
    case "ne":
      return own !== value;
    case "le":
      return own <= value;
    case "ge":
      return own >= value;
    case "has":
      return (own & value) >>> 0 === value;
  }
}

/** A granted choice, its words as values: `ANY_VALUE` for `*`. Undefined when the object is none, or has a word that is no value. */
export function choiceOf(
  object: string,
): { readonly call: string; readonly values: readonly number[] } | undefined {
  const [, call = "", inner = ""] = /^(\w+)\((.*)\)$/s.exec(object) ?? [];
  const choice = CHOICES.get(call);
  const words = inner.split(",");
  if (choice === undefined || words.length !== choice.args.length) return undefined;
  const found: number[] = [];
  for (const word of words) {
    const value = wordValue(choice, found, word);
    if (value === undefined) return undefined;
    found.push(value);
  }
  return { call, values: found };
}

function wordValue(choice: Choice, before: readonly number[], word: string): number | undefined {
  if (word === "*") return ANY_VALUE;
  if (/^(?:\d{1,10}|0x[0-9a-f]{1,8})$/i.test(word)) {
    const value = Number(word);
    return value <= 0xffff_ffff ? value : undefined;
  }
  const set = choice.set(before);
  const value = set === undefined ? undefined : constant(set, word);
  return value === undefined ? undefined : Number(value);
}

/** The grant of every key of such a call, of the grant of one; undefined for what is none. */
export function anyKeyOf(object: string): string | undefined {
  const choice = choiceOf(object);
  return choice !== undefined && CHOICES.get(choice.call) === KEYS
    ? `${choice.call}(*)`
    : undefined;
}

/** Whether a granted choice is that of another object, or holds it. */
export function coversChoice(outer: string, inner: string): boolean {
  const one = choiceOf(outer);
  const other = choiceOf(inner);
  if (one === undefined || other === undefined || one.call !== other.call) return false;
  return one.values.every((value, k) => value === ANY_VALUE || value === other.values[k]);
}

/** Whether a call is many in one. */
export function isChoice(call: string): boolean {
  return CHOICES.has(call);
}

/** Whether the words behind a call that chooses are none of its choices. */
export function isChoiceFault(object: string): boolean {
  const call = /^(\w+)\(/.exec(object)?.[1];
  return call !== undefined && CHOICES.has(call) && choiceOf(object) === undefined;
}

/** A granted choice in the numbers of policies. */
export function choiceRule(object: string): ChoiceRule | undefined {
  const choice = choiceOf(object);
  const number = choice && callNumber(choice.call);
  return choice && number !== undefined ? [number, choice.values] : undefined;
}

/** Tests of a granted choice. */
export function choiceTests(object: string): readonly ArgumentTest[] | undefined {
  const choice = choiceOf(object);
  const args = choice && CHOICES.get(choice.call)?.args;
  return args?.flatMap((arg, k): ArgumentTest[] => {
    const value = choice?.values[k] ?? ANY_VALUE;
    return value === ANY_VALUE ? [] : [[arg, "eq", value]];
  });
}

/** What comes with a call itself, as lists of tests; undefined of calls that do not choose. */
export function freeChoices(call: string): readonly (readonly ArgumentTest[])[] | undefined {
  return CHOICES.get(call)?.free;
}

/** All calls that choose. */
export function choicePolicies(): ChoicePolicy[] {
  return [...CHOICES].flatMap(([name, { args, free }]) => {
    const call = callNumber(name);
    return call === undefined ? [] : [{ call, args, free }];
  });
}
