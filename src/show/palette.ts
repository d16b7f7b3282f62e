/** Sixteen ANSI colours by the role of what they paint. */

export type Role = "dim" | "name" | "string" | "path" | "error" | "signal" | "slow" | "process";

export type Palette = (role: Role, text: string) => string;

const CODES: Readonly<Record<Role, string>> = {
  dim: "90",
  name: "1",
  string: "32",
  path: "36",
  error: "31",
  signal: "35",
  slow: "33",
  process: "34",
};

export const COLOURS: Palette = (role, text) =>
  text === "" ? "" : `\x1b[${CODES[role]}m${text}\x1b[0m`;

export const PLAIN: Palette = (_role, text) => text;
