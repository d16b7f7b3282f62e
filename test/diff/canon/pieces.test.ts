/** The bytes that a call moved. */

import { expect, it } from "vitest";
import { forPieces } from "../../../src/diff/canon/pieces.js";
import { CaptureSide } from "../../../src/trace/batch.js";
import { BatchBuilder, pack } from "../../support/batch.js";

const latin = (text: string) => Buffer.from(text, "latin1");

/** What sendmsg(2) with a name and two buffers moved, of a header that begins with those fields. */
function piecesOf(arch: number, header: Uint8Array): string {
  const word = arch === 1 ? 4 : 8;
  const list = pack([word, 0x3000], [word, 5], [word, 0x4000], [word, 9]);
  const at = { slot: 1, side: CaptureSide.In };
  const batch = new BatchBuilder()
    .call("sendmsg", {
      arch,
      args: [3, 0x1000, 0],
      ret: 11,
      captures: [
        { ...at, addr: 0x1000, bytes: header },
        { ...at, addr: 0x2000, bytes: latin("name") },
        { ...at, addr: 0x2800, bytes: list },
        { ...at, addr: 0x3000, bytes: latin("hello") },
        { ...at, addr: 0x4000, bytes: latin(" world, and") },
        { ...at, addr: 0x5000, bytes: latin("control") },
      ],
    })
    .build();
  let moved = "";
  forPieces(batch, 0, { slot: 1, out: false, shape: "msghdr" }, (piece) => {
    moved += Buffer.from(piece).toString("latin1");
  });
  return moved;
}

it("are those of a message's buffers, on either architecture", () => {
  const long = pack([8, 0x2000], [8, 4], [8, 0x2800], [8, 2], [8, 0x5000], [8, 7], [8, 0]);
  expect(long.length).toBe(56);
  expect(piecesOf(0, long)).toBe("hello world");
  const short = pack([4, 0x2000], [4, 4], [4, 0x2800], [4, 2], [4, 0x5000], [4, 7], [4, 0]);
  expect(short.length).toBe(28);
  expect(piecesOf(1, short)).toBe("hello world");
});
