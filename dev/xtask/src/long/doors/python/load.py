"""The loop of a client: `run(call)` repeats `call` as the long run `doors` requests.

Each line of input has a number of seconds, and how many calls may be in flight; each is answered by
the durations of the calls, in µs, as a list.
"""

import json
import sys
import threading
import time


def repeat(call, end, took):
    while (begun := time.perf_counter()) < end or not took:
        call()
        took.append(round((time.perf_counter() - begun) * 1e6))


def run(call):
    call()  # The connection is open then, and both sides have met a call.
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, in_flight = line.split()
        end, took = time.perf_counter() + float(seconds), [[] for _ in range(int(in_flight))]
        threads = [threading.Thread(target=repeat, args=(call, end, one)) for one in took[1:]]
        for thread in threads:
            thread.start()
        repeat(call, end, took[0])
        for thread in threads:
            thread.join()
        print(json.dumps(sum(took, [])), flush=True)
