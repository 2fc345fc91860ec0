"""A caller in the form of python-rpc: calls go through rq's own queue.

    caller.py URL QUEUE NAME DATA [wait]

Prints the answer as JSON, or the job's id without `wait`.
"""

import json
import sys
import uuid

import redis
from rq import Queue

FUNCTION = "rpc.python_rq_backend.dispatch"


def main():
    url, queue, name, data = sys.argv[1:5]
    waits = sys.argv[5:] == ["wait"]
    connection = redis.StrictRedis.from_url(url)
    response_key = str(uuid.uuid4()) if waits else None
    envelope = {"data": json.loads(data), "id": str(uuid.uuid4()), "response_key": response_key}
    job = Queue(queue, connection=connection).enqueue(FUNCTION, name, envelope)
    if not waits:
        print(json.dumps(job.id))
        return
    _, answer = connection.blpop(response_key, 30)
    print(json.dumps(json.loads(answer.decode("utf-8"))["data"]))


main()
