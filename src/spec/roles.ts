/**
 * Which program a process is, as a role: by executable, and for interpreters by the script that they run. Roles of a
 * recording are made of processes; `matchRole` finds the role of a spec in the same way. The supervisor of enforced runs
 * (native/engine/src/enforce/rules.rs) does it alike: executable first, then the script that the command line runs.
 */

import { basename, resolve } from "node:path";
import type { Role } from "./model.js";
import { PathPattern, plainPath } from "./object.js";

/** How an interpreter is told what it runs. */
export interface ScriptOptions {
  /** Options after which there is no script, since the program is given in a word. */
  readonly inline: readonly string[];
  /** Options that take the next word. */
  readonly takes: readonly string[];
}

interface Interpreter extends ScriptOptions {
  readonly name: RegExp;
}

const INTERPRETERS: readonly Interpreter[] = [
  { name: /^(?:ba|da|z|k|mk|a|fi)?sh$/, inline: ["-c"], takes: ["-o", "+o", "-O", "+O"] },
  { name: /^python[\d.]*$/, inline: ["-c"], takes: ["-W", "-X"] },
  { name: /^perl[\d.]*$/, inline: ["-e", "-E"], takes: ["-I"] },
  { name: /^ruby[\d.]*$/, inline: ["-e"], takes: ["-I", "-r"] },
  { name: /^(?:node|nodejs)$/, inline: ["-e", "-p", "--eval"], takes: ["-r", "--import"] },
  { name: /^php[\d.]*$/, inline: ["-r"], takes: ["-c", "-d"] },
  { name: /^(?:lua|tclsh|wish)[\d.]*$/, inline: ["-e"], takes: ["-l"] },
  { name: /^java$/, inline: [], takes: ["-cp", "-classpath", "--class-path", "-p"] },
];

function interpreterOf(exe: string): Interpreter | undefined {
  return INTERPRETERS.find(({ name }) => name.test(basename(exe)));
}

/** Of a program that is no interpreter as far as known: its script is the first word that is no option. */
export function scriptOptions(exe: string): ScriptOptions {
  const { inline = [], takes = [] } = interpreterOf(exe) ?? {};
  return { inline, takes };
}

/** The script of a command line, as it was given; undefined when the program is no interpreter or runs none. */
export function scriptOf(exe: string, argv: readonly string[]): string | undefined {
  const interpreter = interpreterOf(exe);
  return interpreter && scriptGiven(interpreter, argv);
}

/** The first word that is neither an option nor the value of one. */
function scriptGiven({ inline, takes }: ScriptOptions, argv: readonly string[]) {
  for (let at = 1; at < argv.length; at++) {
    const word = argv[at] ?? "";
    if (inline.includes(word) || /^-[a-z]*c$/.test(word)) return undefined;
    if (word === "-m" || word === "-jar") return argv[at + 1];
    if (takes.includes(word)) at++;
    else if (word === "--") return argv[at + 1];
    else if (!/^[-+]./.test(word) && word !== "-") return word;
  }
  return undefined;
}

/** What tells roles apart. */
export interface Identity {
  readonly exe: string;
  readonly script: string | undefined;
}

export function identityOf(exe: string, argv: readonly string[]): Identity {
  return { exe, script: scriptOf(exe, argv) };
}

export function identityKey({ exe, script }: Identity): string {
  return script === undefined ? exe : `${exe}\0${script}`;
}

/** The name for people: `cc1`, `python3:server.py`. `called`: what the program was told its name is (argv[0]). */
export function identityName({ exe, script }: Identity, called = exe): string {
  const name = basename(called).replace(/^-/, "") || basename(exe) || exe;
  return script === undefined ? name : `${name}:${basename(script)}`;
}

/**
 * Role of a spec for an executable and its command line, read from `cwd`. Among those of that executable, the one whose
 * script it runs goes first, then the one without a script. A role that names it goes before one with a pattern for it.
 * `expand` replaces tokens.
 */
export function matchRole<R extends Pick<Role, "exe" | "script">>(
  roles: readonly R[],
  exe: string,
  argv: readonly string[],
  cwd: string,
  expand: (text: string) => string,
): R | undefined {
  const named = roles.filter((role) => role.exe.some((own) => plainPath(expand(own)) === exe));
  const same =
    named.length > 0
      ? named
      : roles.filter((role) => role.exe.some((own) => new PathPattern(expand(own)).matches(exe)));
  const given = scriptGiven(scriptOptions(exe), argv);
  const runs = (script: string) =>
    given !== undefined && [given, resolve(cwd, given)].includes(expand(script));
  return (
    same.find(({ script }) => script !== undefined && runs(script)) ??
    same.find(({ script }) => script === undefined)
  );
}

/**
 * What command lines have in common: words that are the same in all, `*` for one that differs, and `**` at the end
 * where their number differs.
 */
export function argvShape(lines: readonly (readonly string[])[]): string[] {
  const [first = [], ...others] = lines;
  const shortest = lines.reduce((least, line) => Math.min(least, line.length), first.length);
  const shape = first
    .slice(0, shortest)
    .map((word, k) => (others.every((line) => line[k] === word) ? word : "*"));
  const hasRest = lines.some((line) => line.length !== shortest);
  while (hasRest && shape.at(-1) === "*") shape.pop();
  return hasRest ? [...shape, "**"] : shape;
}
