/** `trace query`: rows of the tables of a trace, by a filter, a saved query or SQL. */

import type { Question, Run } from "../answer/answer.js";
import type { RenderOptions, ResultFormat, Results } from "../answer/results.js";
import type { Order, SavedQuery } from "../answer/saved/saved.js";
import { TraceError, usageError } from "../errors.js";
import type { Filter } from "../query/filter/index.js";
import { nearestName } from "../query/nearest.js";
import type { TableDef } from "../tables/table.js";
import type { CommandContext, CommandDef, ExitStatus } from "./command.js";
import {
  colorChoice,
  colorOption,
  type FilterFlags,
  filterOf,
  filterOptions,
  openNamed,
  splitTraces,
  terminalWidth,
} from "./selection.js";
import { byteSize, wholeNumber } from "./values.js";

interface Options extends FilterFlags {
  readonly table?: string;
  readonly columns?: string;
  readonly sort?: string;
  readonly limit?: number;
  readonly sql?: boolean;
  readonly schema?: boolean;
  readonly list?: boolean;
  readonly memory?: number;
  readonly output?: string;
  readonly force?: boolean;
  readonly format: ResultFormat | "parquet";
  readonly showSecrets?: boolean;
  readonly color?: string | true;
  readonly pager: boolean;
}

export const command: CommandDef<Options> = {
  name: "query",
  summary: "ask the tables of traces, by filter, saved query or SQL",
  description:
    "The question is a filter (trace fields lists what it can ask of events; of other tables it asks the columns), a saved " +
    "query (@top-files), or SQL. With several traces the answer says in a column `run` which one a row is of. SQL needs the " +
    "optional package @duckdb/node-api; filters and saved queries do not.",
  arguments: [
    {
      name: "[words...]",
      help: "trace files (the latest one if left out), then a filter, @name or SQL",
    },
  ],
  options: [
    { flags: "-t, --table <name>", help: "table that a filter asks", defaultText: "event" },
    { flags: "--columns <names>", help: "columns of the answer, separated by commas" },
    { flags: "--sort <column>", help: "order of the rows; -dur is the largest first" },
    {
      flags: "--limit <rows>",
      help: "at most so many rows, 0 for all",
      parse: wholeNumber(0),
      defaultText: "1000 for text and md, else all",
    },
    { flags: "--sql", help: "the question is SQL, whatever it looks like" },
    {
      flags: "--memory <size>",
      help: "what SQL may take before it uses the disk",
      parse: byteSize,
    },
    { flags: "--schema", help: "the tables, or the columns of those that are named" },
    { flags: "--list", help: "the saved queries" },
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "csv", "json", "jsonl", "md", "parquet"],
      default: "text",
      group: "Output",
    },
    {
      flags: "-o, --output <file>",
      help: "write to a file",
      defaultText: "the standard output",
      group: "Output",
    },
    { flags: "--force", help: "replace an existing file", group: "Output" },
    {
      flags: "--show-secrets",
      help: "environment values whose names look like secrets, too",
      group: "Output",
    },
    colorOption,
    { flags: "--no-pager", help: "never through $PAGER", group: "Output" },
    ...filterOptions,
  ],
  examples: [
    { line: "trace query @top-files", help: "a saved query, on the latest trace" },
    { line: "trace query -t file 'bytes_written > 1M'", help: "rows of a table" },
    { line: "trace query 'err = EACCES' --columns time,proc,path", help: "events" },
    {
      line: 'trace query a.trace b.trace "SELECT run, count(*) FROM exec GROUP BY run"',
      help: "two traces",
    },
    { line: "trace query --schema exec fd", help: "what columns there are" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<ExitStatus> {
  const { options } = context;
  const answers = await import("../answer/catalog.js");
  if (options.list === true) {
    context.stdout.write(answers.listText());
    return 0;
  }
  if (options.schema === true) {
    // Tables have the same columns in all traces.
    const names = context.args.filter((word) => !word.endsWith(".trace"));
    const tables = await tablesNamed([...names, ...(options.table ? [options.table] : [])]);
    context.stdout.write(answers.schemaText(tables, options.format));
    return 0;
  }
  const { paths, words } = splitTraces(context);
  const question = await readQuestion(words, options);
  const runs = await openRuns(paths, context);
  try {
    return await (options.format === "parquet" ? toParquet : print)(context, runs, question);
  } finally {
    for (const { trace } of runs) trace.close();
  }
}

/** What was asked: SQL, or a question that needs no database. */
type Asked = { readonly sql: string } | { readonly rows: Question };

/** What a statement begins with, unless what follows makes a filter of it: `select` is a syscall, too. */
const STATEMENT =
  /^(?:select|with|from|explain|describe|summarize|pivot|unpivot|values|show|table|copy|create|set|pragma)\b(?!\s*(?:$|[,)=<>!~&|]|(?:and|or|not|in|exists)\b))/i;

/** Blanks, parentheses and comments that may stand before it. */
const BEFORE = /^(?:[\s(]|--[^\n]*\n|\/\*.*?\*\/)*/s;

function isSql(text: string): boolean {
  return STATEMENT.test(text.replace(BEFORE, ""));
}

async function readQuestion(words: readonly string[], options: Options): Promise<Asked> {
  const text = words.join(" ");
  if (options.sql === true || isSql(text)) {
    if (text.trim() === "")
      throw usageError("--sql: there is no question", "as in: trace query --sql 'SELECT 1'");
    for (const flag of ["table", "columns", "sort"] as const) {
      if (options[flag] !== undefined) throw usageError(`--${flag} is for filters, not for SQL`);
    }
    const limit = options.limit ?? 0;
    const whole = text.trim().replace(/;\s*$/, "");
    const isLimited = limit > 0 && !isForPeople(options);
    return { sql: isLimited ? `SELECT * FROM (${whole}\n) LIMIT ${limit}` : whole };
  }
  const [first = ""] = words;
  if (/^@[a-z]/.test(first)) return savedQuestion(first.slice(1), words.slice(1), options);
  return { rows: await filterQuestion(words, options) };
}

async function savedQuestion(
  name: string,
  rest: readonly string[],
  options: Options,
): Promise<Asked> {
  const { SAVED_QUERIES, savedQuery } = await import("../answer/saved/index.js");
  const query = savedQuery(name);
  if (query === undefined) {
    const names = SAVED_QUERIES.map((one) => one.name);
    const near = names.find((one) => one.startsWith(name)) ?? nearestName(name, names);
    throw new TraceError("NO_QUERY", `there is no saved query @${name}`, {
      hint: near === undefined ? "trace query --list lists them" : `did you mean @${near}?`,
    });
  }
  const { questionOf } = await import("../answer/catalog.js");
  const question = questionOf(query, options.showSecrets === true);
  const own = await tableFilter(question.table, rest, options);
  const filters = [question.filter, own].filter((filter) => filter !== undefined);
  const filter: Filter | undefined =
    filters.length > 1 ? { type: "and", terms: filters } : filters[0];
  const limit = rowLimit(options, query);
  return {
    rows: withoutLimit(
      {
        ...question,
        ...(filter && { filter }),
        ...changed(question.table, options, query),
        ...(limit > 0 && { limit }),
      },
      limit,
    ),
  };
}

/** Rows that people are shown, unless they say how many. */
const SHOWN = 1000;

function isForPeople({ format }: Pick<Options, "format">): boolean {
  return format === "text" || format === "md";
}

/**
 * How many rows to ask for, 0 for all. An order needs all rows before the first one: where only some are shown, no more
 * are kept than it takes to know that there are others.
 */
export function rowLimit(
  options: Pick<Options, "limit" | "sort" | "format">,
  query: Pick<SavedQuery, "limit" | "order"> = {},
): number {
  const isOrdered = options.sort !== undefined || query.order !== undefined;
  const shown = isForPeople(options) && isOrdered ? SHOWN + 1 : 0;
  return options.limit ?? query.limit ?? shown;
}

/** A limit of 0 is none. */
function withoutLimit({ limit: own, ...question }: Question, limit: number): Question {
  return limit === 0 || own === undefined ? question : { ...question, limit: own };
}

async function filterQuestion(words: readonly string[], options: Options): Promise<Question> {
  const [table] = await tablesNamed([options.table ?? "event"]);
  if (table === undefined) throw new Error("no table");
  const filter = await tableFilter(table, words, options);
  const limit = rowLimit(options);
  const all = table.columns.map(({ name }) => name);
  return {
    table,
    columns: isForPeople(options) ? (table.brief ?? all) : all,
    ...(filter && { filter }),
    ...(options.showSecrets === true && { showSecrets: true }),
    ...changed(table, options),
    ...(limit > 0 && { limit }),
  };
}

/** Columns and order as the options say. */
function changed(table: TableDef, options: Options, query?: SavedQuery): Partial<Question> {
  const names = options.columns?.split(",").map((name) => name.trim());
  const groups = query?.group;
  const known = groups
    ? [...groups.by, ...groups.sums, groups.count]
    : table.columns.map(({ name }) => name);
  const check = (name: string): string => {
    if (known.includes(name)) return name;
    const near = nearestName(name, known);
    throw new TraceError("NO_COLUMN", `table ${table.name} has no column ${name}`, {
      hint:
        near === undefined
          ? `trace query --schema ${table.name} lists them`
          : `did you mean ${near}?`,
    });
  };
  const order: Order | undefined =
    options.sort === undefined
      ? undefined
      : {
          by: [check(options.sort.replace(/^[-+]/, ""))],
          descending: options.sort.startsWith("-"),
        };
  return { ...(names && { columns: names.map(check) }), ...(order && { order }) };
}

async function tableFilter(
  table: TableDef,
  words: readonly string[],
  options: Options,
): Promise<Filter | undefined> {
  const { fieldSetOf } = await import("../tables/fields.js");
  if (!table.ofEvents && (options.e || options.P || options.p || options.z || options.Z)) {
    throw usageError(`-e, -P, -p, -z and -Z choose calls; table ${table.name} has none`);
  }
  return filterOf(words, options, fieldSetOf(table));
}

async function tablesNamed(names: readonly string[]): Promise<TableDef[]> {
  const { TABLES, findTable } = await import("../tables/registry.js");
  return names.map((name) => {
    const table = findTable(name);
    if (table !== undefined) return table;
    const near = nearestName(
      name,
      TABLES.map((one) => one.name),
    );
    throw new TraceError("NO_TABLE", `there is no table ${name}`, {
      hint: near === undefined ? "trace query --schema lists them" : `did you mean ${near}?`,
    });
  });
}

/** Runs are named by their files; those of one name in different folders by their paths. */
async function openRuns(
  paths: readonly string[],
  context: CommandContext<Options>,
): Promise<Run[]> {
  const { basename } = await import("node:path");
  const short = paths.map((path) => basename(path));
  const names = new Set(short).size === paths.length ? short : paths;
  const runs: Run[] = [];
  for (const [k, path] of paths.entries()) {
    runs.push({ name: names[k] ?? path, trace: await openNamed(path, context) });
  }
  return runs;
}

async function resultsOf(
  context: CommandContext<Options>,
  runs: readonly Run[],
  asked: Asked,
): Promise<Results> {
  if ("rows" in asked) {
    const { answer } = await import("../answer/answer.js");
    return answer(runs, asked.rows);
  }
  const { sqlResults } = await import("../sql/query.js");
  return sqlResults(runs, asked.sql, sqlOptions(context));
}

function sqlOptions({ options, env }: CommandContext<Options>) {
  const { memory, showSecrets = false } = options;
  return { env, showSecrets, ...(memory !== undefined && { memory }) };
}

async function print(
  context: CommandContext<Options>,
  runs: readonly Run[],
  asked: Asked,
): Promise<ExitStatus> {
  const { options, isTTY, env } = context;
  const [{ renderResults }, { openOutput, writeAll }, { painter }] = await Promise.all([
    import("../answer/results.js"),
    import("../report/output.js"),
    import("../report/color.js"),
  ]);
  const results = await resultsOf(context, runs, asked);
  const isFile = options.output !== undefined;
  const render: RenderOptions = {
    format: options.format as ResultFormat,
    limit: options.limit ?? SHOWN,
    paint: painter(colorChoice(options.color), isTTY.stdout && !isFile, env),
    width: isFile ? Number.POSITIVE_INFINITY : terminalWidth(context),
    partial: runs.some(({ trace }) => trace.state !== "complete" || trace.damage !== undefined),
  };
  if (isFile) return save(context, renderResults(results, render));
  const isPaged = options.pager && isForPeople(options);
  const output = openOutput(context, isPaged);
  try {
    await writeAll(output, renderResults(results, render));
  } finally {
    await output.end();
  }
  return 0;
}

/** Into the file of `-o`, which has its name when all is written. */
async function save(
  context: CommandContext<Options>,
  chunks: AsyncIterable<string | Uint8Array>,
): Promise<ExitStatus> {
  const { output, force = false } = context.options;
  const [{ openTarget }, { writeAll }, { whole }] = await Promise.all([
    import("../export/target.js"),
    import("../report/output.js"),
    import("../export/whole.js"),
  ]);
  const open = () => openTarget(context, output, force);
  return (await whole(open, (target) => writeAll(target, chunks))) ?? 0;
}

async function toParquet(
  context: CommandContext<Options>,
  runs: readonly Run[],
  asked: Asked,
): Promise<ExitStatus> {
  const { output, force = false } = context.options;
  if (output === undefined) {
    throw usageError(
      "--format parquet needs a file",
      "as in: trace query ... --format parquet -o FILE",
    );
  }
  const [{ newParquet }, catalog] = await Promise.all([
    import("../sql/parquet.js"),
    import("../answer/catalog.js"),
  ]);
  const own = sqlOptions(context);
  if ("sql" in asked) await newParquet(output, force, { runs, statement: asked.sql }, own);
  else await newParquet(output, force, catalog.batchesOf(runs, asked.rows), own);
  return 0;
}
