/** The file of results. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeSection } from "../../bench/section.js";
import { folder } from "../record/support.js";

it("replaces one section of a file, and leaves the others as they are", () => {
  const file = join(folder(), "results.md");
  const write = (name: string, text: string) => writeSection(file, "# Results", name, text);
  write("One", "1");
  write("Other", "2");
  expect(readFileSync(file, "utf8")).toBe("# Results\n\n## One\n\n1\n\n## Other\n\n2\n");
  write("One", "3");
  expect(readFileSync(file, "utf8")).toBe("# Results\n\n## One\n\n3\n\n## Other\n\n2\n");
});
