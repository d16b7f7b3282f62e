/** Permission flags of Node.js and Deno, for the roles that they run. */

import { statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { TraceError } from "../../errors.js";
import { shellWord } from "../../tree/shell.js";
import { type Grant, isPathVerb, type Role, SOCKET_VERBS, type Spec } from "../model.js";
import { parseAddress, plainPath } from "../object.js";
import { isSecret } from "../places.js";
import { expanded } from "../tokens.js";
import {
  type Exported,
  type ExportOptions,
  inOrder,
  isBelow,
  type Judge,
  type Judged,
  pathUse,
  type Target,
  type Verdict,
} from "./target.js";

const CHANGES: ReadonlySet<string> = new Set(["write", "create", "delete", "rename", "chmeta"]);

/** What is named for a role. */
interface Paths {
  readonly role: Role;
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** What of `read` no grant gives: names that were looked for in vain. */
  readonly missed: readonly string[];
}

/** How a runtime names paths in its flags. */
interface Naming {
  /** Whether a path can be named, with nothing else by the same word. */
  readonly names: (path: string) => boolean;
  /** All that is below a directory. */
  readonly tree: (path: string) => string;
}

/** Any `*` is a pattern, and one that is not at the end ends the program in newer versions. */
const NODE: Naming = {
  names: (path) => !path.includes("*"),
  tree: (path) => `${path === "/" ? "" : path}/*`,
};

/** Lists are separated by commas, for which there is no other word. */
const DENO: Naming = {
  names: (path) => !path.includes(","),
  tree: (path) => path,
};

/** What a runtime opens before it reads its flags needs none: the loader's files, its own configuration. */
function pathsOf(role: Role, options: ExportOptions, { names, tree }: Naming): Paths {
  const read = new Set<string>();
  const write = new Set<string>();
  const trees = new Set<string>();
  const passed = passedBy(role, options);
  for (const { verb, object } of role.grants) {
    if (!isPathVerb(verb) || verb === "exec") continue;
    const use = pathUse(object, options.tokens);
    if (verb === "stat" && passed.has(use.path)) continue;
    if (!names(use.path)) continue;
    (CHANGES.has(verb) ? write : read).add(use.isTree ? tree(use.path) : use.path);
    if (use.isTree && !CHANGES.has(verb)) trees.add(use.path);
  }
  const missed = missedBy(role, options, passed).filter(
    (path) => names(path) && !read.has(path) && !isBelow(path, trees),
  );
  return { role, read: inOrder([...read, ...missed]), write: inOrder(write), missed };
}

const MODULE = /\.(?:[cm]?[jt]sx?|json|node|wasm)$/;

/**
 * Directories that the loader looks at on its way to the modules. It does so without leave, and a flag that names a directory
 * gives all that is below: for `/` and the home directory that would be everything.
 */
function passedBy(role: Role, { tokens }: ExportOptions): ReadonlySet<string> {
  const passed = new Set<string>();
  const modules = role.grants.filter(({ verb, object }) => verb === "read" && MODULE.test(object));
  for (const object of ["$PWD/*", role.script ?? "", ...modules.map(({ object }) => object)]) {
    const path = expanded(object, tokens);
    if (!path.startsWith("/")) continue;
    for (let at = dirname(path); !passed.has(at); at = dirname(at)) passed.add(at);
  }
  return passed;
}

/**
 * What a script looked for in vain: without a flag it is told that it may not, which is another error than the one that it reckons
 * with. The loader looks for modules without leave.
 */
function missedBy(
  { probes = [] }: Role,
  { tokens }: ExportOptions,
  passed: ReadonlySet<string>,
): string[] {
  const paths = probes
    .filter(({ verb, error }) => (verb === "read" || verb === "stat") && error === "ENOENT")
    .flatMap(({ object }) => plainPath(expanded(object, tokens)) ?? []);
  return paths.filter(
    (path) => !passed.has(path) && !MODULE.test(path) && !MODULES.test(path) && !isSecret(path),
  );
}
const MODULES = /\/node_modules(?:\/|$)/;

/** Said only where flags were added for them. */
function missedRemark(paths: readonly Paths[]): string[] {
  return paths.some(({ missed }) => missed.length > 0)
    ? ["names that were looked for in vain can be read, since a refusal is another error"]
    : [];
}

/** What the flags make of a grant of a path. */
function pathVerdict(
  { verb, object }: Grant,
  role: Role,
  options: ExportOptions,
  { names }: Naming,
): readonly [Verdict, string?] {
  const { path, isExact } = pathUse(object, options.tokens);
  if (!names(path)) return ["lost", NO_WORD];
  if (verb === "stat" && passedBy(role, options).has(path))
    return ["lost", "the loader may, a script is refused: it would be all that is below"];
  if (isDirectory(path))
    return ["widened", `all that is below can be ${CHANGES.has(verb) ? "written" : "read"}`];
  return isExact && /^(?:read|write)$/.test(verb)
    ? ["kept"]
    : ["widened", "reading or writing of that path or directory"];
}

const NO_WORD = "the flags have no word for such a name: it is refused";

/** As the runtimes look at the paths of their flags when they start. */
function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function rolesOf(spec: Spec, name: RegExp): Role[] {
  return spec.roles.filter(({ exe }) => exe.some((path) => name.test(basename(path))));
}

/** The roles whose flags are asked for. @throws TraceError `NO_ROLE` when the spec has none of them */
function rolesRunBy(spec: Spec, runtime: string, name: RegExp): Role[] {
  const roles = rolesOf(spec, name);
  if (roles.length > 0) return roles;
  const programs = spec.roles.map((role) => role.name).join(", ");
  throw new TraceError(
    "NO_ROLE",
    `no program of the spec is run by ${runtime}, so there are no flags: it has ${programs}`,
    {
      hint: "--to=bwrap, --to=firejail and --to=systemd hold programs of any kind",
    },
  );
}

/** Which flags are whose, where there are those of several programs. */
function orderRemark(roles: readonly Role[]): string[] {
  if (roles.length < 2) return [];
  return [
    `flags of ${roles.length} programs, in this order: ${roles.map(({ name }) => name).join(", ")}`,
  ];
}

function judge(spec: Spec, own: readonly Role[], verdict: Judge): Judged[] {
  return spec.roles.flatMap((role) =>
    role.grants.map((grant) => {
      const [result, note] = own.includes(role)
        ? verdict(grant, role)
        : (["lost", "another program: the flags do not hold it"] as const);
      return { role: role.name, grant, verdict: result, ...(note !== undefined && { note }) };
    }),
  );
}

export const node: Target = {
  name: "node",
  summary: "permission flags of Node.js",
  perRole: false,
  export: (spec, options) => exportNode(spec, options, NODE_MAJOR),
};

/** Flags as version `major` takes them. */
export function exportNode(spec: Spec, options: ExportOptions, major: number): Exported {
  const roles = rolesRunBy(spec, "Node.js", /^(?:node|nodejs)$/);
  const hasNetFlag = major >= 25;
  const paths = roles.map((role) => pathsOf(role, options, NODE));
  const lines = paths.map(({ role, read, write }) => {
    const flags = [
      major >= 23 ? "--permission" : "--experimental-permission",
      ...read.map((path) => `--allow-fs-read=${path}`),
      ...write.map((path) => `--allow-fs-write=${path}`),
      ...(startsOthers(spec, role) ? ["--allow-child-process"] : []),
      ...(makesWorkers(role) ? ["--allow-worker"] : []),
      ...(loadsAddons(role) && major >= 22 ? ["--allow-addons"] : []),
      ...(usesSockets(role) && hasNetFlag ? ["--allow-net"] : []),
    ];
    return flags.map(shellWord).join(" \\\n  ");
  });
  return {
    text: `${lines.join("\n\n")}\n`,
    judged: judge(spec, roles, (grant, role) => {
      const { verb } = grant;
      if (verb === "syscall") return ["lost", "calls are not filtered"];
      if (SOCKET_VERBS.has(verb))
        return hasNetFlag
          ? ["widened", "the whole network"]
          : ["lost", "the network is not restricted by this version"];
      if (!isPathVerb(verb)) return ["widened"];
      if (verb === "exec") return ["widened", "any program, once child processes are allowed"];
      return pathVerdict(grant, role, options, NODE);
    }),
    remarks: [
      ...orderRemark(roles),
      ...missedRemark(paths),
      `flags of Node.js ${major}; addons, child processes and inherited descriptors are not held by them`,
    ],
  };
}

/** Of the program that runs this. */
const NODE_MAJOR = Number(process.versions.node.split(".")[0]);

function usesSockets({ grants }: Role): boolean {
  return grants.some(({ verb }) => SOCKET_VERBS.has(verb));
}

function startsOthers(spec: Spec, role: Role): boolean {
  return spec.roles.some(({ from }) => from.includes(role.name));
}

/** Worker threads cannot be told from node's own: three or four are always there. */
function makesWorkers({ limits }: Role): boolean {
  return (limits?.threads ?? 0) > OWN_THREADS;
}
const OWN_THREADS = 12;

function loadsAddons({ grants }: Role): boolean {
  return grants.some(({ verb, object }) => verb === "read" && object.endsWith(".node"));
}

export const deno: Target = {
  name: "deno",
  summary: "permission flags of Deno",
  perRole: false,
  export(spec, options): Exported {
    const roles = rolesRunBy(spec, "Deno", /^deno$/);
    const paths = roles.map((role) => pathsOf(role, options, DENO));
    const lines = paths.map(({ role, read, write }) => {
      const sockets = unixSockets(role, options);
      const programs = role.grants
        .filter(({ verb }) => verb === "exec")
        .map(({ object }) => pathUse(object, options.tokens).path);
      const own = role.exe.map((exe) => expanded(exe, options.tokens));
      const others = programs.filter((path) => !own.includes(path) && !/\/ld-linux|,/.test(path));
      const flags = [
        "--no-prompt",
        ...list("--allow-read", inOrder([...read, ...sockets])),
        ...list("--allow-write", inOrder([...write, ...sockets])),
        ...netFlag(role, sockets),
        ...list("--allow-run", others),
      ];
      return flags.map(shellWord).join(" \\\n  ");
    });
    return {
      text: `${lines.join("\n\n")}\n`,
      judged: judge(spec, roles, (grant, role) => {
        const { verb, object } = grant;
        if (verb === "syscall") return ["lost", "calls are not filtered"];
        if (SOCKET_VERBS.has(verb))
          return object.startsWith("unix:") && !DENO.names(object)
            ? ["lost", NO_WORD]
            : socketVerdict(verb, object);
        if (!isPathVerb(verb)) return ["widened"];
        if (verb === "exec" && object.includes(",")) return ["lost", NO_WORD];
        if (verb === "exec" && pathUse(object, options.tokens).isExact) return ["kept"];
        return pathVerdict(grant, role, options, DENO);
      }),
      remarks: [
        ...orderRemark(roles),
        ...missedRemark(paths),
        "programs that it runs and libraries that it loads are not held by the flags",
      ],
    };
  },
};

function list(flag: string, values: readonly string[]): string[] {
  const words = [...new Set(values)];
  return words.length === 0 ? [] : [`${flag}=${words.join(",")}`];
}

function unixSockets({ grants }: Role, { tokens }: ExportOptions): string[] {
  return grants
    .filter(({ verb, object }) => SOCKET_VERBS.has(verb) && /^unix:[/$]/.test(object))
    .map(({ object }) => pathUse(object.slice("unix:".length), tokens).path)
    .filter(DENO.names);
}

/** Deno has no word for any host at one port. */
function netFlag(role: Role, sockets: readonly string[]): string[] {
  const addresses = role.grants.flatMap(({ verb, object }) => {
    const address = SOCKET_VERBS.has(verb) ? parseAddress(object) : undefined;
    return address?.port === undefined ? [] : [address];
  });
  if (addresses.some(({ host }) => host === "*")) return ["--allow-net"];
  const hosts = addresses.map(({ host, port }) => {
    const name = host.includes(":") ? `[${host}]` : host;
    return port === "*" || port === 0 ? name : `${name}:${port}`;
  });
  return list("--allow-net", [...hosts, ...sockets.map((path) => `unix:${path}`)]);
}

function socketVerdict(verb: string, object: string): readonly [Verdict, string?] {
  const address = parseAddress(object);
  if (address?.port === undefined)
    return object.startsWith("unix:@")
      ? ["lost", "sockets without a path are not understood"]
      : ["widened", "to connect and to listen"];
  if (address.host === "*") return ["widened", "the whole network"];
  if (address.port === 0) return ["widened", "any port of the address"];
  return address.protocol === "udp" || verb === "bind"
    ? ["widened", "any protocol at the address, to connect and to listen"]
    : ["kept"];
}
