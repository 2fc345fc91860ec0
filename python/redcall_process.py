"""Makes a Python module's functions jobs: process = ["python3", "redcall_process.py", "MODULE"]

A job's name is the function's, its data the arguments, an object by name, an array by place; what
it returns is the answer, what it raises the error, with type and message, or an `Error`. Until it
ends, `progress(data)` tells the caller how far it is, and `progress(data, "chunk")` sends a part of
the answer. A cancelled call has `Cancelled` raised in it. Prints are logged.
"""
import importlib, inspect, json, os, queue, signal, sys, threading, traceback

_lock, _requests, _state = threading.Lock(), queue.Queue(), {"running": None, "cancelled": None}
class Cancelled(BaseException): pass  # nobody wants the answer any more

class Error(Exception):
    """An error for the caller: `code` of JSON-RPC or of Redcall's table, and any `data`."""
    def __init__(self, message, code=-32010, data=None):
        super().__init__(message)
        self.code, self.data = code, json.loads(json.dumps(data, allow_nan=False))

def progress(data, kind="progress"):
    """Sends `data` to whoever follows the call that runs."""
    if _state["running"] is not None:
        _say({"method": f"$/{kind}", "params": {"id": _state["running"], "data": data}})

def _say(message):
    line = json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False, ensure_ascii=False)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # no half lines
    with _lock: _state["out"].write(line + "\n")
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)

def _read(lines):
    try:
        for message in map(json.loads, lines):
            cancels = message["method"] == "$/cancel"
            _cancel(message["params"]["id"]) if cancels else _requests.put(message)
    finally: _cancel(_state["running"]), _requests.put(None)

def _cancel(call):
    _state["cancelled"] = call
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

def _interrupt(*_):
    if None is not _state["running"] == _state["cancelled"]: raise Cancelled

def _answer(functions, request):
    method, params = request["method"], request.get("params", [])
    args, named = (params, {}) if isinstance(params, list) else ([], params)
    try:
        _state["running"] = request["id"]
        _interrupt()  # it may have been cancelled before
        if method not in functions: raise Error(f"there is no function `{method}`", -32601)
        try: inspect.signature(functions[method]).bind(*args, **named)
        except ValueError: pass  # a built-in one, which does not tell
        except TypeError as error: raise Error(str(error), -32602) from None
        result = functions[method](*args, **named)
        return json.dumps(result, allow_nan=False) and {"result": result}  # or it is no JSON
    except Cancelled: return {"error": {"code": -32014, "message": "cancelled"}}
    except Error as error:
        return {"error": {"code": error.code, "message": str(error), "data": error.data}}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        kind = type(error).__name__
        return {"error": {"code": -32010, "message": f"{kind}: {error}", "data": {"type": kind}}}
    finally: _state["running"] = None

def serve(name):
    """Answers requests to the functions of a module until stdin ends."""
    _state["out"] = os.fdopen(os.dup(1), "w", 1, "utf-8", "replace")
    lines = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout.reconfigure(line_buffering=True), getattr(sys, "set_int_max_str_digits", id)(0)
    signal.signal(signal.SIGINT, _interrupt)
    named = [(k, f) for k, f in vars(importlib.import_module(name)).items() if k[0] != "_"]
    functions = {k: f for k, f in named if callable(f) and f not in (Error, Cancelled, progress)}
    threading.Thread(target=_read, args=[lines], daemon=True).start()
    while (request := _requests.get()) is not None:
        _say({"id": request["id"], **_answer(functions, request)})

if __name__ == "__main__":
    sys.modules["redcall_process"], sys.path[0] = sys.modules[__name__], os.getcwd()
    serve(sys.argv[1])
