/** The interpreters of Python that this machine has: those on PATH, and those of pyenv. */

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

export interface Python {
  readonly program: string;
  /** Of 3.11.7: 11. */
  readonly minor: number;
  readonly version: string;
}

function candidates(): string[] {
  const names = ["python3", ...Array.from({ length: 8 }, (_, k) => `python3.${k + 9}`)];
  const folders = (process.env.PATH ?? "").split(delimiter).filter((dir) => !dir.includes("shims"));
  const versions = join(process.env.PYENV_ROOT ?? join(homedir(), ".pyenv"), "versions");
  const own = existsSync(versions) ? readdirSync(versions) : [];
  return [
    // More of them, a list as PATH is one.
    ...(process.env.PYTHONS ?? "").split(delimiter).filter((path) => path !== ""),
    ...own.map((version) => join(versions, version, "bin", "python3")),
    ...folders.flatMap((dir) => names.map((name) => join(dir, name))),
  ];
}

/** One for each program, whatever it is called, of the versions whose frames are known. */
export function pythons(): Python[] {
  const found = new Map<string, Python>();
  for (const path of candidates()) {
    if (!existsSync(path)) continue;
    const program = realpathSync(path);
    if (found.has(program)) continue;
    try {
      const words = ["-c", "import sys; print(*sys.version_info[:3], sep='.')"];
      const version = execFileSync(program, words, { encoding: "utf8" }).trim();
      const minor = Number(/^3\.(\d+)\./.exec(version)?.[1]);
      if (minor >= 9 && minor <= 14) found.set(program, { program, minor, version });
    } catch {
      // One that does not start here.
    }
  }
  return [...found.values()].sort((one, other) => one.minor - other.minor);
}
