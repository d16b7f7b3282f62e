/** The formats of `trace export`, and what each of them is made of. */

import { usageError } from "../errors.js";

export interface ExportFormat {
  readonly name: string;
  /** One line for people. */
  readonly doc: string;
  /** Endings of file names that mean this format, where `--to` is left out. */
  readonly endings: readonly string[];
  /** `events`: a stream of bytes made of one trace. `tables`: rows of tables, of any number of traces. */
  readonly from: "events" | "tables";
  /** What is written: text that may go to a terminal, bytes, one file that is made in place, or a folder. */
  readonly output: "text" | "bytes" | "file" | "folder";
}

export const FORMATS = [
  {
    name: "parquet",
    doc: "tables as Parquet files, for DuckDB, Spark, pandas: OUT/TABLE/run=ID/part-*.parquet",
    endings: [".parquet"],
    from: "tables",
    output: "folder",
  },
  {
    name: "sqlite",
    doc: "tables in one SQLite file",
    endings: [".sqlite", ".sqlite3", ".db"],
    from: "tables",
    output: "file",
  },
  { name: "csv", doc: "one table as CSV", endings: [".csv"], from: "tables", output: "text" },
  {
    name: "jsonl",
    doc: "one table, an object per row and line",
    endings: [".jsonl", ".ndjson"],
    from: "tables",
    output: "text",
  },
  {
    name: "perfetto",
    doc: "for ui.perfetto.dev and trace_processor: a slice per call",
    endings: [".pftrace", ".perfetto-trace", ".perfetto"],
    from: "events",
    output: "bytes",
  },
  {
    name: "strace",
    doc: "as strace -f -ttt -T -y writes it",
    endings: [".strace"],
    from: "events",
    output: "text",
  },
  {
    name: "folded",
    doc: "for flame graphs: programs and their calls, by time (no functions, even where the trace holds stacks)",
    endings: [".folded"],
    from: "events",
    output: "text",
  },
  {
    name: "speedscope",
    doc: "the same for speedscope.app",
    endings: [".speedscope.json", ".speedscope"],
    from: "events",
    output: "text",
  },
  {
    name: "otlp",
    doc: "OpenTelemetry spans of the programs that ran, as the OTLP file exporter writes them",
    endings: [".otlp.jsonl", ".otlp.json", ".otlp"],
    from: "events",
    output: "text",
  },
] as const satisfies readonly ExportFormat[];

export type FormatName = (typeof FORMATS)[number]["name"];

/** The format that is asked for, or the one of the file's name. @throws TraceError `USAGE` */
export function formatOf(to: string | undefined, output: string | undefined): ExportFormat {
  const format = namedFormat(to, output);
  const isStream = format.output === "text" || format.output === "bytes";
  if (output?.endsWith(".gz") === true && !isStream) {
    throw usageError(`${format.name} is not compressed with gzip`, "leave out the .gz of the name");
  }
  return format;
}

function namedFormat(to: string | undefined, output: string | undefined): ExportFormat {
  const all: readonly ExportFormat[] = FORMATS;
  const asked = all.find(({ name }) => name === to);
  if (asked !== undefined) return asked;
  const plain = output?.replace(/\.gz$/, "") ?? "";
  // The longest ending first: `.otlp.jsonl` is also `.jsonl`.
  const endings = all.flatMap((format) => format.endings.map((ending) => ({ ending, format })));
  const fit = endings
    .sort((a, b) => b.ending.length - a.ending.length)
    .find(({ ending }) => plain.endsWith(ending));
  if (fit !== undefined) return fit.format;
  throw usageError("no format is named", `--to ${all.map(({ name }) => name).join(", ")}`);
}
