/** Firejail profiles. */

import { dirname } from "node:path";
import { choosesBy } from "../choices.js";
import { isPathVerb, SOCKET_VERBS, type Spec } from "../model.js";
import { isSecret } from "../places.js";
import {
  ASCII_CONTROL,
  callsOf,
  type Exported,
  type ExportOptions,
  inOrder,
  type Judge,
  judgeAll,
  pathUse,
  socketKinds,
  type Target,
  unionRemark,
} from "./target.js";

export const firejail: Target = {
  name: "firejail",
  summary: "firejail profile",
  perRole: false,
  export: exportFirejail,
};

const PROTOCOLS: ReadonlySet<string> = new Set([
  "unix",
  "inet",
  "inet6",
  "netlink",
  "packet",
  "bluetooth",
]);
const CHANGES: ReadonlySet<string> = new Set(["write", "create", "delete", "rename", "chmeta"]);
/** What firejail itself calls between its filter and the program. */
const OWN_CALLS: readonly string[] = [
  "execve",
  "prctl",
  "rt_sigaction",
  "setresuid",
  "setresgid",
  "setgroups",
  "umask",
  "dup2",
  "close",
  "fcntl",
  "write",
  "exit_group",
  "getrlimit",
  "prlimit64",
];

function exportFirejail(spec: Spec, options: ExportOptions): Exported {
  const { tokens, known } = options;
  const writable = new Set<string>();
  for (const { verb, object } of spec.roles.flatMap(({ grants }) => grants)) {
    if (!isPathVerb(verb) || !CHANGES.has(verb)) continue;
    const place = writablePlace(verb, object, tokens);
    if (!/^\/(?:proc|dev)(?:\/|$)/.test(place)) writable.add(place);
  }
  const granted = callsOf(spec);
  const calls = [...new Set([...granted, ...OWN_CALLS])]
    .filter((call) => known?.has(call) ?? true)
    .sort();
  const unknown = granted.filter((call) => known?.has(call) === false);
  const protocols = [...new Set(socketKinds(spec).map((kind) => kind.split(",")[0] ?? ""))].filter(
    (family) => PROTOCOLS.has(family),
  );
  const hasNetwork = spec.roles.some(({ grants }) =>
    grants.some(({ verb, object }) => SOCKET_VERBS.has(verb) && !object.startsWith("unix:")),
  );
  const home = tokens.HOME;
  const readable = spec.roles
    .flatMap(({ grants }) => grants)
    .filter(({ verb }) => verb === "read")
    .map(({ object }) => pathUse(object, tokens).path);
  const secrets = home === undefined ? [] : SECRET_PLACES.map((name) => `${home}/${name}`);
  const lines = [
    "# Made of a sandbox spec. Use it as: firejail --profile=FILE PROGRAM ...",
    "# Not with -- before the program: firejail has a shell run it then, whose calls are not all allowed.",
    "quiet",
    "caps.drop all",
    "nonewprivs",
    "noroot",
    "nogroups",
    "dbus-user none",
    "dbus-system none",
    ...(hasNetwork ? [] : ["net none"]),
    ...(protocols.length > 0 ? [`protocol ${protocols.join(",")}`] : []),
    `seccomp.keep ${calls.join(",")}`,
    "seccomp-error-action EPERM",
    ...secrets
      .filter((path) => !readable.some((own) => own === path || own.startsWith(`${path}/`)))
      .map((path) => `blacklist ${named(path)}`),
    "read-only /",
    ...inOrder(writable)
      .filter((path) => path !== "/" && named(path) === path)
      .map((path) => `read-write ${path}`),
  ];
  return {
    text: `${lines.join("\n")}\n`,
    judged: judgeAll(spec, judgeFor(options)),
    remarks: [
      ...unionRemark(spec),
      "to be used without -- before the program, by which firejail has a shell run it",
      "firejail drops names of calls that it does not know without a word: they were checked here",
      ...(unknown.length > 0
        ? [`left out, since this firejail does not know them: ${unknown.join(", ")}`]
        : []),
      ...(known === undefined ? ["names were not checked: firejail is not installed"] : []),
    ],
  };
}

/** Where credentials are kept in a home directory. */
const SECRET_PLACES: readonly string[] = [
  ".ssh",
  ".gnupg",
  ".aws",
  ".azure",
  ".kube",
  ".docker",
  ".netrc",
  ".pgpass",
  ".git-credentials",
];

/** What has to be writable for a grant that changes something. */
function writablePlace(verb: string, object: string, tokens: ExportOptions["tokens"]): string {
  const { path, isTree } = pathUse(object, tokens);
  return verb === "write" || isTree ? path : dirname(path);
}

/**
 * A path as a profile names it. Firejail ends comments and lines where they end, makes one of several blanks, refuses what shells
 * give a meaning to, and knows no quotes: for such a character stands the pattern of any one. By that more is kept from a program;
 * nothing is given to it.
 */
function named(path: string): string {
  const plain = path.replace(/[&;%,{}\\<>!^"#*?[]/g, "?").replace(ASCII_CONTROL, "?");
  return plain.replace(/ {2,}| $/g, (blanks) => "?".repeat(blanks.length));
}

/** What the format makes of each grant. */
function judgeFor({ known, tokens }: ExportOptions): Judge {
  return ({ verb, object }) => {
    if (verb === "syscall") {
      const call = object.split("(")[0] ?? "";
      if (known?.has(call) === false) return ["lost", "this firejail does not know the call"];
      if (choosesBy(call) !== undefined) return ["widened", "whatever the call chooses"];
      return object.includes("(")
        ? ["widened", "families are told apart, types and protocols are not"]
        : ["kept"];
    }
    if (SOCKET_VERBS.has(verb))
      return ["widened", object.startsWith("unix:") ? "any unix socket" : "the whole network"];
    if (!isPathVerb(verb)) return ["widened", "any process inside"];
    const { path, isExact } = pathUse(object, tokens);
    if (isSecret(path) && verb === "read") return ["kept"];
    if (CHANGES.has(verb)) {
      const place = writablePlace(verb, object, tokens);
      if (place === "/") return ["lost", "the root directory stays read-only"];
      if (named(place) !== place)
        return ["lost", "firejail has no word for such a name: it stays read-only"];
    }
    if (verb === "write") return isExact ? ["kept"] : ["widened", "the directory"];
    return CHANGES.has(verb)
      ? ["widened", "the whole directory can be written"]
      : ["widened", "everything but what is blacklisted can be read"];
  };
}
