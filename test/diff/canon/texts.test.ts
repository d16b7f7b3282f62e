/** Texts of one trace as the other would have them. */

import { expect, it } from "vitest";
import { CanonicalTexts } from "../../../src/diff/canon/texts.js";
import { type RuleName, RuleSet } from "../../../src/diff/rules.js";

const texts = (...without: RuleName[]) =>
  new CanonicalTexts({
    rules: new RuleSet(without),
    places: undefined,
    pids: new Set(["4711"]),
    ports: new Set(["40001"]),
    ids: new Set(),
    from: 0,
    to: 1,
  });

it("replaces process ids and ports, each by its own rule", () => {
  const text = "pid 4711 at :40001";
  expect(texts().words(text)).toBe("pid <pid> at :<port>");
  expect(texts("pids").words(text)).toBe("pid 4711 at :<port>");
  expect(texts("ports").words(text)).toBe("pid <pid> at :40001");
  expect(texts("pids", "ports").words(text)).toBe(text);
});

it("puts in what stands for a temporary name as it is", () => {
  const own = texts();
  own.temporary = new Map([["/tmp/$&-abc123", "/tmp/$&-<temp>"]]);
  expect(own.words("cat /tmp/$&-abc123")).toBe("cat /tmp/$&-<temp>");
});
