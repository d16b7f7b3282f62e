/**
 * Spec files: YAML with comments, or JSON, which is YAML. What is read is checked against the schema, and against what a
 * schema cannot say, before anybody looks at it; errors name the place in the file.
 */

import { readFileSync, statSync } from "node:fs";
import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import {
  Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  Scalar,
  visit,
} from "yaml";
import { isSystemError, TraceError } from "../errors.js";
import { nearestName } from "../query/nearest.js";
import { UNSEEN } from "../report/text.js";
import { startsAsTrace } from "../trace/magic.js";
import { wordsFault } from "./call_words.js";
import { isPathVerb, SOCKET_VERBS, SPEC_VERSION, type Spec, VERBS } from "./model.js";
import { parseAddress, subtreeOf } from "./object.js";
import { LIMITS, SCHEMA } from "./schema.js";
import { TOKEN_NAMES } from "./tokens.js";

const HINT = "trace spec schema prints what a spec may hold; trace spec gen makes one";

function invalid(where: string, message: string, hint = HINT): TraceError {
  return new TraceError("BAD_SPEC", `${where}: ${message}`, { hint });
}

/**
 * @throws TraceError `NO_FILE`, `BAD_SPEC` (with line and column), `SPEC_VERSION` (made by a newer version)
 */
export function readSpec(path: string): Spec {
  return parseSpec(textOf(path), path);
}

function textOf(path: string): string {
  try {
    const facts = statSync(path);
    if (facts.isDirectory()) throw invalid(path, "a directory, and no spec");
    if (startsAsTrace(path)) {
      throw invalid(
        path,
        "a recording, and no spec",
        "make one of it: trace spec gen -o FILE TRACE",
      );
    }
    const { size } = facts;
    if (size > LIMITS.bytes) {
      throw invalid(path, `the file has ${size} bytes, the limit is ${LIMITS.bytes}`);
    }
    return readFileSync(path, "utf8");
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (error.code !== "ENOENT") throw error;
    throw new TraceError("NO_FILE", `there is no file ${path}`, {
      hint: "make a spec of a recording: trace spec gen -o FILE TRACE",
    });
  }
}

export function parseSpec(text: string, path = "spec"): Spec {
  const lines = new LineCounter();
  // Aliases are not needed, and a few of them can stand for more than fits into memory.
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: false });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const at = problem.linePos?.[0];
    throw invalid(
      at === undefined ? path : `${path}:${at.line}:${at.col}`,
      (problem.message.split("\n")[0] ?? "").replace(/ at line \d+.*$/, ""),
      "a spec is YAML or JSON",
    );
  }
  visit(document, {
    Alias: () => {
      throw invalid(path, "YAML aliases (*name) are not understood", "write the value in full");
    },
  });
  const value: unknown = document.toJS({ maxAliasCount: 0 });
  checkVersion(value, path);
  const place = (pointer: string) => placeOf(document, lines, path, pointer);
  checkSchema(value, place);
  const spec = withDefaults(value as Partial<Spec>);
  checkObjects(spec, place);
  return spec;
}

function checkVersion(value: unknown, path: string): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(path, "this is no spec: it begins with `traceSpec: 1`");
  }
  const version = (value as { traceSpec?: unknown }).traceSpec;
  if (typeof version === "number" && version > SPEC_VERSION) {
    throw new TraceError(
      "SPEC_VERSION",
      `${path}: the spec is of version ${version}, this trace understands up to ${SPEC_VERSION}`,
      { hint: "get a newer one: npm install trace-syscalls@latest" },
    );
  }
}

/** `spec.yaml:12:5` of a JSON pointer. */
function placeOf(document: Document, lines: LineCounter, path: string, pointer: string): string {
  const keys = pointer
    .split("/")
    .slice(1)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  let node: unknown = document.contents;
  for (const key of keys) {
    const next: unknown = isMap(node)
      ? node.get(key, true)
      : isSeq(node)
        ? node.get(Number(key), true)
        : undefined;
    if (next === undefined) break;
    node = next;
  }
  const start = isNode(node) ? node.range?.[0] : undefined;
  if (start === undefined) return path;
  const { line, col } = lines.linePos(start);
  return `${path}:${line}:${col}`;
}

type Place = (pointer: string) => string;

let validator: ReturnType<Ajv2020["compile"]> | undefined;

function checkSchema(value: unknown, place: Place): void {
  validator ??= new Ajv2020({
    strict: true,
    allowUnionTypes: true,
    messages: true,
    verbose: true,
  }).compile(SCHEMA);
  if (validator(value) === true) return;
  const [error] = validator.errors ?? [];
  if (error === undefined) return;
  throw invalid(place(error.instancePath), sentence(error));
}

function sentence({
  keyword,
  params,
  message,
  instancePath,
  parentSchema,
  data,
}: ErrorObject): string {
  const what = instancePath === "" ? "the spec" : instancePath.slice(1).replaceAll("/", ".");
  const named = params as Readonly<Record<string, unknown>>;
  switch (keyword) {
    case "additionalProperties": {
      const key = String(named.additionalProperty);
      const known = Object.keys(
        (parentSchema as { properties?: object } | undefined)?.properties ?? {},
      );
      const near = nearestName(key, known);
      return `${what} has a key \`${key}\` that nothing knows${near === undefined ? "" : `; did you mean ${near}?`}`;
    }
    case "required":
      return `${what} lacks \`${String(named.missingProperty)}\``;
    case "pattern":
      if (/\.verb$/.test(what)) {
        const verb = String(data);
        const near = nearestName(verb, VERBS);
        return `there is no verb ${verb}${near === undefined ? "" : `; did you mean ${near}?`}`;
      }
      return `${what} ${message ?? "is not what it should be"}`;
    case "enum":
      return `${what} must be one of ${(named.allowedValues as unknown[]).join(", ")}`;
    default:
      return `${what} ${message ?? "is not what it should be"}`;
  }
}

function withDefaults(spec: Partial<Spec>): Spec {
  return {
    traceSpec: SPEC_VERSION,
    command: spec.command ?? [],
    tokens: spec.tokens ?? {},
    runs: spec.runs ?? [],
    roles: spec.roles ?? [],
    channels: spec.channels ?? [],
    triggers: spec.triggers ?? [],
    ...(spec.links !== undefined && { links: spec.links }),
    unknown: spec.unknown ?? [],
  };
}

/** What the schema cannot say: objects fit their verbs, names are there once. */
function checkObjects(spec: Spec, place: Place): void {
  const names = new Set<string>();
  spec.roles.forEach((role, r) => {
    if (names.has(role.name))
      throw invalid(place(`/roles/${r}/name`), `there are two roles ${role.name}`);
    names.add(role.name);
    role.exe.forEach((exe, k) => {
      const why = pathFault(exe);
      if (why !== undefined) throw invalid(place(`/roles/${r}/exe/${k}`), `${exe}: ${why}`);
    });
    const seen = new Set<string>();
    role.grants.forEach(({ verb, object, phase }, k) => {
      const at = () => place(`/roles/${r}/grants/${k}`);
      const why = objectFault(verb, object);
      if (why !== undefined) throw invalid(at(), `${verb} ${object}: ${why}`);
      const key = `${verb} ${object}`;
      if (seen.has(key)) {
        const what =
          phase === undefined ? "is granted twice" : "is granted twice, for different phases";
        throw invalid(at(), `${key} ${what} to ${role.name}`, "leave one of the two");
      }
      seen.add(key);
    });
  });
  spec.links?.forEach(({ name, to }, k) => {
    for (const path of [name, to]) {
      const why = pathFault(path);
      if (why !== undefined) throw invalid(place(`/links/${k}`), `${path}: ${why}`);
    }
  });
}

/** Why an object does not fit its verb; undefined when it does. */
export function objectFault(verb: string, object: string): string | undefined {
  if (isPathVerb(verb)) return pathFault(object);
  if (SOCKET_VERBS.has(verb)) {
    if (object.startsWith("unix:/") || object.startsWith("unix:$"))
      return pathFault(object.slice(5));
    return parseAddress(object) === undefined
      ? "not an address: tcp:127.0.0.1:80, udp:[::1]:53, tcp:*:443, unix:/path, unix:@name"
      : undefined;
  }
  if (verb === "syscall") {
    if (!/^[a-z_][a-z0-9_]*(?:\([\w,*-]+\))?$/.test(object))
      return "not a syscall: openat, socket(inet,stream,tcp), setsockopt(SOL_SOCKET,SO_MARK)";
    return wordsFault(object);
  }
  return /^(?:self|group|any|outside|role:\S+)$/.test(object)
    ? undefined
    : "not a process: self, group, any, outside, role:NAME";
}

function pathFault(object: string): string | undefined {
  const token = /^\$([A-Za-z]+)/.exec(object)?.[1];
  if (token !== undefined && !TOKEN_NAMES.includes(token)) {
    return `there is no token $${token}, only ${TOKEN_NAMES.map((name) => `$${name}`).join(" ")}`;
  }
  if (token === undefined && !object.startsWith("/")) return "not an absolute path";
  const parts = (subtreeOf(object) ?? object).split("/").slice(1);
  if (parts.some((part) => part === "." || part === "..")) return "`.` and `..` are not allowed";
  if (object !== "/" && parts.some((part) => part === "") && subtreeOf(object) !== "/") {
    return "an empty name (`//`, or a slash at the end)";
  }
  return parts.some((part) => part.includes("**")) ? "`**` can only be the last name" : undefined;
}

const FLOW_KEYS: ReadonlySet<string> = new Set([
  "grants",
  "probes",
  "channels",
  "triggers",
  "descriptors",
  "links",
]);

/** The spec as YAML: a line for each grant. */
export function specText(spec: Spec): string {
  const document = new Document(spec, { aliasDuplicateObjects: false });
  document.commentBefore = [
    " Sandbox spec: what each program of a process tree may do.",
    " Change it as you like: trace spec validate checks it, trace spec explain says why a grant is there.",
  ].join("\n");
  visit(document, {
    Scalar(_, scalar) {
      // Escapes only stand between quotes.
      if (typeof scalar.value === "string" && scalar.value.search(UNSEEN) >= 0)
        scalar.type = Scalar.QUOTE_DOUBLE;
    },
    Pair(_, pair) {
      const key = isScalar(pair.key) ? String(pair.key.value) : "";
      if (!isSeq(pair.value)) return;
      if (!FLOW_KEYS.has(key)) {
        if (pair.value.items.every((item) => isScalar(item))) pair.value.flow = true;
        return;
      }
      for (const item of pair.value.items) if (isMap(item)) item.flow = true;
    },
  });
  const text = document.toString({ lineWidth: 0, flowCollectionPadding: false });
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replace(UNSEEN, (character) =>
    character === "\n" ? character : character.split("").map(escaped).join(""),
  );
}

export function specJson(spec: Spec): string {
  return `${JSON.stringify(spec, undefined, 2)}\n`;
}
