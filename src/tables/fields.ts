/** The columns of a table as the filter language knows fields. */

import { EVENT_FIELDS, type FieldDef, type FieldSet, type FieldType } from "../query/fields.js";
import type { TableColumn, TableDef } from "./table.js";

const sets = new WeakMap<TableDef, FieldSet>();

/** What filters over the rows of a table can ask: its columns; of tables of events, what all filters can. */
export function fieldSetOf(table: TableDef): FieldSet {
  if (table.ofEvents) return EVENT_FIELDS;
  let set = sets.get(table);
  if (set === undefined) {
    set = columnSet(table);
    sets.set(table, set);
  }
  return set;
}

function columnSet({ name, columns }: TableDef): FieldSet {
  const defs = new Map(columns.map((column) => [column.name, defOf(column)]));
  return {
    names: [...defs.keys()],
    find: (word) => {
      const def = defs.get(word);
      return def === undefined ? undefined : { def, name: def.name };
    },
    calls: false,
    noun: "column",
    listedBy: `trace query --schema ${name}`,
  };
}

function defOf({ name, doc, ...column }: TableColumn): FieldDef {
  return { name, doc, type: fieldType(column), example: `${name} exists` };
}

function fieldType({ type, unit }: Pick<TableColumn, "type" | "unit">): FieldType {
  if (type === "text") return "string";
  if (type === "bool" || type === "bytes") return type;
  if (unit === "ns") return "duration";
  return unit === "ns since start" ? "time" : "number";
}
