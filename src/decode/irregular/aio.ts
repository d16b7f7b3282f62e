/** Asynchronous I/O: control blocks, whose members depend on the operation. */

import { CaptureSide } from "../../trace/batch.js";
import { bytesAt, MAX_ELEMENTS } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, flags } from "../flags.js";
import { uword } from "../memory.js";
import { signExtend } from "../scalar.js";
import { array, type Num, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { type Members, membersAt } from "./members.js";
import { iovecs } from "./message.js";
import type { Family, Shape } from "./registry.js";

const { In } = CaptureSide;

const CMD = { PREAD: 0, PWRITE: 1, POLL: 5, PREADV: 7, PWRITEV: 8 } as const;
const FLAG_RESFD = 1;

/** What every control block has. */
function header(block: Members): void {
  const opcode = block.low("aio_lio_opcode");
  block.add("aio_data:x aio_key:u?");
  block.add("aio_rw_flags?");
  block.put("aio_lio_opcode", opcodeName(opcode));
  block.add("aio_reqprio:d? aio_fildes");
}

/** strace writes unknown operations as decimal numbers. */
function opcodeName(opcode: number): Value {
  const value = choice("aio_cmd", opcode);
  if (value.name !== undefined) return value;
  return { kind: "int", value: opcode, base: "dec", text: `${opcode} /* IOCB_CMD_??? */` };
}

function trailer(block: Members): void {
  block.add("aio_flags?");
  const resfd = (block.low("aio_flags") & FLAG_RESFD) !== 0;
  block.add(resfd ? "aio_resfd" : "aio_resfd:x?");
}

/** Whether buffer and length are an address and a size of the program. */
function valid(call: CallContext, buffer: Num, length: Num): boolean {
  return (
    typeof length === "number" &&
    (call.word === 8 || (buffer <= 0xffff_ffff && length <= 0x7fff_ffff))
  );
}

function iocb(block: Members): Value {
  const { call } = block;
  header(block);
  const opcode = block.low("aio_lio_opcode");
  const buffer = block.num("aio_buf");
  const length = block.num("aio_nbytes");
  const sane = valid(call, buffer, length);
  switch (opcode) {
    case CMD.PREAD:
    case CMD.PWRITE:
      if (opcode === CMD.PWRITE && sane) {
        block.put("aio_buf", bytesAt(call, buffer, Number(length), In));
      } else block.add("aio_buf:x");
      block.add("aio_nbytes aio_offset");
      trailer(block);
      break;
    case CMD.PREADV:
    case CMD.PWRITEV: {
      const bytes = opcode === CMD.PWRITEV ? Number.POSITIVE_INFINITY : -1;
      if (sane) block.put("aio_buf", iovecs(call, buffer, Number(length), { side: In, bytes }));
      else block.add("aio_buf:x aio_nbytes");
      block.add("aio_offset");
      trailer(block);
      break;
    }
    case CMD.POLL:
      block.put("aio_buf", flags("poll_events", buffer));
      trailer(block);
      break;
    default:
  }
  return block.value();
}

function iocbAt(call: CallContext, addr: Num): Value {
  const block = membersAt("iocb", addr, call, In);
  return block === undefined ? address(addr) : iocb(block);
}

function iocbs(call: CallContext, k: number): Value {
  const addr = call.arg(k);
  const count = Number(signExtend(call.low(1), call.high(1), call.word));
  if (addr === 0 || count < 0) return address(addr);
  if (count === 0) return array([]);
  const data = call.memory.read(addr, Math.min(count, MAX_ELEMENTS) * call.word, In);
  if (data === undefined) return address(addr);
  const items: Value[] = [];
  for (let at = 0; at + call.word <= data.length; at += call.word) {
    items.push(iocbAt(call, uword(data, at, call.word) ?? 0));
  }
  return array(items, items.length < count);
}

function ioSetup(call: CallContext): Shape {
  return new Arguments(call).plain(0).kind(1, ">addr").shape();
}

function ioCancel(call: CallContext): Shape {
  const block = membersAt("iocb", call.arg(1), call, In);
  if (block !== undefined) header(block);
  const value = block === undefined ? address(call.arg(1)) : block.value();
  return new Arguments(call).plain(0).add(1, value).plain(2).shape();
}

/** The time-out of io_getevents is shown whatever became of the call. */
export const aioFamily: Family = {
  args: { iocbs },
  calls: { io_setup: ioSetup, io_cancel: ioCancel },
};
