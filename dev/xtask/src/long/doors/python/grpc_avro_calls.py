"""Calls by grpcio and fastavro: grpc_avro_calls.py HOST:PORT call|init SCHEMA

`call` is one answer, `init` a stream of states up to Success.
"""

import sys

import grpc
import load
from grpc_avro_codec import read, written

stream = sys.argv[2] == "init"
ARGS = {"ingest": None, "ingest_type": "metadata", "daterange": "2023-03-07", "persistence": stream}
RECORD = {"hash": None, "id": None, "task": "SYMBOL1", "status": None, "task_args": ARGS}

channel = grpc.insecure_channel(sys.argv[1])
one = channel.unary_unary("/templateaapi.TemplateCall/callTemplate", written, read)
many = channel.unary_stream("/templateaapi.TemplateInit/initTemplate", written, read)


def call():
    if stream:
        states = [record["status"] for record in many(RECORD, timeout=30)]
        assert states[0] == "Pending" and states[-1] == "Success", states
    else:
        assert one(RECORD, timeout=30) == RECORD


load.run(call)
