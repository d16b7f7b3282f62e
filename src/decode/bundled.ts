/**
 * Calls in calls: i386 has socketcall(2) and ipc(2), whose first argument says which call they stand for.
 *
 * What they stand for is decoded and shown as that call, as strace does: a view of the event whose arguments are words in
 * memory or stand in another order. Operations that are not known stay what they are.
 */

import { Slot } from "../trace/batch.js";
import { CallContext } from "./context.js";
import { choiceName } from "./flags.js";
import { u32 } from "./memory.js";
import { SYSCALLS, type SyscallRow } from "./tables.generated.js";
import type { FdValue } from "./value.js";

/** The event as the call that it stands for. */
class BundledCall extends CallContext {
  readonly #words: readonly number[];
  readonly #name: string;

  constructor(outer: CallContext, row: SyscallRow, name: string, words: readonly number[]) {
    super(outer.batch, outer.i, outer.trace, row);
    this.#words = words;
    this.#name = name;
  }

  override get name(): string {
    return this.#name;
  }

  override low(k: number): number {
    return this.#words[k] ?? 0;
  }

  /** Slots are those of the outer call; only what it mentions is known. */
  override fd(fd: number, slot: number = Slot.Nested): FdValue {
    return super.fd(fd, slot === Slot.Ret ? slot : Slot.Nested);
  }
}

/** Whether the call is shown in place of ipc(2). */
export function isBundled(call: CallContext): boolean {
  return call instanceof BundledCall;
}

/** The call itself, or what it stands for. */
export function unbundled(call: CallContext): CallContext {
  if (call.word !== 4) return call;
  if (call.name === "socketcall") return socketcall(call) ?? call;
  return call.name === "ipc" ? (ipc(call) ?? call) : call;
}

/** The row of that name; of several, the one that i386 has. */
function rowNamed(name: string): SyscallRow | undefined {
  const rows = SYSCALLS.filter((row) => row.name === name);
  return rows.find((row) => row.i386 >= 0) ?? rows[0];
}

/** Socket calls that have no number of their own: the first arguments of one that has. */
const SHORTER: Readonly<Record<string, string>> = { send: "sendto", recv: "recvfrom" };
const SHORTER_ARGUMENTS = 4;

function socketcall(call: CallContext): CallContext | undefined {
  const name = choiceName("socketcall", call.low(0))?.replace("SYS_", "").toLowerCase();
  if (name === undefined) return undefined;
  const longer = SHORTER[name];
  const found = rowNamed(longer ?? name);
  if (found === undefined) return undefined;
  const row =
    longer === undefined ? found : { ...found, name, args: found.args.slice(0, SHORTER_ARGUMENTS) };
  const words = wordsAt(call, call.low(1), row.args.length);
  return words && new BundledCall(call, row, name, words);
}

function wordsAt(call: CallContext, addr: number, count: number): number[] | undefined {
  const data = call.memory.readAll(addr, 4 * count);
  return data && Array.from({ length: count }, (_, k) => u32(data, 4 * k) ?? 0);
}

/** Where the arguments of the inner calls are: indexes of the outer one's. shmat has one more, for its result. */
const PLACES: Readonly<Record<string, readonly number[]>> = {
  SEMOP: [1, 4, 2],
  SEMTIMEDOP: [1, 4, 2, 5],
  SEMGET: [1, 2, 3],
  SEMCTL: [1, 2, 3, 4],
  MSGSND: [1, 4, 2, 3],
  MSGRCV: [1, 4, 2, 5, 3],
  MSGGET: [1, 2],
  MSGCTL: [1, 2, 4],
  SHMAT: [1, 4, 2, 3],
  SHMDT: [4],
  SHMGET: [1, 2, 3],
  SHMCTL: [1, 2, 4],
};

function ipc(call: CallContext): CallContext | undefined {
  const operation = choiceName("ipc_call", call.low(0) & 0xffff) ?? "";
  const places = PLACES[operation];
  const row = rowNamed(operation.toLowerCase());
  if (places === undefined || row === undefined) return undefined;
  const words = places.map((k) => call.low(k));
  if (operation === "SEMCTL") {
    const inner = wordsAt(call, call.low(4), 1);
    if (inner === undefined) return undefined;
    words[3] = inner[0] ?? 0;
  }
  if (operation === "MSGRCV" && call.low(0) >>> 16 === 0) {
    const inner = wordsAt(call, call.low(4), 2);
    if (inner === undefined) return undefined;
    words[1] = inner[0] ?? 0;
    words[3] = inner[1] ?? 0;
  }
  return new BundledCall(call, row, operation.toLowerCase(), words);
}
