/** Programs whose loading is compared: those of the system, and small ones that are built for one way of loading each. */

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ElfProgram } from "./compare.js";

const sources = fileURLToPath(new URL("./programs/", import.meta.url));

function gcc(output: string, source: string, ...flags: string[]): string {
  execFileSync("gcc", ["-O1", "-o", output, join(sources, source), ...flags], { stdio: "pipe" });
  return output;
}

/** Libraries and programs that find each other in every way that ld.so(8) knows. */
export function builtPrograms(folder: string): ElfProgram[] {
  const [lib, other, deep] = ["lib", "other", "deep"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [lib, other, deep]) mkdirSync(path, { recursive: true });
  const shared = ["-shared", "-fPIC"];
  gcc(join(lib, "libvalue.so"), "value.c", ...shared, "-Wl,-soname,libvalue.so");
  gcc(join(other, "libvalue.so"), "value.c", ...shared, "-DVALUE=2", "-Wl,-soname,libvalue.so");
  gcc(join(deep, "libdeeper.so"), "value.c", ...shared, "-Dvalue=unused");
  const nested = ["-DDEEPER", "-Wl,--no-as-needed", `-L${deep}`, "-ldeeper"];
  gcc(join(lib, "libouter.so"), "value.c", ...shared, ...nested, "-Wl,-rpath,$ORIGIN/../deep");
  const plugin = gcc(join(folder, "plugin"), "plugin.c", "-ldl");
  const use = (name: string, ...flags: string[]) =>
    gcc(join(folder, name), "use.c", `-L${lib}`, "-Wl,--no-as-needed", ...flags);
  const inner = join(folder, "libvalue.so");
  copyFileSync(join(lib, "libvalue.so"), inner);
  // Without a name of its own, it is needed by the path that the linker was given.
  const nameless = gcc(join(folder, "libnameless.so"), "value.c", ...shared);
  return [
    { name: "runpath", argv: [use("runpath", "-lvalue", `-Wl,-rpath,${lib}`)] },
    {
      name: "rpath",
      argv: [use("rpath", "-lvalue", "-Wl,--disable-new-dtags", `-Wl,-rpath,${lib}`)],
    },
    { name: "origin", argv: [use("origin", "-lvalue", "-Wl,-rpath,$ORIGIN/lib")] },
    {
      name: "library-path",
      argv: [use("library-path", "-lvalue")],
      env: { LD_LIBRARY_PATH: `${join(folder, "nowhere")}:${other}` },
    },
    {
      name: "overridden",
      argv: [join(folder, "runpath")],
      env: { LD_LIBRARY_PATH: other },
    },
    {
      name: "preload",
      argv: [join(folder, "runpath")],
      env: { LD_PRELOAD: join(other, "libvalue.so") },
    },
    { name: "preload-unneeded", argv: ["/usr/bin/true"], env: { LD_PRELOAD: inner } },
    { name: "by-path", argv: [gcc(join(folder, "by-path"), "use.c", nameless)] },
    { name: "dlopen", argv: [plugin, join(lib, "libvalue.so")] },
    { name: "dlopen-again", argv: [plugin, join(lib, "libvalue.so"), join(other, "libvalue.so")] },
    { name: "dlopen-nested", argv: [plugin, join(lib, "libouter.so")] },
    { name: "dlopen-name", argv: [plugin, "libvalue.so"], env: { LD_LIBRARY_PATH: lib } },
  ];
}

/** A program of musl, whose loader is its libc; nothing where it cannot be built. */
export function muslPrograms(folder: string): ElfProgram[] {
  try {
    const lib = join(folder, "musl");
    mkdirSync(lib, { recursive: true });
    const build = (...words: string[]) => execFileSync("musl-gcc", words, { stdio: "pipe" });
    build("-shared", "-fPIC", "-o", join(lib, "libvalue.so"), join(sources, "value.c"));
    const program = join(folder, "musl-use");
    build("-o", program, join(sources, "use.c"), `-L${lib}`, "-lvalue", `-Wl,-rpath,${lib}`);
    return [{ name: "musl", argv: [program], plain: true }];
  } catch {
    return [];
  }
}

/** Programs of the system that are there. */
export function systemPrograms(): ElfProgram[] {
  const lines = [
    "cat /etc/hostname",
    "ls /",
    "gzip --version",
    "grep root /etc/passwd",
    "sed p /etc/hostname",
    "tar --version",
    "find /etc -maxdepth 0",
    "sort /etc/hostname",
    "ps --version",
    "git --version",
    "curl --version",
    "openssl version",
    "perl -MPOSIX -e 1",
    "python3 -c 1",
    "sqlite3 -version",
    "gdb --version",
    "gcc --version",
    "as --version",
    "make --version",
    "bash -c :",
    "getent hosts localhost",
    "id",
    "file --version",
    "xz --version",
    "less --version",
    "strace --version",
    "tmux -V",
  ];
  return lines.flatMap((line) => {
    const [name = "", ...rest] = line.split(" ");
    const path = [`/usr/bin/${name}`, `/bin/${name}`].find((candidate) => existsSync(candidate));
    return path === undefined ? [] : [{ name, argv: [path, ...rest] }];
  });
}
