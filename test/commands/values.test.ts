import { expect, it } from "vitest";
import { wholeNumber } from "../../src/commands/values.js";

it.each([
  ["x", "not a whole number from 0"],
  ["-1", "not a whole number from 0"],
  ["1e3", "not a whole number from 0"],
  ["99999999999999999999", "not a whole number from 0 to 9007199254740991"],
])("%s is refused with what is taken", (text, message) => {
  expect(() => wholeNumber(0)(text)).toThrow(message);
});
