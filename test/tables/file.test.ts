/** What calls did with a file, where one call names it twice. */

import { afterAll, expect, it } from "vitest";
import { TextTrace, temporaryFolder } from "../support/text_trace.js";
import { readTable, withTrace } from "./support.js";

const folder = temporaryFolder();
afterAll(() => folder.remove());

it("a call that names a file twice is one call", async () => {
  const trace = new TextTrace()
    .thread(1, 1, 10, 10)
    .object("dir", "/srv")
    .object("file", "/srv/a")
    .event("task", { args: [0, 0] })
    .call("copy_file_range", {
      args: [3, 0, 4, 0, 50, 0],
      ret: 50,
      refs: [
        [0, 3, 1],
        [2, 4, 1],
      ],
    })
    .call("rename", {
      args: [0x1000, 0x2000],
      captures: [
        [0, "in", 0x1000, "b\0"],
        [1, "in", 0x2000, "b\0"],
      ],
      refs: [["cwd", -1, 0]],
    })
    .call("rename", {
      args: [0x1000, 0x2000],
      captures: [
        [0, "in", 0x1000, "b\0"],
        [1, "in", 0x2000, "/srv/c\0"],
      ],
      refs: [["cwd", -1, 0]],
    });
  const path = await trace.write(folder.file("twice.trace"));
  const rows = await withTrace(path, (one) => readTable(one, "file"));
  const columns = ["path", "calls", "reads", "writes", "bytes_read", "bytes_written", "total"];
  expect(rows.map((row) => columns.map((name) => row[name]))).toEqual([
    ["/srv/a", 1, 1, 1, 50, 50, 1000],
    ["/srv/b", 2, 0, 0, 0, 0, 2000],
    ["/srv/c", 1, 0, 0, 0, 0, 1000],
  ]);
});
