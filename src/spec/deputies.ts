/**
 * Roles that have another one act for them: what one may write, another one runs, or loads as a part of its own program, and does
 * with all that it was granted itself. No enforcement holds that, as each of them does what it may.
 *
 * It is told by names: which files programs load as code, and which ones certain tools follow as they would a script. A pair is
 * left out where the one that writes may do all the same itself.
 */

import { basename } from "node:path";
import { RoleEvaluator } from "./evaluate.js";
import { type Grant, grantText, isPathVerb, type Role, type Spec } from "./model.js";
import { coversPath, meetsPath, subtreeOf } from "./object.js";
import { expanded, type Tokens } from "./tokens.js";

/** One role writes what another one runs. */
export interface Deputy {
  readonly writer: string;
  readonly runner: string;
  readonly meets: readonly Meeting[];
  /** What the runner may do and the writer may not, as grants. */
  readonly gains: readonly string[];
}

/** What the runner runs, and the first grant of the writer by which it can be something else: some path is both. */
export interface Meeting {
  readonly writes: string;
  /** `program PATH`, `script PATH`, or a grant. */
  readonly runs: string;
}

/** Verbs by which what is under a name becomes what somebody wants: a link is made, and a file put in the place of another. */
const WRITES: ReadonlySet<string> = new Set(["write", "create", "rename"]);

interface Tool {
  /** What its program is called. */
  readonly name: RegExp;
  /** Forms of the names that it runs, or follows. */
  readonly runs: readonly string[];
}

/** What the dynamic loader puts into every program. */
const LOADED: readonly string[] = ["*.so", "*.so.*", "ld.so.preload", "ld.so.cache"];

const tool = (name: RegExp, runs: string): Tool => ({ name, runs: runs.split(" ") });

const TOOLS: readonly Tool[] = [
  tool(
    /^(?:ba|da|z|k|mk|a|fi)?sh$/,
    "*.sh *.bash *.zsh *.ksh *.env .env profile .profile bash.bashrc .bashrc .bash_profile .bash_login .bash_logout .zshrc .zshenv .zprofile .zlogin",
  ),
  tool(/^(?:python|pypy)[\d.]*$/, "*.py *.pyc *.pyw *.pth *.egg *.whl pyvenv.cfg"),
  tool(/^perl[\d.]*$/, "*.pl *.pm *.ph *.al *.t"),
  tool(/^ruby[\d.]*$/, "*.rb *.gemspec Gemfile Rakefile .irbrc"),
  tool(
    /^(?:node|nodejs|deno|bun)$/,
    "*.js *.cjs *.mjs *.ts *.cts *.mts *.node *.wasm package.json .npmrc",
  ),
  tool(/^php[\d.]*$/, "*.php *.inc *.phar php.ini"),
  tool(/^(?:lua|luajit)[\d.]*$/, "*.lua *.luac"),
  tool(/^(?:tclsh|wish|expect)[\d.]*$/, "*.tcl *.tm *.exp"),
  tool(/^java$/, "*.jar *.class *.jmod"),
  tool(/^g?make$/, "Makefile makefile GNUmakefile *.mk *.mak *.make *.d"),
  tool(/^cmake$/, "CMakeLists.txt *.cmake"),
  tool(/^(?:ninja|samu)$/, "*.ninja"),
  tool(/^cargo$/, "Cargo.toml build.rs config.toml"),
  tool(/^git$/, "config .gitconfig .gitmodules"),
  tool(/^ssh$/, "config ssh_config"),
  tool(/^[gm]?awk$/, "*.awk"),
  tool(/^gdb$/, ".gdbinit *.gdb"),
  tool(/^(?:n?vim?|vim\.\w+)$/, ".vimrc .nvimrc .exrc *.vim *.lua"),
  tool(/^emacs/, "*.el *.elc .emacs"),
];

/** What a role runs, with its words for people. */
interface Run {
  readonly text: string;
  readonly object: string;
  /** Whether a path that meets it is code, whatever it is called. */
  readonly always: boolean;
}

/** `tokens` are those of this machine. */
export function deputiesOf({ roles }: Spec, tokens: Tokens): Deputy[] {
  const programs = roles.flatMap(({ exe }) => exe.map((own) => expanded(own, tokens)));
  const writers = roles.map((role) => ({ role, writes: writesOf(role, tokens) }));
  return roles.flatMap((runner) => {
    const runs = runsOf(runner, programs, tokens);
    const tools = TOOLS.filter(({ name }) => runner.exe.some((exe) => name.test(basename(exe))));
    return writers.flatMap(({ role, writes }) => {
      if (role === runner) return [];
      const meets = runs.flatMap(({ text, object, always }) =>
        writes
          .filter((own) => always || isCode(object, own.object, tools))
          .filter((own) => meetsPath(object, own.object))
          .slice(0, 1)
          .map(({ grant }) => ({ writes: grantText(grant), runs: text })),
      );
      if (meets.length === 0) return [];
      const gains = gainsOf(role, runner, tokens);
      if (gains.length === 0) return [];
      return [{ writer: role.name, runner: runner.name, meets, gains }];
    });
  });
}

function writesOf({ grants }: Role, tokens: Tokens) {
  return grants
    .filter(({ verb }) => WRITES.has(verb))
    .map((grant) => ({ grant, object: expanded(grant.object, tokens) }))
    .filter(({ object }) => !/^\/(?:dev|proc|sys)\//.test(object));
}

/**
 * The program of a role and its script, what it may start that is the program of no role (the loader, a script that names its
 * interpreter), and what it may read. A program that it starts and that has a role of its own acts as that one.
 */
function runsOf(role: Role, programs: readonly string[], tokens: Tokens): Run[] {
  const always = (text: string, object: string): Run => ({ text, object, always: true });
  const own = role.exe.map((exe) => always(`program ${exe}`, expanded(exe, tokens)));
  const script = role.script === undefined ? undefined : expanded(role.script, tokens);
  if (script?.startsWith("/")) own.push(always(`script ${role.script}`, script));
  return [
    ...own,
    ...role.grants.flatMap((grant): Run[] => {
      const object = expanded(grant.object, tokens);
      const text = grantText(grant);
      if (grant.verb === "read") return [{ text, object, always: false }];
      if (grant.verb !== "exec" || programs.some((program) => coversPath(program, object)))
        return [];
      return [always(text, object)];
    }),
  ];
}

/** Whether a path that is both read and written can be one that is run, by its last name. */
function isCode(read: string, written: string, tools: readonly Tool[]): boolean {
  const names = [lastName(read), lastName(written)];
  const isRun = (form: string) => names.every((name) => meetsPath(`/${name}`, `/${form}`));
  // Of names that may be any it is not to be thought that some are libraries.
  const isLibrary = names.some((name) => name.includes(".so")) && LOADED.some(isRun);
  return isLibrary || tools.some(({ runs }) => runs.some(isRun));
}

/** The last name of an object; below a directory it may be any. */
function lastName(object: string): string {
  return subtreeOf(object) === undefined ? object.slice(object.lastIndexOf("/") + 1) : "*";
}

/** What all programs may have without harm. */
const HARMLESS =
  /^\/(?:usr|lib\w*|bin|sbin)\/|^\/etc\/(?:ld\.so\.cache|locale\.alias|localtime)$|^\/dev\/(?:null|zero|full|u?random|tty)$|^\/proc\//;
const READS: ReadonlySet<string> = new Set(["read", "exec"]);

function gainsOf(writer: Role, runner: Role, tokens: Tokens): string[] {
  const evaluator = new RoleEvaluator(writer, tokens);
  const counts = ({ verb, object }: Grant) => {
    if (verb === "syscall" || verb === "stat" || verb === "list" || object === "self") return false;
    const isSafe = HARMLESS.test(expanded(object, tokens));
    return !(isSafe && (READS.has(verb) || (isPathVerb(verb) && object.startsWith("/dev/"))));
  };
  const gains = runner.grants.filter((grant) => counts(grant) && !evaluator.covers(grant, tokens));
  // What it changes tells more than what it looks at.
  const [read, changed] = [true, false].map((is) =>
    gains.filter(({ verb }) => READS.has(verb) === is),
  );
  return [...(changed ?? []), ...(read ?? [])].map(grantText);
}
