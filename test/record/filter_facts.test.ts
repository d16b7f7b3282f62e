/** What the kernel tells a program of filters of its calls is what it tells without a recorder, whose filter is not among them. */

import { chmodSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { compile, record, run } from "./support.js";

const ways = {
  "the usual way": [],
  "the agent": ["--backend=eager-agent"],
  "the agent, observing": ["--observe", "--backend=eager-agent"],
  ptrace: ["--backend=ptrace"],
};
const users = process.getuid?.() === 0 ? ["root", "nobody"] : ["this user"];

for (const [name, options] of Object.entries(ways)) {
  describe(`recorded by ${name}`, () => {
    test.each(users)(
      "as %s",
      async (user) => {
        const program = compile("filter_facts", "-pthread");
        chmodSync(dirname(program), 0o755);
        const other = user === "nobody";
        const native = await run(other ? [program, "without privileges"] : [program]);
        expect(native.stdout).toMatch(/at first: mode 0, gains nothing 0, odd -1, place 12\n/);
        expect(native.stdout).toMatch(/filtered: mode 2, gains nothing 1/);
        // Without privileges from the beginning, where the recorder's filter takes them from the program.
        const told = await record([program], {
          options: other ? ["-u", user, ...options] : options,
        });
        expect(told).toMatchObject({ code: 0, stderr: "", stdout: native.stdout });
        if (!other) return;
        const dropped = await record([program, "without privileges"], { options });
        expect(dropped).toMatchObject({ code: 0, stderr: "", stdout: native.stdout });
      },
      120_000,
    );
  });
}
