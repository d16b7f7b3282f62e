/** Every way of loading a file, recorded and told by `trace elf`. */

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { folder } from "../record/support.js";
import { cli } from "../support/command.js";
import { runCommand } from "../support/run.js";
import { lacking } from "../support/tools.js";
import { type Recorder, recorded, saidByLoader, saidByTrace } from "./compare.js";
import { builtPrograms, muslPrograms } from "./programs.js";

let recorder: Recorder;
let base = "";

beforeAll(() => {
  base = folder();
  recorder = {
    folder: base,
    words: (file) => [cli, "record", "-q", "--observe", "-o", file, "--"],
    env: { PATH: "/usr/bin:/bin", HOME: base, XDG_STATE_HOME: join(base, "state") },
  };
  process.env.XDG_CACHE_HOME = join(base, ".cache");
});

const program = (name: string) => {
  const found = [...builtPrograms(base), ...muslPrograms(base)].find((own) => own.name === name);
  if (found === undefined) throw new Error(`no program ${name}`);
  return found;
};

async function text(name: string): Promise<string> {
  const { file, tree, debug } = await recorded(program(name), recorder);
  if (debug !== "" && !saidByTrace(tree).some((line) => line.startsWith("preload"))) {
    expect(saidByTrace(tree)).toEqual(saidByLoader(debug));
  }
  const { stdout } = await runCommand(["elf", file]);
  return stdout.replaceAll(base, "").replaceAll(/\(0x\w+\)/g, "(0x)");
}

describe.skipIf(lacking("gcc"))("a library is found", () => {
  it("by RUNPATH", async () => {
    expect(await text("runpath")).toMatch(
      /libvalue\.so => \/lib\/libvalue\.so \(0x\) {2}RUNPATH \/lib,/,
    );
  });

  it("by RUNPATH with $ORIGIN", async () => {
    expect(await text("origin")).toContain(
      "libvalue.so => /lib/libvalue.so (0x)  RUNPATH $ORIGIN/lib,",
    );
  });

  it("by RPATH", async () => {
    expect(await text("rpath")).toContain("RPATH /lib of rpath");
  });

  it("by LD_LIBRARY_PATH, after it was looked for elsewhere", async () => {
    const said = await text("library-path");
    expect(said).toContain("libvalue.so => /other/libvalue.so (0x)  LD_LIBRARY_PATH /other,");
    expect(said).toMatch(/not \/nowhere\/\S*libvalue\.so \(ENOENT @\d+\)/);
  });

  it("because it is preloaded", async () => {
    expect(await text("preload")).toMatch(
      /^[├└]─ libvalue\.so => \/other\/\S+ \(0x\) {2}preloaded by LD_PRELOAD/m,
    );
  });

  it("by dlopen, with what it needs below it, and again after dlclose", async () => {
    const nested = await text("dlopen-nested");
    expect(nested).toMatch(/libouter\.so => \/lib\/libouter\.so \(0x\) {2}dlopen at @\d+/);
    expect(nested).toMatch(
      /└─ libdeeper\.so => \/deep\/libdeeper\.so \(0x\) {2}RUNPATH \$ORIGIN\/\.\.\/deep/,
    );
    const again = await text("dlopen-again");
    expect(again).toMatch(/\/lib\/libvalue\.so \(0x\) {2}dlopen at @\d+, unloaded at @\d+/);
    expect(again).toMatch(/\/other\/libvalue\.so \(0x\) {2}dlopen at @\d+, no debug/);
  });

  it.skipIf(lacking("musl-gcc"))("by the loader of musl", async () => {
    expect(await text("musl")).toContain("libvalue.so => /musl/libvalue.so (0x)  RUNPATH /musl,");
  });
});

describe.skipIf(lacking("gcc"))("trace elf", () => {
  it("tells a swapped library in one line, and nothing of equal runs", async () => {
    const one = await recorded({ ...program("runpath"), name: "before" }, recorder);
    const same = await recorded({ ...program("runpath"), name: "same" }, recorder);
    const other = await recorded({ ...program("overridden"), name: "after" }, recorder);
    const equal = await runCommand(["elf", "--diff", one.file, same.file]);
    expect(equal).toEqual({ status: 0, stdout: "", stderr: "" });
    const { status, stdout } = await runCommand(["elf", "--diff", one.file, other.file]);
    expect(status).toBe(1);
    expect(stdout.replaceAll(base, "")).toMatch(
      /^~ libvalue\.so: \/lib\/libvalue\.so \(build id \w{12}\) -> \/other\/libvalue\.so \(build id \w{12}\), in p1\n$/,
    );
  });

  it("lists files without debug information", async () => {
    const { file } = await recorded({ ...program("runpath"), name: "missing" }, recorder);
    const { stdout } = await runCommand(["elf", file, "--missing-debug"]);
    expect(stdout).toMatch(/^\S+\/lib\/libvalue\.so {2}build id \w{40}, names of functions only$/m);
  });

  it("says what the events say where the content is gone, and how to keep it", async () => {
    const { file } = await recorded({ ...program("runpath"), name: "gone" }, recorder);
    const packed = join(base, "packed.trace");
    const env = { ...recorder.env };
    spawnSync(cli, ["pack", file, "-o", packed], { env });
    rmSync(join(base, ".cache"), { recursive: true });
    const { stdout, stderr } = await runCommand(["elf", file]);
    expect(stdout).toMatch(
      /libvalue\.so \(0x\w+\) {2}nobody is known to need it, content not at hand/,
    );
    expect(stderr).toContain(`trace pack ${file}`);
    const kept = await runCommand(["elf", packed]);
    expect(kept.stdout).toContain("RUNPATH");
    expect(kept.stderr).toBe("");
  });
});
