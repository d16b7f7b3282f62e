/**
 * A result as one JSON document:
 *
 *     {"schema":"trace.diff","version":1,"verdict":"different","firstCause":{...},"differences":[...]}
 *
 * It is the `DiffResult` of the library; what is not there is null. Times are nanoseconds.
 */

import { maskVariable } from "../../show/secrets.js";
import type { DiffResult } from "../result.js";

export const SCHEMA = "trace.diff";
export const SCHEMA_VERSION = 1;

export function diffJson(result: DiffResult, showSecrets: boolean): string {
  const document = { schema: SCHEMA, version: SCHEMA_VERSION, ...result };
  return `${JSON.stringify(document, showSecrets ? nulled : masked, 2)}\n`;
}

/** Optional members are null instead of missing, so that every document has the same ones. */
function nulled(_: string, value: unknown): unknown {
  if (!isRecord(value)) return value;
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(value)) out[key] = value[key] ?? null;
  return out;
}

function masked(key: string, value: unknown): unknown {
  if (isRecord(value) && typeof value.what === "string" && value.what.startsWith("variable ")) {
    const name = value.what.slice("variable ".length);
    const hide = (text: unknown) =>
      typeof text === "string" ? maskVariable(`${name}=${text}`).slice(name.length + 1) : null;
    return { ...value, a: hide(value.a), b: hide(value.b) };
  }
  if (key === "summary" && typeof value === "string") return maskedSentence(value);
  return nulled(key, value);
}

/** Values of variables whose names look like secrets, taken out of a sentence. */
export function maskedSentence(text: string): string {
  return text.replace(/variable (\w+)(?: is)? [^;]*/g, (found, name: string) =>
    maskVariable(`${name}=x`).endsWith("=x") ? found : `variable ${name} differs`,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
