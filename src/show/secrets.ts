/** Environment variables whose names say that their values should not be shown to others. */

import type { Value } from "../decode/value.js";

/** Not of authors, nor of what is passed on: GIT_AUTHOR_NAME, TOX_TESTENV_PASSENV. */
const SECRET =
  /pass(?:word|wd|phrase|code|(?![a-z]))|secret|token|api_?key|private|credential|auth(?!or(?!i))|cookie|session|_(?:pwd|key)$/i;

export const MASK = "***";

/** `NAME=value` with the value masked when the name looks like a secret's. */
export function maskVariable(text: string): string {
  const equals = text.indexOf("=");
  return equals > 0 && SECRET.test(text.slice(0, equals))
    ? `${text.slice(0, equals + 1)}${MASK}`
    : text;
}

/** The strings of an environment, those of secrets masked. */
export function maskedEnvironment(items: readonly Value[]): Value[] {
  return items.map((item) => {
    if (item.kind !== "bytes") return item;
    const text = maskVariable(Buffer.from(item.bytes).toString("latin1"));
    const bytes = Buffer.from(text, "latin1");
    return text.endsWith(MASK) ? { ...item, bytes, total: bytes.length } : item;
  });
}
