/**
 * Tokens in objects: `$HOME`, `$PWD`, `$TMP`. They stand at the head of a path for what differs from user to user and
 * from run to run. `@{pid}` is part of the pattern language itself (`object.ts`).
 */

import { literalPath } from "./object.js";

/** Directories by token name, without the dollar sign. */
export type Tokens = Readonly<Record<string, string>>;

/** Names that may be used; others are an error of the spec. */
export const TOKEN_NAMES: readonly string[] = ["HOME", "PWD", "TMP"];

/** What the tokens mean for a program with that environment and working directory. */
export function tokensOf(env: (name: string) => string | undefined, cwd: string): Tokens {
  const home = env("HOME");
  const tmp = env("TMPDIR") ?? "/tmp";
  const tokens: Record<string, string> = {};
  const add = (name: string, path: string | undefined) => {
    // One name below the root at least: `$HOME` as `/` would put every path below it.
    const clean = path?.replace(/\/+$/, "");
    if (clean !== undefined && /^\/[^/]/.test(clean)) tokens[name] = clean;
  };
  add("HOME", home);
  add("PWD", cwd);
  add("TMP", tmp);
  return tokens;
}

/** Those of a recorded run, by the environment and the directory of its first program. */
export function tokensOfRun(run: {
  readonly env: readonly string[];
  readonly cwd: string;
}): Tokens {
  const env = (name: string) =>
    run.env.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1);
  return tokensOf(env, run.cwd);
}

/** A plain path as an object: escaped, and its head replaced by the token that says most. */
export function tokenised(path: string, tokens: Tokens): string {
  let best: string | undefined;
  for (const name of TOKEN_NAMES) {
    const head = tokens[name];
    if (head === undefined || (path !== head && !path.startsWith(`${head}/`))) continue;
    if (best === undefined || head.length > (tokens[best]?.length ?? 0)) best = name;
  }
  if (best === undefined) return literalPath(path);
  return `$${best}${literalPath(path.slice(tokens[best]?.length ?? 0))}`;
}

/** The object with its token replaced. An object whose token has no value here is given back as it is. */
export function expanded(object: string, tokens: Tokens): string {
  return object.replace(
    /^(unix:)?\$([A-Z]+)(?=\/|$)/,
    (whole, scheme: string | undefined, name: string) => {
      const value = Object.hasOwn(tokens, name) ? tokens[name] : undefined;
      return value === undefined ? whole : `${scheme ?? ""}${literalPath(value)}`;
    },
  );
}

/** Whether the object begins with a token that has no value. */
export function lacksToken(object: string, tokens: Tokens): string | undefined {
  const name = /^(?:unix:)?\$([A-Z]+)(?=\/|$)/.exec(object)?.[1];
  return name === undefined || Object.hasOwn(tokens, name) ? undefined : name;
}
