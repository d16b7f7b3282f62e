/** Batches of tables as the addon takes them: typed arrays, and what dictionaries grew by since the last batch. */

import type { NativeColumn, NativeValues } from "../../native.js";
import type { Dictionary } from "../../tables/dictionary.js";
import type { ColumnData, TableBatch, TableColumn } from "../../tables/table.js";

export function nativeColumns(columns: readonly TableColumn[]): NativeColumn[] {
  return columns.map(({ name, type, nullable }) => ({ name, type, nullable }));
}

/** Hands the batches of one scan over. Remembers what the other side knows of each column's dictionary. */
export class Handover {
  readonly #known: { dictionary: Dictionary | undefined; size: number }[] = [];

  values(batch: TableBatch): NativeValues[] {
    return batch.columns.map((column, k) => ({
      ...(column.nulls !== undefined && { nulls: column.nulls }),
      ...this.#values(column, k),
    }));
  }

  #values(column: ColumnData, k: number): NativeValues {
    switch (column.type) {
      case "int":
        return { ints: column.values };
      case "word":
        return { words: column.values };
      case "bool":
        return { bools: column.values };
      default:
        return { codes: column.values, ...this.#growth(column.dictionary, k) };
    }
  }

  #growth(dictionary: Dictionary, k: number): NativeValues {
    this.#known[k] ??= { dictionary: undefined, size: 0 };
    const known = this.#known[k];
    const restart = known.dictionary !== dictionary;
    if (restart) {
      known.dictionary = dictionary;
      known.size = 0;
    }
    if (dictionary.size === known.size) return { restart };
    const { offsets, bytes } = dictionary.pack(known.size);
    known.size = dictionary.size;
    return { restart, ends: offsets.subarray(1), bytes };
  }
}
