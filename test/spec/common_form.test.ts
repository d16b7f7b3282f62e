import { describe, expect, it } from "vitest";
import { commonForm } from "../../src/spec/common_form.js";

describe("the form that two names have in common", () => {
  it("takes names of two runs together that differ where they are made up", () => {
    expect(commonForm("/w/obj/3f/aa11bb", "/w/obj/c0/dd22ee")).toBe("/w/obj/*/*");
    expect(commonForm("/w/build-1a/out", "/w/build-2b/out")).toBe("/w/build-*/out");
    expect(commonForm("$PWD/run.1305.pid", "$PWD/run.1344.pid")).toBe("$PWD/run.*.pid");
    expect(commonForm("$PWD/run.99.pid", "$PWD/run.100.pid")).toBe("$PWD/run.*.pid");
    expect(commonForm("/w/obj/3f/x", "/w/obj/3a/x")).toBe("/w/obj/*/x");
    expect(commonForm("/w/v1beta1", "/w/v1beta2")).toBe("/w/v1beta*");
    expect(commonForm("/w/.tmp-12-pack-*.idx", "/w/.tmp-17-pack-*.idx")).toBe(
      "/w/.tmp-*-pack-*.idx",
    );
    expect(commonForm("/tmp/abcdefgh", "/tmp/ijklmnop")).toBeUndefined();
    expect(commonForm("/tmp/abcdefgh", "/tmp/ijklmnop", true)).toBe("/tmp/*");
    expect(commonForm("/w/s-0ooeoxn.lock", "/w/s-0hdhye8.lock")).toBe("/w/s-*.lock");
    expect(commonForm("/w/s-ab3cd.lock", "/w/s-xy9zd.lock")).toBe("/w/s-*.lock");
    expect(commonForm("/w/cc3eisk2", "/w/ccdh4e8x")).toBe("/w/cc*");
    expect(commonForm("/w/z1*.o", "/w/z7*.o")).toBe("/w/z*.o");
    expect(commonForm("/w/z1\\*.o", "/w/z7\\*.o")).toBe("/w/z*\\*.o");
    expect(commonForm("/w/job-myqfeqda.log", "/w/job-mqxyzzya.log")).toBe("/w/job-*.log");
    expect(commonForm("/w/x-reportaa.log", "/w/x-reporzzz.log")).toBe(undefined);
    expect(commonForm("/1", "/2")).toBeUndefined();
    expect(commonForm("/w/alpha", "/w/gamma")).toBeUndefined();
    expect(commonForm("/a/b/c", "/a/b/c/d")).toBeUndefined();
    expect(commonForm("/w/x/y/z1", "/w/a/b/c2")).toBeUndefined();
  });
});
