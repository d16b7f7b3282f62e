"""Reads a Perfetto trace with the published definitions, as trace processor would, and prints what it holds as JSON.

Everything that a reader has to do is done here from the definitions alone: clocks of sequences, interned texts, defaults,
matching of begins and ends by time on each track.
"""

import gzip
import json
import sys

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb

BOOTTIME = 6


class Sequence:
    def __init__(self):
        self.clocks = {}
        self.units = {}
        self.interned = {}
        self.defaults = None


def annotation(state, a):
    name = a.name if a.HasField("name") else state.interned[("debug_annotation_names", a.name_iid)]
    return name, value_of(state, a)


def value_of(state, a):
    if a.dict_entries:
        return dict(annotation(state, entry) for entry in a.dict_entries)
    if a.array_values:
        return [value_of(state, entry) for entry in a.array_values]
    field = a.WhichOneof("value")
    if field is None:
        return None
    value = getattr(a, field)
    if field == "string_value_iid":
        return state.interned[("debug_annotation_string_values", value)]
    if field == "pointer_value":
        return {"pointer": value}
    return value


def main(path):
    data = (gzip.open if path.endswith(".gz") else open)(path, "rb").read()
    trace = pb.Trace()
    trace.ParseFromString(data)
    size = trace.ByteSize()
    trace.DiscardUnknownFields()
    assert trace.ByteSize() == size == len(data), "fields that the definitions do not have"
    sequences, tracks, events, clocks = {}, {}, [], {}
    for order, packet in enumerate(trace.packet):
        state = sequences.setdefault(packet.trusted_packet_sequence_id, Sequence())
        if packet.sequence_flags & pb.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED:
            state.__init__()
        if packet.HasField("trace_packet_defaults"):
            state.defaults = packet.trace_packet_defaults
        for field in ("event_categories", "event_names", "debug_annotation_names", "debug_annotation_string_values"):
            for entry in getattr(packet.interned_data, field):
                text = entry.str.decode() if field == "debug_annotation_string_values" else entry.name
                known = state.interned.setdefault((field, entry.iid), text)
                assert known == text, "a number was given to two texts"
        if packet.HasField("clock_snapshot"):
            snapshot = {clock.clock_id: clock.timestamp for clock in packet.clock_snapshot.clocks}
            for clock in packet.clock_snapshot.clocks:
                if 64 <= clock.clock_id < 128:
                    assert clock.is_incremental and clock.timestamp == 0
                    state.clocks[clock.clock_id] = snapshot[BOOTTIME]
                    state.units[clock.clock_id] = clock.unit_multiplier_ns or 1
                else:
                    clocks.setdefault(clock.clock_id, clock.timestamp)
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            tracks[track.uuid] = {
                "uuid": track.uuid,
                "parent": track.parent_uuid or None,
                "name": track.process.process_name or track.thread.thread_name or track.name,
                "pid": track.process.pid or track.thread.pid or None,
                "tid": track.thread.tid or None,
                "cmdline": list(track.process.cmdline),
                "kind": next((k for k in ("process", "thread", "counter") if track.HasField(k)), "plain"),
                "unit": track.counter.unit,
            }
        if packet.HasField("track_event"):
            assert packet.sequence_flags & pb.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
            clock = packet.timestamp_clock_id or state.defaults.timestamp_clock_id
            if clock == BOOTTIME:
                time = packet.timestamp
            else:
                state.clocks[clock] += packet.timestamp * state.units[clock]
                time = state.clocks[clock]
            event = packet.track_event
            track = event.track_uuid if event.HasField("track_uuid") else state.defaults.track_event_defaults.track_uuid
            name = event.name or state.interned.get(("event_names", event.name_iid), "")
            events.append({
                "time": time,
                "order": order,
                "type": event.type,
                "track": track,
                "name": name,
                "categories": [state.interned[("event_categories", iid)] for iid in event.category_iids],
                "args": dict(annotation(state, a) for a in event.debug_annotations),
                "flows": list(event.flow_ids) + list(event.terminating_flow_ids),
                "counters": list(zip(event.extra_counter_track_uuids, event.extra_counter_values)),
            })
    # Trace processor sorts all packets by time, and those of one time stay in the order of the file.
    events.sort(key=lambda event: (event["time"], event["order"]))
    slices, open_slices, flows, counters = [], {}, {}, []
    for event in events:
        assert event["track"] in tracks, "an event on a track without a descriptor"
        stack = open_slices.setdefault(event["track"], [])
        if event["type"] == pb.TrackEvent.TYPE_SLICE_END:
            found = stack.pop()
            found["dur"] = event["time"] - found["time"]
        else:
            instant = event["type"] == pb.TrackEvent.TYPE_INSTANT
            found = {key: event[key] for key in ("time", "track", "name", "categories", "args")}
            found |= {"dur": None if instant else -1, "depth": len(stack), "number": len(slices)}
            slices.append(found)
            if not instant:
                stack.append(found)
        for flow in event["flows"]:
            flows.setdefault(flow, []).append({"slice": found["number"], "time": event["time"]})
        for uuid, value in event["counters"]:
            assert tracks[uuid]["kind"] == "counter"
            counters.append({"track": uuid, "time": event["time"], "value": value})
    json.dump({
        "bytes": len(data),
        "uuid": next((f"{p.trace_uuid.msb & (2**64 - 1):016x}{p.trace_uuid.lsb & (2**64 - 1):016x}" for p in trace.packet if p.HasField("trace_uuid")), None),
        "clocks": clocks,
        "tracks": list(tracks.values()),
        "slices": slices,
        "open": sum(len(stack) for stack in open_slices.values()),
        "flows": [{"id": flow, "steps": steps} for flow, steps in flows.items()],
        "counters": counters,
    }, sys.stdout)


main(sys.argv[1])
