"""A console of auto-trainer-api over pyzmq: zmtp_calls.py HOST:PORT CASE"""

import itertools
import json
import sys

import autotrainer.api as api
import humps
import load
import zmq

socket = zmq.Context().socket(zmq.REQ)
socket.connect(f"tcp://{sys.argv[1]}")
numbers = itertools.count(1)


def call():
    nonce = next(numbers)
    command = api.ApiCommand.SET_TRAINING_MODE
    request = api.ApiCommandRequest(command=command, nonce=nonce, data={"mode": 3})
    members = {name: value for name, value in request.__dict__.items() if value is not None}
    socket.send_string(json.dumps(humps.camelize(members)))
    assert socket.poll(30_000), "no reply"
    reply = json.loads(socket.recv())
    assert (reply["nonce"], reply["result"], reply["data"]) == (nonce, 100, {"mode": 3}), reply


load.run(call)
