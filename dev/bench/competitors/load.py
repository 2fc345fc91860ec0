"""Closed-loop load for the adapters in Python, with the output format of `redcall bench call`.

Each caller makes one call after the other. A worker has a minute for its first answer, as for each;
then follow a warm-up and the measurement. Calls in flight at the end are waited for and count.
"""

import asyncio
import json
import math
import sys
import threading
import time

LONGEST_S = 60


class Seen:
    """The results of all callers."""

    def __init__(self):
        self.times = []
        self.errors = 0
        self.last = None

    def note(self, began, error=None):
        if error is None:
            self.times.append(time.perf_counter_ns() - began)
        else:
            self.errors += 1
            self.last = repr(error)

    def figures(self, took_s):
        times = sorted(self.times)

        def at(quantile):
            return times[math.ceil(quantile * len(times)) - 1] / 1000 if times else 0

        return {
            "calls_per_s": len(times) / took_s,
            "p50_us": at(0.5),
            "p99_us": at(0.99),
            "p999_us": at(0.999),
            "calls": len(times),
            "errors": self.errors,
        }


def answered(answer):
    """A wrong answer counts as an error."""
    if answer != {"answer": 3}:
        raise ValueError(f"{answer!r} is not the sum")


def threads(call, callers, warm_up_s, lasts_s):
    """`call` blocks: a thread for each caller (a greenlet where gevent has patched them)."""

    def all_callers(seconds):
        seen, ready = Seen(), threading.Barrier(callers + 1)

        def caller():
            ready.wait()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                began = time.perf_counter_ns()
                try:
                    answered(call())
                    seen.note(began)
                except Exception as error:
                    seen.note(began, error)

        running = [threading.Thread(target=caller) for _ in range(callers)]
        for thread in running:
            thread.start()
        ready.wait()
        began = time.monotonic()
        for thread in running:
            thread.join()
        return seen, time.monotonic() - began

    answered(call())
    all_callers(warm_up_s)
    report(*all_callers(lasts_s))


async def tasks(call, callers, warm_up_s, lasts_s):
    """`call` is async: a task for each caller."""

    async def all_callers(seconds):
        seen, started = Seen(), time.monotonic()

        async def caller():
            while time.monotonic() < started + seconds:
                began = time.perf_counter_ns()
                try:
                    answered(await call())
                    seen.note(began)
                except Exception as error:
                    seen.note(began, error)

        running = asyncio.gather(*(caller() for _ in range(callers)))
        await asyncio.wait_for(running, seconds + LONGEST_S)
        return seen, time.monotonic() - started

    async def first():
        while True:
            try:
                return answered(await call())
            except Exception:
                # A worker that just starts may fail it.
                await asyncio.sleep(0.05)

    await asyncio.wait_for(first(), LONGEST_S)
    await all_callers(warm_up_s)
    report(*await all_callers(lasts_s))


def report(seen, took_s):
    """One JSON object; why calls failed goes to stderr, for people."""
    if seen.errors:
        print(f"{seen.errors} calls failed, the last with {seen.last}", file=sys.stderr)
    print(json.dumps(seen.figures(took_s)))
