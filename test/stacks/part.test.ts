/** Parts of a file of results. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writePart } from "../../bench/part.js";
import { folder } from "../record/support.js";

it("replaces one part of a file, and leaves the others as they are", () => {
  const file = join(folder(), "results.md");
  const write = (name: string, text: string) =>
    writePart(file, "# Results", [`<${name}>`, `</${name}>`], `<${name}>${text}</${name}>`);
  write("one", "1");
  write("other", "2");
  expect(readFileSync(file, "utf8")).toBe("# Results\n\n<one>1</one>\n\n<other>2</other>\n");
  write("one", "3");
  expect(readFileSync(file, "utf8")).toBe("# Results\n\n<one>3</one>\n\n<other>2</other>\n");
});
