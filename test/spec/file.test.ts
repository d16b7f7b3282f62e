import { describe, expect, it } from "vitest";
import { TraceError } from "../../src/errors.js";
import { parseSpec, specJson, specText } from "../../src/spec/file.js";

const SPEC = `# what it may do
traceSpec: 1
roles:
  - name: app # the program
    exe: [/usr/bin/app]
    from: []
    grants:
      - {verb: read, object: /etc/app.conf}
      - {verb: "ioctl:TCGETS", object: "/dev/pts/*"}
      - {verb: connect, object: "tcp:10.0.0.1:443"}
      - {verb: syscall, object: "socket(inet,stream,tcp)"}
`;

function failure(text: string): string {
  try {
    parseSpec(text, "app.spec");
  } catch (error) {
    if (error instanceof TraceError) return `${error.code} ${error.message}`;
    throw error;
  }
  return "no error";
}

const role = (grant: string) => SPEC.replace(/ {6}- \{verb: read.*\n/, `      - ${grant}\n`);

describe("spec files", () => {
  it("are read with comments, and written so that they read the same", () => {
    const spec = parseSpec(SPEC);
    expect(spec.roles[0]?.grants).toHaveLength(4);
    expect(parseSpec(specText(spec))).toEqual(spec);
    expect(parseSpec(specJson(spec))).toEqual(spec);
  });

  it("show what is unseen in names, or turns them round", () => {
    const spec = parseSpec(role('{verb: read, object: "/a\\u202eb\\u009b\\u200b\\t\\x1b[m"}'));
    const text = specText(spec);
    expect(text).toContain('object: "/a\\u202eb\\u009b\\u200b\\t\\e[m"');
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(parseSpec(text)).toEqual(spec);
  });

  it.each([
    ["no YAML", "traceSpec: [1", /^BAD_SPEC app\.spec:1:\d+: /],
    ["another document", "- 1\n", /BAD_SPEC app\.spec: this is no spec/],
    ["a newer version", "traceSpec: 99\nroles: []\n", /^SPEC_VERSION .*version 99/],
    ["no roles", "traceSpec: 1\n", /lacks `roles`/],
    [
      "a key that nothing knows",
      SPEC.replace("from:", "form:"),
      /app\.spec:4:5: .*(`form`.*from|lacks `from`)/,
    ],
    ["a verb that nothing knows", role("{verb: fly, object: /x}"), /app\.spec:8:\d+: .*verb/],
    [
      "a misspelt verb",
      role("{verb: raed, object: /x}"),
      /app\.spec:8:16: there is no verb raed; did you mean read\?/,
    ],
    [
      "a misspelt key",
      role("{verb: read, object: /x, phse: init}"),
      /`phse`.*did you mean phase\?/,
    ],
    [
      "a path that is not absolute",
      role("{verb: read, object: x}"),
      /app\.spec:8:9: read x: not an absolute path/,
    ],
    ["a path with dots", role("{verb: read, object: /a/../b}"), /are not allowed/],
    ["an unknown token", role("{verb: read, object: $NOPE/x}"), /no token \$NOPE/],
    [
      "a deep wildcard in the middle",
      role('{verb: read, object: "/a/**/b"}'),
      /only be the last name/,
    ],
    ["no address", role("{verb: connect, object: /x}"), /not an address/],
    ["no process", role("{verb: signal, object: everyone}"), /not a process/],
    [
      "contradictory grants",
      role("{verb: read, object: /x, phase: init}\n      - {verb: read, object: /x, phase: serve}"),
      /granted twice, for different phases/,
    ],
    [
      "two roles of one name",
      `${SPEC}  - {name: app, exe: [/x], from: [], grants: []}\n`,
      /two roles app/,
    ],
    [
      "aliases of YAML",
      SPEC.replace("[/usr/bin/app]", "&a [/usr/bin/app]").replace("from: []", "from: *a"),
      /aliases/,
    ],
    [
      "names of prototypes",
      SPEC.replace("from: []", "from: []\n    __proto__: {x: 1}"),
      /BAD_SPEC/,
    ],
    ["objects with line ends", role('{verb: read, object: "/x\\ny"}'), /BAD_SPEC/],
  ])("are refused with a reason: %s", (_, text, message) => {
    expect(failure(text)).toMatch(message);
  });
});
