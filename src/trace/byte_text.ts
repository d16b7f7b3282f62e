/**
 * Names as text, and back. The kernel's names are bytes, which need not be UTF-8: a byte that is part of no character is a lone
 * surrogate, U+DC80 to U+DCFF, as with Python's `surrogateescape` (PEP 383). So different names are different texts, JSON has
 * them as escapes (`"\udcff"`), and the bytes come back of them.
 */

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** Characters in UTF-8, one byte a unit, as far as they go; or a byte that is part of none. */
const CHARACTERS =
  /((?:[\0-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})+)|[\x80-\xff]/g;

/** With the flag, only surrogates that are no half of a character. */
const STRAY = /([\u{dc80}-\u{dcff}])/u;

export function byteText(bytes: Uint8Array): string {
  const text = decoder.decode(bytes);
  if (!text.includes("\ufffd")) return text;
  return Buffer.from(bytes)
    .toString("latin1")
    .replace(CHARACTERS, (piece, characters?: string) =>
      characters === undefined
        ? strayUnit(piece.charCodeAt(0))
        : decoder.decode(Buffer.from(characters, "latin1")),
    );
}

export function textBytes(text: string): Uint8Array {
  if (!STRAY.test(text)) return encoder.encode(text);
  // Of what is split by a group, each second piece is what the group matched.
  const pieces = text
    .split(STRAY)
    .map((piece, k) =>
      k % 2 === 0 ? encoder.encode(piece) : Uint8Array.of(piece.charCodeAt(0) - STRAYS),
    );
  return Buffer.concat(pieces);
}

/** The same for those who take nothing but UTF-8: U+FFFD stands for bytes that are part of no character. */
export function inUtf8(text: string): string {
  return STRAY.test(text) ? Buffer.from(text).toString() : text;
}

/** Writes the bytes of a text, at most so many; gives how many. */
export function writeText(buffer: Buffer, text: string, most: number): number {
  return STRAY.test(text)
    ? Buffer.from(textBytes(text)).copy(buffer, 0, 0, most)
    : buffer.write(text, 0, most);
}

const STRAYS = 0xdc00;

/** What stands for a byte that is part of no character. */
export function strayUnit(byte: number): string {
  return String.fromCharCode(STRAYS + byte);
}

/** The byte for which a unit of a text stands; undefined for all other ones. */
export function strayByte(unit: number): number | undefined {
  return unit >= STRAYS + 0x80 && unit <= STRAYS + 0xff ? unit - STRAYS : undefined;
}
