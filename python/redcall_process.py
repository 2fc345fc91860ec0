"""Runs a Python module's functions as jobs: process = ["python3", "redcall_process.py", "MODULE"]

A job has the name of its function. Its data are the arguments: an object by name, an array by
position. The return value is the answer. An exception is the error, with type and message; raise
`Error` to choose code and data. Printed text is logged. Inside a function:

- `job()` returns the `id`, `attempt`, `headers` and `budget_ms` of the request;
- `progress(data)` sends progress to the caller, `progress(data, "chunk")` a part of the answer;
- `defer(data)` defers the answer and returns the completion token that settles it later.

A cancelled function gets the exception `Cancelled`. Functions run one at a time. Functions with
`async def` run concurrently if the module sets a limit (`CONCURRENCY = 16`): they write
`await defer(data)`, and a cancelled one gets `asyncio.CancelledError`.
"""
import asyncio, contextvars, importlib, inspect, json, os, queue, signal, sys, threading, traceback
from concurrent.futures import Future

_lock, _requests, _calls, _state = threading.Lock(), queue.Queue(), {}, {"running": None}
_loop, _current = asyncio.new_event_loop(), contextvars.ContextVar("call", default=None)

class Cancelled(BaseException): pass  # the call was cancelled

class Error(Exception):
    """An error for the caller: a `code` of JSON-RPC or of Redcall's table, and any `data`."""
    def __init__(self, message, code=-32010, data=None):
        super().__init__(message)
        self.code, self.data = code, json.loads(json.dumps(data, allow_nan=False))

class Job:
    """The request of the running job. `budget_ms` is None without a time limit."""
    def __init__(self, message):
        about = message.get("job", {})
        self.id, self.attempt = about.get("id"), about.get("attempt", 1)
        self.headers, self.budget_ms = about.get("headers", {}), about.get("budget_ms")
        self._number, self._method = message["id"], message["method"]
        self._params = message.get("params", [])
        self._cancelled, self._task, self._token = False, None, None

def job():
    """Returns the `Job` that runs here, or None."""
    return _current.get() or _state["running"]

def progress(data, kind="progress"):
    """Sends `data` to the caller of the running job."""
    if (call := job()) is not None:
        _send({"method": f"$/{kind}", "params": {"id": call._number, "data": data}})

def defer(data=None, timeout=None, notify=False):
    """Defers the answer for at most `timeout` seconds and sends `data` to the caller; `notify`
    publishes the result. Returns the completion token; the function's return value is ignored."""
    if (call := job()) is None: raise RuntimeError("no job is running here")
    call._token = Future()
    time = {} if timeout is None else {"within_ms": int(timeout * 1000)}
    params = {"id": call._number, "data": data, "notify": bool(notify), **time}
    _send({"method": "$/defer", "params": params})
    return asyncio.wrap_future(call._token) if call._task else call._token.result()

def _send(message):
    # Half surrogates are not valid text: UnicodeEncodeError has their position.
    line = json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False, ensure_ascii=False)
    line = line.encode() + b"\n"
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # no half lines
    try:
        with _lock: _state["out"].write(line), _state["out"].flush()
    finally: signal.pthread_sigmask(signal.SIG_SETMASK, mask)

def _read(lines, functions):
    try:
        for message in map(json.loads, lines):
            about = message.get("params")
            if message["method"] == "$/cancel": _cancel(_calls.get(about["id"]))
            elif message["method"] == "$/token": _settle(_calls.get(about["id"]), about)
            elif "id" in message:
                call = _calls[message["id"]] = Job(message)
                function = functions.get(call._method)
                if _is_async(function): _loop.call_soon_threadsafe(_start, call, function)
                else: _requests.put((call, function))
    finally: [_cancel(call) for call in list(_calls.values())], _requests.put(None)

def _is_async(function):
    called = getattr(function, "__call__", None)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)

def _cancel(call):
    if call is None: return
    call._cancelled = True
    _loop.call_soon_threadsafe(lambda: call._task and call._task.cancel())
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

def _settle(call, about):
    if call is None or call._token is None or call._token.done(): return
    if "token" in about: call._token.set_result(about["token"])
    else: call._token.set_exception(Error(f"not deferred: {about.get('error')}"))

def _interrupt(*_):
    call = _state["running"]
    if call is not None and call._cancelled and not call._task:
        call._cancelled = False  # raise once
        raise Cancelled

def _bound(call, function):
    """Returns the function with its arguments; raises an `Error` if they do not fit."""
    if function is None: raise Error(f"unknown function `{call._method}`", -32601)
    params = call._params
    args, named = (params, {}) if isinstance(params, list) else ([], params)
    try: inspect.signature(function).bind(*args, **named)
    except ValueError: pass  # a built-in function without a signature
    except TypeError as error: raise Error(str(error), -32602) from None
    return lambda: function(*args, **named)

def _run(call, function):
    try:
        try:
            _state["running"] = call
            _interrupt()  # it may have been cancelled before
            result = _bound(call, function)()
        finally: _state["running"] = None
        if inspect.isawaitable(result):
            return _loop.call_soon_threadsafe(_start, call, None, result)
        outcome = {"result": result}
    except BaseException as error:  # any exception: the next job still runs
        _state["running"] = None
        outcome = _failure(error)
    _answer(call, outcome)

def _start(call, function, awaitable=None):
    async def run():
        _current.set(call)
        try:
            if call._cancelled: raise Cancelled
            outcome = {"result": await (awaitable or _bound(call, function)())}
        except BaseException as error: outcome = _failure(error)
        _answer(call, outcome)
    call._task = _loop.create_task(run())

def _answer(call, outcome):
    _calls.pop(call._number, None)
    try: _send({"id": call._number, **outcome})
    except BaseException as error:  # not serializable as JSON
        _send({"id": call._number, **_failure(error)})

def _failure(error):
    if isinstance(error, (Cancelled, asyncio.CancelledError)):
        return {"error": {"code": -32014, "message": "cancelled"}}
    kind = type(error).__name__
    try: text = str(error).encode("utf-8", "backslashreplace").decode()
    except BaseException: text = "(no text available)"
    if isinstance(error, Error):
        code = error.code if isinstance(error.code, int) and abs(error.code) < 2**63 else -32010
        return {"error": {"code": int(code), "message": text, "data": error.data}}
    try: traceback.print_exception(type(error), error, error.__traceback__)
    except BaseException: pass
    return {"error": {"code": -32010, "message": f"{kind}: {text}", "data": {"type": kind}}}

def _async_jobs():
    while True:
        try: _loop.run_forever()
        except BaseException: traceback.print_exc()  # from a task that a function left running

def serve(name):
    """Answers requests for the functions of a module until stdin ends."""
    _state["out"], lines = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout.reconfigure(line_buffering=True), getattr(sys, "set_int_max_str_digits", id)(0)
    signal.signal(signal.SIGINT, _interrupt)
    module = importlib.import_module(name)
    own = [Error, Cancelled, Job, job, progress, defer]
    functions = {k: f for k, f in vars(module).items() if k[0] != "_" and callable(f)}
    functions = {k: f for k, f in functions.items() if not any(f is one for one in own)}
    functions["$/start"] = lambda **_: {"concurrency": getattr(module, "CONCURRENCY", 1)}
    for target, args in [(_read, [lines, functions]), (_async_jobs, [])]:
        threading.Thread(target=target, args=args, daemon=True).start()
    while (request := _requests.get()) is not None: _run(*request)

if __name__ == "__main__":
    sys.modules["redcall_process"], sys.path[0] = sys.modules[__name__], os.getcwd()
    serve(sys.argv[1])
