/**
 * Rules of a project, `.trace-diff.toml`:
 *
 *     [rules]
 *     order = false                     # switch a rule off
 *     [ignore]
 *     calls = ["uname"]
 *     paths = ["/var/log/**", "**.pyc"]
 *     variables = ["BUILD_ID"]
 *     [map]
 *     "/home/ann/app" = "/builds/app"   # what it is in A = what it is in B
 *     [compare]
 *     slow-call = 500                   # milliseconds
 *     fail-on = "new-exec,new-net"
 */

import { readFile } from "node:fs/promises";
import { TraceError } from "../errors.js";
import { nearestName } from "../query/nearest.js";
import { type ProjectRules, RULE_NAMES, type RuleName } from "./rules.js";

export const CONFIG_FILE = ".trace-diff.toml";

export interface ProjectConfig extends ProjectRules {
  readonly without?: readonly RuleName[];
  readonly maps?: readonly { readonly a: string; readonly b: string }[];
  readonly slowCall?: number;
  readonly failOn?: string;
}

/** @throws TraceError `CONFIG` when it is not there, no TOML, or says what nobody understands */
export async function readConfig(path: string): Promise<ProjectConfig> {
  const { parse, TomlError } = await import("smol-toml");
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new TraceError("CONFIG", `cannot read ${path}: ${cause.code ?? cause.message}`, {
      hint: "--no-config does without",
      cause,
    });
  });
  try {
    return configOf(parse(text), path);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [message = "", ...place] = error.message.split("\n");
    throw new TraceError("CONFIG", `${path}: ${message}`, {
      hint: place.join("\n").trim(),
      cause: error,
    });
  }
}

const TABLES = ["rules", "ignore", "map", "compare"];

export function configOf(document: Readonly<Record<string, unknown>>, path: string): ProjectConfig {
  const reader = new Reader(path);
  reader.onlyKnown(document, TABLES, "table");
  const rules = reader.table(document, "rules");
  const without = Object.entries(rules).flatMap(([name, on]) => {
    const known = RULE_NAMES.find((rule) => rule === name);
    if (known === undefined) return reader.unknown(name, RULE_NAMES, "rule");
    if (typeof on !== "boolean") return reader.fail(`rules.${name} is neither true nor false`);
    return on ? [] : [known];
  });
  const ignore = reader.table(document, "ignore");
  reader.onlyKnown(ignore, ["calls", "paths", "variables"], "entry of [ignore]");
  const map = reader.table(document, "map");
  const compare = reader.table(document, "compare");
  reader.onlyKnown(compare, ["slow-call", "fail-on"], "entry of [compare]");
  const slowCall = compare["slow-call"];
  const failOn = compare["fail-on"];
  if (slowCall !== undefined && !(typeof slowCall === "number" && slowCall > 0)) {
    return reader.fail("compare.slow-call is not a number of milliseconds");
  }
  if (failOn !== undefined && typeof failOn !== "string")
    return reader.fail("compare.fail-on is not a text");
  return {
    without,
    ignoreCalls: reader.texts(ignore, "calls"),
    ignorePaths: reader.texts(ignore, "paths"),
    ignoreVariables: reader.texts(ignore, "variables"),
    maps: Object.entries(map).map(([a, b]) => {
      return typeof b === "string" ? { a, b } : reader.fail(`map."${a}" is not a text`);
    }),
    ...(slowCall !== undefined && { slowCall }),
    ...(failOn !== undefined && { failOn }),
  };
}

class Reader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  fail(what: string, hint?: string): never {
    throw new TraceError("CONFIG", `${this.#path}: ${what}`, hint === undefined ? {} : { hint });
  }

  unknown(name: string, known: readonly string[], what: string): never {
    const near = nearestName(name, known);
    return this.fail(
      `there is no ${what} ${name}`,
      near === undefined ? `there is ${known.join(", ")}` : `did you mean ${near}?`,
    );
  }

  onlyKnown(
    table: Readonly<Record<string, unknown>>,
    known: readonly string[],
    what: string,
  ): void {
    for (const name of Object.keys(table))
      if (!known.includes(name)) this.unknown(name, known, what);
  }

  table(
    document: Readonly<Record<string, unknown>>,
    name: string,
  ): Readonly<Record<string, unknown>> {
    const value = Object.hasOwn(document, name) ? document[name] : {};
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return this.fail(`${name} is not a table`);
    return value as Readonly<Record<string, unknown>>;
  }

  texts(table: Readonly<Record<string, unknown>>, name: string): string[] {
    const value = Object.hasOwn(table, name) ? table[name] : [];
    if (!Array.isArray(value) || !value.every((one) => typeof one === "string")) {
      return this.fail(`ignore.${name} is not a list of texts`);
    }
    return value;
  }
}
