import { describe, expect, it } from "vitest";
import { expanded } from "../../src/spec/tokens.js";

describe("tokens", () => {
  it("mean what they mean here", () => {
    expect(expanded("$PWD/a", { PWD: "/x*y" })).toBe("/x\\*y/a");
    expect(expanded("unix:$HOME/s", { HOME: "/h" })).toBe("unix:/h/s");
    expect(expanded("$HOME/a", {})).toBe("$HOME/a");
    expect(expanded("$__proto__/a", {})).toBe("$__proto__/a");
  });
});
