/** Environment variables whose names say that their values should not be shown to others. */

const SECRET =
  /pass(word|wd|phrase)?|secret|token|api_?key|private|credential|auth|cookie|session/i;

export const MASK = "***";

/** `NAME=value` with the value masked when the name looks like a secret's. */
export function maskVariable(text: string): string {
  const equals = text.indexOf("=");
  return equals > 0 && SECRET.test(text.slice(0, equals))
    ? `${text.slice(0, equals + 1)}${MASK}`
    : text;
}
