/** Between which descriptors a call moves bytes. */

import type { RowShape } from "../query/facts.js";

/** Arguments that are the descriptor that bytes were read from, and the one that they were written to; -1: none. */
export interface Transfer {
  readonly from: number;
  readonly to: number;
}

const NOTHING: Transfer = { from: -1, to: -1 };

/** Source and destination of the calls that move bytes without memory of the program. */
const MOVERS: Readonly<Record<string, Transfer>> = {
  sendfile: { from: 1, to: 0 },
  sendfile64: { from: 1, to: 0 },
  splice: { from: 0, to: 2 },
  tee: { from: 0, to: 1 },
  copy_file_range: { from: 0, to: 2 },
  vmsplice: { from: -1, to: 0 },
};

/** Their result counts bytes, but not of the file's content. */
const OTHER_BYTES = /xattr|readlink|^getrandom|^lookup_dcookie|^process_/;

const known = new WeakMap<RowShape, Transfer>();

export function transferOf(shape: RowShape): Transfer {
  let transfer = known.get(shape);
  if (transfer === undefined) {
    transfer = makeTransfer(shape);
    known.set(shape, transfer);
  }
  return transfer;
}

function makeTransfer(shape: RowShape): Transfer {
  if (!shape.transfers || OTHER_BYTES.test(shape.name)) return NOTHING;
  if (shape.direction === "move") return MOVERS[shape.name] ?? NOTHING;
  const fd = shape.fds[0] ?? -1;
  return shape.direction === "read" ? { from: fd, to: -1 } : { from: -1, to: fd };
}
