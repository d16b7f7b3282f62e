/**
 * Batches of a table into a table of DuckDB: typed arrays are copied into the vectors of its data chunks as they are. No
 * value crosses by itself but the first of each text: a text is handed over once, and its 16-byte `duckdb_string_t`
 * (length and bytes, or length, prefix and pointer; duckdb.h) is copied wherever the text stands.
 */

import type duckdb from "@duckdb/node-bindings";
import type { Dictionary } from "../tables/dictionary.js";
import type { CodeData, ColumnData, TableBatch } from "../tables/table.js";

type Bindings = typeof duckdb;

/** Rows of a data chunk: `STANDARD_VECTOR_SIZE`. */
const ROWS = 2048;

/** Bytes and words of a `duckdb_string_t`. */
const STRING_BYTES = 16;
const STRING_WORDS = 4;

/** Codes of `duckdb_type`. */
const TYPES: Readonly<Record<ColumnData["type"], number>> = {
  bool: 1,
  int: 5,
  word: 5,
  text: 17,
  bytes: 18,
};

/** Appends batches, one after the other; the columns of all have the same types. */
export class ChunkWriter {
  readonly #bindings: Bindings;
  readonly #appender: duckdb.Appender;
  #chunk: duckdb.DataChunk | undefined;
  readonly #strings: StringTable[] = [];
  readonly #scratch = new Uint32Array(ROWS * STRING_WORDS);

  constructor(bindings: Bindings, appender: duckdb.Appender) {
    this.#bindings = bindings;
    this.#appender = appender;
  }

  append({ count, columns }: TableBatch): void {
    const chunk = this.#chunkFor(columns);
    const words = columns.map((column) => wordsOf(column));
    const strings = columns.map((column, k) => this.#stringsOf(column, k));
    for (let from = 0; from < count; from += ROWS) {
      const rows = Math.min(ROWS, count - from);
      this.#bindings.data_chunk_reset(chunk);
      columns.forEach((column, k) => {
        const vector = this.#bindings.data_chunk_get_vector(chunk, k);
        const texts = strings[k];
        const own = words[k];
        if (own !== undefined) this.#copy(vector, own, from, rows);
        else if (texts !== undefined)
          this.#copyStrings(vector, column as CodeData, texts, from, rows);
        if (column.nulls !== undefined) this.#copyNulls(vector, column.nulls, from, rows);
      });
      this.#bindings.data_chunk_set_size(chunk, rows);
      this.#bindings.append_data_chunk(this.#appender, chunk);
    }
  }

  close(): void {
    this.#bindings.appender_flush_sync(this.#appender);
    this.#bindings.appender_close_sync(this.#appender);
  }

  #chunkFor(columns: readonly ColumnData[]): duckdb.DataChunk {
    this.#chunk ??= this.#bindings.create_data_chunk(
      columns.map(({ type }) => this.#bindings.create_logical_type(TYPES[type])),
    );
    return this.#chunk;
  }

  #copy(
    vector: duckdb.Vector,
    values: BigInt64Array | Uint8Array,
    from: number,
    rows: number,
  ): void {
    const { buffer, byteOffset, BYTES_PER_ELEMENT: size } = values;
    this.#bindings.copy_data_to_vector(
      vector,
      0,
      buffer as ArrayBuffer,
      byteOffset + from * size,
      rows * size,
    );
  }

  #stringsOf(column: ColumnData, k: number): StringTable | undefined {
    if (column.type !== "text" && column.type !== "bytes") return undefined;
    let table = this.#strings[k];
    if (table?.dictionary !== column.dictionary) {
      table = new StringTable(this.#bindings, column.dictionary);
      this.#strings[k] = table;
    }
    table.grow();
    return table;
  }

  #copyStrings(
    vector: duckdb.Vector,
    { values }: CodeData,
    { words }: StringTable,
    from: number,
    rows: number,
  ): void {
    const scratch = this.#scratch;
    for (let k = 0; k < rows; k++) {
      const source = (values[from + k] as number) * STRING_WORDS;
      const target = k * STRING_WORDS;
      // A row without a value may have a code without a text: those read as empty.
      scratch[target] = words[source] as number;
      scratch[target + 1] = words[source + 1] as number;
      scratch[target + 2] = words[source + 2] as number;
      scratch[target + 3] = words[source + 3] as number;
    }
    this.#bindings.copy_data_to_vector(vector, 0, scratch.buffer, 0, rows * STRING_BYTES);
  }

  /** A bit for each row that has a value. */
  #copyNulls(vector: duckdb.Vector, nulls: Uint8Array, from: number, rows: number): void {
    const mask = new Uint8Array(ROWS / 8).fill(0xff);
    let any = false;
    for (let k = 0; k < rows; k++) {
      if (nulls[from + k] === 0) continue;
      any = true;
      mask[k >> 3] = (mask[k >> 3] as number) & ~(1 << (k & 7));
    }
    if (!any) return;
    this.#bindings.vector_ensure_validity_writable(vector);
    this.#bindings.copy_data_to_vector_validity(vector, 0, mask.buffer, 0, mask.length);
  }
}

/** The values as the vector has them. */
function wordsOf(column: ColumnData): BigInt64Array | Uint8Array | undefined {
  switch (column.type) {
    case "int":
      return wholeWords(column.values);
    case "word":
    case "bool":
      return column.values;
    default:
      return undefined;
  }
}

/** Whole numbers as pairs of words: making a BigInt of each would cost more than all else. */
function wholeWords(values: Float64Array): BigInt64Array {
  const pairs = new Int32Array(2 * values.length);
  for (let k = 0; k < values.length; k++) {
    const value = values[k] as number;
    const high = Math.floor(value / 0x1_0000_0000);
    pairs[2 * k] = value - high * 0x1_0000_0000;
    pairs[2 * k + 1] = high;
  }
  return new BigInt64Array(pairs.buffer);
}

/** The texts of a dictionary in vectors of their own, and what stands for each of them. */
class StringTable {
  readonly dictionary: Dictionary;
  words = new Uint32Array(64 * STRING_WORDS);
  readonly #bindings: Bindings;
  /** They own the texts that the words point to. */
  readonly #chunks: duckdb.DataChunk[] = [];
  #size = 0;

  constructor(bindings: Bindings, dictionary: Dictionary) {
    this.#bindings = bindings;
    this.dictionary = dictionary;
  }

  /** Takes over what is new in the dictionary. */
  grow(): void {
    while (this.#size < this.dictionary.size) {
      const first = this.#size % ROWS;
      if (first === 0) this.#chunks.push(this.#makeChunk());
      const end = Math.min(ROWS, first + this.dictionary.size - this.#size);
      this.#fill(this.#chunks.at(-1) as duckdb.DataChunk, first, end);
    }
  }

  #makeChunk(): duckdb.DataChunk {
    const type = this.#bindings.create_logical_type(TYPES[this.dictionary.kind]);
    return this.#bindings.create_data_chunk([type]);
  }

  #fill(chunk: duckdb.DataChunk, first: number, end: number): void {
    const vector = this.#bindings.data_chunk_get_vector(chunk, 0);
    for (let k = first; k < end; k++) {
      const bytes = this.dictionary.bytes(this.#size + k - first);
      this.#bindings.vector_assign_string_element_len(vector, k, bytes);
    }
    const count = end - first;
    const needed = (this.#size + count) * STRING_WORDS;
    if (needed > this.words.length) {
      const wider = new Uint32Array(Math.max(needed, 2 * this.words.length));
      wider.set(this.words);
      this.words = wider;
    }
    const data = this.#bindings.vector_get_data(vector, end * STRING_BYTES);
    // A copy that begins at a multiple of four, as an array of words must.
    const own = Uint8Array.from(data.subarray(first * STRING_BYTES, end * STRING_BYTES));
    this.words.set(new Uint32Array(own.buffer), this.#size * STRING_WORDS);
    this.#size += count;
  }
}
