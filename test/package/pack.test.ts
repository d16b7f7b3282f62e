/**
 * The tarball of `npm pack`, installed into an empty directory on a machine without Rust (a PATH
 * with node and the system's own tools only), offline: what a user of the package gets.
 */

import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

interface PackReport {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

let home = "";
let project = "";
let env: NodeJS.ProcessEnv = {};
let packed: readonly string[] = [];

/** A directory with links to what the installed package may use, and to no compiler. */
function toolsOnly(directory: string): string {
  mkdirSync(directory);
  const wanted = ["npm", "sh", "true", "echo", "env", "dirname", "uname", "cat"];
  for (const name of wanted) {
    const found = (process.env.PATH ?? "")
      .split(delimiter)
      .map((folder) => join(folder, name))
      .find((path) => existsSync(path));
    if (found !== undefined) symlinkSync(realpathSync(found), join(directory, name));
  }
  symlinkSync(process.execPath, join(directory, "node"));
  return directory;
}

function run(command: string, ...args: string[]) {
  return spawnSync(command, args, { cwd: project, env, encoding: "utf8" });
}

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "trace-pack-"));
  project = join(home, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), '{ "name": "user", "private": true }\n');
  env = { PATH: toolsOnly(join(home, "bin")), HOME: home, npm_config_cache: join(home, "cache") };
  const pack = ["pack", "--ignore-scripts", "--json", "--pack-destination", home];
  const text = execFileSync("npm", pack, { cwd: root, encoding: "utf8" });
  const parsed = JSON.parse(text) as readonly PackReport[] | Record<string, PackReport>;
  const report = Object.values(parsed)[0];
  if (report === undefined) throw new Error(`npm pack reported nothing: ${text}`);
  packed = report.files.map((file) => file.path);
  const install = ["install", "--offline", "--ignore-scripts", join(home, report.filename)];
  const done = run("npm", ...install);
  if (done.status !== 0) throw new Error(`npm install failed:\n${done.stdout}${done.stderr}`);
}, 120_000);

afterAll(() => rmSync(home, { recursive: true, force: true }));

describe("the tarball", () => {
  it("holds the command, the library with types, the addon and the licences, and no sources", () => {
    expect(packed).toEqual(
      expect.arrayContaining([
        "dist/cli.cjs",
        "dist/trace",
        "dist/index.js",
        "dist/trace.linux-x64-gnu.node",
        "dist/types/index.d.ts",
        "LICENSE",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "package.json",
      ]),
    );
    const strange = packed.filter((path) => !/^(dist\/|LICENSE|README|package\.json)/.test(path));
    expect(strange).toEqual([]);
  });

  it("installs without any other package", () => {
    const installed = readdirSync(join(project, "node_modules")).filter((name) => name[0] !== ".");
    expect(installed).toEqual(["trace-syscalls"]);
  });

  it("names no directory of the machine that built it", () => {
    const dist = join(project, "node_modules/trace-syscalls/dist");
    const naming = readdirSync(dist, { recursive: true, encoding: "utf8" })
      .map((name) => join(dist, name))
      .filter((path) => statSync(path).isFile())
      .filter((path) => readFileSync(path).includes(root));
    expect(naming).toEqual([]);
  });
});

describe("the installed command", () => {
  it("finds no Rust here", () => {
    expect(run("sh", "-c", "command -v cargo rustc").status).not.toBe(0);
  });

  it("prints its version", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      version: string;
    };
    const { stdout, status } = run("node_modules/.bin/trace", "--version");
    expect({ stdout, status }).toEqual({ stdout: `${manifest.version}\n`, status: 0 });
  });

  it("becomes node for what is no plain recording", () => {
    const done = run("node_modules/.bin/trace", "record", "-E", "X=1", "-o", "y.trace", "true");
    expect({ stderr: done.stderr, status: done.status }).toEqual({ stderr: "", status: 0 });
  });

  it("records a program", () => {
    const done = run("node_modules/.bin/trace", "record", "-o", "x.trace", "true");
    expect({ stderr: done.stderr, status: done.status }).toEqual({ stderr: "", status: 0 });
    expect(statSync(join(project, "x.trace")).size).toBeGreaterThan(0);
  });
});

describe("the installed library", () => {
  it("exports what its types promise, and loads the addon", () => {
    const script = `
      import { openTrace, record, TraceError } from "trace-syscalls";
      const error = await record({ command: ["./no-such-program"] }).catch((reason) => reason);
      console.log(typeof openTrace, error instanceof TraceError);
    `;
    writeFileSync(join(project, "use.mjs"), script);
    const { stdout, stderr, status } = run("node", "use.mjs");
    expect({ stdout, stderr, status }).toEqual({
      stdout: "function true\n",
      stderr: "",
      status: 0,
    });
  });
});

describe("an installation without its addon", () => {
  it("says which file is missing and what to do", () => {
    rmSync(join(project, "node_modules/trace-syscalls/dist/trace.linux-x64-gnu.node"));
    const { stdout, stderr, status } = run(
      "node_modules/.bin/trace",
      "record",
      "-E",
      "X=1",
      "true",
    );
    expect({ stdout, status }).toEqual({ stdout: "", status: 125 });
    expect(stderr).toMatch(/^trace: the native addon is not there: .*\n {2}.*install it again\n$/);
  });
});
