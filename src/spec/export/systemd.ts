/** A systemd service unit. */

import { basename, dirname, resolve } from "node:path";
import { isPathVerb } from "../generalise.js";
import { rootRole, SOCKET_VERBS, type Spec } from "../model.js";
import { parseAddress, plainPath } from "../object.js";
import { expanded } from "../tokens.js";
import {
  ASCII_CONTROL,
  callsOf,
  type Exported,
  type ExportOptions,
  inOrder,
  isLibrary,
  type Judge,
  judgeAll,
  pathUse,
  sentTo,
  socketKinds,
  type Target,
  unionRemark,
} from "./target.js";

export const systemd: Target = {
  name: "systemd",
  summary: "service unit with sandboxing directives",
  perRole: false,
  export: exportSystemd,
};

const IN_DIRECTORY: ReadonlySet<string> = new Set(["create", "delete", "rename", "bind"]);

/** Families that RestrictAddressFamilies= knows by these names. */
const FAMILIES: Readonly<Record<string, string>> = {
  inet: "AF_INET",
  inet6: "AF_INET6",
  unix: "AF_UNIX",
  netlink: "AF_NETLINK",
  packet: "AF_PACKET",
  vsock: "AF_VSOCK",
};

function exportSystemd(spec: Spec, options: ExportOptions): Exported {
  const { tokens, name, known } = options;
  const { writable, runnable } = placesOf(spec, tokens);
  const calls = callsOf(spec).filter((call) => known?.has(call) ?? true);
  const unknown = callsOf(spec).filter((call) => known?.has(call) === false);
  const families = [
    ...new Set(socketKinds(spec).map((kind) => FAMILIES[kind.split(",")[0] ?? ""])),
  ].filter((family) => family !== undefined);
  const addresses = internetHosts(spec);
  const binds = bindRules(spec);
  const program = programPath(spec, tokens);
  // A line holds it as it is, without quotes and escapes.
  const directory = /\n|[\s\\]$/.test(tokens.PWD ?? "\n") ? undefined : tokens.PWD;
  const lines = [
    "# Made of a sandbox spec. Check it with: systemd-analyze verify --recursive-errors=yes FILE",
    "[Unit]",
    `Description=${name.replace(/[\n\\]/g, " ").replaceAll("%", "%%")}`,
    "",
    "[Service]",
    `ExecStart=${execLine(spec, program)}`,
    ...(directory === undefined ? [] : [`WorkingDirectory=${directory.replaceAll("%", "%%")}`]),
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    ...inOrder(writable).map((path) => `ReadWritePaths=-${escaped(path)}`),
    "NoExecPaths=/",
    ...inOrder(runnable).map((path) => `ExecPaths=-${escaped(path)}`),
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    `SystemCallFilter=${calls.join(" ")}`,
    "SystemCallErrorNumber=EPERM",
    families.length === 0
      ? "RestrictAddressFamilies=none"
      : `RestrictAddressFamilies=${families.join(" ")}`,
    ...(addresses.length === 0 ? ["PrivateNetwork=yes"] : []),
    ...(addresses.length === 0 || addresses.includes("*")
      ? []
      : ["IPAddressDeny=any", `IPAddressAllow=${addresses.join(" ")}`]),
    "SocketBindDeny=any",
    ...binds.map((rule) => `SocketBindAllow=${rule}`),
  ];
  return {
    text: `${lines.join("\n")}\n`,
    judged: judgeAll(spec, judgeFor(options)),
    remarks: remarksOf(spec, options, { program, directory, unknown }),
  };
}

/** What was left out, and what whoever uses the unit has to know. */
function remarksOf(
  spec: Spec,
  { tokens, known }: ExportOptions,
  {
    program,
    directory,
    unknown,
  }: {
    readonly program: string;
    readonly directory: string | undefined;
    readonly unknown: readonly string[];
  },
): string[] {
  return [
    ...unionRemark(spec),
    "directives that an older systemd does not know are ignored by it: verify before use",
    ...(unknown.length > 0
      ? [`left out, since this systemd does not know them: ${unknown.join(", ")}`]
      : []),
    ...(isRunnable(program)
      ? []
      : [
          `systemd runs no file with quotes, backslashes or control characters in its name, and refuses this unit: give ${program} another name`,
        ]),
    ...(tokens.PWD !== directory
      ? ["the working directory has a name that a unit cannot hold: it is left out"]
      : []),
    ...(known === undefined
      ? ["names of calls were not checked: systemd-analyze is not installed"]
      : []),
  ];
}

/** What is written, and what is run. Libraries are mapped for execution: they count as run. */
function placesOf(spec: Spec, tokens: ExportOptions["tokens"]) {
  const grants = spec.roles.flatMap((role) => role.grants);
  const writable = new Set<string>();
  const runnable = new Set<string>();
  for (const { verb, object } of grants) {
    if (!isPathVerb(verb)) continue;
    const { path, isTree } = pathUse(object, tokens);
    if (/^\/(?:proc|dev)(?:\/|$)/.test(path)) continue;
    if (IN_DIRECTORY.has(verb)) writable.add(isTree ? path : dirname(path));
    else if (verb === "write" || verb === "chmeta") writable.add(path);
    else if (verb === "exec") runnable.add(path);
  }
  for (const { verb, object } of grants) {
    const { path } = pathUse(object, tokens);
    if (verb === "read" && isLibrary(path)) runnable.add(path);
  }
  return { writable, runnable };
}

function internetHosts(spec: Spec): string[] {
  const hosts = new Set<string>();
  for (const { verb, object } of spec.roles.flatMap(({ grants }) => grants)) {
    if (!SOCKET_VERBS.has(verb)) continue;
    const address = parseAddress(object);
    if (address?.port === undefined) continue;
    const host = sentTo(address);
    hosts.add(["*", "0.0.0.0", "::"].includes(host) ? "*" : host);
  }
  return [...hosts].sort();
}

/** What may be bound, as SocketBindAllow= takes it. */
function bindRules(spec: Spec): string[] {
  const grants = spec.roles.flatMap((role) => role.grants).filter(({ verb }) => verb === "bind");
  return [...new Set(grants.flatMap(({ object }) => bindRule(object)))];
}

function bindRule(object: string): string[] {
  const address = parseAddress(object);
  if (address?.port === undefined) return [];
  const family = address.host === "*" ? "" : address.host.includes(":") ? "ipv6:" : "ipv4:";
  const protocol = address.protocol === "udp" ? "udp" : "tcp";
  // Port 0 is a port that the kernel chooses.
  return [
    address.port === "*" || address.port === 0
      ? `${family}${protocol}`
      : `${family}${protocol}:${address.port}`,
  ];
}

/** Specifiers begin with `%`, lists are split at blanks. */
function escaped(text: string): string {
  const plain = text.replaceAll("%", "%%");
  return /[\s"'\\]/.test(plain) ? quoted(plain) : plain;
}

/** The file that is run, and behind `@` as what it is told that it was called. */
function execLine({ command }: Spec, path: string): string {
  const [program = path, ...args] = command;
  // What `$` stands before is looked up in words, but not in the name of the file.
  const file = commandWord(path).replaceAll("$$", "$");
  const isPlain = basename(path) === basename(program) && !path.includes("$");
  const words = (isPlain ? args : [program, ...args]).map(commandWord);
  return [isPlain ? file : at(file), ...words].join(" ");
}

/** A word behind a mark, which quotes take in. */
function at(word: string): string {
  return word.startsWith('"') ? `"@${word.slice(1)}` : `@${word}`;
}

/** As systemd checks names of files that it runs. */
function isRunnable(path: string): boolean {
  return !/["'\\]/.test(path) && path.search(ASCII_CONTROL) < 0;
}

function programPath(spec: Spec, tokens: ExportOptions["tokens"]): string {
  const [program = "/bin/false"] = spec.command;
  if (program.includes("/")) return resolve(tokens.PWD ?? "/", program);
  const { script, exe = [program] } = spec.roles[rootRole(spec)] ?? {};
  // A script is found by its name as well: what runs it is another program.
  const isScript = script !== undefined && basename(script) === program;
  const object = expanded(isScript ? script : (exe[0] ?? program), tokens);
  return plainPath(object) ?? object;
}

/** As systemd.service(5) reads command lines: `%` and `$` stand for themselves twice, and `;` ends a command. */
function commandWord(word: string): string {
  const plain = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  if (plain === ";") return "\\;";
  return /^[^\s"'\\]+$/.test(plain) ? plain : quoted(plain);
}

/** With the escapes of C, as lines end where the line ends. */
function quoted(text: string): string {
  const escapes: Readonly<Record<string, string>> = { "\n": "\\n", "\t": "\\t", "\r": "\\r" };
  return `"${text.replace(/["\\]/g, "\\$&").replace(/[\n\t\r]/g, (one) => escapes[one] ?? one)}"`;
}

/** What the format makes of each grant. */
function judgeFor({ known, tokens }: ExportOptions): Judge {
  return ({ verb, object }) => {
    if (verb === "syscall") {
      const call = object.split("(")[0] ?? "";
      if (known?.has(call) === false) return ["lost", "this systemd does not know the call"];
      return object.includes("(")
        ? ["widened", "families are told apart, types and protocols are not"]
        : ["kept"];
    }
    if (SOCKET_VERBS.has(verb)) {
      if (object.startsWith("unix:")) return ["widened", "any unix socket that can be seen"];
      if (verb === "bind") return ["kept"];
      return ["widened", "the host is held, its port is not"];
    }
    if (!isPathVerb(verb)) return ["widened", "any process of the same user"];
    const { isExact } = pathUse(object, tokens);
    if (verb === "write") return isExact ? ["kept"] : ["widened", "the directory"];
    if (verb === "exec") return ["kept"];
    if (IN_DIRECTORY.has(verb)) return ["widened", "the whole directory can be written"];
    return ["lost", "everything can be read and looked at, as the user may"];
  };
}
