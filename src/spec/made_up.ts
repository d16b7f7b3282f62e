/**
 * Names that programs make up at run time, told by their looks alone: what of them is random, a number or a date becomes `*`.
 * What two names of different runs tell is in `common_form.ts`; what a recording knows of the clock and of process ids, in
 * `stamps.ts`.
 */

/** What was made up at run time in a name: uuids, dates with or without a time, hashes, long numbers. */
const MADE_UP: readonly RegExp[] = [
  /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g,
  /(?<!\d)\d{4}-\d\d-\d\d(?:[T_ .-]?\d\d[:._h-]?\d\d(?:[:._m-]?\d\d(?:[.,_]\d{1,9})?)?Z?)?(?!\d)/g,
  /[0-9a-f]{16,}/g,
  // Shorter ones hold letters and digits, and stand alone.
  /(?<![0-9A-Za-z])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}(?![0-9A-Za-z])/g,
  // In base 36, with digits here and there.
  /(?<![0-9A-Za-z])(?=(?:[a-z]*\d+[a-z]+){3})[0-9a-z]{20,}(?![0-9A-Za-z])/g,
  /(?<!\d)\d{5,}/g,
];

/** mkstemp(3) and its like: the last six characters of the stem are random. Shorter endings are tried first. */
const RANDOM_TAILS: readonly RegExp[] = [0, 1, 2].map(
  (endings) => new RegExp(`^(.*?)([A-Za-z0-9_]{6})((?:\\.[A-Za-z0-9]{1,8}){${endings}}~?)$`),
);

/** `name.tmp1a2b3`, which is renamed to `name` when it is whole. */
const TEMPORARY_TAIL = /^(.*[._-](?:tmp|TMP|temp)[._-]?)[A-Za-z0-9]*\d[A-Za-z0-9]*$/;

/** gcc: six random letters and digits behind `cc`, whatever words they look like. */
const GCC_NAME = /^cc[A-Za-z0-9]{6}((?:\.[A-Za-z0-9_]{1,8}){1,3})$/;

/** tempfile of python, called without a prefix: eight such characters, of which several in a row may be digits. */
export const PYTHON_NAME = /^tmp[a-z0-9_]{8}((?:\.[A-Za-z0-9]{1,8}){0,2}~?)$/;

/** tempfile of python: eight small letters, digits and underscores behind the prefix; `~` marks a copy as one (Mercurial, editors). */
const PYTHON_TAIL = /^(|.*[-._])([a-z0-9_]{8})((?:\.[A-Za-z0-9]{1,8}){0,2}~?)$/;

/** Directories for what is made and removed again. */
export const SCRATCH = /^(?:\$TMP|\/tmp|\/var\/tmp|\/dev\/shm)(?:\/|$)/;

/**
 * The name with its made-up parts as `*`; undefined when it shows none. `isTemporary`: the programs have made it; `isScratch`:
 * in a directory for temporary files.
 */
export function siblingName(
  name: string,
  isTemporary: boolean,
  isScratch = false,
): string | undefined {
  const gcc = isTemporary && isScratch ? GCC_NAME.exec(name) : null;
  if (gcc !== null) return `cc*${gcc[1]}`;
  const plainPython = isTemporary && isScratch ? PYTHON_NAME.exec(name) : null;
  if (plainPython !== null) return `tmp*${plainPython[1]}`;
  const general = MADE_UP.reduce((text, form) => text.replace(form, "*"), name);
  if (general !== name) {
    // `x-1305hl4vv4hi`: of a name that was made, what stands next to the number may be random as well.
    const plain = asOne(
      general.replace(/\*([A-Za-z0-9_]{6,})(?![A-Za-z0-9_])/g, (whole, rest: string) =>
        isTemporary && looksRandom(rest, isScratch) ? "*" : whole,
      ),
    );
    // `rb20261127-27887-q1qamy`: there may be random letters behind.
    return (isTemporary ? siblingName(plain, true, isScratch) : undefined) ?? plain;
  }
  if (!isTemporary) return undefined;
  const python = isScratch ? PYTHON_TAIL.exec(name) : null;
  // Words with a number at their end are no such names.
  if (python !== null && /\d[a-z]/.test(python[2] ?? "")) return asOne(`${python[1]}*${python[3]}`);
  const temporary = TEMPORARY_TAIL.exec(name);
  if (temporary !== null) return asOne(`${temporary[1]}*`);
  const found = RANDOM_TAILS.map((form) => form.exec(name)).find(
    (found) => found !== null && (looksRandom(found[2] ?? "", isScratch) || name.startsWith("tmp")),
  );
  if (found === undefined || found === null) return undefined;
  const [, head = "", , end = ""] = found;
  // gcc and python put fixed letters in front of random ones. Longer random names reach into the head.
  const fixed =
    /^(?:cc|tmp)/.exec(name)?.[0] ??
    (looksRandom(head, isScratch) ? head.replace(/[A-Za-z0-9_]+$/, "") : head);
  return asOne(`${fixed}*${end}`);
}

/**
 * Letters of both cases mixed within, or letters and digits. A word with a number at its end is not; nor are several,
 * `likeThis_one2`, but among temporary files.
 */
function looksRandom(text: string, isScratch: boolean): boolean {
  const classes = [/[a-z]/, /[A-Z]/, /[0-9]/].filter((one) => one.test(text)).length;
  const word = isScratch ? /^[A-Z]?[a-z]+\d*$/ : /^[A-Za-z]?[a-z]*(?:[A-Z_][a-z]{2,})*_?\d*$/;
  return classes >= 2 && !word.test(text);
}

/** Wildcards that stand side by side as one. */
export function asOne(name: string): string {
  return name.replace(/(?<!\\)\*{2,}/g, "*");
}

/** An object whose names are changed, but for the first one, where `change` says how. */
export function changedNames(
  object: string,
  change: (name: string, path: string, directory: string) => string | undefined,
): string {
  const parts = object.split("/");
  const changed = parts.map((name, k) =>
    k === 0
      ? name
      : (change(name, parts.slice(0, k + 1).join("/"), parts.slice(0, k).join("/")) ?? name),
  );
  return changed.join("/");
}

/** The form of a name that a program has made; undefined when nothing in it is made up. */
export function madeName(name: string, directory: string): string | undefined {
  return siblingName(name, true, SCRATCH.test(directory));
}

/** Two digits of a hash, by which files with the rest of it, or all, are spread over directories. Words are like that as well. */
const FAN_OUT = /^[0-9a-f]{2}$/;
const HASH = /^[0-9a-f]{16,}/;

/** Those directories of objects that are named by the digits of a hash which what they hold is named by, as in git. */
export function fanOuts(objects: Iterable<string>): ReadonlySet<string> {
  const found = new Set<string>();
  for (const object of objects) {
    const parts = object.split("/");
    let k = parts.length - 1;
    if (!HASH.test(parts[k] ?? "")) continue;
    for (k--; FAN_OUT.test(parts[k] ?? ""); k--) found.add(parts.slice(0, k + 1).join("/"));
  }
  return found;
}

/** An object with the forms of the names that look made up, of those that the programs have made; undefined when none does. */
export function madeUpForm(object: string, made: ReadonlySet<string>): string | undefined {
  const general = changedNames(object, (name, path, directory) =>
    made.has(path) ? madeName(name, directory) : undefined,
  );
  return general === object ? undefined : general;
}
