/** Frames of one stack as gdb and as a trace tell them, and whether these are the same. */

import { basename, normalize } from "node:path";

export interface Frame {
  readonly function: string | null;
  readonly file: string | null;
  readonly line: number;
  /** `tail`: a function that has left by a jump, which gdb makes up from who calls whom. */
  readonly kind: "plain" | "inlined" | "trampoline" | "tail";
}

/** A frame of a trace: also where it is, for others to be asked about it. */
export interface OwnFrame extends Frame {
  readonly image: string | undefined;
  /** Inside the instruction that the frame stands for. */
  readonly lookup: bigint;
  /** Found by a frame pointer, and marked so. */
  readonly isGuess: boolean;
}

/** The call that a stack was taken at. */
export interface Call<F extends Frame> {
  readonly number: number;
  readonly name?: string;
  readonly frames: readonly F[];
  /** Why there are no more frames, when the trace says that there are. */
  readonly cut?: string | undefined;
}

/** What stands in brackets of one kind, at any depth, is left out: parameters, type arguments. */
function without(text: string, open: string, close: string): string {
  let depth = 0;
  let out = "";
  for (let k = 0; k < text.length; k++) {
    const letter = text[k] ?? "";
    const isArrow = letter === ">" && (text[k - 1] === "-" || text[k - 1] === "=");
    if (letter === open) depth += 1;
    if (depth === 0) out += letter;
    if (letter === close && !isArrow && depth > 0) depth -= 1;
  }
  return out;
}

/** Without parameters, type arguments and suffixes of clones, which gdb and demanglers write differently. */
export function plainName(name: string): string {
  const bare = name
    .replace(/ \[clone .*$/, "")
    .replace(/@@?[\w.]+$/, "")
    .replace(/\(anonymous namespace\)::/g, "")
    .replace(/operator\(\)/g, "operator call")
    .replace(/\.(?:constprop|isra|part|cold|lto_priv|llvm)\b\.?\d*/g, "")
    .replace(/::h[0-9a-f]{16}$/, "");
  const lambdas = bare.replace(/\{lambda\(.*?\)#\d+\}|<lambda\(.*?\)>/g, "lambda");
  const plain = without(without(lambdas, "<", ">"), "(", ")")
    .replace(/ const$/, "")
    .replace(/:{4,}/g, "::")
    .replace(/^::/, "")
    .trim();
  // What is returned stands in front of a template's name.
  return plain.includes("::operator ") || plain.startsWith("operator ")
    ? plain
    : (plain.split(" ").at(-1) ?? plain);
}

/** The last part of a name. */
export function lastName(name: string): string {
  return (
    plainName(name)
      .replace(/\{?\{(\w+)\}?(?:#\d+)?\}/g, "$1")
      .replace(/#\d+/g, "")
      .split(/::|\./)
      .at(-1) ?? ""
  );
}

export function sameName(one: Frame, other: Frame): boolean {
  return plainName(one.function ?? "?") === plainName(other.function ?? "?");
}

/** The same file: one of the paths may be relative to a directory of the build that gdb has put in front. */
function sameFile(one: string | null, other: string | null): boolean {
  if (one === null || other === null) return one === other;
  const [first, second] = [one, other].map((path) => normalize(path).replace(/^(?:\.\.?\/)+/, ""));
  return (
    first === second || `/${first}`.endsWith(`/${second}`) || `/${second}`.endsWith(`/${first}`)
  );
}

export function samePlace(one: Frame, other: Frame): boolean {
  return one.line === other.line && sameFile(one.file, other.file);
}

export function same(one: Frame, other: Frame): boolean {
  if (one.kind !== other.kind) return false;
  return one.kind === "trampoline" || (sameName(one, other) && samePlace(one, other));
}

export function text(frame: Frame | undefined): string {
  if (frame === undefined) return "nothing";
  if (frame.kind === "trampoline") return "<signal handler called>";
  const where = frame.file === null ? "" : ` ${basename(frame.file)}:${frame.line}`;
  const mark = frame.kind === "plain" ? "" : ` ${frame.kind}`;
  return `${plainName(frame.function ?? "?")}${where}${mark}`;
}
