import { describe, expect, it } from "vitest";
import { fewestLinks, isLink } from "../../src/spec/links.js";

function links(seen: Readonly<Record<string, string>>, ...objects: string[]) {
  const found = fewestLinks(new Map(Object.entries(seen)), objects);
  return Object.fromEntries(found.map(({ name, to }) => [name, to]));
}

describe("links", () => {
  it("are told of by names that lead elsewhere", () => {
    expect(isLink("/etc/localtime", "/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")).toBe(true);
    expect(isLink("../now/a", "/app/now/a", "/app/5/a")).toBe(true);
    expect(isLink("/etc/passwd", "/etc/passwd", "/etc/passwd")).toBe(false);
    expect(isLink("/lib/libc.so.6", "/lib/libc.so.6", "/usr/lib/libc.so.6")).toBe(false);
    expect(isLink("/proc/self/maps", "/proc/self/maps", "/proc/12/maps")).toBe(false);
    // `now` may lead anywhere, and `..` is above that place.
    expect(isLink("now/../a", "/app/a", "/app/releases/a")).toBe(false);
  });

  it("stand as high as several names agree", () => {
    const seen = { "$PWD/now/lib/a": "$PWD/5/lib/a", "$PWD/now/b": "$PWD/5/b" };
    expect(links(seen, "$PWD/5/lib/a")).toEqual({ "$PWD/now": "$PWD/5" });
    const one = { "/usr/share/locale/locale.alias": "/etc/locale.alias" };
    expect(links(one)).toEqual(one);
  });

  it("stand lower where a name or an object contradicts", () => {
    const seen = { "/a/ssl/x": "/etc/ssl/x", "/a/ssl/y": "/etc/ssl/y" };
    expect(links(seen)).toEqual({ "/a": "/etc" });
    expect(links(seen, "/a/lib")).toEqual({ "/a/ssl": "/etc/ssl" });
    expect(links(seen, "/a/ssl/own")).toEqual(seen);
    expect(links({ ...seen, "/a/ssl/z": "/var/z" })).toEqual({ ...seen, "/a/ssl/z": "/var/z" });
  });

  it("never stand in the place of a token", () => {
    const seen = { "$HOME/a/x": "/data/a/x", "$HOME/a/y": "/data/a/y" };
    expect(links(seen)).toEqual({ "$HOME/a": "/data/a" });
  });
});
