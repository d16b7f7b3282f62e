/** Small programs, built in the ways that matter to an unwinder and to a reader of debug information. */

import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Build {
  readonly name: string;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Of the first child, from this function on, and not of the program itself. */
  readonly child?: string;
  /** Threads run beside each other, so that two runs make other calls. */
  readonly isParallel?: boolean;
}

/** How one program is built: the files, and the words for the compiler. */
interface Recipe {
  readonly name: string;
  readonly compiler: string;
  readonly sources: readonly string[];
  readonly flags: string;
}

const sources = fileURLToPath(new URL("./programs/", import.meta.url));

const WAYS: Readonly<Record<string, string>> = {
  O0: "-O0 -g",
  O1: "-O1 -g",
  O2: "-O2 -g",
  O3: "-O3 -g",
  Os: "-Os -g",
  g1: "-O2 -g1",
  omit: "-O2 -g -fomit-frame-pointer",
  frames: "-O2 -g -fno-omit-frame-pointer",
  "debug-frame": "-O2 -g -fno-asynchronous-unwind-tables -fno-unwind-tables",
  static: "-O2 -g -static",
  "static-pie": "-O2 -g -static-pie",
  "no-pie": "-O2 -g -no-pie",
  dwarf2: "-O2 -gdwarf-2 -gstrict-dwarf",
  dwarf3: "-O2 -gdwarf-3",
  dwarf4: "-O2 -gdwarf-4",
  compressed: "-O2 -g -gz",
  split: "-O2 -g -gsplit-dwarf",
  split4: "-O2 -gdwarf-4 -gsplit-dwarf",
  types: "-O2 -gdwarf-4 -fdebug-types-section",
  lto: "-O2 -g -flto",
  sections: "-O2 -g -ffunction-sections -fdata-sections -Wl,--gc-sections",
  shrink: "-O2 -g -fno-shrink-wrap -mno-red-zone",
  lazy: "-O2 -g -Wl,-z,lazy",
  "no-debug": "-O1 -fno-inline",
};

function recipe(name: string, compiler: string, files: string, flags: string): Recipe {
  return { name, compiler, sources: files.split(" "), flags };
}

/** The same source in many ways. */
function inWays(compiler: string, source: string, ways: readonly string[]): Recipe[] {
  const stem = source.replace(/\.\w+$/, "");
  return ways.map((way) => recipe(`${stem}-${way}`, compiler, source, WAYS[way] ?? ""));
}

const ALL = Object.keys(WAYS);
const SOME = ["O0", "O1", "O2", "O3", "static", "no-pie", "omit", "dwarf4"];

const RECIPES: readonly Recipe[] = [
  ...inWays("g++", "library.cpp", ["O0", "O2", "O3", "static", "split", "lto"]),
  ...inWays("gcc", "jumps.c", SOME),
  ...inWays("gcc", "signals.c", SOME),
  ...inWays("gcc", "threads.c", ["O0", "O2", "static", "omit"]),
  recipe("jumps-trampoline", "gcc", "jumps.c", "-O1 -g -DEXECUTABLE_STACK -Wl,-z,execstack"),
  recipe("halves-lto", "gcc", "main_part.c half_part.c", "-O3 -g -flto"),
  recipe("assembler", "gcc", "assembled.c assembler.S", "-O1 -g"),
  recipe("calls-m32", "gcc", "calls.c", "-m32 -O2 -g"),
  recipe("calls-m32-O0", "gcc", "calls.c", "-m32 -O0 -g"),
  recipe("calls-m32-static", "gcc", "calls.c", "-m32 -O2 -g -static"),
  recipe("signals-m32", "gcc", "signals.c", "-m32 -O1 -g"),
  recipe("exceptions-m32", "g++", "exceptions.cpp", "-m32 -O2 -g"),
  recipe("calls-musl-static", "musl-gcc", "calls.c", "-O2 -g -static"),
  recipe("calls-musl", "musl-gcc", "calls.c", "-O2 -g"),
  recipe("signals-musl", "musl-gcc", "signals.c", "-O1 -g"),
  recipe("calls-clang-O0", "clang", "calls.c", "-O0 -g"),
  recipe("calls-clang-O2", "clang", "calls.c", "-O2 -g"),
  recipe("calls-clang-dwarf5", "clang", "calls.c", "-O2 -gdwarf-5"),
  recipe("calls-clang-lld", "clang", "calls.c", "-O2 -g -fuse-ld=lld"),
  recipe("jumps-clang", "clang", "jumps.c", "-O2 -g"),
  recipe("exceptions-clang", "clang++", "exceptions.cpp", "-O2 -gdwarf-5"),
  recipe("exceptions-clang-split", "clang++", "exceptions.cpp", "-O2 -gdwarf-5 -gsplit-dwarf"),
  recipe("rust-debug", "rustc", "rust.rs", "--edition=2021 -g"),
  recipe("rust-O", "rustc", "rust.rs", "--edition=2021 -O -g"),
  recipe("rust-v0", "rustc", "rust.rs", "--edition=2021 -O -g -Csymbol-mangling-version=v0"),
  recipe(
    "rust-bfd",
    "rustc",
    "rust.rs",
    "--edition=2021 -O -g -Clink-self-contained=-linker -Clinker-features=-lld",
  ),
  recipe("rust-lto", "rustc", "rust.rs", "--edition=2021 -O -g -Clto=fat"),
  recipe("rust-split", "rustc", "rust.rs", "--edition=2021 -g -Csplit-debuginfo=packed"),
  recipe("rust-panics", "rustc", "panics.rs", "--edition=2021 -g"),
  recipe("rust-panics-O", "rustc", "panics.rs", "--edition=2021 -O -g"),
  ...inWays("gcc", "calls.c", ALL),
  ...inWays(
    "g++",
    "exceptions.cpp",
    ALL.filter((way) => way !== "static-pie"),
  ),
];

/** Whether it could be built here. */
function made(folder: string, command: string, ...words: readonly string[]): boolean {
  return spawnSync(command, words, { cwd: folder, stdio: "pipe" }).status === 0;
}

function built(
  folder: string,
  { name, compiler, sources: files, flags }: Recipe,
): string | undefined {
  const program = join(folder, name);
  const words = [...files.map((file) => join(sources, file)), ...flags.split(" ")];
  const more = /^(gcc|g\+\+|clang|clang\+\+)$/.test(compiler) ? ["-pthread", "-w"] : [];
  return made(folder, compiler, "-o", program, ...words, ...more) ? program : undefined;
}

/** Puts the debug information into a file of its own, beside the program. */
function strip(program: string): void {
  const debug = `${program}.debug`;
  execFileSync("objcopy", ["--only-keep-debug", program, debug]);
  execFileSync("objcopy", ["--strip-all", `--add-gnu-debuglink=${debug}`, program]);
}

/** Programs whose debug information is somewhere else. */
function* separateBuilds(folder: string): Generator<Build> {
  for (const [source, compiler] of [
    ["calls.c", "gcc"],
    ["exceptions.cpp", "g++"],
  ] as const) {
    const stem = source.replace(/\.\w+$/, "");
    const program = built(folder, recipe(`${stem}-separate`, compiler, source, "-O2 -g"));
    if (program === undefined) continue;
    strip(program);
    yield { name: `${stem}-separate`, argv: [program] };
    const apart = join(folder, `${stem}-apart`);
    mkdirSync(apart, { recursive: true });
    const packed = built(apart, recipe(`${stem}-dwp`, compiler, source, "-O2 -g -gsplit-dwarf"));
    if (packed !== undefined && made(apart, "dwp", "-e", packed, "-o", `${packed}.dwp`)) {
      execFileSync("sh", ["-c", "rm -f *.dwo"], { cwd: apart });
      yield { name: `${stem}-dwp`, argv: [packed] };
    }
  }
  const [one, other] = ["calls.c", "jumps.c"].map((source, k) =>
    built(folder, recipe(`shared-${k}`, "gcc", source, "-O2 -g")),
  );
  if (
    one !== undefined &&
    other !== undefined &&
    made(folder, "dwz", "-m", join(folder, "shared.dwz"), one, other)
  ) {
    yield { name: "calls-dwz", argv: [one] };
    yield { name: "jumps-dwz", argv: [other] };
  }
}

/** Programs that load a library, whose child is looked at, or that are moved in memory. */
function* specialBuilds(folder: string): Generator<Build> {
  const plugin = built(folder, recipe("plugin.so", "gcc", "plugin.c", "-shared -fPIC -O2 -g"));
  const loader = built(folder, recipe("loader", "gcc", "loader.c", "-O2 -g"));
  if (plugin !== undefined && loader !== undefined) {
    yield { name: "dlopen", argv: [loader, plugin] };
    const bare = join(folder, "bare");
    mkdirSync(bare, { recursive: true });
    copyFileSync(plugin, join(bare, "plugin.so"));
    strip(join(bare, "plugin.so"));
    yield { name: "dlopen-separate", argv: [loader, join(bare, "plugin.so")] };
  }
  for (const [name, flags] of [
    ["vfork", "-O2 -g -DSHARED"],
    ["fork", "-O2 -g"],
  ] as const) {
    const program = built(folder, recipe(name, "gcc", "children.c", flags));
    if (program === undefined) continue;
    yield { name, argv: [program] };
    yield { name: `${name}-child`, argv: [program], child: "child", isParallel: true };
  }
}

function* goBuilds(folder: string): Generator<Build> {
  for (const [name, flags] of [
    ["go", []],
    ["go-plain", ["-gcflags=all=-N -l"]],
    ["go-pie", ["-buildmode=pie"]],
    ["go-bare", ["-ldflags=-w"]],
  ] as const) {
    const program = join(folder, name);
    if (!made(folder, "go", "build", ...flags, "-o", program, join(sources, "go.go"))) continue;
    yield { name, argv: [program], env: { GOMAXPROCS: "1" }, isParallel: true };
  }
}

/** Programs that can be built on this machine, one after the other. */
export function* builds(folder: string, isWanted: (name: string) => boolean): Generator<Build> {
  for (const group of [separateBuilds, specialBuilds, goBuilds]) {
    for (const build of group(folder)) {
      if (isWanted(build.name)) yield build;
    }
  }
  for (const one of RECIPES) {
    if (!isWanted(one.name)) continue;
    const program = built(folder, one);
    const isParallel = /^(?:threads|library|rust-panics)/.test(one.name);
    if (program !== undefined) yield { name: one.name, argv: [program], isParallel };
  }
}
