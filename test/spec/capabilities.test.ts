import { describe, expect, it } from "vitest";
import { netlinkChange, unneededCapabilities } from "../../src/spec/capabilities.js";
import { roleOf, specWith, type Words } from "./support.js";

const ADMIN = 12;
const RAW = 13;

describe("capabilities of the network", () => {
  const without = (calls: string, ...grants: Words) =>
    unneededCapabilities(specWith(roleOf("app", "/bin/app", calls, grants)));

  it("are given up where nothing needs them", () => {
    expect(without("socket(inet,stream,tcp) socket(unix,dgram,0) socket(netlink,raw,0)")).toEqual([
      ADMIN,
      RAW,
    ]);
    expect(without("setsockopt ioctl sendto")).toEqual([ADMIN, RAW]);
  });

  it("are kept for what needs them", () => {
    for (const call of ["setsockopt(SOL_SOCKET,SO_MARK)", "ioctl(SIOCSIFFLAGS)"])
      expect(without(call), call).toEqual([]);
    for (const call of ["sendto(netlink,route,16)", "sendto(netlink,generic,*)"])
      expect(without(call), call).toEqual([RAW]);
    for (const kind of ["inet,raw,icmp", "inet6,*,*", "packet,dgram,0", "*,stream,0", "inet,3,1"])
      expect(without(`socket(${kind})`), kind).toEqual([ADMIN]);
    expect(without("", ["write", "/proc/sys/net/ipv4/ip_forward"])).toEqual([RAW]);
    expect(without("", ["ioctl:TUNSETIFF", "/dev/net/tun"])).toEqual([RAW]);
  });

  it("are not needed for messages that ask", () => {
    for (const [protocol, type] of [
      ["route", 18],
      ["route", 3],
      ["sock_diag", 20],
      ["generic", 16],
      ["audit", 1100],
    ] as const)
      expect(netlinkChange(protocol, type), `${protocol} ${type}`).toBeUndefined();
    expect(netlinkChange("route", 16)).toBe("sendto(netlink,route,16)");
    expect(netlinkChange("sock_diag", 21)).toBe("sendto(netlink,sock_diag,21)");
    expect(netlinkChange("netfilter", 2560)).toBe("sendto(netlink,netfilter,2560)");
  });
});
