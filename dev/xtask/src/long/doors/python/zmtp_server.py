"""A device that answers each command with its data: zmtp_server.py - device|rep

`device` is the service of auto-trainer-api, which reads one command per 50 ms; `rep` is a REP
socket of pyzmq alone, with the package's parser.
"""

import json
import socket
import sys

import autotrainer.api as api
import autotrainer.api.zeromq.zeromq_api_service as service
import humps
import zmq

# It would listen on an address of the network, too.
service.get_ip4_addr_str = lambda: "127.0.0.1"


def free():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def device(port):
    options = api.api_options.RpcOptions(subscriber_port=free(), command_port=port)
    device = api.create_api_service(api.api_options.ApiOptions(rpc=options))
    success = api.ApiCommandRequestResult.SUCCESS
    device.command_request_delegate = lambda request: api.ApiCommandRequestResponse(
        result=success, data=request.data)
    device.start()


def rep(port):
    replies = zmq.Context().socket(zmq.REP)
    replies.bind(f"tcp://127.0.0.1:{port}")
    while True:
        request = api.ApiCommandRequest.parse_bytes(replies.recv())
        reply = {"nonce": request.nonce, "command": request.command, "result": 100,
                 "data": request.data, "error_kind": 0, "error_code": 0, "error_message": None}
        replies.send_string(json.dumps(humps.camelize(reply)))


port = free()
print(f"127.0.0.1:{port}", flush=True)
{"device": device, "rep": rep}[sys.argv[2]](port)
