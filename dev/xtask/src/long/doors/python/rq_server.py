"""A worker of rq: rq_server.py URL CASE

The function of its jobs is that of gateway/tests/rq/python.
"""

import sys

import redis
from rq import Worker

print(sys.argv[1], flush=True)
Worker(["default"], connection=redis.StrictRedis.from_url(sys.argv[1])).work(logging_level="ERROR")
