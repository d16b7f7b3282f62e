/** AppArmor: one profile with a child profile for each role, so that every program has its own grants. */

import { type Grant, isPathVerb, type Role, rootRole, SOCKET_VERBS, type Spec } from "../model.js";
import { coversPath } from "../object.js";
import { expanded, type Tokens } from "../tokens.js";
import { type Exported, type ExportOptions, isLibrary, judgeAll, type Target } from "./target.js";

export const apparmor: Target = {
  name: "apparmor",
  summary: "AppArmor profile with a child profile for each program",
  perRole: true,
  export: exportApparmor,
};

function exportApparmor(spec: Spec, { tokens, name }: ExportOptions): Exported {
  const root = spec.roles[rootRole(spec)] ?? spec.roles[0];
  const names = new Map(spec.roles.map((role, k) => [role.name, `${safe(role.name)}_${k}`]));
  const lines = ["abi <abi/3.0>,", "include <tunables/global>", ""];
  if (root !== undefined) {
    const profile = safe(name);
    const rules = (role: Role, transition: Transition) => [
      ...fileRules(role, spec, transition, tokens),
      ...socketRules(role),
      ...processRules(role, spec, profile),
    ];
    lines.push(`profile ${profile} ${quoted(globOf(root.exe[0] ?? "/", tokens))} {`);
    lines.push(...rules(root, (to) => `Cx -> ${names.get(to)}`).map((line) => `  ${line}`));
    for (const role of spec.roles) {
      lines.push("", `  profile ${names.get(role.name)} {`);
      // Children of the profile are no children of each other: `Cx` would look for them below this one, and find none.
      const own = rules(role, (to) => `Px -> ${profile}//${names.get(to)}`);
      lines.push(...own.map((line) => `    ${line}`), "  }");
    }
    lines.push("}");
  }
  return {
    text: `${lines.join("\n")}\n`,
    judged: judgeAll(spec, (grant) => verdictOf(grant)),
    remarks: [
      "programs are told apart by their files: of several scripts of one interpreter each gets what all of them were granted",
      "calls are not filtered; AppArmor 3.0 matches no addresses and ports",
    ],
  };
}

function verdictOf({ verb, object }: Grant): readonly ["kept" | "widened" | "lost", string?] {
  if (verb === "syscall") {
    const family = /^socket\((\w+)/.exec(object)?.[1];
    if (family === undefined) return ["lost", "calls are not filtered"];
    if (family !== "unix" && !FAMILIES.has(family))
      return ["lost", "AppArmor knows no such family: it is refused"];
    return ["widened", "families and types are told apart, protocols are not"];
  }
  if (SOCKET_VERBS.has(verb)) return ["widened", "sockets of that family, at any address"];
  if (verb === "signal" || verb === "ptrace")
    return object === "outside"
      ? ["lost", "processes outside of the profile are refused"]
      : ["widened", "any process of the profile"];
  if (!isPathVerb(verb)) return ["widened"];
  if (verb === "stat") return ["lost", "names can be looked at without a rule"];
  if (verb === "chmeta") return ["widened", "comes with write"];
  if (verb.startsWith("ioctl:")) return ["widened", "any ioctl of the device"];
  if (verb === "create" || verb === "delete" || verb === "rename")
    return ["widened", "comes with write of that name"];
  return ["kept"];
}

/** A word of a profile name. */
function safe(name: string): string {
  return name.replace(/[^\w.-]/g, "_");
}

/** The number of a process, in a pattern. */
const PID = "@{pid}";

/** Characters that AppArmor reads as patterns; ours are `*` and the last name `**`. */
function globOf(object: string, tokens: Tokens): string {
  const own = expanded(object, tokens);
  let out = "";
  for (let at = 0; at < own.length; at++) {
    const character = own[at] ?? "";
    if (character === "\\") out += escapedCharacter(own[++at] ?? "");
    else if (character === "*") out += "*";
    else if (own.startsWith(PID, at)) {
      out += "[0-9]*";
      at += PID.length - 1;
    } else out += escapedCharacter(character);
  }
  return out;
}

function escapedCharacter(character: string): string {
  // A backslash by its number, too: before the quote at the end of a word it would take that in.
  if (character < " " || character === "\\")
    return `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`;
  return /[*?[\]{}^"@]/.test(character) ? `\\${character}` : character;
}

function quoted(glob: string): string {
  return /[\s#,]/.test(glob) ? `"${glob}"` : glob;
}

/** Modes by verb. Executables and libraries are mapped, too. */
const MODES: Readonly<Record<string, string>> = {
  read: "r",
  list: "r",
  write: "w",
  create: "w",
  delete: "w",
  rename: "rw",
  chmeta: "w",
  exec: "rm",
};

const MODE_ORDER = "rwamlk";

/** The mode that leads a program that is run to the profile of its role. */
type Transition = (role: string) => string;

function fileRules(role: Role, spec: Spec, transition: Transition, tokens: Tokens): string[] {
  const modes = new Map<string, Set<string>>();
  const runs = new Map<string, string>();
  const add = (glob: string, letters: string) => {
    const known = modes.get(glob) ?? new Set();
    for (const letter of letters) known.add(letter);
    modes.set(glob, known);
  };
  for (const { verb, object } of role.grants) {
    if (!isPathVerb(verb)) continue;
    const glob = globOf(object, tokens);
    if (verb === "exec") {
      add(glob, "rm");
      const next = spec.roles.find(({ exe, name }) => name !== role.name && exe.includes(object));
      // Loaders and scripts stay in the profile; programs of another role go to theirs.
      runs.set(glob, next === undefined ? "ix" : transition(next.name));
    } else if (verb === "list") add(`${glob.replace(/\/$/, "")}/`, "r");
    else if (verb.startsWith("ioctl:")) add(glob, "rw");
    else add(glob, MODES[verb] ?? "");
    if (verb === "read" && isLibrary(object)) add(glob, "m");
    if (verb === "write" || verb === "create") add(glob, "k");
    if (verb === "rename" || verb === "create") add(glob, "l");
    if (object.endsWith("/**")) add(`${glob.slice(0, -2)}`, MODES[verb] ?? "r");
  }
  // What a program was started with is looked at again when the profile changes, and taken away where it has no rule.
  for (const { is, use } of role.descriptors ?? []) {
    const file = /^file (.*)$/s.exec(is)?.[1];
    if (file === undefined) continue;
    for (const one of use) {
      for (const object of objectsOf(spec, one, file, tokens))
        add(globOf(object, tokens), MODES[one] ?? "");
    }
  }
  const lines: string[] = hasTerminal(role) ? ["include <abstractions/consoles>"] : [];
  for (const [glob, letters] of [...modes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const mode = [...MODE_ORDER].filter((letter) => letters.has(letter)).join("");
    if (mode !== "") lines.push(`${quoted(glob)} ${mode},`);
    const run = runs.get(glob);
    if (run !== undefined) lines.push(`${quoted(glob)} ${run},`);
  }
  return lines;
}

/** A file as whoever opens it was granted it: with what it makes up in its name as a pattern. */
function objectsOf(spec: Spec, use: "read" | "write", file: string, tokens: Tokens): string[] {
  const path = expanded(file, tokens);
  const found = spec.roles
    .flatMap(({ grants }) => grants)
    .filter(({ verb, object }) => verb === use && coversPath(expanded(object, tokens), path));
  return found.length === 0 ? [file] : [...new Set(found.map(({ object }) => object))];
}

/** Whether it uses a standard stream of whoever starts the tree, which may be a terminal. */
function hasTerminal({ descriptors = [] }: Role): boolean {
  return descriptors.some(({ is }) => /^std(?:in|out|err)$/.test(is));
}

/** Families that the parser knows, besides `unix`, which has rules of its own. */
const FAMILIES: ReadonlySet<string> = new Set(
  `inet ax25 ipx appletalk netrom bridge atmpvc x25 inet6 rose netbeui security key netlink packet ash econet atmsvc rds
    sna irda pppox wanpipe llc ib mpls can tipc bluetooth iucv rxrpc isdn phonet ieee802154 caif alg nfc vsock kcm qipcrtr
    smc xdp`.split(/\s+/),
);

function socketRules(role: Role): string[] {
  const rules = new Set<string>();
  for (const { verb, object } of role.grants) {
    const [family = "", type = ""] = /^socket\((.*)\)$/.exec(object)?.[1]?.split(",") ?? [];
    if (verb !== "syscall" || family === "") continue;
    if (family === "unix") rules.add(`unix${type === "*" ? "" : ` type=${type}`},`);
    else if (FAMILIES.has(family))
      rules.add(
        `network ${family}${/^(?:stream|dgram|raw|seqpacket)$/.test(type) ? ` ${type}` : ""},`,
      );
  }
  return [...rules].sort();
}

/** AppArmor asks both: who sends, and who receives. Whoever starts and stops the program is in no profile. */
function processRules(role: Role, spec: Spec, profile: string): string[] {
  const own = `peer=${profile}{,//*}`;
  const has = ({ grants }: Role, verb: string) => grants.some((grant) => grant.verb === verb);
  const traces = has(role, "ptrace") ? "trace, read, tracedby, readby" : "tracedby, readby";
  return [
    "signal (receive) peer=unconfined,",
    `signal (${signalsOthers(role) ? "send, receive" : "receive"}) ${own},`,
    // A program of which nothing else is granted sends to those of its own profile.
    ...(has(role, "signal") && !signalsOthers(role) ? ["signal (send) peer=@{profile_name},"] : []),
    ...(spec.roles.some((one) => has(one, "ptrace")) ? [`ptrace (${traces}) ${own},`] : []),
  ];
}

function signalsOthers({ grants }: Role): boolean {
  return grants.some(({ verb, object }) => verb === "signal" && object !== "self");
}
