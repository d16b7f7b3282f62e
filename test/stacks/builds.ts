/** Small programs, built in the ways that matter to an unwinder and to a reader of debug information. */

import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Build {
  readonly name: string;
  readonly argv: readonly string[];
}

const sources = fileURLToPath(new URL("./programs/", import.meta.url));

const WAYS: readonly (readonly [name: string, flags: string])[] = [
  ["O0", "-O0 -g"],
  ["O1", "-O1 -g"],
  ["O2", "-O2 -g"],
  ["O3", "-O3 -g"],
  ["Os", "-Os -g"],
  ["g1", "-O2 -g1"],
  ["omit", "-O2 -g -fomit-frame-pointer"],
  ["frames", "-O2 -g -fno-omit-frame-pointer"],
  ["debug-frame", "-O2 -g -fno-asynchronous-unwind-tables -fno-unwind-tables"],
  ["static", "-O2 -g -static"],
  ["static-pie", "-O2 -g -static-pie"],
  ["no-pie", "-O2 -g -no-pie"],
  ["dwarf2", "-O2 -gdwarf-2 -gstrict-dwarf"],
  ["dwarf3", "-O2 -gdwarf-3"],
  ["dwarf4", "-O2 -gdwarf-4"],
  ["compressed", "-O2 -g -gz"],
  ["split", "-O2 -g -gsplit-dwarf"],
  ["split4", "-O2 -gdwarf-4 -gsplit-dwarf"],
  ["types", "-O2 -g -fdebug-types-section"],
  ["lto", "-O2 -g -flto"],
  ["sections", "-O2 -g -ffunction-sections -fdata-sections -Wl,--gc-sections"],
  ["shrink", "-O2 -g -fno-shrink-wrap -mno-red-zone"],
  ["no-debug", "-O1 -fno-inline"],
];

const C_ONLY: readonly (readonly [name: string, flags: string])[] = [
  ["m32", "-m32 -O2 -g"],
  ["m32-O0", "-m32 -O0 -g"],
  ["m32-static", "-m32 -O2 -g -static"],
];

/** Whether it could be built here. */
function made(command: string, ...words: readonly string[]): boolean {
  return spawnSync(command, words, { stdio: "pipe" }).status === 0;
}

/** Puts the debug information into a file of its own, beside the program. */
function strip(program: string): void {
  const debug = `${program}.debug`;
  execFileSync("objcopy", ["--only-keep-debug", program, debug]);
  execFileSync("objcopy", ["--strip-all", `--add-gnu-debuglink=${debug}`, program]);
}

function* cBuilds(folder: string): Generator<Build> {
  const all = [
    ...["calls.c", "threads.c"].flatMap((source) =>
      [...WAYS, ...C_ONLY].map((way) => ["gcc", source, way] as const),
    ),
    ...WAYS.filter(([name]) => name !== "static-pie").map(
      (way) => ["g++", "exceptions.cpp", way] as const,
    ),
  ];
  for (const [compiler, source, [way, flags]] of all) {
    const name = `${source.replace(/\.\w+$/, "")}-${way}`;
    const program = join(folder, name);
    const words = ["-o", program, join(sources, source), ...flags.split(" "), "-pthread"];
    if (made(compiler, ...words)) yield { name, argv: [program] };
  }
}

/** Programs of this machine that can be built, one after the other. */
export function* builds(folder: string): Generator<Build> {
  yield* cBuilds(folder);
  for (const source of ["calls.c", "exceptions.cpp"]) {
    const name = `${source.replace(/\.\w+$/, "")}-separate`;
    const program = join(folder, name);
    if (!made("g++", "-fpermissive", "-w", "-O2", "-g", "-o", program, join(sources, source)))
      continue;
    strip(program);
    yield { name, argv: [program] };
  }
  const musl = join(folder, "calls-musl");
  if (made("musl-gcc", "-O2", "-g", "-static", "-o", musl, join(sources, "calls.c"))) {
    yield { name: "calls-musl", argv: [musl] };
  }
  for (const [name, flags] of [
    ["rust-debug", ["-g"]],
    ["rust-O", ["-O", "-g"]],
  ] as const) {
    const program = join(folder, name);
    if (made("rustc", "--edition", "2021", ...flags, "-o", program, join(sources, "rust.rs"))) {
      yield { name, argv: [program] };
    }
  }
  const go = join(folder, "go");
  if (made("go", "build", "-o", go, join(sources, "go.go"))) yield { name: "go", argv: [go] };
}
