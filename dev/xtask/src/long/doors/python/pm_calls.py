"""A peer on the package json-rpc, whose calls share one link: pm_calls.py HOST:PORT CASE"""

import itertools
import json
import queue
import socket
import struct
import sys
import threading

import load
from jsonrpc.jsonrpc2 import JSONRPC20Request

host, port = sys.argv[1].rsplit(":", 1)
link = socket.create_connection((host, int(port)))
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
stream = link.makefile("rb")
writing, numbers, waiting = threading.Lock(), itertools.count(1), {}
DATA = {"text": "zażółć", "n": 17}


def call():
    number, answer = next(numbers), queue.SimpleQueue()
    waiting[number] = answer
    params = {"sid": "S", "params": DATA}
    data = JSONRPC20Request("custom_echo", params, _id=number).json.encode()
    with writing:
        link.sendall(struct.pack(">I", len(data)) + data)
    message = answer.get(timeout=30)
    assert message["result"]["result"] == DATA, message


def read():
    while head := stream.read(4):
        message = json.loads(stream.read(struct.unpack(">I", head)[0]))
        waiting.pop(message["id"]).put(message)


threading.Thread(target=read, daemon=True).start()
load.run(call)
