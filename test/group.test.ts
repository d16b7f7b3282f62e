import { expect, it } from "vitest";
import { append, groupBy } from "../src/group.js";

it("keeps keys and the elements of each in the order in which they came", () => {
  const groups = groupBy(["pear", "fig", "plum", "kiwi"], (word) => word.length);
  expect([...groups]).toEqual([
    [4, ["pear", "plum", "kiwi"]],
    [3, ["fig"]],
  ]);
  append(groups, 3, "nut");
  append(groups, 6, "quince");
  expect(groups.get(3)).toEqual(["fig", "nut"]);
  expect(groups.get(6)).toEqual(["quince"]);
});
