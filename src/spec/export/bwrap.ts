/** A bubblewrap command, as a shell script that runs its arguments inside. */

import { type Dirent, lstatSync, readdirSync, readlinkSync, realpathSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { singleQuoted } from "../../tree/shell.js";
import { isPathVerb, type Link, SOCKET_VERBS, type Spec } from "../model.js";
import { plainPath } from "../object.js";
import { expanded } from "../tokens.js";
import {
  type Exported,
  type ExportOptions,
  inOrder,
  isBelow,
  judgeAll,
  pathUse,
  type Target,
  unionRemark,
} from "./target.js";

export const bwrap: Target = {
  name: "bwrap",
  summary: "shell script that runs its arguments in bubblewrap",
  perRole: false,
  export: exportBwrap,
};

/** Verbs that change a directory, which has to be there as a whole: a single file cannot be replaced. */
const IN_DIRECTORY: ReadonlySet<string> = new Set(["create", "delete", "rename"]);
const CHANGES: ReadonlySet<string> = new Set(["write", "chmeta"]);

function exportBwrap(spec: Spec, { tokens }: ExportOptions): Exported {
  const readable = new Set<string>();
  const writable = new Set<string>();
  for (const { verb, object } of spec.roles.flatMap(({ grants }) => grants)) {
    const isUnix = object.startsWith("unix:/") || object.startsWith("unix:$");
    if (!isPathVerb(verb) && !isUnix) continue;
    const { path } = pathUse(isUnix ? object.slice("unix:".length) : object, tokens);
    if (isVirtual(path)) continue;
    if (IN_DIRECTORY.has(verb) || isUnix)
      writable.add(pathUse(object, tokens).isTree && !isUnix ? path : dirname(path));
    else if (CHANGES.has(verb)) writable.add(path);
    else if (verb !== "stat" || !isDirectory(path)) {
      readable.add(path);
      // A link is of no use without what it leads to.
      readable.add(realPath(path));
    }
  }
  const hasNetwork = spec.roles.some(({ grants }) =>
    grants.some(({ verb, object }) => SOCKET_VERBS.has(verb) && !object.startsWith("unix:")),
  );
  const lines = [
    "--unshare-all",
    ...(hasNetwork ? ["--share-net"] : []),
    "--die-with-parent",
    "--new-session",
    "--cap-drop ALL",
    // Links of a merged /usr lead outside otherwise.
    ...rootLinks().map(([name, target]) => `--symlink ${quoted(target)} ${quoted(name)}`),
    ...binds(readable, writable),
    ...linksTo(new Set([...readable, ...writable]), spec.links ?? [], tokens),
    "--proc /proc",
    "--dev /dev",
    ...(tokens.PWD === undefined ? [] : [`--chdir ${quoted(tokens.PWD)}`]),
  ];
  return {
    text: `#!/bin/sh\n# Runs its arguments in a sandbox that holds what the spec grants.\nexec bwrap \\\n  ${lines.join(" \\\n  ")} \\\n  -- "$@"\n`,
    judged: judgeAll(spec, ({ verb, object }) => {
      if (verb === "syscall")
        return ["lost", "no filter: any call passes (add one with --seccomp)"];
      if (SOCKET_VERBS.has(verb)) {
        if (object.startsWith("unix:/") || object.startsWith("unix:$"))
          return ["widened", "its directory is there, writable"];
        return object.startsWith("unix:@")
          ? ["lost", "the network namespace has no abstract sockets of others"]
          : ["widened", "the whole network is there"];
      }
      if (!isPathVerb(verb))
        return ["widened", "all processes inside can be reached, none outside"];
      const { path, isExact } = pathUse(object, tokens);
      if (isVirtual(path)) return ["widened", "/proc and /dev of its own are there as a whole"];
      if (verb === "stat" || verb === "list")
        return isExact ? ["widened", "what is there can be read"] : ["widened"];
      if (IN_DIRECTORY.has(verb)) return ["widened", "its directory can be written"];
      if (verb === "write")
        return isExact
          ? ["widened", "it can be read too"]
          : ["widened", "its directory can be written"];
      return verb === "read" && isExact ? ["kept"] : ["widened"];
    }),
    remarks: unionRemark(spec),
  };
}

/** A word of any POSIX shell: `$'...'` is not known to all. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : singleQuoted(word);
}

/** bubblewrap makes its own. */
function isVirtual(path: string): boolean {
  return /^\/(?:proc|dev)(?:\/|$)/.test(path) || path === "/";
}

function binds(readable: ReadonlySet<string>, writable: ReadonlySet<string>): string[] {
  const bound = new Set([...readable, ...writable].filter(isDirectory));
  // What stands in a directory that is bound already is there; bound once more, it could be neither removed nor replaced.
  const isThere = (path: string) => isBelow(path, writable.has(path) ? writable : bound);
  return inOrder([...readable, ...writable]).flatMap((path) => {
    if (isRootLink(path) || isThere(path)) return [];
    const word = quoted(path);
    return [`--${writable.has(path) ? "bind" : "ro-bind"}-try ${word} ${word}`];
  });
}

/**
 * Names under which programs know files that are there: those that the recordings show, and, as of a script's interpreter they do
 * not, those that are found beside the files and in the directories beside: `libz.so.1` of `libz.so.1.2.13`, `sh` of `dash`.
 */
function linksTo(
  paths: ReadonlySet<string>,
  links: readonly Link[],
  tokens: ExportOptions["tokens"],
): string[] {
  const realPaths = new Set([...paths].map(realPath));
  const bound = new Set([...paths].filter(isDirectory));
  const isThere = (path: string) => paths.has(path) || isBelow(path, bound) || isVirtual(path);
  const found = new Map<string, string>();
  const roots = rootLinks().map(([name, target]) => [name, resolve("/", target)] as const);
  const plain = links.flatMap(({ name, to }) => {
    const [own, target] = [plainPath(expanded(name, tokens)), plainPath(expanded(to, tokens))];
    return own === undefined || target === undefined ? [] : [[own, target] as const];
  });
  for (const [name, target] of plain.sort(([a], [b]) => a.length - b.length)) {
    const own = throughLinks(name, new Map([...roots, ...found]));
    const isReal = [...paths].some((path) => path.startsWith(`${own}/`));
    if (own !== target && !isThere(own) && !isReal) found.set(own, target);
  }
  const leads = new Set(found.keys());
  for (const directory of directoriesAround(paths)) {
    for (const entry of entriesOf(directory)) {
      const link = `${directory}/${entry.name}`;
      if (!entry.isSymbolicLink()) continue;
      const target = realPath(link);
      if (!paths.has(target) && !realPaths.has(target)) continue;
      for (const [name, text] of chainOf(link)) {
        if (!isThere(name) && !isBelow(name, leads)) found.set(name, text);
      }
    }
  }
  return [...found].map(([name, text]) => `--symlink ${quoted(text)} ${quoted(name)}`);
}

/** The path without those links that stand on the way. */
function throughLinks(path: string, links: ReadonlyMap<string, string>): string {
  for (let at = dirname(path); at !== "/"; at = dirname(at)) {
    const target = links.get(at);
    if (target !== undefined) return target + path.slice(at.length);
  }
  return path;
}

/** A link, what it says, and the same of all that it leads to, as long as these are links: `awk`, `/etc/alternatives/awk`. */
function chainOf(link: string): [name: string, text: string][] {
  const chain: [string, string][] = [];
  try {
    for (let name = link; chain.length < MAX_LINKS; ) {
      const text = readlinkSync(name);
      chain.push([name, text]);
      const next = resolve(dirname(name), text);
      name = `${realPath(dirname(next))}/${basename(next)}`;
    }
  } catch {
    // The last one is no link.
  }
  return chain;
}

/** Those that the paths stand in, and those beside them: `/usr/lib/R/etc` of `/usr/lib/R/bin/R`. Nothing of `/usr/lib` and above. */
function directoriesAround(paths: ReadonlySet<string>): ReadonlySet<string> {
  const directories = new Set([...paths].map((path) => realPath(dirname(path))));
  directories.delete("/");
  for (const parent of new Set([...directories].map(dirname))) {
    if (parent.split("/").length <= OWN_DEPTH || isVirtual(parent)) continue;
    for (const entry of entriesOf(parent))
      if (entry.isDirectory()) directories.add(`${parent}/${entry.name}`);
  }
  return directories;
}

/** As many links as Linux follows, path_resolution(7). */
const MAX_LINKS = 40;
/** Names with their slash of a directory that many programs share: `/usr/lib`. */
const OWN_DEPTH = 3;

/** The path without links, where it is there. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}

function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}

const ROOT_NAMES: readonly string[] = ["/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"];

function isRootLink(path: string): boolean {
  return (
    ROOT_NAMES.some((name) => path === name || path.startsWith(`${name}/`)) &&
    rootLinks().some(([name]) => path.startsWith(name))
  );
}

function rootLinks(): [string, string][] {
  return ROOT_NAMES.flatMap((name) => {
    try {
      return [[name, readlinkSync(name)] as [string, string]];
    } catch {
      return [];
    }
  });
}
