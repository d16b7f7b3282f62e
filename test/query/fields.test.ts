import { describe, expect, it } from "vitest";
import { FIELD_NAMES, FIELDS, findField } from "../../src/query/fields.js";
import { formatFilter, parseFilter } from "../../src/query/filter/index.js";

describe("FIELDS", () => {
  it("has no name twice, and text for people everywhere", () => {
    expect(new Set(FIELD_NAMES).size).toBe(FIELD_NAMES.length);
    for (const field of FIELDS) {
      expect(field.doc, field.name).toMatch(/^[a-z]/);
      expect(field.doc.length, field.name).toBeLessThan(80);
      expect(field.choices === undefined, field.name).toBe(field.shape !== "choice");
    }
  });

  it("shows the field itself in its example", () => {
    for (const { name, example } of FIELDS) {
      const word = name.replace("*", "");
      expect(example, name).toContain(word);
      expect(formatFilter(parseFilter(example)), name).toContain(word);
    }
  });
});

describe("findField", () => {
  it("finds names, aliases and members of families", () => {
    expect(findField("fd.path")).toMatchObject({ name: "fd.path", def: { type: "string" } });
    expect(findField("addr")).toMatchObject({ name: "peer" });
    expect(findField("arg.0")).toMatchObject({ name: "arg.0", def: { name: "arg.*" } });
    expect(findField("arg.flags")).toMatchObject({ name: "arg.flags", def: { name: "arg.*" } });
  });

  it.each(["arg", "arg.", "arg.*", "arg.10", "arg.a.b", "fd.0", "FD", "", "toString", "__proto__"])(
    "knows no %j",
    (name) => expect(findField(name)).toBeUndefined(),
  );
});
