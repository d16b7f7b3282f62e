/** Permission flags of Node.js and Deno, for the roles that they run. */

import { basename } from "node:path";
import { shellWord } from "../../tree/shell.js";
import { isPathVerb } from "../generalise.js";
import { type Role, SOCKET_VERBS, type Spec } from "../model.js";
import { parseAddress } from "../object.js";
import {
  type Exported,
  type ExportOptions,
  inOrder,
  type Judged,
  pathUse,
  type Target,
  type Verdict,
} from "./target.js";

const CHANGES: ReadonlySet<string> = new Set(["write", "create", "delete", "rename", "chmeta"]);

interface Paths {
  readonly read: readonly string[];
  readonly write: readonly string[];
  readonly isExact: boolean;
}

/** What a runtime opens before it reads its flags needs none: the loader's files, its own configuration. */
function pathsOf(role: Role, { tokens }: ExportOptions, tree: (path: string) => string): Paths {
  const read = new Set<string>();
  const write = new Set<string>();
  let isExact = true;
  for (const { verb, object } of role.grants) {
    if (!isPathVerb(verb) || verb === "exec") continue;
    const use = pathUse(object, tokens);
    isExact &&= use.isExact;
    (CHANGES.has(verb) ? write : read).add(use.isTree ? tree(use.path) : use.path);
  }
  return { read: inOrder(read), write: inOrder(write), isExact };
}

function rolesOf(spec: Spec, name: RegExp): Role[] {
  return spec.roles.filter(({ exe }) => exe.some((path) => name.test(basename(path))));
}

function judge(
  spec: Spec,
  own: readonly Role[],
  verdict: (verb: string, object: string) => readonly [Verdict, string?],
): Judged[] {
  return spec.roles.flatMap((role) =>
    role.grants.map((grant) => {
      const [result, note] = own.includes(role)
        ? verdict(grant.verb, grant.object)
        : (["lost", "another program: the flags do not hold it"] as const);
      return { role: role.name, grant, verdict: result, ...(note !== undefined && { note }) };
    }),
  );
}

export const node: Target = {
  name: "node",
  summary: "permission flags of Node.js",
  perRole: false,
  export(spec, options): Exported {
    const roles = rolesOf(spec, /^(?:node|nodejs)$/);
    const lines = roles.map((role) => {
      const { read, write } = pathsOf(role, options, (path) => `${path === "/" ? "" : path}/*`);
      const flags = [
        NODE_FLAG,
        ...read.map((path) => `--allow-fs-read=${path}`),
        ...write.map((path) => `--allow-fs-write=${path}`),
        ...(startsOthers(spec, role) ? ["--allow-child-process"] : []),
        ...(makesWorkers(role) ? ["--allow-worker"] : []),
        ...(loadsAddons(role) && NODE_MAJOR >= 22 ? ["--allow-addons"] : []),
      ];
      return flags.map(shellWord).join(" \\\n  ");
    });
    return {
      text: `${lines.join("\n\n")}\n`,
      judged: judge(spec, roles, (verb, object) => {
        if (verb === "syscall") return ["lost", "calls are not filtered"];
        if (SOCKET_VERBS.has(verb))
          return ["lost", "the network is not restricted by this version"];
        if (!isPathVerb(verb)) return ["widened"];
        if (verb === "exec") return ["widened", "any program, once child processes are allowed"];
        return pathUse(object, options.tokens).isExact &&
          (verb === "read" || verb === "list" || verb === "write")
          ? ["kept"]
          : ["widened", "reading or writing of that path or directory"];
      }),
      remarks: [
        ...(roles.length === 0 ? ["no role of the spec is Node.js"] : []),
        `flags of Node.js ${NODE_MAJOR}; addons, child processes and inherited descriptors are not held by them`,
      ],
    };
  },
};

const NODE_MAJOR = Number(process.versions.node.split(".")[0]);
const NODE_FLAG = NODE_MAJOR >= 23 ? "--permission" : "--experimental-permission";

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
    const roles = rolesOf(spec, /^deno$/);
    const own = roles.length > 0 ? roles : spec.roles.slice(0, 1);
    const lines = own.map((role) => {
      const { read, write } = pathsOf(role, options, (path) => path);
      const hosts = hostsOf(role);
      const programs = role.grants
        .filter(({ verb }) => verb === "exec")
        .map(({ object }) => pathUse(object, options.tokens).path);
      const others = programs.filter(
        (path) => !role.exe.includes(path) && !/\/ld-linux/.test(path),
      );
      const flags = [
        "--no-prompt",
        ...list("--allow-read", read),
        ...list("--allow-write", write),
        ...list("--allow-net", hosts),
        ...list("--allow-run", others),
      ];
      return flags.map(shellWord).join(" \\\n  ");
    });
    return {
      text: `${lines.join("\n\n")}\n`,
      judged: judge(spec, own, (verb, object) => {
        if (verb === "syscall") return ["lost", "calls are not filtered"];
        if (verb === "connect" || verb === "bind")
          return object.startsWith("udp:") ? ["widened", "TCP to the same address"] : ["kept"];
        if (SOCKET_VERBS.has(verb)) return ["kept"];
        if (!isPathVerb(verb)) return ["widened"];
        return pathUse(object, options.tokens).isExact && /^(?:read|list|write|exec)$/.test(verb)
          ? ["kept"]
          : ["widened", "reading or writing of that path or directory"];
      }),
      remarks: [
        ...(roles.length === 0
          ? ["no role of the spec is Deno: the flags are those of its first program"]
          : []),
        "programs that it runs and libraries that it loads are not held by the flags",
      ],
    };
  },
};

/** Lists are separated by commas, which paths may hold: those are doubled. */
function list(flag: string, values: readonly string[]): string[] {
  const words = [...new Set(values)].map((value) => value.replaceAll(",", ",,"));
  return words.length === 0 ? [] : [`${flag}=${words.join(",")}`];
}

function hostsOf(role: Role): string[] {
  return role.grants
    .filter(({ verb }) => SOCKET_VERBS.has(verb))
    .flatMap(({ object }) => {
      if (object.startsWith("unix:/")) return [`unix:${object.slice("unix:".length)}`];
      const address = parseAddress(object);
      if (address?.port === undefined) return [];
      if (address.host === "*") return ["0.0.0.0/0"];
      const host = address.host.includes(":") ? `[${address.host}]` : address.host;
      return [address.port === "*" || address.port === 0 ? host : `${host}:${address.port}`];
    });
}
