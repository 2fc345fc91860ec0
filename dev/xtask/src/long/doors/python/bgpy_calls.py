"""Calls of bgpy's own client: bgpy_calls.py HOST:PORT CASE"""

import sys

import load
from bgpy import Client
from bgpy.example.tasks import exec_task, exit_task, init_task

host, port = sys.argv[1].rsplit(":", 1)
client = Client(host=host, port=int(port), token="tok-0123456789", log_level="CRITICAL")
client.initialize(init_task, exec_task, exit_task)


def call():
    receipt = client.execute({"command": "increase", "value_change": 1})
    assert receipt["message"] == "Received 'EXEC'", receipt


load.run(call)
