"""The worker's side of a call, in the form of python-rpc: the function that jobs of rq name.

It runs in a real rq worker. `dispatch` finds the handler of a name and gives it the request and
a response; what the handler responds with is pushed to the response key as one element.
"""

import json
import os
import uuid

import redis


class Response:
    """Answers one request, as often as the handler wants."""

    def __init__(self, response_key):
        self.response_key = response_key

    def respond(self, data):
        if self.response_key is None:
            return
        answer = {"data": data, "id": str(uuid.uuid4()), "response_key": self.response_key}
        connection().lpush(self.response_key, json.dumps(answer))


def connection():
    return redis.StrictRedis.from_url(os.environ["RQ_REDIS_URL"])


def add(data, response):
    response.respond({"answer": data["a"] + data["b"]})


def echo(data, response):
    response.respond(data)


def twice(data, response):
    response.respond({"answer": 1})
    response.respond({"answer": 2})


def silent(data, response):
    pass


def broken(data, response):
    raise ValueError("broken")


HANDLERS = {"add": add, "echo": echo, "twice": twice, "silent": silent, "broken": broken}


def dispatch(name, envelope):
    HANDLERS[name](envelope["data"], Response(envelope["response_key"]))
