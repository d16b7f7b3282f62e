/**
 * Tables as Parquet files in the layout of hive: `OUT/TABLE/run=ID/part-00000.parquet`. Engines read `OUT/TABLE` as one table
 * with a column `run`; exporting more runs into the same folder adds to it. The files of a run get their place when they are
 * whole; until then their folder has a name that those engines skip.
 */

import { mkdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TraceError } from "../../errors.js";
import { type NativeParquet, native } from "../../native.js";
import type { TableBatch, TableDef } from "../../tables/table.js";
import { explained, traceError, unwrap } from "../../trace/failure.js";
import type { Trace } from "../../trace/trace.js";
import { eventMeanings, missingRows } from "./events.js";
import { Handover, nativeColumns } from "./native.js";
import { columnNames, type RowSink, type Run, type TableSink } from "./sink.js";

export class ParquetSink implements TableSink {
  readonly hasDraft = true;
  readonly #folder: string;
  readonly #force: boolean;
  /** Folders that are being filled, and where they go. */
  readonly #drafts: { readonly draft: string; readonly place: string }[] = [];
  /** All folders that were not there before, those below after those above. */
  readonly #made: string[] = [];

  constructor(folder: string, force: boolean) {
    this.#folder = folder;
    this.#force = force;
  }

  async begin(run: Run, table: TableDef): Promise<RowSink> {
    const place = join(this.#folder, table.name, `run=${run.id}`);
    const draft = join(this.#folder, table.name, `_run=${run.id}.partial`);
    if (!this.#force && (await isThere(place))) {
      throw traceError({
        code: "exists",
        message: `${place} exists already`,
        facts: { path: place },
      });
    }
    if (this.#drafts.some((other) => other.draft === draft)) {
      throw new TraceError("SAME_RUN", `two of the traces are of one run, ${run.id}`, {
        hint: "they are copies of one recording: name it once",
      });
    }
    await rm(draft, { recursive: true, force: true }).catch(() => {});
    await explained("create", draft, () => makeFolder(draft, this.#made));
    this.#drafts.push({ draft, place });
    return new ParquetRows(startWriter(draft, run, table), columnNames(table.columns));
  }

  /** Moves the runs to their places. */
  async finish(): Promise<void> {
    for (const { draft, place } of this.#drafts) {
      await rm(place, { recursive: true, force: true });
      await explained("create", place, () => rename(draft, place));
    }
    this.#drafts.length = 0;
  }

  async abandon(): Promise<void> {
    for (const { draft } of this.#drafts) await rm(draft, { recursive: true, force: true });
    // Those that are gone, or that others use by now, stay as they are.
    for (const folder of this.#made.reverse()) await rmdir(folder).catch(() => {});
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function startWriter(folder: string, run: Run, table: TableDef): NativeParquet {
  const { columns } = table;
  const place = (name: string) => {
    const k = columns.findIndex((column) => column.name === name && !column.nullable);
    return k < 0 ? undefined : k;
  };
  const ascending = [place("seq"), place("time")].filter((k) => k !== undefined);
  const facts = [...run.facts].map(([key, value]) => ({ key, value }));
  const time = place("time");
  return native().writeParquet(folder, nativeColumns(columns), time, ascending, facts);
}

class ParquetRows implements RowSink {
  readonly #writer: NativeParquet;
  readonly #columns: readonly string[];
  readonly #handover = new Handover();
  /** The batch before is written while the next one is made. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(writer: NativeParquet, columns: readonly string[]) {
    this.#writer = writer;
    this.#columns = columns;
  }

  async write(batch: TableBatch): Promise<boolean> {
    await this.#last;
    this.#last = this.#writer.write(this.#handover.values(batch)).then(unwrap);
    // Met by whoever waits next.
    this.#last.catch(() => {});
    return true;
  }

  async writeEvents(trace: Trace): Promise<TraceError | undefined> {
    const write = this.#writer.writeEvents(trace.native, this.#columns, eventMeanings());
    return missingRows(unwrap(await write), trace);
  }

  async end(): Promise<void> {
    await this.#last;
    unwrap(await this.#writer.finish());
  }
}

/**
 * Makes a folder and those above it, and notes which were made. Node's own way to do so never ends below /proc, where nothing can
 * be made.
 */
async function makeFolder(path: string, made: string[]): Promise<void> {
  try {
    await mkdir(path);
    made.push(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    await makeFolder(dirname(path), made);
    await mkdir(path);
    made.push(path);
  }
}
