/**
 * `trace completions bash|zsh|fish`: a completion script made from the registry and the command
 * definitions, so that a new flag completes without being named a second time. The scripts ask
 * `trace` nothing while completing.
 */

import { singleQuoted } from "../tree/shell.js";
import type { ArgumentDef, CommandContext, CommandDef, OptionDef } from "./command.js";

const shells = ["bash", "zsh", "fish"] as const;
type Shell = (typeof shells)[number];

/** What a shell completes in one place. */
type Values = readonly string[] | "file" | "command" | "none";

interface Flag {
  /** `-o` and `--output`; either may be missing. */
  readonly names: readonly string[];
  readonly help: string;
  /** Missing: the flag takes no value. */
  readonly value?: { readonly label: string; readonly optional: boolean; readonly values: Values };
}

interface Completable {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly Flag[];
  readonly argument: { readonly label: string; readonly values: Values };
  readonly passThrough: boolean;
}

function flagOf(option: OptionDef): Flag {
  const names = option.flags.match(/(?<![\w<[])--?[\w-]+/g) ?? [];
  const placeholder = /([<[])([^\]>]+)[\]>]/.exec(option.flags);
  if (placeholder === null) return { names, help: option.help };
  const label = placeholder[2] ?? "";
  const isPath = /^(file|path|dir|program)/i.test(label);
  const values: Values = option.choices ?? (isPath ? "file" : "none");
  return { names, help: option.help, value: { label, optional: placeholder[1] === "[", values } };
}

function argumentValues(argument: ArgumentDef | undefined): Values {
  return argument?.choices ?? argument?.complete ?? (argument === undefined ? "none" : "file");
}

function completable(command: CommandDef): Completable {
  const first = command.arguments?.[0];
  const shown = (command.options ?? []).filter((option) => option.hidden !== true);
  return {
    name: command.name,
    summary: command.summary,
    flags: [...shown.map(flagOf), { names: ["-h", "--help"], help: "show this help" }],
    argument: {
      label: first?.name.replace(/[^\w-]/g, "") ?? "",
      values: argumentValues(first),
    },
    passThrough: command.passThrough === true,
  };
}

// bash ---------------------------------------------------------------------------------------

function bashValues(values: Values): string {
  if (values === "file") return "compopt -o default";
  if (values === "command") return 'COMPREPLY=($(compgen -c -- "$cur"))';
  if (values === "none") return ":";
  return `COMPREPLY=($(compgen -W ${singleQuoted(values.join(" "))} -- "$cur"))`;
}

function bashCommand({ name, flags, argument, passThrough }: Completable): string {
  const valued = flags.filter((flag) => flag.value !== undefined && !flag.value.optional);
  const valuedNames = valued.flatMap((flag) => flag.names).join("|");
  const lines = [`    ${name})`];
  if (passThrough) lines.push(`      _trace_program ${singleQuoted(`|${valuedNames}|`)} && return`);
  if (valued.length > 0) {
    lines.push("      case $prev in");
    for (const { names, value } of valued) {
      lines.push(`        ${names.join("|")}) ${bashValues(value?.values ?? "none")}; return ;;`);
    }
    lines.push("      esac");
  }
  const words = flags.flatMap((flag) => flag.names).join(" ");
  lines.push(
    `      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W ${singleQuoted(words)} -- "$cur"))`,
    `      else ${bashValues(argument.values)}; fi ;;`,
  );
  return lines.join("\n");
}

/** Finds the traced program's word, so that its own arguments are completed as its own. */
const bashProgram = `_trace_program() {
  local i word
  for ((i = 2; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $word == -- ]]; then ((i++)); break; fi
    [[ $word != -* ]] && break
    [[ $1 == *"|$word|"* ]] || continue
    ((i++))
    if [[ \${COMP_WORDS[i]} == = ]]; then ((i++)); fi
  done
  ((i < COMP_CWORD)) || return 1
  if declare -F _command_offset >/dev/null; then _command_offset "$i"; else compopt -o default; fi
}`;

function bash(commands: readonly Completable[]): string {
  const names = commands.map((command) => command.name).join(" ");
  return `# bash completion of trace. Load it with: eval "$(trace completions bash)"
${bashProgram}
_trace() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${singleQuoted(`${names} help --help --version`)} -- "$cur"))
    return
  fi
  case \${COMP_WORDS[1]} in
    help) COMPREPLY=($(compgen -W ${singleQuoted(names)} -- "$cur")) ;;
${commands.map(bashCommand).join("\n")}
  esac
}
complete -F _trace trace
`;
}

// zsh ----------------------------------------------------------------------------------------

function zshValues(values: Values): string {
  if (values === "file") return "_files";
  if (values === "command") return "_command_names -e";
  return values === "none" ? " " : `(${values.join(" ")})`;
}

function zshFlag({ names, help, value }: Flag): string {
  const text = help.replace(/[[\]\\:]/g, "\\$&");
  if (value === undefined) return names.map((name) => singleQuoted(`*${name}[${text}]`)).join(" ");
  const separator = value.optional ? "::" : ":";
  const action = `${separator}${value.label}:${zshValues(value.values)}`;
  // "=" and "+": the value stands in the same word or the next; with "-" behind: the same word only.
  const attached = value.optional ? "-" : "";
  const spelled = (name: string) =>
    name.startsWith("--") ? `${name}=${attached}` : `${name}${attached || "+"}`;
  return names.map((name) => singleQuoted(`*${spelled(name)}[${text}]${action}`)).join(" ");
}

function zshCommand({ name, flags, argument, passThrough }: Completable): string {
  const specs = flags.map(zshFlag);
  const values = zshValues(argument.values);
  if (passThrough)
    specs.push(singleQuoted(`(-):${argument.label}:${values}`), singleQuoted("*::: :_normal"));
  else if (argument.label !== "") specs.push(singleQuoted(`*:${argument.label}:${values}`));
  return `    ${name}) _arguments -s -S ${specs.join(" ")} ;;`;
}

function zsh(commands: readonly Completable[]): string {
  const described = commands
    .map(({ name, summary }) => singleQuoted(`${name}:${summary}`))
    .join(" ");
  return `#compdef trace
# zsh completion of trace. Load it with: source <(trace completions zsh)
_trace() {
  local -a commands=(${described})
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local name=$words[2]
  shift words
  ((CURRENT--))
  case $name in
    help) _describe command commands ;;
${commands.map(zshCommand).join("\n")}
  esac
}
if [[ $funcstack[1] == _trace ]]; then _trace "$@"; else compdef _trace trace; fi
`;
}

// fish ---------------------------------------------------------------------------------------

function fishQuoted(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}

function fishFlag(condition: string, { names, help, value }: Flag): string {
  const spelled = names.map((name) =>
    name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
  );
  const parts = ["complete -c trace", condition, ...spelled, "-d", fishQuoted(help)];
  if (value !== undefined && !value.optional) parts.push(value.values === "file" ? "-rF" : "-x");
  if (Array.isArray(value?.values)) parts.push("-a", fishQuoted(value.values.join(" ")));
  return parts.join(" ");
}

function fishCommand(command: Completable): string[] {
  const condition = `-n '__trace_is ${command.name}'`;
  const { argument, passThrough } = command;
  const lines = command.flags.map((flag) => fishFlag(condition, flag));
  const complete = `complete -c trace ${condition}`;
  if (passThrough) {
    const program = `-n '__trace_is ${command.name}; and __trace_program'`;
    lines.push(`complete -c trace ${program} -a '(__fish_complete_subcommand --fcs-skip=2)'`);
  } else if (argument.values === "file") lines.push(`${complete} -F`);
  else if (Array.isArray(argument.values)) {
    lines.push(`${complete} -a ${fishQuoted(argument.values.join(" "))}`);
  }
  return lines;
}

function fish(commands: readonly Completable[]): string {
  const verbs = [...commands, { name: "help", summary: "show the options of a command" }];
  const lines = verbs.map(
    ({ name, summary }) =>
      `complete -c trace -n __trace_first -a ${name} -d ${fishQuoted(summary)}`,
  );
  const names = commands.map((command) => command.name).join(" ");
  return `# fish completion of trace. Load it with: trace completions fish | source
function __trace_first
    test (count (commandline -opc)) -eq 1
end
function __trace_is
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test $words[2] = $argv[1]
end
function __trace_program
    # A dash before the program is an option of trace.
    not string match -q -- '-*' (commandline -ct); and return
    string match -qv -- '-*' (commandline -opc)[3..]
end
complete -c trace -f
${lines.join("\n")}
complete -c trace -n '__trace_is help' -a ${fishQuoted(names)}
${commands.flatMap(fishCommand).join("\n")}
`;
}

const scripts: Record<Shell, (commands: readonly Completable[]) => string> = { bash, zsh, fish };

/** The completion script of `shell` for these commands. */
export function completionScript(shell: Shell, commands: readonly CommandDef[]): string {
  return scripts[shell](commands.map(completable));
}

export const command: CommandDef = {
  name: "completions",
  summary: "print a completion script for bash, zsh or fish",
  arguments: [{ name: "<shell>", help: "the shell to complete for", choices: shells }],
  examples: [
    { line: 'eval "$(trace completions bash)"', help: "in ~/.bashrc" },
    { line: "source <(trace completions zsh)", help: "in ~/.zshrc" },
    { line: "trace completions fish | source", help: "in ~/.config/fish/config.fish" },
  ],
  async run({ args, stdout }: CommandContext): Promise<number> {
    const { loadAllCommands } = await import("./registry.js");
    stdout.write(completionScript(args[0] as Shell, await loadAllCommands()));
    return 0;
  },
};
