/** The shape of a spec as JSON schema (draft 2020-12): what `trace spec schema` prints and what files are checked against. */

import { PHASES, REASONS, RUNGS, SPEC_VERSION, VERBS } from "./model.js";
import { MAX_OBJECT } from "./object.js";
import { TOKEN_NAMES } from "./tokens.js";

/** More than any recording makes; a file beyond is refused before it is looked at. */
export const LIMITS = {
  bytes: 64 << 20,
  roles: 10_000,
  grants: 200_000,
  text: 65_536,
} as const;

const text = { type: "string", maxLength: LIMITS.text } as const;
const name = { type: "string", minLength: 1, maxLength: 256, pattern: "^[^\\s\\u0000]+$" } as const;
const count = { type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;
const names = { type: "array", items: name, maxItems: LIMITS.roles } as const;
const words = { type: "array", items: text, maxItems: LIMITS.text } as const;
const verb = {
  type: "string",
  pattern: `^(?:${VERBS.join("|")}|ioctl:(?:[A-Z][A-Z0-9_]*|0x[0-9a-f]+|\\*))$`,
} as const;
const object = {
  type: "string",
  minLength: 1,
  maxLength: MAX_OBJECT,
  pattern: "^[^\\u0000\\n]+$",
} as const;

const grant = {
  type: "object",
  required: ["verb", "object"],
  additionalProperties: false,
  properties: {
    verb,
    object,
    count,
    runs: { type: "array", items: { type: "integer", minimum: 1 }, maxItems: LIMITS.text },
    first: { type: "string", pattern: "^\\d+@\\d+$" },
    rung: { enum: RUNGS },
    adds: count,
    because: { enum: REASONS },
    phase: { enum: PHASES },
  },
} as const;

const probe = {
  type: "object",
  required: ["verb", "object", "error"],
  additionalProperties: false,
  properties: { verb, object, error: name, count },
} as const;

const role = {
  type: "object",
  required: ["name", "exe", "from", "grants"],
  additionalProperties: false,
  properties: {
    name,
    exe: { type: "array", items: object, minItems: 1, maxItems: 1000 },
    script: text,
    argv: words,
    from: names,
    serves: { type: "boolean" },
    descriptors: {
      type: "array",
      maxItems: 65_536,
      items: {
        type: "object",
        required: ["fd", "is", "use"],
        additionalProperties: false,
        properties: {
          fd: { type: "integer", minimum: 0, maximum: 1_048_576 },
          is: text,
          use: { type: "array", items: { enum: ["read", "write"] }, maxItems: 2 },
        },
      },
    },
    limits: {
      type: "object",
      additionalProperties: false,
      properties: { processes: count, threads: count, memory: count },
    },
    grants: { type: "array", items: grant, maxItems: LIMITS.grants },
    probes: { type: "array", items: probe, maxItems: LIMITS.grants },
  },
} as const;

export const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "trace sandbox spec",
  type: "object",
  required: ["traceSpec", "roles"],
  additionalProperties: false,
  properties: {
    traceSpec: { type: "integer", minimum: 1, maximum: SPEC_VERSION },
    command: words,
    tokens: {
      type: "object",
      additionalProperties: false,
      properties: Object.fromEntries(TOKEN_NAMES.map((token) => [token, text])),
    },
    runs: {
      type: "array",
      maxItems: 100_000,
      items: {
        type: "object",
        required: ["trace", "command", "events"],
        additionalProperties: false,
        properties: { trace: text, file: text, command: words, events: count, kernel: text },
      },
    },
    roles: { type: "array", items: role, maxItems: LIMITS.roles },
    channels: {
      type: "array",
      maxItems: LIMITS.grants,
      items: {
        type: "object",
        required: ["name", "kind", "writers", "readers"],
        additionalProperties: false,
        properties: {
          name,
          kind: { enum: ["pipe", "socketpair", "listener", "file"] },
          writers: names,
          readers: names,
          at: object,
          passes: { type: "boolean" },
        },
      },
    },
    triggers: {
      type: "array",
      maxItems: LIMITS.grants,
      items: {
        type: "object",
        required: ["role", "on"],
        additionalProperties: false,
        properties: {
          role: name,
          on: { enum: ["launch", "exec", "message", "connection", "descriptor"] },
          of: name,
        },
      },
    },
    links: {
      type: "array",
      maxItems: LIMITS.grants,
      items: {
        type: "object",
        required: ["name", "to"],
        additionalProperties: false,
        properties: { name: object, to: object },
      },
    },
    unknown: words,
  },
} as const;
