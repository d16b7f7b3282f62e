/**
 * The rows of table `arg` while they are made: there are ten of them for each call, so values go straight into the arrays of
 * a batch, and the text of a key is put together once.
 */

import { isAscii, isUtf8 } from "node:buffer";
import type { Num } from "../decode/value.js";
import { Dictionary } from "./dictionary.js";
import type { ColumnData, TableBatch, TableColumn } from "./table.js";

const ROWS = 8192;

/** Where a value stands: an argument, a member of a value, an item of one. */
export class Key {
  readonly #text: string;
  readonly #flat: string;
  #fields: Map<string, Key> | undefined;
  #items: (Key | undefined)[] | undefined;
  /** Codes of its text, and of its text without places in lists, in the dictionaries of this number. */
  code = 0;
  flatCode = 0;
  dictionaries = 0;

  constructor(text: string, flat: string) {
    this.#text = text;
    this.#flat = flat;
  }

  get text(): string {
    return this.#text;
  }

  get flat(): string {
    return this.#flat;
  }

  field(name: string): Key {
    this.#fields ??= new Map();
    let key = this.#fields.get(name);
    if (key === undefined) {
      // The one that all others are in has no name.
      const isOutermost = this.#text === "";
      key = isOutermost
        ? new Key(name, name)
        : new Key(`${this.#text}.${name}`, `${this.#flat}.${name}`);
      this.#fields.set(name, key);
    }
    return key;
  }

  item(k: number): Key {
    this.#items ??= [];
    let key = this.#items[k];
    if (key === undefined) {
      key = new Key(`${this.#text}[${k}]`, this.#flat);
      this.#items[k] = key;
    }
    return key;
  }
}

const utf8 = new TextDecoder();
const { latin1Slice } = Buffer.prototype as unknown as {
  latin1Slice(this: Uint8Array, start: number, end: number): string;
};

/** What the arrays of a batch are made of. */
class Arrays {
  readonly seq = new Float64Array(ROWS);
  readonly key = new Uint32Array(ROWS);
  readonly flatKey = new Uint32Array(ROWS);
  readonly int = new BigInt64Array(ROWS);
  readonly words = new Int32Array(this.int.buffer);
  readonly noInt = new Uint8Array(ROWS);
  readonly text = new Uint32Array(ROWS);
  readonly noText = new Uint8Array(ROWS);
  readonly bytes = new Uint32Array(ROWS);
  readonly noBytes = new Uint8Array(ROWS).fill(1);
}

export class ArgRows {
  /** Batches that are full; whoever takes them leaves the list empty. */
  readonly ready: TableBatch[] = [];
  readonly #columns: readonly TableColumn[];
  readonly #withTexts: boolean;
  #arrays = new Arrays();
  #count = 0;
  #seq = 0;
  #keys = new Key("", "");
  #dictionaries = 1;
  #isRenewed = false;
  #keyTexts = new Dictionary("text");
  #flatTexts = new Dictionary("text");
  #texts = new Dictionary("text");
  #bytes = new Dictionary("bytes");

  constructor(columns: readonly TableColumn[]) {
    this.#columns = columns;
    this.#withTexts = columns.some(({ name }) => name === "text_value" || name === "bytes_value");
  }

  /** What all keys are in. They are of no use any more after the next call of `begin`. */
  get keys(): Key {
    return this.#keys;
  }

  /** The rows that follow are of this event. */
  begin(seq: number): void {
    this.#seq = seq;
    // There were many keys. Those of the event before may have been in use until now.
    if (this.#isRenewed) this.#keys = new Key("", "");
    this.#isRenewed = false;
  }

  add(key: Key, number: Num | undefined, text?: string): void {
    const at = this.#row(key);
    const arrays = this.#arrays;
    if (number === undefined) arrays.noInt[at] = 1;
    else if (typeof number === "bigint") arrays.int[at] = BigInt.asIntN(64, number);
    else {
      arrays.words[2 * at] = number;
      arrays.words[2 * at + 1] = Math.floor(number / 0x1_0000_0000);
    }
    if (text === undefined || !this.#withTexts) arrays.noText[at] = 1;
    else arrays.text[at] = this.#texts.code(text);
    this.#added();
  }

  /** Bytes are a text where they are UTF-8. */
  addBytes(key: Key, bytes: Uint8Array): void {
    const at = this.#row(key);
    const arrays = this.#arrays;
    arrays.noInt[at] = 1;
    arrays.noText[at] = 1;
    if (this.#withTexts) {
      if (isAscii(bytes)) {
        arrays.noText[at] = 0;
        arrays.text[at] = this.#texts.code(latin1Slice.call(bytes, 0, bytes.length));
      } else if (isUtf8(bytes)) {
        arrays.noText[at] = 0;
        arrays.text[at] = this.#texts.code(utf8.decode(bytes));
      } else {
        arrays.noBytes[at] = 0;
        arrays.bytes[at] = this.#bytes.code(bytes);
      }
    }
    this.#added();
  }

  /** The batches that are ready, and what is left. */
  *rest(): Generator<TableBatch> {
    if (this.#count > 0) this.#take();
    yield* this.ready.splice(0);
  }

  #row(key: Key): number {
    const at = this.#count;
    const arrays = this.#arrays;
    if (key.dictionaries !== this.#dictionaries) {
      key.dictionaries = this.#dictionaries;
      key.code = this.#keyTexts.code(key.text);
      key.flatCode = this.#flatTexts.code(key.flat);
    }
    arrays.seq[at] = this.#seq;
    arrays.key[at] = key.code;
    arrays.flatKey[at] = key.flatCode;
    return at;
  }

  #added(): void {
    this.#count += 1;
    if (this.#count === ROWS) this.#take();
  }

  #take(): void {
    const count = this.#count;
    this.ready.push({ count, columns: this.#columns.map(({ name }) => this.#column(name)) });
    this.#arrays = new Arrays();
    this.#count = 0;
    this.#texts = renewed(this.#texts);
    this.#bytes = renewed(this.#bytes);
    if (this.#keyTexts.isLarge || this.#flatTexts.isLarge) {
      this.#keyTexts = new Dictionary("text");
      this.#flatTexts = new Dictionary("text");
      this.#dictionaries += 1;
      this.#isRenewed = true;
    }
  }

  #column(name: string): ColumnData {
    const arrays = this.#arrays;
    const count = this.#count;
    const part = <T extends Uint32Array | Uint8Array>(array: T) => array.subarray(0, count) as T;
    switch (name) {
      case "seq":
        return { type: "int", values: arrays.seq.subarray(0, count) };
      case "key":
        return { type: "text", values: part(arrays.key), dictionary: this.#keyTexts };
      case "flat_key":
        return { type: "text", values: part(arrays.flatKey), dictionary: this.#flatTexts };
      case "int_value":
        return {
          type: "word",
          values: arrays.int.subarray(0, count),
          ...nulls(arrays.noInt, count),
        };
      case "text_value":
        return {
          type: "text",
          values: part(arrays.text),
          dictionary: this.#texts,
          ...nulls(arrays.noText, count),
        };
      default:
        return {
          type: "bytes",
          values: part(arrays.bytes),
          dictionary: this.#bytes,
          ...nulls(arrays.noBytes, count),
        };
    }
  }
}

function nulls(array: Uint8Array, count: number): { readonly nulls?: Uint8Array } {
  const own = array.subarray(0, count);
  return own.includes(1) ? { nulls: own } : {};
}

function renewed(dictionary: Dictionary): Dictionary {
  return dictionary.isLarge ? new Dictionary(dictionary.kind) : dictionary;
}
