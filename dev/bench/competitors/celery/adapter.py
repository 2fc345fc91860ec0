"""Celery, with Redis as broker and result backend: `adapter.py about`, `worker`, or
`call CALLERS WARM_UP_MS LASTS_MS`.

Setting: a prefetch multiplier of 128, which the guide to optimizing names for many short tasks:
https://docs.celeryq.dev/en/stable/userguide/optimizing.html#prefetch-limits
A pool of threads, as one process is compared and the default pool consists of processes:
https://docs.celeryq.dev/en/stable/userguide/concurrency/index.html
(a gevent pool of 100 was slower in a run each; a solo pool slower or the same). No gossip, mingle, heartbeats or rate limits,
which a single worker has no use for.

Waiting: `delay(…).get()`. The caller runs under gevent, for which Celery's result consumer has one
greenlet that reads for all. With threads each reads: in a run each, the same at 64 callers and
slower at 1,000.
"""

import os
import sys

if sys.argv[1:2] == ["call"]:
    from gevent import monkey

    monkey.patch_all()

from importlib.metadata import version

from celery import Celery

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
import load

THREADS = 16

url = os.environ.get("REDIS_URL", "redis://")
app = Celery("competitor", broker=url, backend=url)
app.conf.update(
    broker_pool_limit=100,
    redis_max_connections=4000,
    worker_disable_rate_limits=True,
    worker_prefetch_multiplier=128,
)


@app.task(name="add")
def add(a, b):
    return {"answer": a + b}


def call(callers, warm_up_ms, lasts_ms):
    def one():
        return add.delay(a=1, b=2).get(timeout=load.LONGEST_S)

    load.threads(one, callers, warm_up_ms / 1000, lasts_ms / 1000)
    # Its results' finalizers complain when they run after their greenlets.
    sys.stdout.flush()
    os._exit(0)


match sys.argv[1:]:
    case ["about"]:
        python = sys.version.split()[0]
        print(f"celery {version('celery')}, redis-py {version('redis')}, Python {python}")
        print(f"pool of {THREADS} threads, prefetch multiplier 128; get() under gevent")
    case ["worker"]:
        bare = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        pool = ["--pool=threads", f"--concurrency={THREADS}", "--loglevel=ERROR"]
        app.worker_main(["worker", *bare, *pool])
    case ["call", *numbers]:
        call(*map(int, numbers))
