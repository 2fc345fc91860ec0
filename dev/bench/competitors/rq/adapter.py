"""rq: `adapter.py about`, `worker`, or `call CALLERS WARM_UP_MS LASTS_MS`.

Setting: SimpleWorker, which runs jobs in its own process instead of forking for each; rq's notes on
performance have it six times as fast, for very short jobs that are trusted:
https://github.com/rq/rq/blob/master/docs/benchmark.md

Waiting: `job.latest_result(timeout=…)`, which blocks in XREAD on the job's own stream, with a
connection for each waiting caller: https://python-rq.org/docs/results/
"""

import os
import sys
from importlib.metadata import version

from redis import Redis
from rq import Queue, SimpleWorker

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
import load


def add(a, b):
    return {"answer": a + b}


def connect():
    # As many connections as callers: each blocks in its own, for as long as it takes.
    return Redis.from_url(os.environ["REDIS_URL"], max_connections=4000, socket_timeout=None)


def call(callers, warm_up_ms, lasts_ms):
    queue = Queue(connection=connect())

    def one():
        job = queue.enqueue("adapter.add", kwargs={"a": 1, "b": 2})
        return job.latest_result(timeout=load.LONGEST_S).return_value

    load.threads(one, callers, warm_up_ms / 1000, lasts_ms / 1000)


def main(args):
    match args:
        case ["about"]:
            print(f"rq {version('rq')}, redis-py {version('redis')}, Python {sys.version.split()[0]}")
            print("SimpleWorker; a thread and a connection per caller, latest_result blocks in XREAD")
        case ["worker"]:
            SimpleWorker([Queue(connection=connect())], connection=connect()).work(
                logging_level="ERROR"
            )
        case ["call", *numbers]:
            call(*map(int, numbers))


# The worker imports this file again, by its name.
if __name__ == "__main__":
    main(sys.argv[1:])
