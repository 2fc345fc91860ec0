"""A grpcio server with the same methods and schema: grpc_avro_server.py - call|init SCHEMA"""

from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_avro_codec import read, written


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
