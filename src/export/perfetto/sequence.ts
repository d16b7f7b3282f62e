/**
 * Packet sequences: each thread of the trace writes its own, so that times are small differences and texts are said once. When it has
 * ended, the next thread goes on with its sequence and with the texts that are known there.
 *
 * A sequence has a clock of its own that counts from packet to packet, in the unit of the trace's times. What began before the
 * packet in front of it (a call that the kernel restarted, the start of a program inside its execve) has its time in full.
 *
 * What differs from packet to packet stands at its end, the time last: so packets of one kind begin with the same bytes, which
 * gzip finds again.
 */

import type { ProtoWriter } from "../protobuf.js";
import {
  Clock,
  ClockId,
  Clocks,
  Defaults,
  Interned,
  InternedText,
  Packet,
  SequenceFlag,
  Trace,
  TrackEventDefaults,
} from "./fields.js";

/** What is interned, each kind with numbers of its own. */
export type TextKind = "categories" | "names" | "annotationNames" | "annotationStrings";

/** Texts that are numbered; what comes after that many is written out each time. */
const MAX_TEXTS = 1 << 16;

interface Text {
  readonly kind: TextKind;
  readonly iid: number;
  readonly text: string;
}

/** Numbers of texts over all sequences. */
export class Texts {
  readonly #known: Record<TextKind, Map<string, Text>> = {
    categories: new Map(),
    names: new Map(),
    annotationNames: new Map(),
    annotationStrings: new Map(),
  };

  get(kind: TextKind, text: string): Text | undefined {
    const known = this.#known[kind];
    let found = known.get(text);
    if (found === undefined && known.size < MAX_TEXTS) {
      found = { kind, iid: known.size + 1, text };
      known.set(text, found);
    }
    return found;
  }
}

export interface SequenceFacts {
  readonly id: number;
  /** The track of its events. */
  readonly track: number;
  readonly start: number;
}

export class Sequence {
  readonly #writer: ProtoWriter;
  readonly #texts: Texts;
  readonly #id: number;
  /** Nanoseconds of one unit of the clock. */
  readonly #tick: number;
  readonly #said = new Set<Text>();
  #unsaid: Text[] = [];
  #last: number;

  /** `start`: the time of its first packet, in nanoseconds. All times are whole numbers of ticks. */
  constructor(writer: ProtoWriter, texts: Texts, tick: number, of: SequenceFacts) {
    this.#writer = writer;
    this.#texts = texts;
    this.#tick = tick;
    this.#id = of.id;
    this.#last = of.start;
    const packet = this.#open(SequenceFlag.cleared);
    writer.uint(Packet.firstOnSequence, 1);
    this.#defaults(of.track);
    this.#clock(of.start);
    writer.close(packet);
  }

  /** Goes on with the events of another track. */
  retarget(track: number): void {
    const packet = this.#open(SequenceFlag.needsState);
    this.#defaults(track);
    this.#writer.close(packet);
  }

  #open(flag: number): number {
    const w = this.#writer;
    const packet = w.open(Trace.packet);
    w.uint(Packet.sequenceId, this.#id);
    w.uint(Packet.sequenceFlags, flag);
    return packet;
  }

  #defaults(track: number): void {
    const w = this.#writer;
    const defaults = w.open(Packet.defaults);
    w.uint(Defaults.timestampClockId, ClockId.ofSequence);
    const event = w.open(Defaults.trackEvent);
    w.uint(TrackEventDefaults.trackUuid, track);
    w.close(event);
    w.close(defaults);
  }

  #clock(start: number): void {
    const w = this.#writer;
    const snapshot = w.open(Packet.clockSnapshot);
    const own = w.open(Clocks.clock);
    w.uint(Clock.id, ClockId.ofSequence);
    w.uint(Clock.timestamp, 0);
    w.uint(Clock.isIncremental, 1);
    w.uint(Clock.unitNanos, this.#tick);
    w.close(own);
    const boot = w.open(Clocks.clock);
    w.uint(Clock.id, ClockId.boottime);
    w.uint(Clock.timestamp, start);
    w.close(boot);
    w.close(snapshot);
  }

  /** Begins a packet; `end` takes what this returns. */
  begin(): number {
    return this.#open(SequenceFlag.needsState);
  }

  /** The number of a text, which the packet will bring along where it is new; 0 where it has none. */
  iid(kind: TextKind, text: string): number {
    const found = this.#texts.get(kind, text);
    if (found === undefined) return 0;
    if (!this.#said.has(found)) {
      this.#said.add(found);
      this.#unsaid.push(found);
    }
    return found.iid;
  }

  /** Ends a packet of that time. */
  end(packet: number, time: number): void {
    const w = this.#writer;
    if (this.#unsaid.length > 0) {
      const data = w.open(Packet.internedData);
      for (const { kind, iid, text } of this.#unsaid) {
        const entry = w.open(Interned[kind]);
        w.uint(InternedText.iid, iid);
        w.string(InternedText.text, text);
        w.close(entry);
      }
      w.close(data);
      this.#unsaid = [];
    }
    const ticks = (time - this.#last) / this.#tick;
    if (ticks >= 0 && Number.isInteger(ticks)) {
      w.uint(Packet.timestamp, ticks);
      this.#last = time;
    } else {
      w.uint(Packet.timestampClockId, ClockId.boottime);
      w.uint(Packet.timestamp, time);
    }
    w.close(packet);
  }
}
