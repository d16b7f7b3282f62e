/** Sockets, connections and look-ups of names: recorded where that needs no privilege, written by hand where it does. */

import { encode } from "dns-packet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { record } from "../record/support.js";
import { TextTrace, temporaryFolder } from "../support/text_trace.js";
import { findProgram } from "../support/tools.js";
import { readTable, withTrace } from "./support.js";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const script = `
const net = require("node:net");
const server = net.createServer((socket) => socket.on("data", (data) => socket.end("answer:" + data)));
server.listen(0, "127.0.0.1", () => {
  const socket = net.connect(server.address().port, "127.0.0.1", () => socket.write("question"));
  socket.on("data", (data) => process.stdout.write(String(server.address().port)));
  socket.on("close", () => server.close());
});
`;

describe("a connection in one program", () => {
  it("has two ends, and what went through", async () => {
    const { file, stdout } = await record([process.execPath, "-e", script], {
      options: ["--observe"],
    });
    const port = Number(stdout);
    await withTrace(file, async (trace) => {
      const connections = await readTable(trace, "connection");
      const own = connections.filter(({ family }) => family === "AF_INET");
      const [out, incoming] = ["out", "in"].map((way) => own.find((row) => row.direction === way));
      expect(own.length).toBe(2);
      expect(out).toMatchObject({
        peer: `127.0.0.1:${port}`,
        peer_port: port,
        peer_address: "127.0.0.1",
      });
      expect(out).toMatchObject({ bytes_written: 8, bytes_read: 15, protocol: "TCP" });
      expect(incoming).toMatchObject({ bytes_written: 15, bytes_read: 8 });
      expect(Number(incoming?.closed)).toBeGreaterThan(Number(incoming?.time));
      const sockets = await readTable(trace, "socket");
      const listening = sockets.find(
        ({ local_port }) => local_port === port && local_port !== undefined,
      );
      expect(listening).toMatchObject({ family: "AF_INET", type: "SOCK_STREAM", state: "closed" });
      const ids = new Set(sockets.map(({ fd_id }) => fd_id));
      for (const row of own) expect(ids.has(row.fd_id)).toBe(true);
    });
  });

  it.skipIf(findProgram("bash") === undefined)("shows what was refused", async () => {
    const { file } = await record(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/1 || true"]);
    await withTrace(file, async (trace) => {
      const rows = await readTable(trace, "connection");
      expect(rows.find(({ peer_port }) => peer_port === 1)).toMatchObject({
        direction: "out",
        peer: "127.0.0.1:1",
        err: "ECONNREFUSED",
        bytes_written: 0,
      });
    });
  });
});

/** struct sockaddr_in. */
function address(port: number, ...ip: number[]): Uint8Array {
  return Uint8Array.of(2, 0, port >> 8, port & 255, ...ip, 0, 0, 0, 0, 0, 0, 0, 0);
}

const question = { type: "A", name: "example.org" } as const;
const asked = encode({ type: "query", id: 7, questions: [question] });
const answered = encode({
  type: "response",
  id: 7,
  questions: [question],
  answers: [
    { type: "CNAME", name: "example.org", data: "host.example.org" },
    { type: "A", name: "host.example.org", data: "192.0.2.1" },
  ],
});
const unknown = encode({
  type: "query",
  id: 8,
  questions: [{ type: "AAAA", name: "nowhere.test" }],
});
const prefixed = Buffer.concat([Buffer.from([0, asked.length]), asked]);

describe("names that were looked up", () => {
  const path = folder.file("dns.trace");

  beforeAll(async () => {
    const trace = new TextTrace()
      .thread(1, 1, 100, 100)
      .object("socket", "socket:[1]", "UDP")
      .object("socket", "socket:[2]", "TCP")
      .event("task", { args: [0, 0] })
      .call("connect", {
        args: [3, 0x1000, 16],
        captures: [[1, "in", 0x1000, address(53, 192, 0, 2, 53)]],
        refs: [[0, 3, 0]],
      })
      .call("write", {
        args: [3, 0x2000, asked.length],
        ret: asked.length,
        captures: [[1, "in", 0x2000, asked]],
        refs: [[0, 3, 0]],
      })
      .call("write", {
        args: [3, 0x2000, unknown.length],
        ret: unknown.length,
        captures: [[1, "in", 0x2000, unknown]],
        refs: [[0, 3, 0]],
      })
      .call("read", {
        args: [3, 0x3000, 512],
        ret: answered.length,
        captures: [[1, "out", 0x3000, answered]],
        refs: [[0, 3, 0]],
      })
      .call("connect", {
        args: [4, 0x1000, 16],
        captures: [[1, "in", 0x1000, address(80, 192, 0, 2, 80)]],
        refs: [[0, 4, 1]],
      })
      // Not to port 53: these bytes are no question, whatever they look like.
      .call("write", {
        args: [4, 0x2000, asked.length],
        ret: asked.length,
        captures: [[1, "in", 0x2000, asked]],
        refs: [[0, 4, 1]],
      })
      .call("sendto", {
        args: [4, 0x2000, prefixed.length, 0, 0x1000, 16],
        ret: prefixed.length,
        captures: [
          [1, "in", 0x2000, prefixed],
          [4, "in", 0x1000, address(53, 192, 0, 2, 54)],
        ],
        refs: [[0, 4, 1]],
      });
    await trace.write(path);
  });

  it("are read from the messages", async () => {
    const rows = await withTrace(path, (trace) => readTable(trace, "dns"));
    expect(rows).toMatchObject([
      {
        ...{ server: "192.0.2.53:53", query: "example.org", type: "A", rcode: "NOERROR" },
        ...{ answers: "host.example.org 192.0.2.1", answered_by: 4 },
      },
      { query: "nowhere.test", type: "AAAA", rcode: undefined, answers: undefined },
      { server: "192.0.2.54:53", query: "example.org" },
    ]);
    expect(Number(rows[0]?.took)).toBeGreaterThan(0);
  });

  it("wait for their answers while others go unanswered", async () => {
    const question = (id: number, name: string) =>
      encode({ type: "query", id, questions: [{ type: "A", name }] });
    const trace = new TextTrace()
      .thread(1, 1, 100, 100)
      .object("socket", "socket:[1]", "UDP")
      .event("task", { args: [0, 0] })
      .call("connect", {
        args: [3, 0x1000, 16],
        captures: [[1, "in", 0x1000, address(53, 192, 0, 2, 53)]],
        refs: [[0, 3, 0]],
      });
    const many = 5000;
    for (let id = 0; id < many; id++) {
      const bytes = question(id, `n${id}.test`);
      trace.call("write", {
        args: [3, 0x2000, bytes.length],
        ret: bytes.length,
        captures: [[1, "in", 0x2000, bytes]],
        refs: [[0, 3, 0]],
      });
    }
    // Among the 4096 that were asked last, and the oldest of all.
    for (const id of [many - 4096, 0]) {
      const bytes = encode({
        type: "response",
        id,
        questions: [{ type: "A", name: `n${id}.test` }],
        answers: [{ type: "A", name: `n${id}.test`, data: "192.0.2.9" }],
      });
      trace.call("read", {
        args: [3, 0x3000, 512],
        ret: bytes.length,
        captures: [[1, "out", 0x3000, bytes]],
        refs: [[0, 3, 0]],
      });
    }
    const file = await trace.write(folder.file("many.trace"));
    const rows = await withTrace(file, (one) => readTable(one, "dns"));
    expect(rows.length).toBe(many);
    const answered = rows.filter(({ answers }) => answers !== undefined);
    expect(answered.map(({ query }) => query)).toEqual([`n${many - 4096}.test`]);
  });
});
