/**
 * The same places under other names: working directory, home, temporary directory, user and host of the second recording stand
 * for those of the first, and whatever `--map A=B` says.
 */

import type { Program } from "./canon/process.js";

/** `b` in the second trace is `a` in the first. */
export interface PlaceMap {
  readonly what: string;
  readonly a: string;
  readonly b: string;
}

export interface Start {
  readonly cwd: string;
  readonly env: ReadonlyMap<string, string>;
}

export function startOf(program: Program | undefined, cwd: string | undefined): Start {
  const env = new Map<string, string>();
  for (const variable of program?.env ?? []) {
    const equals = variable.indexOf("=");
    if (equals > 0) env.set(variable.slice(0, equals), variable.slice(equals + 1));
  }
  return { cwd: program?.cwd || (cwd ?? ""), env };
}

/** The longest first, so that what lies in another place is found before it. */
export function placeMaps(a: Start, b: Start, given: readonly PlaceMap[]): PlaceMap[] {
  const found: PlaceMap[] = [...given];
  const add = (what: string, one: string | undefined, other: string | undefined): void => {
    if (one === undefined || other === undefined || one === other) return;
    if (one.length < 2 || other.length < 2 || found.some((map) => map.b === other)) return;
    found.push({ what, a: one, b: other });
  };
  add("working directory", a.cwd, b.cwd);
  add("home", a.env.get("HOME"), b.env.get("HOME"));
  for (const name of ["TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"]) {
    add(name, a.env.get(name), b.env.get(name));
  }
  add("user", a.env.get("USER") ?? a.env.get("LOGNAME"), b.env.get("USER") ?? b.env.get("LOGNAME"));
  add("host", a.env.get("HOSTNAME"), b.env.get("HOSTNAME"));
  return found.sort((x, y) => y.b.length - x.b.length);
}

/** Rewrites texts of the second trace. */
export class Places {
  readonly maps: readonly PlaceMap[];
  readonly #expression: RegExp | undefined;
  readonly #byText: ReadonlyMap<string, string>;

  constructor(maps: readonly PlaceMap[]) {
    this.maps = maps;
    this.#byText = new Map(maps.map(({ a, b }) => [b, a]));
    const words = maps.map(({ b }) => b.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.#expression =
      words.length === 0
        ? undefined
        : new RegExp(`(?<![A-Za-z0-9_-])(?:${words.join("|")})(?![A-Za-z0-9_-])`, "g");
  }

  text(text: string): string {
    if (this.#expression === undefined) return text;
    return text.replace(this.#expression, (found) => this.#byText.get(found) ?? found);
  }
}
