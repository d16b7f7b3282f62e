/** What is wrong, or looks wrong, with a spec that can be read: names that lead nowhere, wiring that does not fit, roles that act for others. */

import { existsSync } from "node:fs";
import { NAMES } from "../decode/names.generated.js";
import { nearestName } from "../query/nearest.js";
import { counted } from "../report/units.js";
import { type Deputy, deputiesOf } from "./deputies.js";
import { type Channel, PATH_VERBS, type Role, type Spec } from "./model.js";
import { WITHHELD } from "./needed.js";
import { plainPath } from "./object.js";
import { expanded, lacksToken, type Tokens } from "./tokens.js";

export interface Finding {
  /** An `error` makes the spec unusable; a `warning` is worth a look. */
  readonly level: "error" | "warning";
  readonly about: string;
  readonly message: string;
  /** Of a role that may have another one act for it. */
  readonly deputy?: Deputy;
}

/** `tokens` are those of this machine; they decide which paths are looked for. */
export function validateSpec(spec: Spec, tokens: Tokens): Finding[] {
  return [
    ...names(spec),
    ...spec.channels.flatMap(channelFindings),
    ...triggers(spec),
    ...reachability(spec),
    ...spec.roles.flatMap((role) => grants(role, tokens)),
    ...deputiesOf(spec, tokens).map(deputyFinding),
  ];
}

function deputyFinding(deputy: Deputy): Finding {
  const { writer, runner, meets, gains } = deputy;
  const [first] = meets;
  const ways = meets.length > 1 ? ` (and in ${counted(meets.length - 1, "more way")})` : "";
  const more = gains.length > 1 ? ` (and ${gains.length - 1} more)` : "";
  const message =
    `may have ${runner} act for it: ${first?.writes} meets ${first?.runs}${ways}, ` +
    `and ${runner} may ${gains[0]}${more}`;
  return { ...warning(`role ${writer}`, message), deputy };
}

const error = (about: string, message: string): Finding => ({ level: "error", about, message });
const warning = (about: string, message: string): Finding => ({ level: "warning", about, message });

function names(spec: Spec): Finding[] {
  const known = new Set(spec.roles.map(({ name }) => name));
  const missing = (about: string, name: string): Finding[] => {
    if (known.has(name)) return [];
    const near = nearestName(name, [...known]);
    return [
      error(
        about,
        `there is no role ${name}${near === undefined ? "" : `; did you mean ${near}?`}`,
      ),
    ];
  };
  return [
    ...spec.roles.flatMap((role) => [
      ...role.from.flatMap((name) => missing(`role ${role.name}`, name)),
      ...role.grants.flatMap(({ object }) => {
        const name = /^role:(.*)$/.exec(object)?.[1];
        return name === undefined ? [] : missing(`role ${role.name}`, name);
      }),
    ]),
    ...spec.channels.flatMap(({ name, readers, writers }) =>
      [...readers, ...writers].flatMap((role) => missing(`channel ${name}`, role)),
    ),
    ...spec.triggers.flatMap(({ role }) => missing("triggers", role)),
  ];
}

function channelFindings({ name, kind, readers, writers, at }: Channel): Finding[] {
  const about = `channel ${name}`;
  const found: Finding[] = [];
  if (kind === "pipe") {
    if (writers.length === 0) found.push(error(about, "a pipe that nobody writes to"));
    if (readers.length === 0) found.push(error(about, "a pipe that nobody reads from"));
    if (writers.length > 1)
      found.push(warning(about, `several write to it: ${writers.join(", ")}`));
    if (readers.length > 1)
      found.push(warning(about, `several read from it: ${readers.join(", ")}`));
  }
  if (kind === "listener" && readers.length === 0) {
    found.push(warning(about, `nobody accepts connections${at === undefined ? "" : ` at ${at}`}`));
  }
  return found;
}

function triggers(spec: Spec): Finding[] {
  const roles = new Set(spec.roles.map(({ name }) => name));
  const channels = new Map(spec.channels.map((channel) => [channel.name, channel]));
  return spec.triggers.flatMap(({ role, on, of }) => {
    const about = `trigger of ${role}`;
    if (on === "launch") return [];
    if (of === undefined) return [warning(about, `on ${on}, but of what is not said`)];
    if (on === "exec") return roles.has(of) ? [] : [error(about, `there is no role ${of}`)];
    const channel = channels.get(of);
    if (channel === undefined) return [error(about, `there is no channel ${of}`)];
    const fits = on === "connection" ? channel.kind === "listener" : channel.kind !== "listener";
    return fits ? [] : [error(about, `a ${channel.kind} cannot start a role on ${on}`)];
  });
}

/** Roles that nothing starts, and roles that only start each other. */
function reachability(spec: Spec): Finding[] {
  const launched = spec.triggers.filter(({ on }) => on === "launch").map(({ role }) => role);
  const unstarted = spec.roles.filter(({ from }) => from.length === 0).map(({ name }) => name);
  const roots = [...new Set([...launched, ...unstarted])];
  if (spec.roles.length === 0) return [error("roles", "there is none: no program may run")];
  if (roots.length === 0) {
    return [error("roles", "none is the first: each says that another starts it (`from`)")];
  }
  const found: Finding[] = [];
  if (roots.length > 1)
    found.push(warning("roles", `several are first of the tree: ${roots.join(", ")}`));
  const reached = new Set(roots);
  for (let grown = true; grown; ) {
    grown = false;
    for (const { name, from } of spec.roles) {
      if (reached.has(name) || !from.some((other) => reached.has(other))) continue;
      reached.add(name);
      grown = true;
    }
  }
  for (const { name, from } of spec.roles) {
    if (!reached.has(name)) {
      found.push(
        error(
          `role ${name}`,
          `cannot be reached: it is only started by ${from.join(", ")}, in a circle`,
        ),
      );
    }
  }
  return found;
}

const RINGS =
  "io_uring: nobody judges what is done by rings: sockets of any kind to any address, and what Landlock lets any role do with files";

const CALLS: ReadonlySet<string> = new Set(NAMES);

/** Verbs for which a missing file means that the spec is out of date; others make files. */
const NEEDS_FILE: ReadonlySet<string> = new Set(["read", "exec", "list"]);

function grants(role: Role, tokens: Tokens): Finding[] {
  const about = `role ${role.name}`;
  const found: Finding[] = [];
  const made = new Set(
    role.grants.filter(({ verb }) => verb === "create").map(({ object }) => object),
  );
  for (const exe of role.exe) {
    const path = plainPath(expanded(exe, tokens));
    if (path !== undefined && !existsSync(path))
      found.push(warning(about, `its program ${path} is gone`));
  }
  const gone: string[] = [];
  let rings: Finding | undefined;
  for (const { verb, object } of role.grants) {
    const word = /^\w+/.exec(object)?.[0] ?? "";
    if (verb === "syscall" && !CALLS.has(word)) {
      const near = nearestName(word, NAMES);
      found.push(
        error(
          about,
          `there is no syscall ${word}${near === undefined ? "" : `; did you mean ${near}?`}`,
        ),
      );
    }
    if (verb === "syscall" && WITHHELD.has(word)) rings ??= warning(about, RINGS);
    const token = lacksToken(object, tokens);
    if (token !== undefined)
      found.push(warning(about, `${verb} ${object}: $${token} has no value here`));
    if (!PATH_VERBS.has(verb) || !NEEDS_FILE.has(verb) || made.has(object) || token !== undefined)
      continue;
    const path = plainPath(expanded(object, tokens));
    if (path !== undefined && !path.startsWith("/proc/") && !existsSync(path)) gone.push(path);
  }
  if (rings !== undefined) found.push(rings);
  if (gone.length > 0) {
    const more = gone.length > 3 ? ` and ${gone.length - 3} more` : "";
    found.push(
      warning(about, `paths that are not there now: ${gone.slice(0, 3).join(", ")}${more}`),
    );
  }
  return found;
}
