/** The 16 ANSI colours, and when to use them. Never decides by anything but the stream that is written to. */

export type ColorChoice = "auto" | "always" | "never";
export const COLOR_CHOICES: readonly ColorChoice[] = ["auto", "always", "never"];

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "magenta" | "cyan";

const codes: Readonly<Record<Style, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  magenta: [35, 39],
  cyan: [36, 39],
};

/** Puts a style around a text, or leaves the text alone. */
export type Painter = (style: Style, text: string) => string;

export const plainPainter: Painter = (_, text) => text;

const colorPainter: Painter = (style, text) => {
  const [on, off] = codes[style];
  return text === "" ? "" : `\x1b[${on}m${text}\x1b[${off}m`;
};

type Env = Readonly<Record<string, string | undefined>>;

/** `isTTY` is that of the stream the text goes to. */
export function wantsColor(choice: ColorChoice, isTTY: boolean, env: Env): boolean {
  if (choice !== "auto") return choice === "always";
  const forbidden = (env.NO_COLOR ?? "") !== "" || env.TERM === "dumb";
  return isTTY && !forbidden;
}

export function painter(choice: ColorChoice, isTTY: boolean, env: Env): Painter {
  return wantsColor(choice, isTTY, env) ? colorPainter : plainPainter;
}
