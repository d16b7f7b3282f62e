/**
 * What tools that change a program's code have got wrong: programs that check themselves, recorded with the agent in both modes
 * and replayed, by several C libraries and in Go.
 */

import { describe, expect, test } from "vitest";
import { coverageOf } from "../../src/trace/coverage.js";
import {
  calls,
  compile,
  compileBy,
  compileGo,
  readWhole,
  record,
  recordAndReplay,
} from "./support.js";

const BACKENDS = ["--backend=eager-agent", "--backend=agent"];

/** Programs whose calls are as many in every run. */
const COUNTED = ["early", "exec", "data", "jit", "small_stacks", "sigsys", "vforks"];
const ALL = [...COUNTED, "blocked", "cancel", "gs", "red_zone"];
/** musl comes without the kernel's headers. */
const MUSL = ALL.filter((name) => name !== "sigsys" && name !== "gs");

async function holds(program: string): Promise<void> {
  for (const backend of BACKENDS) {
    const { code, signal, stdout, stderr, file } = await record([program], {
      options: ["--observe", backend],
    });
    expect({ code, signal, stdout, stderr }).toEqual({
      code: 0,
      signal: null,
      stdout: "",
      stderr: "",
    });
    expect((await readWhole(file)).trace.info.facts.get("backend")).toBe("agent");
    await recordAndReplay([program], [backend]);
  }
}

describe("nothing is changed for a program of", () => {
  test.each(ALL)("%s", (name) => holds(compile(`pitfall_${name}`, "-pthread")), 120_000);
  test.each(["blocked", "early", "exec", "vforks"])(
    "%s, static",
    (name) => holds(compile(`pitfall_${name}`, "-pthread", "-static")),
    120_000,
  );
  test.each(MUSL)(
    "%s, musl",
    (name) => holds(compileBy("musl-gcc", `pitfall_${name}`, "-pthread")),
    120_000,
  );

  test("Go, whose stacks are small and move", async () => {
    const { stdout } = await record([compileGo("pitfall_stacks")], {
      options: ["--observe", "--backend=eager-agent"],
    });
    expect(stdout).toBe("done\n");
    for (const backend of BACKENDS) {
      await recordAndReplay([compileGo("pitfall_stacks")], [backend]);
    }
  }, 120_000);

  test("a thousand threads", async () => {
    const words = [compile("agent_tasks", "-pthread"), "1000", "20"];
    const { code, file } = await record(words, { options: ["--observe", "--backend=eager-agent"] });
    expect(code).toBe(0);
    const { events } = await readWhole(file);
    expect(calls(events, "getppid")).toHaveLength((1000 + 10) * 20);
    await recordAndReplay(words, ["--backend=eager-agent"]);
  }, 120_000);
});

describe("no call is lost or told twice by a program of", () => {
  test.each(COUNTED)(
    "%s",
    async (name) => {
      const program = compile(`pitfall_${name}`, "-pthread");
      const count = async (...options: string[]) => {
        const { trace, events } = await readWhole((await record([program], { options })).file);
        const made = ["getppid", "getpid", "raise", "execve", "exit_group", "mprotect"];
        return {
          counts: made.map((call) => [call, calls(events, call).length]),
          coverage: coverageOf(trace.info),
        };
      };
      const expected = await count("--observe", "--backend=ptrace");
      for (const options of [["--observe"], []]) {
        const { counts, coverage } = await count("--backend=eager-agent", ...options);
        expect(counts).toEqual(expected.counts);
        // Code that may be written is left as it is.
        if (name !== "jit") expect(coverage?.inProcess).toBeGreaterThan(100);
      }
    },
    120_000,
  );
});
