/**
 * A DuckDB in this process that holds tables of traces while a question is answered. The package is an optional
 * dependency, loaded here and nowhere else.
 */

import { availableParallelism } from "node:os";
import { join } from "node:path";
import type * as api from "@duckdb/node-api";
import type duckdb from "@duckdb/node-bindings";
import type { ResultValue } from "../answer/results.js";
import { TraceError } from "../errors.js";
import type { TableBatch, TableColumn } from "../tables/table.js";
import { removeTemporary } from "../temporary.js";
import { databaseError } from "./error.js";
import { databaseMemory, spillDirectory } from "./limits.js";
import { sqlType } from "./types.js";
import { ChunkWriter } from "./vectors.js";

export interface DatabaseOptions {
  /** Bytes that the database may take; by the container's limit when left out. */
  readonly memory?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function sqlText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

interface Modules {
  readonly api: typeof api;
  readonly bindings: typeof duckdb;
}

async function load(): Promise<Modules> {
  try {
    const [node, bindings] = await Promise.all([
      import("@duckdb/node-api"),
      import("@duckdb/node-bindings"),
    ]);
    return { api: node, bindings: bindings.default };
  } catch (cause) {
    throw new TraceError(
      "NO_DATABASE",
      "SQL needs the package @duckdb/node-api, which is not installed",
      {
        hint: "add it with: npm install @duckdb/node-api (filters and saved queries do without)",
        cause,
      },
    );
  }
}

export class Database {
  readonly connection: api.DuckDBConnection;
  readonly #instance: api.DuckDBInstance;
  readonly #modules: Modules;
  readonly #directory: string;
  #hasFile = false;

  private constructor(
    instance: api.DuckDBInstance,
    connection: api.DuckDBConnection,
    modules: Modules,
    directory: string,
  ) {
    this.#instance = instance;
    this.connection = connection;
    this.#modules = modules;
    this.#directory = directory;
  }

  /** @throws TraceError `NO_DATABASE` when the package is not installed. */
  static async open(options: DatabaseOptions = {}): Promise<Database> {
    const modules = await load();
    const directory = spillDirectory(options.env ?? process.env);
    try {
      const instance = await modules.api.DuckDBInstance.create(":memory:", {
        memory_limit: `${Math.round((options.memory ?? databaseMemory()) / 1024)}KiB`,
        temp_directory: directory,
        threads: String(availableParallelism()),
        // Nothing is fetched from anywhere to answer a question about a trace.
        autoinstall_known_extensions: "false",
        autoload_known_extensions: "false",
      });
      return new Database(instance, await instance.connect(), modules, directory);
    } catch (error) {
      removeTemporary(directory);
      throw databaseError(error) ?? error;
    }
  }

  /** Name of the catalog for tables that would not fit into memory: a file that goes away with the database. */
  async fileCatalog(): Promise<string> {
    if (!this.#hasFile) {
      const path = join(this.#directory, "tables.duckdb");
      await this.connection.run(`ATTACH ${sqlText(path)} AS tables_on_disk`);
      this.#hasFile = true;
    }
    return "tables_on_disk";
  }

  /**
   * Makes a table of batches. What was before an error of theirs is in the table then; the error is returned. One of the database is
   * thrown: what it has of them is no answer.
   */
  async fill(
    catalog: string,
    name: string,
    columns: readonly TableColumn[],
    batches: AsyncIterable<TableBatch>,
  ): Promise<unknown> {
    const defs = columns.map((column) => `${quoted(column.name)} ${sqlType(column)}`);
    await this.connection.run(`CREATE TABLE ${catalog}.main.${quoted(name)} (${defs.join(", ")})`);
    const native = (this.connection as unknown as { readonly connection: duckdb.Connection })
      .connection;
    const { bindings } = this.#modules;
    const appender = bindings.appender_create_ext(native, catalog, "main", name);
    const writer = new ChunkWriter(bindings, appender);
    let failure: unknown;
    try {
      for await (const batch of batches) writer.append(batch);
    } catch (error) {
      const own = databaseError(error);
      if (own !== undefined) throw own;
      failure = error;
    }
    writer.close();
    return failure;
  }

  /** A value of a result: numbers, texts, bytes, lists and structures as they are, everything else as text. */
  plain(value: api.DuckDBValue): ResultValue {
    if (value === null || typeof value !== "object") return value;
    const { api: node } = this.#modules;
    if (value instanceof node.DuckDBBlobValue) return Uint8Array.from(value.bytes);
    if (value instanceof node.DuckDBDecimalValue) return value.toDouble();
    if (value instanceof node.DuckDBListValue || value instanceof node.DuckDBArrayValue) {
      return value.items.map((item) => this.plain(item));
    }
    if (value instanceof node.DuckDBStructValue) {
      return Object.fromEntries(
        Object.entries(value.entries).map(([name, member]) => [name, this.plain(member)]),
      );
    }
    return value.toString();
  }

  close(): void {
    this.connection.closeSync();
    this.#instance.closeSync();
    removeTemporary(this.#directory);
  }
}
