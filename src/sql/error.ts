/** Errors of the database as those of this program: what is wrong, where it is, what was probably meant. */

import { TraceError } from "../errors.js";
import { nearestName } from "../query/nearest.js";
import type { TableDef } from "../tables/table.js";

/** `LINE 1: SELECT ...` and the line with the caret below it. */
const PLACE = /\n+LINE (\d+): (.*)\n( *)\^/;

/** As a statement has it, and as an appender, which leaves out of which kind it is. */
const OUT_OF_MEMORY = /^(?:Out of Memory Error: |Failed to append: could not allocate )/;

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** What the database lacked, whatever it was asked: a file, or memory. Nothing of another error. */
export function databaseError(error: unknown): TraceError | undefined {
  const text = textOf(error);
  const io = /^IO Error: (.*)/.exec(text)?.[1];
  if (io !== undefined) return new TraceError("IO", io, { cause: error });
  if (!OUT_OF_MEMORY.test(text)) return undefined;
  return new TraceError("OUT_OF_MEMORY", "the SQL takes more memory than it may", {
    cause: error,
    hint: "--memory gives it more (--memory=4G); a LIMIT or fewer columns need less",
  });
}

/** An error of a statement, or of the database. */
export function sqlError(error: unknown, tables: readonly TableDef[]): TraceError {
  const own = databaseError(error);
  if (own !== undefined) return own;
  const text = textOf(error);
  const [message = "", ...rest] = text.replace(PLACE, "").split("\n");
  const place = PLACE.exec(text);
  const plain = message.replace(/^(?:Failed to extract statements: )?[A-Z][A-Za-z ]+ Error: /, "");
  const { what, hint } = explained(plain, rest.join("\n"), tables);
  const lines = [...(place === null ? [] : pointer(place)), ...(hint === undefined ? [] : [hint])];
  const where = place === null ? "in the SQL" : `in the SQL, line ${place[1]}`;
  return new TraceError("BAD_SQL", `${where}: ${what}`, {
    cause: error,
    ...(lines.length > 0 && { hint: lines.join("\n") }),
  });
}

/** The text and the caret, without the words before them. */
function pointer([whole, number = "", line = "", blanks = ""]: RegExpExecArray): string[] {
  const head = `LINE ${number}: `.length;
  return whole === undefined ? [] : [line, `${" ".repeat(Math.max(0, blanks.length - head))}^`];
}

function explained(
  message: string,
  rest: string,
  tables: readonly TableDef[],
): { readonly what: string; readonly hint: string | undefined } {
  const column =
    /^Referenced column "([^"]*)" not found|does not have a column named "([^"]*)"/.exec(message);
  if (column !== null) {
    const name = column[1] ?? column[2] ?? "";
    const candidates = [...rest.matchAll(/"([^"]+)"/g)].map(([, candidate]) => candidate ?? "");
    const all = tables.flatMap(({ columns }) => columns.map((one) => one.name));
    const near = nearestName(name, candidates) ?? nearestName(name, all);
    return {
      what: `there is no column \`${name}\``,
      hint: meant(near, "trace query --schema lists them"),
    };
  }
  const table = /^Table with name (\S+) does not exist/.exec(message);
  if (table !== null) {
    const name = table[1] ?? "";
    const near = nearestName(
      name,
      tables.map((one) => one.name),
    );
    return {
      what: `there is no table \`${name}\``,
      hint: meant(near, "trace query --schema lists them"),
    };
  }
  return { what: message, hint: /Did you mean/.test(rest) ? rest.trim() : undefined };
}

function meant(near: string | undefined, otherwise: string): string {
  return near === undefined ? otherwise : `did you mean ${near}?`;
}
