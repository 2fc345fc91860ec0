"""Calls in the form of python-rpc on rq: rq_calls.py URL CASE"""

import json
import sys
import uuid

import load
import redis
from rq import Queue

connection = redis.StrictRedis.from_url(sys.argv[1])
jobs = Queue("default", connection=connection)


def call():
    key = str(uuid.uuid4())
    envelope = {"data": {"a": 1, "b": 2}, "id": str(uuid.uuid4()), "response_key": key}
    jobs.enqueue("rpc.python_rq_backend.dispatch", "add", envelope)
    _, answer = connection.blpop(key, 30)
    assert json.loads(answer)["data"] == {"answer": 3}, answer


load.run(call)
