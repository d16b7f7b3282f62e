import { describe, expect, it } from "vitest";
import { isSecret, protection } from "../../src/spec/places.js";

describe("places", () => {
  it("never climbs into protected places", () => {
    for (const place of [
      "/",
      "/etc",
      "/etc/ssl",
      "/usr/bin",
      "/home/me",
      "/home/me/.ssh",
      "/home/me/.config/app",
      "/home/me/.npm",
      "/home/me/.npm/_logs2",
      "/home/me/.ssh/tmp",
      "/home/me/.ansible/tmp2",
      "/home/me/.config/go",
      "/root/x",
    ]) {
      expect(protection(place, "/home/me"), place).toBeDefined();
    }
    for (const place of [
      "/tmp",
      "/home/me/work",
      "/home/me/.cache/app",
      "/home/me/.npm/_logs",
      "/home/me/.ansible/tmp",
      "/home/me/.config/go/telemetry/local",
      "/var/lib/app",
      "/dev/shm",
    ]) {
      expect(protection(place, "/home/me"), place).toBeUndefined();
    }
    for (const secret of [
      "/etc/shadow",
      "/home/me/.ssh/id_rsa",
      "/x/server.key",
      "/home/me/.aws/credentials",
      "/app/.env",
    ]) {
      expect(isSecret(secret), secret).toBe(true);
    }
    expect(isSecret("/etc/ssl/certs/ca.pem")).toBe(false);
  });
});
