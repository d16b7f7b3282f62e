// Writes native/format/src/{numbers,flags,structs}.rs from the lists beside it and the kernel headers.
//
// The lists (flags.in, structs.in) hold names only. Every value, size and offset is what the C compiler says when it
// reads the pinned headers: generate.mjs writes one C program per group of headers, compiles and runs it. It is not
// part of the build: its output is checked in; `npm run generate:constants` rewrites it, and
// `npm run check:constants` compares.
//
// Needs gcc with the C library's headers, and once, to fetch the kernel's headers, python3 with pip.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const SOURCE = resolve(HERE, "../src");
const CACHE = resolve(HERE, "../../../node_modules/.cache/kernel-headers");

/** The package that carries the headers as `make headers_install` leaves them, for every architecture. */
const HEADERS = {
  requirement: "ziglang==0.17.1",
  hash: "sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
  folders: ["x86-linux-any", "any-linux-any"].map((name) => `ziglang/lib/libc/include/${name}`),
};

/** Endings of names that a `PREFIX_*` of a list leaves out: they bound or describe a set and are no member of it. */
const NO_MEMBER = /_(MAX|MASK|SHIFT)$/;

/** A macro body that makes an ioctl request. */
const IOCTL_BODY = /\b\w*IO(C|R|W|WR)?\s*\(/;

// --- the headers ---

/** Fetches and unpacks the headers unless they are there, and returns their include folders. */
function headerFolders() {
  const root =
    process.env.TRACE_KERNEL_HEADERS ?? join(CACHE, HEADERS.requirement.replace("==", "-"));
  if (!existsSync(join(root, HEADERS.folders[0]))) {
    const download = mkdtempSync(join(tmpdir(), "kernel-headers-"));
    const list = join(download, "requirements.txt");
    writeFileSync(list, `${HEADERS.requirement} --hash=${HEADERS.hash}\n`);
    execFileSync(
      "python3",
      [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "-r",
        list,
        "-d",
        download,
      ],
      { stdio: "inherit" },
    );
    mkdirSync(root, { recursive: true });
    const unpack =
      "import sys,glob,zipfile\n" +
      "with zipfile.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0]) as z:\n" +
      "  z.extractall(sys.argv[2], [n for n in z.namelist() if n.startswith(tuple(sys.argv[3:]))])\n";
    execFileSync("python3", ["-c", unpack, download, root, ...HEADERS.folders]);
    rmSync(download, { recursive: true });
  }
  return HEADERS.folders.map((folder) => join(root, folder));
}

function kernelVersion(folders) {
  const text = readFileSync(join(folders[1], "linux/version.h"), "utf8");
  const part = (name) => text.match(new RegExp(`LINUX_VERSION_${name} (\\d+)`))[1];
  return `${part("MAJOR")}.${part("PATCHLEVEL")}`;
}

// --- the lists ---

/** Logical lines: comments dropped, indented lines joined to the line that they continue. */
function logicalLines(file) {
  const lines = [];
  readFileSync(join(HERE, file), "utf8")
    .split("\n")
    .forEach((raw, index) => {
      const text = raw.startsWith("!") ? raw : raw.replace(/(^|\s)#.*$/, "").trimEnd();
      if (text === "") return;
      if (/^\s/.test(text)) lines.at(-1).parts.push(text.trim());
      else lines.push({ where: `${file}:${index + 1}`, head: text, parts: [] });
    });
  return lines;
}

function fail(where, message) {
  throw new Error(`${where}: ${message}`);
}

/** Words of a list, where `A=(x y)` is one word. */
function words(text, where) {
  const found = [];
  for (let at = 0; at < text.length; ) {
    if (text[at] === " ") {
      at += 1;
      continue;
    }
    const start = at;
    for (let depth = 0; at < text.length && (depth > 0 || text[at] !== " "); at += 1) {
      if (text[at] === "(") depth += 1;
      if (text[at] === ")") depth -= 1;
      if (at === text.length - 1 && depth > 0) fail(where, "a parenthesis is not closed");
    }
    found.push(text.slice(start, at));
  }
  return found;
}

function newGroup(line) {
  const narrow = line.head.startsWith("@32 ");
  const headers = [line.head.slice(narrow ? 3 : 1), ...line.parts].join(" ").trim().split(/\s+/);
  return { where: line.where, narrow, headers, declarations: [], sets: [] };
}

/** Reads a line that begins a group, or declares something for it; false for any other. */
function readGroupLine(line, groups) {
  if (line.head.startsWith("@")) groups.push(newGroup(line));
  else if (line.head.startsWith("!")) {
    groups.at(-1).declarations.push([line.head.slice(1), ...line.parts].join("\n"));
  } else return false;
  return true;
}

function parseFlags() {
  const groups = [];
  for (const line of logicalLines("flags.in")) {
    if (readGroupLine(line, groups)) continue;
    const match = line.head.match(/^(mask|enum|list|part) ([a-z0-9_]+):(.*)$/);
    if (!match)
      fail(
        line.where,
        `expected "mask", "enum", "list" or "part" and "NAME: ...", found "${line.head}"`,
      );
    const [, kind, name, first] = match;
    const items = words([first, ...line.parts].join(" "), line.where).map((word) =>
      parseItem(word, line.where),
    );
    groups.at(-1).sets.push({ where: line.where, kind, name, items });
  }
  return groups;
}

function parseItem(word, where) {
  if (word === "@ioctls") return { kind: "ioctls", word };
  const match = word.match(/^([?&-]?)([A-Za-z0-9_*]+)(\.\.\.)?(?:=\((.*)\))?$/);
  if (!match) fail(where, `cannot read "${word}"`);
  const [, mark, name, whole, expression] = match;
  if (whole) return { kind: "whole", name, word };
  if (mark === "&") return { kind: "include", name };
  if (mark === "-") return { kind: "not", pattern: glob(name) };
  if (name.includes("*"))
    return { kind: "glob", pattern: glob(name), word, expression: expression ?? "@" };
  return { kind: "name", name, expression: expression ?? name, optional: mark === "?" };
}

function glob(text) {
  return new RegExp(`^${text.replaceAll("*", "[A-Za-z0-9_]*")}$`);
}

const TYPES = new Set(
  "Int Uint Long Ulong Hex Addr Size Off Fd DirFd Pid Uid Gid Mode FileMode Dev Signal Sigset Time Port Ipv4 Ipv6 Chars Blob".split(
    " ",
  ),
);

function parseStructs() {
  const groups = [];
  for (const line of logicalLines("structs.in")) {
    if (readGroupLine(line, groups)) continue;
    const match = line.head.match(/^([a-z0-9_]+):\s*(.+)$/);
    if (!match) fail(line.where, `expected "NAME: C type", found "${line.head}"`);
    const fields = line.parts.map((part) => parseField(part, line.where));
    groups.at(-1).sets.push({ where: line.where, name: match[1], type: match[2], fields });
  }
  return groups;
}

function parseField(text, where) {
  const match = text.match(/^([A-Za-z0-9_]+)(\[\])?(?:=(\S+))?\s+(\S+)(\s+-)?$/);
  if (!match) fail(where, `cannot read the member "${text}"`);
  const [, name, array, path, type, long] = match;
  const named = type.match(/^(Flags|Enum|Struct)\(([a-z0-9_]+)\)$/);
  if (!named && !TYPES.has(type)) fail(where, `${name} has the unknown type ${type}`);
  const rust = named ? `Ty::${named[1]}("${named[2]}")` : `Ty::${type}`;
  return {
    name,
    array: array !== undefined,
    path: path ?? name,
    type,
    named,
    rust,
    brief: long === undefined,
  };
}

// --- the compiler ---

class Compiler {
  constructor(folders) {
    this.work = mkdtempSync(join(tmpdir(), "constants-"));
    const builtin = execFileSync("gcc", ["-print-file-name=include"], { encoding: "utf8" }).trim();
    const system = [builtin, ...folders, "/usr/include/x86_64-linux-gnu", "/usr/include"];
    this.flags = [
      "-std=gnu17",
      "-w",
      "-nostdinc",
      ...system.flatMap((folder) => ["-isystem", folder]),
    ];
  }

  close() {
    rmSync(this.work, { recursive: true });
  }

  prelude(group) {
    const define = "#define _GNU_SOURCE 1\n";
    const includes = group.headers.map((header) => `#include <${header}>\n`).join("");
    return `${define}${includes}${group.declarations.join("\n")}\n`;
  }

  /**
   * Names of constants that the group's headers define, in their order; the C enum that each enumerator is in; the names
   * that are made by _IO, _IOR, _IOW or _IOWR, or by a macro of that kind.
   */
  names(group) {
    const source = join(this.work, "names.c");
    writeFileSync(source, this.prelude(group));
    const result = spawnSync("gcc", [...this.flags, "-E", "-dD", source], {
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    if (result.status !== 0) fail(group.where, `the headers do not compile:\n${result.stderr}`);
    const names = new Set();
    const enums = new Map();
    const ioctls = new Set();
    let code = "";
    const enumerators = () => {
      for (const [, body] of code.matchAll(/\benum\b[^{};()]*\{([^}]*)\}/g)) {
        const members = body
          .split(",")
          .flatMap((entry) => entry.match(/^\s*([A-Za-z_]\w*)/)?.[1] ?? []);
        for (const name of members) {
          names.add(name);
          enums.set(name, members);
        }
      }
      code = "";
    };
    for (const line of result.stdout.split("\n")) {
      const macro = line.match(/^#define ([A-Za-z_]\w*) (\S.*)/);
      // Inside an enum the headers also define each enumerator as a macro of itself: keep collecting.
      if (macro) {
        if (!/\benum\b[^{};]*\{[^}]*$/.test(code)) enumerators();
        names.add(macro[1]);
        if (IOCTL_BODY.test(macro[2])) ioctls.add(macro[1]);
      } else if (!line.startsWith("#")) code += `${line}\n`;
      if (code.length > 100 && /;\s*$/.test(code) && !/\{[^}]*$/.test(code)) enumerators();
    }
    enumerators();
    return { names: [...names], enums, ioctls: [...ioctls] };
  }

  /**
   * The numbers of each row, a list of C expressions; rows that do not compile come back as null. A value of at most 32
   * bits is widened without its sign.
   */
  evaluate(group, rows) {
    const rejected = new Set();
    for (;;) {
      const kept = rows.map((_, index) => index).filter((index) => !rejected.has(index));
      const functions = kept.map((index) => rowFunction(rows[index], index, group.narrow));
      const calls = kept.map((index) => `row${index}();\n`);
      const main = `#line 1 "main"\nint main(void) {\n${calls.join("")}return 0;\n}\n`;
      const result = this.run(
        group.narrow,
        `${this.prelude(group)}${ROW_HEAD}${functions.join("")}${main}`,
      );
      if (result.output !== undefined) return rowValues(result.output, rows.length);
      const before = rejected.size;
      for (const [, index] of result.errors.matchAll(/^row(\d+):\d+:\d+: error/gm))
        rejected.add(Number(index));
      if (rejected.size === before) {
        const first = result.errors.split("\n").slice(0, 12).join("\n");
        fail(group.where, `the program does not compile:\n${first}`);
      }
    }
  }

  /** What the program prints; of a 32-bit one, which needs no 32-bit C library, what the compiler puts into the assembly. */
  run(narrow, text) {
    const source = join(this.work, "values.c");
    const target = join(this.work, narrow ? "values.s" : "values");
    writeFileSync(source, text);
    const options = narrow ? ["-m32", "-S"] : [];
    const result = spawnSync("gcc", [...this.flags, ...options, "-O0", "-o", target, source], {
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    if (result.status !== 0) return { errors: result.stderr };
    return {
      output: narrow
        ? readFileSync(target, "utf8")
        : execFileSync(target, { encoding: "utf8", maxBuffer: 1 << 28 }),
    };
  }
}

const ROW_HEAD =
  "int printf(const char *, ...);\n" +
  "#define VALUE_(e) (sizeof(e) <= 4 ? (unsigned long long)(unsigned int)(e) : (unsigned long long)(e))\n";

/** A function that says one row: by printing it, or (32-bit) as a line of the assembly. */
function rowFunction(row, index, narrow) {
  const start = `#line 1 "row${index}"\nstatic void row${index}(void) { `;
  if (narrow) {
    const places = row.map((_, at) => `%c${at}`).join(" ");
    const operands = row.map((expression) => `"i"(${expression})`).join(", ");
    return `${start}__asm__ volatile("#ROW ${index} ${places}" :: ${operands}); }\n`;
  }
  // The arithmetic makes the compiler refuse what is no integer, a string above all.
  const prints = row
    .map((expression) => `printf(" %llu", VALUE_((${expression})) | (0 & (${expression})));`)
    .join(" ");
  return `${start}printf("#ROW ${index}"); ${prints} printf("\\n"); }\n`;
}

function rowValues(output, count) {
  const values = new Array(count).fill(null);
  for (const [, index, numbers] of output.matchAll(/^\s*#ROW (\d+) (.*)$/gm))
    values[Number(index)] = numbers.trim().split(" ").map(BigInt);
  return values;
}

// --- flags ---

function evaluateFlags(compiler, groups) {
  const sets = new Map();
  for (const group of groups) {
    const names = group.sets.some((set) => set.items.some((item) => item.kind in MEMBERS))
      ? compiler.names(group)
      : {};
    const expanded = group.sets.map((set) => ({ ...set, items: expand(set, names) }));
    const expressions = [
      ...new Set(expanded.flatMap((set) => set.items.map((item) => item.expression))),
    ].filter(Boolean);
    const values = compiler.evaluate(
      group,
      expressions.map((expression) => [expression]),
    );
    const valueFor = new Map(
      expressions.map((expression, index) => [expression, values[index]?.[0] ?? null]),
    );
    for (const set of expanded) {
      if (sets.has(set.name)) fail(set.where, `the set ${set.name} stands here a second time`);
      sets.set(set.name, {
        ...set,
        items: set.items.map((item) => ({ ...item, value: valueFor.get(item.expression) })),
      });
    }
  }
  return sets;
}

/** What an item stands for, by its kind, among the names of the headers. */
const MEMBERS = {
  glob: ({ names }, item) =>
    names.filter((name) => item.pattern.test(name) && !NO_MEMBER.test(name)),
  whole: ({ enums }, item) => wholeEnum(enums, item),
  ioctls: ({ ioctls }) => ioctls,
};

/** The items of a set with `A_*`, `A...` and `@ioctls` replaced by the names that they stand for. */
function expand(set, names) {
  const excluded = set.items.filter((item) => item.kind === "not").map((item) => item.pattern);
  const explicit = new Set(
    set.items.filter((item) => item.kind === "name").map((item) => item.name),
  );
  const items = [];
  const seen = new Set();
  for (const item of set.items) {
    if (item.kind === "name" || item.kind === "include") items.push(item);
    if (!(item.kind in MEMBERS)) continue;
    const matching = MEMBERS[item.kind](names, item).filter(
      (name) =>
        !explicit.has(name) && !seen.has(name) && !excluded.some((pattern) => pattern.test(name)),
    );
    if (matching.length === 0) fail(set.where, `${item.word} matches nothing`);
    for (const name of matching) {
      seen.add(name);
      items.push({
        kind: "name",
        name,
        expression: (item.expression ?? "@").replaceAll("@", name),
        optional: true,
      });
    }
  }
  return items;
}

/** The members of the C enum that has the name, without those that only mark its end. */
function wholeEnum(enums, item) {
  const members = enums.get(item.name) ?? [];
  return members.filter(
    (name, index) =>
      !name.startsWith("__") && !(index === members.length - 1 && NO_MEMBER.test(name)),
  );
}

function entriesOf(sets, set, problems, chain = []) {
  if (chain.includes(set.name)) fail(set.where, `${set.name} includes itself`);
  const entries = [];
  const values = new Set();
  const add = (entry) => {
    const key =
      set.kind === "list" || set.kind === "part" ? `${entry.value} ${entry.name}` : entry.value;
    if (values.has(key)) return;
    values.add(key);
    entries.push(entry);
  };
  for (const item of set.items) {
    if (item.kind === "include") {
      const other = sets.get(item.name);
      if (other) entriesOf(sets, other, problems, [...chain, set.name]).forEach(add);
      else problems.push(`${set.where}: ${set.name} includes ${item.name}, which is no set`);
    } else if (item.value === null) {
      if (!item.optional)
        problems.push(`${set.where}: ${set.name}: ${item.name} is in none of the headers`);
    } else add({ name: item.name, value: item.value });
  }
  return set.kind === "mask" ? widestFirst(entries) : entries;
}

/** Moves each entry of several bits before the first entry that it contains. */
function widestFirst(entries) {
  const sorted = [];
  for (const entry of entries) {
    const several = (entry.value & (entry.value - 1n)) !== 0n;
    const inside = (other) => other.value !== 0n && (other.value & entry.value) === other.value;
    const at = several ? sorted.findIndex(inside) : -1;
    if (at < 0) sorted.push(entry);
    else sorted.splice(at, 0, entry);
  }
  return sorted;
}

const byName = (a, b) => (a.name < b.name ? -1 : 1);

function rustValue(value) {
  return value < 10n ? value.toString() : `0x${value.toString(16)}`;
}

function writeFlags(sets, head) {
  const problems = [];
  const written = [...sets.values()].filter((set) => set.kind !== "part").sort(byName);
  const texts = written.map((set) => {
    const entries = entriesOf(sets, set, problems);
    if (entries.length === 0) problems.push(`${set.where}: ${set.name} has no entry`);
    const rows = entries.map((entry) => `(${rustValue(entry.value)}, "${entry.name}")`);
    return `    FlagSet {\n        name: "${set.name}",\n        entries: &[\n${wrap(rows, 12)}        ],\n    },\n`;
  });
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return (
    `//! Named sets of kernel constants.\n//!\n${head("`flags.in`")}\n` +
    "use crate::table::FlagSet;\n\n" +
    "/// Every set, sorted by name.\n#[rustfmt::skip]\n" +
    `pub static FLAG_SETS: &[FlagSet] = &[\n${texts.join("")}];\n\n` +
    "/// The set of that name.\n#[must_use]\npub fn set(name: &str) -> Option<&'static FlagSet> {\n" +
    "    let at = FLAG_SETS.binary_search_by(|set| set.name.cmp(name)).ok()?;\n    Some(&FLAG_SETS[at])\n}\n"
  );
}

/** Comma-separated items on lines of at most 120 columns. */
function wrap(items, indent) {
  const pad = " ".repeat(indent);
  const lines = [];
  for (const item of items) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + item.length + 2 <= 120)
      lines[lines.length - 1] = `${last} ${item},`;
    else lines.push(`${pad}${item},`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

// --- structs ---

function evaluateStructs(compiler, groups) {
  const structs = new Map();
  for (const group of groups) {
    const rows = group.sets.flatMap((struct) => [
      [`sizeof(${struct.type})`],
      ...struct.fields.map((field) => fieldExpressions(struct, field)),
    ]);
    const values = compiler.evaluate(group, rows);
    let at = 0;
    for (const struct of group.sets) {
      if (structs.has(struct.name))
        fail(struct.where, `the struct ${struct.name} stands here a second time`);
      const size = values[at++];
      if (size === null) fail(struct.where, `the headers have no ${struct.type}`);
      const fields = struct.fields.map((field) => ({ ...field, layout: values[at++] }));
      for (const field of fields)
        if (field.layout === null)
          fail(struct.where, `${struct.type} has no member ${field.path} (or it is no array)`);
      structs.set(struct.name, { ...struct, size: size[0], fields });
    }
  }
  return structs;
}

function fieldEnd(type, path) {
  return `__builtin_offsetof(${type}, ${path}) + sizeof(((${type} *)0)->${path})`;
}

/** Offset, size of one element and number of elements. */
function fieldExpressions(struct, field) {
  const after = field.path.match(/^\+(\S+),(\d+)$/);
  if (after) return [`${fieldEnd(struct.type, after[1])}`, after[2], "1"];
  const member = `((${struct.type} *)0)->${field.path}`;
  const offset = `__builtin_offsetof(${struct.type}, ${field.path})`;
  if (field.type === "Chars" || field.type === "Blob") return [offset, "1", `sizeof(${member})`];
  if (field.array)
    return [offset, `sizeof((${member})[0])`, `sizeof(${member}) / sizeof((${member})[0])`];
  return [offset, `sizeof(${member})`, "1"];
}

function checkStructNames(structs, sets) {
  const problems = [];
  for (const struct of structs.values())
    for (const field of struct.fields.filter((field) => field.named)) {
      const [, kind, name] = field.named;
      const known = kind === "Struct" ? structs.has(name) : sets.has(name);
      if (!known)
        problems.push(`${struct.where}: ${struct.name}.${field.name}: there is no ${kind} ${name}`);
    }
  if (problems.length > 0) throw new Error(problems.join("\n"));
}

function writeStructs(structs, head) {
  const texts = [...structs.values()].sort(byName).map((struct) => {
    const rows = struct.fields.map((field) => {
      const [offset, size, count] = field.layout;
      return `            field("${field.name}", ${offset}, ${size}, ${count}, ${field.rust}, ${field.brief}),\n`;
    });
    return (
      `    Struct {\n        name: "${struct.name}",\n        size: ${struct.size},\n` +
      `        fields: &[\n${rows.join("")}        ],\n    },\n`
    );
  });
  return (
    `//! Memory layouts of kernel structs on x86-64.\n//!\n//! A member of type \`Struct\` is embedded; a member that is a pointer has the type \`Addr\`.\n//!\n${head("`structs.in`")}\n` +
    "use crate::table::{Field, Struct, Ty};\n\n" +
    "const fn field(name: &'static str, offset: u16, size: u16, count: u16, ty: Ty, brief: bool) -> Field {\n" +
    "    Field { name, offset, size, count, ty, brief }\n}\n\n" +
    "/// Every struct, sorted by name.\n#[rustfmt::skip]\n" +
    `pub static STRUCTS: &[Struct] = &[\n${texts.join("")}];\n\n` +
    "/// The struct of that name.\n#[must_use]\npub fn layout(name: &str) -> Option<&'static Struct> {\n" +
    "    let at = STRUCTS.binary_search_by(|item| item.name.cmp(name)).ok()?;\n    Some(&STRUCTS[at])\n}\n"
  );
}

// --- numbers ---

function writeNumbers(folders, head) {
  const read = (file) => {
    const text = readFileSync(join(folders[0], "asm", file), "utf8");
    return new Map(
      [...text.matchAll(/^#define __NR_(\w+) (\d+)$/gm)].map(([, name, number]) => [
        name,
        Number(number),
      ]),
    );
  };
  const [wide, narrow] = [read("unistd_64.h"), read("unistd_32.h")];
  const names = [...new Set([...wide.keys(), ...narrow.keys()])].sort();
  const rows = names.map((name) => ({
    name,
    x86: wide.get(name) ?? -1,
    i386: narrow.get(name) ?? -1,
  }));
  const constants = rows.map(
    ({ name, x86, i386 }) =>
      `    pub const ${name.toUpperCase()}: Number = Number { x86_64: ${x86}, i386: ${i386} };\n`,
  );
  const all = rows.map(({ name }) => `    ("${name}", nr::${name.toUpperCase()}),\n`);
  return (
    `//! Syscall numbers, one constant per name.\n//!\n${head("`asm/unistd_{64,32}.h`")}\n` +
    "use crate::table::Number;\n\n" +
    '/// The number of each syscall.\n#[rustfmt::skip]\n#[allow(missing_docs, reason = "each name is the syscall\'s")]\n' +
    `pub mod nr {\n    use super::Number;\n\n${constants.join("")}}\n\n` +
    "/// Name and number of every syscall that the headers know, sorted by name.\n#[rustfmt::skip]\n" +
    `pub static NUMBERS: &[(&str, Number)] = &[\n${all.join("")}];\n`
  );
}

// --- main ---

function generate() {
  const folders = headerFolders();
  const version = kernelVersion(folders);
  const head = (source) =>
    `//! Generated by native/format/tables/generate.mjs from ${source} and the headers of Linux ${version}\n` +
    `//! (package \`${HEADERS.requirement}\`); do not edit. \`npm run generate:constants\` writes it anew.\n`;
  const compiler = new Compiler(folders);
  try {
    const sets = evaluateFlags(compiler, parseFlags());
    const structs = evaluateStructs(compiler, parseStructs());
    const flags = writeFlags(sets, head);
    checkStructNames(structs, sets);
    return {
      summary: `${flags.match(/FlagSet \{$/gm).length} sets, ${structs.size} structs`,
      files: {
        "numbers.rs": writeNumbers(folders, head),
        "flags.rs": flags,
        "structs.rs": writeStructs(structs, head),
      },
    };
  } finally {
    compiler.close();
  }
}

function main() {
  const check = process.argv.includes("--check");
  const { summary, files } = generate();
  const stale = Object.entries(files).filter(([name, text]) => {
    const path = join(SOURCE, name);
    return !existsSync(path) || readFileSync(path, "utf8") !== text;
  });
  if (check && stale.length > 0) {
    const names = stale.map(([name]) => `native/format/src/${name}`).join(", ");
    throw new Error(
      `not what the lists and headers give: ${names}; run "npm run generate:constants"`,
    );
  }
  for (const [name, text] of check ? [] : stale) writeFileSync(join(SOURCE, name), text);
  console.log(`constants: ${summary}${check ? ", up to date" : `, ${stale.length} files written`}`);
}

try {
  main();
} catch (error) {
  console.error(`constants: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
