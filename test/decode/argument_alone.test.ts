/** An argument that is decoded without the others is what it is among them. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { decodeArgument, decodeCall } from "../../src/decode/call.js";
import { EventKind } from "../../src/trace/batch.js";
import { CALL_COLUMNS } from "../../src/trace/columns.js";
import { withTrace } from "../tables/support.js";

const folder = fileURLToPath(new URL("../../traces/", import.meta.url));
const traces = readdirSync(folder).filter((name) => name.endsWith(".trace"));

it.each(traces)("%s", async (name) => {
  await withTrace(join(folder, name), async (trace) => {
    for await (const batch of trace.batches({ columns: CALL_COLUMNS })) {
      for (let i = 0; i < batch.count; i++) {
        if (batch.kind[i] !== EventKind.Call) continue;
        const { args } = decodeCall(batch, i, trace);
        for (let k = 0; k <= args.length; k++) {
          expect(decodeArgument(batch, i, trace, k)).toEqual(args[k]?.value);
        }
      }
    }
  });
});
