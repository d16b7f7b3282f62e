/**
 * Objects of grants. Two languages, told apart by the verb:
 *
 * - Paths: absolute, or below a token (`$HOME/.cache`). `*` stands for any characters but `/` in one name, `@{pid}` for a
 *   process id, and a last name `**` for the directory itself and everything below. `\` takes the next character as it is.
 * - Socket addresses: `tcp:127.0.0.1:443`, `udp:[::1]:53`, `tcp:*:8080`, `unix:/run/x.sock` (a path as above),
 *   `unix:@name` (abstract). `*` stands for any address or any port.
 *
 * Others (`syscall`, `signal`, `ptrace`) are plain words. native/engine/src/enforce/pattern.rs matches paths by the same
 * rules; test/spec/kernel.test.ts holds one to the other.
 */

/** Longest object that is looked at. */
export const MAX_OBJECT = 4096;

const PID = "@{pid}";

/** The path as an object that matches it alone. */
export function literalPath(path: string): string {
  return path.replace(/[\\*]/g, "\\$&").replaceAll(PID, "\\@{pid}");
}

/** The path that a literal object stands for; undefined when it is a pattern. */
export function plainPath(object: string): string | undefined {
  let out = "";
  for (let at = 0; at < object.length; at++) {
    const character = object[at] ?? "";
    if (character === "\\") out += object[++at] ?? "";
    else if (character === "*" || object.startsWith(PID, at)) return undefined;
    else out += character;
  }
  return out;
}

/** Whether a wildcard is in it: it may stand for several names. */
export function isPattern(object: string): boolean {
  return /(?<!\\)\*/.test(object);
}

/** What stands for a descriptor of whoever names it, by its number: `/dev/fd/3`, `/proc/self/fd/3`. */
export function isDescriptorName(path: string): boolean {
  return /^\/(?:dev|proc\/(?:\d+|self|thread-self)(?:\/task\/\d+)?)\/fd\/\d+$/.test(path);
}

/** The directory of an object `DIR/**`; undefined for others. */
export function subtreeOf(object: string): string | undefined {
  if (object === "/**") return "/";
  return object.endsWith("/**") ? object.slice(0, -3) : undefined;
}

/** One name of a pattern, as pieces: a text, any characters, or digits. */
type Piece = string | typeof ANY | typeof DIGITS;
const ANY = Symbol("*");
const DIGITS = Symbol("@{pid}");

function piecesOf(name: string): Piece[] {
  const pieces: Piece[] = [];
  let text = "";
  const flush = () => {
    if (text !== "") pieces.push(text);
    text = "";
  };
  for (let at = 0; at < name.length; at++) {
    const character = name[at] ?? "";
    if (character === "\\") text += name[++at] ?? "";
    else if (character === "*") {
      flush();
      if (pieces.at(-1) !== ANY) pieces.push(ANY);
    } else if (name.startsWith(PID, at)) {
      flush();
      pieces.push(DIGITS);
      at += PID.length - 1;
    } else text += character;
  }
  flush();
  return pieces;
}

/** Whether the pieces match the whole name. Time is bounded by pieces times characters. */
function matchesName(pieces: readonly Piece[], name: string): boolean {
  // Positions in `name` that the pieces so far can end at.
  let ends = new Set([0]);
  for (const piece of pieces) {
    const next = new Set<number>();
    for (const at of ends) {
      if (typeof piece === "string") {
        if (name.startsWith(piece, at)) next.add(at + piece.length);
      } else if (piece === ANY) {
        for (let end = at; end <= name.length; end++) next.add(end);
        break;
      } else {
        for (let end = at + 1; end <= name.length && isDigit(name, end - 1); end++) next.add(end);
      }
    }
    if (next.size === 0) return false;
    ends = next;
  }
  return ends.has(name.length);
}

function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 48 && code <= 57;
}

/** A pattern of paths, ready to be asked. */
export class PathPattern {
  readonly object: string;
  readonly #plain: string | undefined;
  readonly #names: readonly (readonly Piece[])[];
  readonly #below: boolean;

  constructor(object: string) {
    this.object = object;
    this.#plain = plainPath(object);
    const subtree = subtreeOf(object);
    this.#below = subtree !== undefined;
    const fixed = subtree === "/" ? "" : (subtree ?? object);
    this.#names = this.#plain === undefined ? fixed.split("/").slice(1).map(piecesOf) : [];
  }

  /** `path` is canonical: absolute, without `.`, `..` and `//`. */
  matches(path: string): boolean {
    if (this.#plain !== undefined) return path === this.#plain;
    const names = path === "/" ? [] : path.split("/").slice(1);
    if (names.length < this.#names.length) return false;
    if (names.length > this.#names.length && !this.#below) return false;
    return this.#names.every((pieces, k) => matchesName(pieces, names[k] ?? ""));
  }
}

/**
 * Whether every path that matches `inner` matches `outer` too. Never true when it is not so; it may be false for two
 * patterns whose `*` are cut differently.
 */
export function coversPath(outer: string, inner: string): boolean {
  if (outer === inner) return true;
  const plain = plainPath(inner);
  if (plain !== undefined) return new PathPattern(outer).matches(plain);
  const outerTree = subtreeOf(outer);
  const innerTree = subtreeOf(inner);
  const of = (object: string) => (object === "/" ? [] : object.split("/").slice(1));
  const own = of(outerTree ?? outer);
  const other = of(innerTree ?? inner);
  if (outerTree === undefined && innerTree !== undefined) return false;
  if (outerTree === undefined ? own.length !== other.length : own.length > other.length) {
    return false;
  }
  return own.every((name, k) => coversName(name, other[k] ?? ""));
}

/** Whether some path matches both. */
export function meetsPath(one: string, other: string): boolean {
  const [oneTree, otherTree] = [subtreeOf(one), subtreeOf(other)];
  const of = (object: string) => (object === "/" ? [] : object.split("/").slice(1));
  const [own, names] = [of(oneTree ?? one), of(otherTree ?? other)];
  if (own.length > names.length && otherTree === undefined) return false;
  if (own.length < names.length && oneTree === undefined) return false;
  return own.slice(0, names.length).every((name, k) => meetsName(name, names[k] ?? ""));
}

/** A character, or any digit, or any at all; `many`: none or more of them. */
interface Step {
  readonly fits: string | typeof ANY | typeof DIGITS;
  readonly many: boolean;
}

function stepsOf(name: string): Step[] {
  return piecesOf(name).flatMap((piece): Step[] => {
    if (piece === ANY) return [{ fits: ANY, many: true }];
    const digit = { fits: DIGITS, many: false } as const;
    if (piece === DIGITS) return [digit, { ...digit, many: true }];
    return [...piece].map((fits) => ({ fits, many: false }));
  });
}

function fitTogether(one: Step["fits"], other: Step["fits"]): boolean {
  if (one === ANY || other === ANY || one === other) return true;
  if (one === DIGITS) return isDigit(String(other), 0);
  return other === DIGITS && isDigit(one, 0);
}

/** Whether some name matches both patterns. Time is bounded by the product of their lengths. */
function meetsName(one: string, other: string): boolean {
  if (one === other) return true;
  if (!/[*\\@]/.test(one + other)) return false;
  const [own, steps] = [stepsOf(one), stepsOf(other)];
  // For each number of steps of `one` from its end: whether it meets the steps of `other` from `k` on.
  let behind: boolean[] = [];
  for (let at = own.length; at >= 0; at--) {
    const here = new Array<boolean>(steps.length + 1).fill(false);
    for (let k = steps.length; k >= 0; k--) {
      const [step, next] = [own[at], steps[k]];
      if (step === undefined && next === undefined) here[k] = true;
      else if (step?.many === true && behind[k] === true) here[k] = true;
      else if (next?.many === true && here[k + 1] === true) here[k] = true;
      else if (step !== undefined && next !== undefined && fitTogether(step.fits, next.fits)) {
        const alike = step.many === next.many;
        if (alike) here[k] = behind[k + 1] === true;
        else here[k] = step.many ? here[k + 1] === true : behind[k] === true;
      }
    }
    behind = here;
  }
  return behind[0] === true;
}

/**
 * What a pattern says of what is below the directories of another one, as the names that follow theirs; undefined: nothing, or
 * not of all of them.
 */
export function belowPath(object: string, directories: string): string | undefined {
  const tree = subtreeOf(object);
  const names = (tree === "/" ? "" : (tree ?? object)).split("/").slice(1);
  const heads = directories === "/" ? [] : directories.split("/").slice(1);
  if (heads.some((head, k) => k < names.length && !coversName(names[k] ?? "", head))) {
    return undefined;
  }
  const rest = [...names.slice(heads.length), ...(tree === undefined ? [] : ["**"])];
  return rest.length === 0 || (tree === undefined && names.length <= heads.length)
    ? undefined
    : rest.join("/");
}

/** A name pattern covers another: text covers itself, `*` covers anything, `@{pid}` itself. */
function coversName(outer: string, inner: string): boolean {
  if (outer === inner || outer === "*") return true;
  const innerPieces = piecesOf(inner);
  const isPlain = innerPieces.every((piece) => typeof piece === "string");
  if (isPlain) return matchesName(piecesOf(outer), innerPieces.join(""));
  // A slash, which no name has, stands for each wildcard of the inner pattern, and only `*` of the outer one can take it.
  const marked = innerPieces.map((piece) => (typeof piece === "string" ? piece : "/")).join("");
  return matchesName(piecesOf(outer), marked);
}

/** A socket address of a grant or of an access. */
export interface SocketAddress {
  /** `unix`, or one of the internet: `tcp`, `udp`, `icmp`, `raw`, ... */
  readonly protocol: string;
  /** Host without brackets, path, `@name`; `*` in grants: any. */
  readonly host: string;
  /** 1 to 65535, 0 for any free one (bind), or `*`. Undefined of unix sockets. */
  readonly port: number | "*" | undefined;
}

/** Those of the internet, as `protocol_of` of native/engine/src/enforce/sockets.rs names them. */
const INTERNET = new Set(["tcp", "udp", "mptcp", "sctp", "udplite", "icmp", "raw"]);

/** Undefined when the text is no address. */
export function parseAddress(object: string): SocketAddress | undefined {
  const colon = object.indexOf(":");
  if (colon <= 0) return undefined;
  const protocol = object.slice(0, colon);
  const rest = object.slice(colon + 1);
  if (protocol === "unix")
    return rest === "" ? undefined : { protocol, host: rest, port: undefined };
  if (!INTERNET.has(protocol)) return undefined;
  const found = /^(\*|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\]):(\*|\d{1,5})$/.exec(rest);
  if (found === null) return undefined;
  const [, host = "", port = ""] = found;
  if (port !== "*" && Number(port) > 0xffff) return undefined;
  if (/^\d/.test(host) && host.split(".").some((part) => Number(part) > 255)) return undefined;
  return { protocol, host: host.replace(/^\[|\]$/g, ""), port: port === "*" ? "*" : Number(port) };
}

export function addressObject({ protocol, host, port }: SocketAddress): string {
  if (port === undefined) return `${protocol}:${host}`;
  return `${protocol}:${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Whether a grant's address covers another grant's or an access's. */
export function coversAddress(outer: string, inner: string): boolean {
  if (outer === inner) return true;
  const one = parseAddress(outer);
  const other = parseAddress(inner);
  if (one === undefined || other === undefined || one.protocol !== other.protocol) return false;
  if (one.protocol === "unix" && one.host.startsWith("/") && other.host.startsWith("/")) {
    return coversPath(one.host, other.host);
  }
  const host = one.host === "*" || one.host === other.host;
  return host && (one.port === "*" || one.port === other.port);
}
