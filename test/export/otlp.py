"""Reads OTLP JSON lines with the published definitions and prints the spans as JSON.

OTLP writes ids in hexadecimal, where the JSON form of protocol buffers has base64; they are turned around first.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.trace.v1 import trace_pb2 as pb


def base64_ids(value):
    if isinstance(value, list):
        return [base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in ids else base64_ids(item)
        for key, item in value.items()
    }


def plain(value):
    field = value.WhichOneof("value")
    if field == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, field)


def attributes(message):
    return {attribute.key: plain(attribute.value) for attribute in message.attributes}


spans = []
for line in open(sys.argv[1], encoding="utf-8"):
    data = json_format.ParseDict(base64_ids(json.loads(line)), pb.TracesData())
    for group in data.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                assert len(span.trace_id) == 16 and len(span.span_id) == 8
                spans.append({
                    "traceId": span.trace_id.hex(),
                    "spanId": span.span_id.hex(),
                    "parentSpanId": span.parent_span_id.hex(),
                    "name": span.name,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": attributes(span),
                    "resource": attributes(group.resource),
                    "error": span.status.message if span.status.code == pb.Status.STATUS_CODE_ERROR else None,
                })
json.dump(spans, sys.stdout)
