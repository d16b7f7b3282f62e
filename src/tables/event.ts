/** Table `event`: everything that was recorded, in its order. */

import { eventTable } from "./event_columns.js";
import { eventFields as f } from "./event_fields.js";

export const event = eventTable({
  name: "event",
  doc: "every event of the trace: calls, signals, program starts, exits, mapped files",
  brief: [
    ...["seq", "time", "proc", "kind", "name", "ret", "err", "dur"],
    ...["path_resolved", "fd_path", "bytes"],
  ],
  columns: [
    ...[f.seq, f.kind, f.time, f.duration, f.proc, f.thread, f.pid, f.tid],
    ...[f.name, f.ret, f.err, f.path, f.pathResolved, f.pathBytes, f.fd, f.fdPath],
    ...[f.bytes, f.peer, f.signal, f.exitCode, f.exitSignal, f.partial],
  ],
});
