"""Makes the functions of a Python module jobs: process = ["python3", "redcall_process.py", "MODULE"]

A job's name is the function's; its data are the arguments, an object by name, an array by place.
What it returns is the answer, what it raises the error, with type and message, or an `Error` with
a number and data of its own. `progress(data)` tells the caller how far it is, `progress(data, "chunk")`
sends a part of the answer; a cancelled call has `Cancelled` raised in it. Prints are logged.
"""
import importlib, inspect, json, os, queue, signal, sys, threading, traceback

_lock, _requests, _state = threading.Lock(), queue.Queue(), {"running": None, "cancelled": None}

class Cancelled(BaseException): pass  # nobody wants the answer any more

class Error(Exception):
    """An error for the caller: `code` of JSON-RPC or of Redcall's table, and any `data`."""
    def __init__(self, message, code=-32010, data=None):
        super().__init__(message)
        self.code, self.data = code, data

def progress(data, kind="progress"):
    """Sends `data` to whoever follows the call that runs."""
    _say({"method": f"$/{kind}", "params": {"id": _state["running"], "data": data}})

def _say(message):
    line = json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False)
    with _lock:
        _state["out"].write(line + "\n")

def _read(lines):
    for message in map(json.loads, lines):
        if message["method"] == "$/cancel":
            _state["cancelled"] = message["params"]["id"]
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        else:
            _requests.put(message)
    _requests.put(None)

def _interrupt(*_):
    if _state["running"] is not None and _state["running"] == _state["cancelled"]:
        raise Cancelled

def _run(functions, request):
    params = request.get("params", [])
    args, named = (params, {}) if isinstance(params, list) else ([], params)
    try:
        _state["running"] = request["id"]
        if request["method"] not in functions:
            raise Error(f"there is no function `{request['method']}`", -32601)
        function = functions[request["method"]]
        try:
            inspect.signature(function).bind(*args, **named)
        except TypeError as error:
            raise Error(str(error), -32602) from None
        result = function(*args, **named)
        return json.dumps(result, allow_nan=False) and {"result": result}  # or it is no JSON
    except Cancelled:
        return {"error": {"code": -32014, "message": "cancelled"}}
    except Error as error:
        return {"error": {"code": error.code, "message": str(error), "data": error.data}}
    except Exception as error:
        traceback.print_exc()
        kind = type(error).__name__
        return {"error": {"code": -32010, "message": f"{kind}: {error}", "data": {"type": kind}}}
    finally:
        _state["running"] = None

def serve(name):
    """Answers requests to the functions of a module until stdin ends."""
    _state["out"], lines = os.fdopen(os.dup(1), "w", 1, "utf-8"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, _interrupt)
    named = {k: f for k, f in vars(importlib.import_module(name)).items() if k[0] != "_"}
    ours = {k: f for k, f in named.items() if callable(f) and f.__module__ != __name__}
    threading.Thread(target=_read, args=[lines], daemon=True).start()
    while (request := _requests.get()) is not None:
        _say({"id": request["id"], **_run(ours, request)})

if __name__ == "__main__":
    sys.modules["redcall_process"], sys.path[0] = sys.modules[__name__], os.getcwd()
    serve(sys.argv[1])
