/** AppArmor: one profile with a child profile for each role, so that every program has its own grants. */

import { isPathVerb } from "../generalise.js";
import { type Grant, type Role, rootRole, SOCKET_VERBS, type Spec } from "../model.js";
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
    lines.push(`profile ${safe(name)} ${quoted(globOf(root.exe[0] ?? "/", tokens))} {`);
    lines.push(...rulesOf(root, spec, names, tokens).map((line) => `  ${line}`));
    for (const role of spec.roles) {
      lines.push("", `  profile ${names.get(role.name)} {`);
      lines.push(...rulesOf(role, spec, names, tokens).map((line) => `    ${line}`));
      lines.push("  }");
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
    return object.startsWith("socket(") ? ["kept"] : ["lost", "calls are not filtered"];
  }
  if (SOCKET_VERBS.has(verb)) return ["widened", "sockets of that family, at any address"];
  if (verb === "ptrace" || verb === "mount") return ["widened"];
  if (verb === "signal")
    return object === "self" ? ["kept"] : ["widened", "any process of the profile"];
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

/** Characters that AppArmor reads as patterns; ours are `*` and the last name `**`. */
function globOf(object: string, tokens: Tokens): string {
  const own = expanded(object, tokens).replaceAll("@{pid}", "\uE000");
  let out = "";
  for (let at = 0; at < own.length; at++) {
    const character = own[at] ?? "";
    if (character === "\\") out += escapedCharacter(own[++at] ?? "");
    else if (character === "*") out += "*";
    else if (character === "\uE000") out += "[0-9]*";
    else out += escapedCharacter(character);
  }
  return out;
}

function escapedCharacter(character: string): string {
  return /[*?[\]{}^"\\@]/.test(character) ? `\\${character}` : character;
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

function rulesOf(
  role: Role,
  spec: Spec,
  names: ReadonlyMap<string, string>,
  tokens: Tokens,
): string[] {
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
      runs.set(glob, next === undefined ? "ix" : `Cx -> ${names.get(next.name)}`);
    } else if (verb === "list") add(`${glob.replace(/\/$/, "")}/`, "r");
    else if (verb.startsWith("ioctl:")) add(glob, "rw");
    else add(glob, MODES[verb] ?? "");
    if (verb === "read" && isLibrary(object)) add(glob, "m");
    if (verb === "write" || verb === "create") add(glob, "k");
    if (verb === "rename" || verb === "create") add(glob, "l");
    if (object.endsWith("/**")) add(`${glob.slice(0, -2)}`, MODES[verb] ?? "r");
  }
  // A child profile cannot name its own children: what it runs stays in it, unless the parent profile says otherwise.
  const lines: string[] = [];
  for (const [glob, letters] of [...modes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const mode = [...MODE_ORDER].filter((letter) => letters.has(letter)).join("");
    if (mode !== "") lines.push(`${quoted(glob)} ${mode},`);
    const run = runs.get(glob);
    if (run !== undefined) lines.push(`${quoted(glob)} ${run},`);
  }
  return [...lines, ...socketRules(role), ...processRules(role)];
}

const FAMILIES: ReadonlySet<string> = new Set([
  "inet",
  "inet6",
  "netlink",
  "packet",
  "bluetooth",
  "vsock",
]);

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

function processRules(role: Role): string[] {
  const has = (verb: string) => role.grants.some((grant) => grant.verb === verb);
  return [...(has("signal") ? ["signal,"] : []), ...(has("ptrace") ? ["ptrace,"] : [])];
}
