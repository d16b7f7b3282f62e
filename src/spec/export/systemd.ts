/** A systemd service unit. */

import { basename, dirname, resolve } from "node:path";
import { choosesBy } from "../choices.js";
import { isPathVerb, rootRole, SOCKET_VERBS, type Spec } from "../model.js";
import { parseAddress, plainPath } from "../object.js";
import { expanded } from "../tokens.js";
import {
  ASCII_CONTROL,
  callsOf,
  type Exported,
  type ExportOptions,
  inOrder,
  isBelow,
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

/**
 * Places that ProtectSystem=strict leaves as they are, so that they have to be named: those of ProtectHome=, /run since
 * ProtectControlGroups= and others mount it anew (systemd 252), and what PrivateDevices= puts below /dev.
 */
const LEFT_WRITABLE: readonly string[] = ["/home", "/root", "/run", "/run/user", "/dev/shm"];

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
  const { writable, runnable, readable, sealed, built } = placesOf(spec, tokens);
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
    ...readable.map((path) => `ReadOnlyPaths=-${path}`),
    "NoExecPaths=/",
    ...inOrder(sealed).map((path) => `NoExecPaths=-${escaped(path)}`),
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
    judged: judgeAll(spec, judgeFor(options, built)),
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
    "ports are held where `systemctl --version` says +BPF_FRAMEWORK: SocketBindDeny= does nothing elsewhere",
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

interface Places {
  readonly writable: ReadonlySet<string>;
  /** Left writable by other directives, though nothing is written there. */
  readonly readable: readonly string[];
  readonly runnable: ReadonlySet<string>;
  /** Mounts of their own, that NoExecPaths=/ does not reach. */
  readonly sealed: ReadonlySet<string>;
  /** Directories of `writable` with something that is run. */
  readonly built: ReadonlySet<string>;
}

/** What is written, and what is run. Libraries are mapped for execution: they count as run. */
function placesOf(spec: Spec, tokens: ExportOptions["tokens"]): Places {
  const grants = spec.roles.flatMap((role) => role.grants);
  const directories = new Set<string>();
  const files = new Set<string>();
  const run = new Set<string>();
  for (const { verb, object } of grants) {
    const isSocket = verb === "bind" && /^unix:[/$]/.test(object);
    if (!isPathVerb(verb) && !isSocket) continue;
    const { path, isTree } = pathUse(isSocket ? object.slice("unix:".length) : object, tokens);
    if (/^\/(?:proc|dev(?!\/shm\/))(?:\/|$)/.test(path)) continue;
    if (!isNameable(placeOf(verb, path, isTree))) continue;
    if (IN_DIRECTORY.has(verb)) directories.add(placeOf(verb, path, isTree));
    else if (verb === "write" || verb === "chmeta") (isTree ? directories : files).add(path);
    else if (verb === "exec" || (verb === "read" && isLibrary(path))) run.add(path);
  }
  // What has a line of its own becomes a mount point, which cannot be removed or replaced: not so in a directory that has one.
  const outermost = [...directories].filter((path) => !isBelow(path, directories));
  const writable = new Set([
    ...outermost,
    ...[...files].filter((path) => !isIn(path, directories)),
  ]);
  const isBuiltIn = (place: string) => [...run].some((path) => isIn(path, new Set([place])));
  const built = new Set(outermost.filter(isBuiltIn));
  const readable = LEFT_WRITABLE.filter((path) => !isIn(path, writable));
  const runnable = new Set([...[...run].filter((path) => !isIn(path, built)), ...built]);
  const sealed = new Set([...writable, ...readable].filter((path) => !runnable.has(path)));
  return { writable, readable, runnable, sealed, built };
}

/** What has to be there for a grant. */
function placeOf(verb: string, path: string, isTree: boolean): string {
  return IN_DIRECTORY.has(verb) && !isTree ? dirname(path) : path;
}

/** Lines end there, and in lists of paths nothing stands for it: `\n` would be an `n`. */
function isNameable(path: string): boolean {
  return !/[\n\r]/.test(path);
}

function isIn(path: string, places: ReadonlySet<string>): boolean {
  return places.has(path) || isBelow(path, places);
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

/** Specifiers begin with `%`, lists are split at blanks. A backslash takes the next character as it is, whatever that is. */
function escaped(text: string): string {
  const plain = text.replaceAll("%", "%%");
  return /[\s"'\\]/.test(plain) ? `"${plain.replace(/["\\]/g, "\\$&")}"` : plain;
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
function judgeFor({ known, tokens }: ExportOptions, built: ReadonlySet<string>): Judge {
  return ({ verb, object }) => {
    if (verb === "syscall") {
      const call = object.split("(")[0] ?? "";
      if (known?.has(call) === false) return ["lost", "this systemd does not know the call"];
      if (choosesBy(call) !== undefined) return ["widened", "whatever the call chooses"];
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
    const { isExact, isTree, path } = pathUse(object, tokens);
    const isHeld = verb === "write" || verb === "exec" || IN_DIRECTORY.has(verb);
    if (isHeld && !isNameable(placeOf(verb, path, isTree)))
      return ["lost", "a unit has no word for such a name: it is refused"];
    if (verb === "write") return isExact ? ["kept"] : ["widened", "the directory"];
    if (verb === "exec" && isIn(path, built))
      return ["widened", "whatever stands in the directory, which is written to, can be run"];
    if (verb === "exec") return isExact ? ["kept"] : ["widened", "the directory"];
    if (IN_DIRECTORY.has(verb)) return ["widened", "the whole directory can be written"];
    return ["lost", "everything can be read and looked at, as the user may"];
  };
}
