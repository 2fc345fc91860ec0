"""A grpcio server with the same methods and schema: grpc_avro_server.py - call|init SCHEMA"""

import io
import sys
from concurrent.futures import ThreadPoolExecutor

import fastavro
import grpc

schema = fastavro.schema.load_schema(sys.argv[3])


def written(record):
    datum = io.BytesIO()
    fastavro.schemaless_writer(datum, schema, record)
    return datum.getvalue()


def read(datum):
    return fastavro.schemaless_reader(io.BytesIO(datum), schema)


def init(record, context):
    for state in ("Pending", "Processing", "Success"):
        yield {**record, "hash": "0123456789abcdef", "status": state}


one = grpc.unary_unary_rpc_method_handler(lambda record, _: record, read, written)
many = grpc.unary_stream_rpc_method_handler(init, read, written)
server = grpc.server(ThreadPoolExecutor(max_workers=8))
services = [("templateaapi.TemplateCall", {"callTemplate": one}),
            ("templateaapi.TemplateInit", {"initTemplate": many})]
server.add_generic_rpc_handlers(
    [grpc.method_handlers_generic_handler(name, methods) for name, methods in services])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"127.0.0.1:{port}", flush=True)
server.wait_for_termination()
