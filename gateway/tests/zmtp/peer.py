"""ZeroMQ sockets and the auto-trainer-api service, driven by one JSON object per line.

Each line of input has the member `do`, the name of a function below, and its arguments. Each is
answered by one line: the function's return value.
"""
import contextlib, io, json, sys
from datetime import datetime, timezone

import humps, zmq
import autotrainer.api as api
from autotrainer.api.rpc_service import ApiTopic

CONTEXT, SOCKETS, STATE = zmq.Context(), {}, {"seen": []}


def open_socket(name, kind, connect=None, bind=None, topics=()):
    """Opens a socket; returns its port if it is bound."""
    socket = SOCKETS[name] = CONTEXT.socket(getattr(zmq, kind))
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    for topic in topics:
        socket.setsockopt(zmq.SUBSCRIBE, b"" if topic is None else topic.to_bytes(4, "little"))
    for address in connect or []:
        socket.connect(f"tcp://{address}")
    return socket.bind_to_random_port("tcp://127.0.0.1") if bind else None


def close(name):
    SOCKETS.pop(name).close()


def exchange(name, timeout=10, **request):
    """Sends a command as a console does; returns the reply as the package's members, or None."""
    request = api.ApiCommandRequest(**request)
    body = humps.camelize({k: v for k, v in request.__dict__.items() if v is not None})
    return send(name, json.dumps(body), timeout)


def send(name, text, timeout=10):
    """Sends text; returns the JSON of the reply, or None."""
    SOCKETS[name].send_string(text)
    return recv(name, timeout)


def post(name, topic, text):
    """Publishes."""
    SOCKETS[name].send_multipart([topic.to_bytes(4, "little"), text.encode()])


def recv(name, timeout=10):
    """Returns the JSON of the next message, with its topic for subscribers, or None."""
    if not SOCKETS[name].poll(timeout * 1000): return None
    frames = SOCKETS[name].recv_multipart()
    body = json.loads(frames[-1])
    if len(frames) == 1: return body
    nested = isinstance(body, str)
    return [ApiTopic(int.from_bytes(frames[0], "little")).name, nested, json.loads(body) if nested else body]


def reply(name, timeout=10, **members):
    """Answers the next command of a REP socket; returns it."""
    request = recv(name, timeout)
    if request is not None: SOCKETS[name].send_string(json.dumps({"nonce": request["nonce"], **members}))
    return request


def serve(subscriber_port, command_port):
    """Starts the package's own service, which answers each command with its data."""
    rpc = api.api_options.RpcOptions(identifier="real-device", heartbeat_interval=1,
                                     subscriber_port=subscriber_port, command_port=command_port)
    service = STATE["service"] = api.create_api_service(api.api_options.ApiOptions(rpc=rpc))
    results = getattr(api, "ApiCommandRequestResult", None) or api.ApiCommandReqeustResult

    def delegate(request):
        STATE["seen"].append([int(request.command), request.nonce, request.data])
        if request.data == "break": raise ValueError("broken")
        failed = request.data == "fail"
        return api.ApiCommandRequestResponse(
            result=results.FAILED if failed else results.SUCCESS, data={"seen": request.data},
            error_code=7 if failed else 0, error_message="not now" if failed else None)

    service.command_request_delegate = delegate
    service.start()


def publish(kind, index):
    """Publishes an event by the package's own service."""
    when = datetime.fromtimestamp(1682467200, timezone.utc)
    event = {"kind": kind, "when": when.timestamp(), "index": index, "context": {"own": 1}}
    service = STATE["service"]
    if hasattr(service, "send_event_dict"): service.send_event_dict(event)
    else: service.send_dict(ApiTopic.EVENT, event)


def seen():
    return STATE["seen"]


def run(program):
    """Runs a program; returns what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out): exec(program, {})
    return out.getvalue()


def stop():
    STATE["service"].stop()


for line in sys.stdin:
    command = json.loads(line)
    print(json.dumps(globals()[command.pop("do")](**command)), flush=True)
