"""A gRPC client of real grpcio and fastavro, driven by its standard input.

    client.py TARGET REQUEST_SCHEMA [RESPONSE_SCHEMA] [CA CERTIFICATE KEY]

Each line of standard input is one call:

    {"path": "/s/m", "record": {...}, "timeout": 5.0, "compression": "gzip", "cancel_after": 1}

`hex` in place of `record` sends these bytes. Each message that arrives is printed as a line
{"record": ...}, or {"hex": ...} if it is not a datum; the end as {"code": ..., "details": ...}.
"""

import io
import json
import sys

import fastavro
import grpc


def channel(target, certificates):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if not certificates:
        return grpc.insecure_channel(target, options=options)
    authority, certificate, key = (open(path, "rb").read() for path in certificates)
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    return grpc.secure_channel(target, credentials, options=options)


def message(call, schema):
    if "hex" in call:
        return bytes.fromhex(call["hex"])
    datum = io.BytesIO()
    fastavro.schemaless_writer(datum, schema, call["record"])
    return datum.getvalue()


def shown(datum, schema):
    stream = io.BytesIO(datum)
    try:
        record = fastavro.schemaless_reader(stream, schema)
    except Exception:
        return {"hex": datum.hex()}
    return {"hex": datum.hex()} if stream.read() else {"record": record}


def report(line):
    print(json.dumps(line), flush=True)


def run(stub, call, request, response):
    compression = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
    frames = stub(
        message(call, request),
        timeout=call.get("timeout"),
        compression=compression.get(call.get("compression")),
        wait_for_ready=call.get("wait_for_ready", False),
    )
    count = 0
    try:
        for datum in frames:
            report(shown(datum, response))
            count += 1
            if count == call.get("cancel_after"):
                frames.cancel()
        report({"code": "OK", "details": frames.details()})
    except grpc.RpcError as error:
        report({"code": error.code().name, "details": error.details()})


def main(target, request, response, *certificates):
    request, response = (fastavro.schema.load_schema(path) for path in (request, response))
    link = channel(target, certificates)
    for line in sys.stdin:
        call = json.loads(line)
        run(link.unary_stream(call["path"]), call, request, response)


main(*sys.argv[1:])
