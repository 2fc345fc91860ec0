"""saq: `adapter.py about`, `worker`, or `call CALLERS WARM_UP_MS LASTS_MS`.

Setting: hiredis, and more slots than the ten that a worker has by default, as jobs are async:
https://saq-py.readthedocs.io/en/latest/getting_started.html

A worker sweeps at its start and then, here, every hour instead of every minute: the sweep aborts
jobs that it sees between their being taken and their being marked so.

Waiting: `queue.apply`, which asks for the job again and again, every half second unless told
otherwise. Here every 20 ms, and every 200 ms with more than 100 callers, from a run or two each.
`job.refresh(…)` waits for a message instead. With 1,000 callers that was as fast; with 64 it had
not ended after a minute, maybe because a message between its look and its subscription is lost.
"""

import asyncio
import logging
import os
import sys
from importlib.metadata import version

from redis.asyncio import Redis
from saq import Worker
from saq.queue.redis import RedisQueue

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
import load

CONCURRENCY = 100


async def add(_context, *, a, b):
    return {"answer": a + b}


def connect():
    # Else callers fail for want of a connection.
    return RedisQueue(Redis.from_url(os.environ["REDIS_URL"], max_connections=4000))


async def work():
    worker = Worker(connect(), [add], concurrency=CONCURRENCY, timers={"sweep": 3600})
    await worker.start()


async def call(callers, warm_up_ms, lasts_ms):
    queue = connect()
    await queue.connect()
    interval_s = 0.02 if callers <= 100 else 0.2

    async def one():
        return await queue.apply("add", poll_interval=interval_s, a=1, b=2)

    await load.tasks(one, callers, warm_up_ms / 1000, lasts_ms / 1000)


logging.basicConfig(level=logging.ERROR)
match sys.argv[1:]:
    case ["about"]:
        redis = f"redis-py {version('redis')}, hiredis {version('hiredis')}"
        print(f"saq {version('saq')}, {redis}, Python {sys.version.split()[0]}")
        print(f"concurrency {CONCURRENCY}; apply() looks every 20 ms (64 callers) or 200 ms (1,000)")
    case ["worker"]:
        asyncio.run(work())
    case ["call", *numbers]:
        asyncio.run(call(*map(int, numbers)))
