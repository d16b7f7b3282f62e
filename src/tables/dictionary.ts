/**
 * Texts, or byte strings, numbered from 0 in the order in which they were first met. A column that repeats its values
 * holds these numbers; each value is kept once.
 */

import { inUtf8 } from "../trace/byte_text.js";

/** Values in one array: value k is `bytes[offsets[k] .. offsets[k + 1]]`. */
export interface PackedValues {
  readonly offsets: Uint32Array;
  readonly bytes: Uint8Array;
}

/** Beyond this many values or characters a column begins a new dictionary. */
const MAX_VALUES = 1 << 18;
const MAX_UNITS = 1 << 25;
/** Values of more characters than that are not joined before they are encoded. */
const MAX_JOINED = 1 << 26;

const utf8 = new TextEncoder();

export class Dictionary {
  readonly #codes = new Map<string, number>();
  /** Byte strings are kept as text, a character for each byte. */
  readonly #values: string[] = [];
  #units = 0;

  constructor(readonly kind: "text" | "bytes") {}

  get size(): number {
    return this.#values.length;
  }

  /** Whether a column should begin another one: keeping every value of a long trace would take memory without end. */
  get isLarge(): boolean {
    return this.#values.length >= MAX_VALUES || this.#units >= MAX_UNITS;
  }

  /** The code of a text; of bytes, when this is a dictionary of byte strings. */
  code(value: string | Uint8Array): number {
    const key = typeof value === "string" ? value : latin1(value);
    const known = this.#codes.get(key);
    if (known !== undefined) return known;
    const code = this.#values.length;
    this.#codes.set(key, code);
    this.#values.push(this.kind === "text" ? inUtf8(key) : key);
    this.#units += key.length;
    return code;
  }

  /** The text of a code; of byte strings a character for each byte. Empty for a code that was never given. */
  text(code: number): string {
    return this.#values[code] ?? "";
  }

  /** The bytes of a code: of a text its UTF-8. */
  bytes(code: number): Uint8Array {
    const value = this.text(code);
    return this.kind === "text"
      ? utf8.encode(value)
      : Uint8Array.from(Buffer.from(value, "latin1"));
  }

  /** The values from code `from` on, as bytes; texts as UTF-8. For those who take them over as they grow. */
  pack(from = 0): PackedValues {
    const offsets = new Uint32Array(Math.max(0, this.size - from) + 1);
    const encoding = this.kind === "text" ? "utf8" : "latin1";
    const joined = this.#joined(from);
    if (joined !== undefined) {
      const bytes = Buffer.from(joined, encoding);
      // As many bytes as characters: each value has as many as it is long.
      if (bytes.length === joined.length) {
        for (let code = from, at = 0; code < this.size; code++) {
          at += this.text(code).length;
          offsets[code - from + 1] = at;
        }
        return { offsets, bytes };
      }
    }
    const parts: Buffer[] = [];
    let at = 0;
    for (let code = from; code < this.size; code++) {
      const part = Buffer.from(this.text(code), encoding);
      parts.push(part);
      at += part.length;
      offsets[code - from + 1] = at;
    }
    return { offsets, bytes: Buffer.concat(parts, at) };
  }

  /** The values from code `from` on in one text, unless that would be too long for one. */
  #joined(from: number): string | undefined {
    let units = 0;
    for (let code = from; code < this.size; code++) units += this.text(code).length;
    if (units > MAX_JOINED) return undefined;
    return Array.from({ length: Math.max(0, this.size - from) }, (_, k) =>
      this.text(from + k),
    ).join("");
  }
}

/** Texts that were numbered elsewhere, each made of its UTF-8 when it is asked for. Two of them may be alike. */
export class PackedDictionary extends Dictionary {
  readonly #packed: PackedValues;
  readonly #texts: (string | undefined)[] = [];

  constructor(packed: PackedValues) {
    super("text");
    this.#packed = packed;
  }

  override get size(): number {
    return this.#packed.offsets.length - 1;
  }

  override code(): number {
    throw new Error("a dictionary that is packed takes no more values");
  }

  override text(code: number): string {
    const { offsets, bytes } = this.#packed;
    const [start, end] = [offsets[code], offsets[code + 1]];
    if (start === undefined || end === undefined) return "";
    let text = this.#texts[code];
    if (text === undefined) {
      text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");
      this.#texts[code] = text;
    }
    return text;
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
