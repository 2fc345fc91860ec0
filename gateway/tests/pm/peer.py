"""A peer of a `pm` door, on the package json-rpc: an application, or Pipeline Manager's server.

    peer.py connect HOST PORT    an application, which connects to the door
    peer.py listen HOST PORT     the server, to which the door connects; port 0: a free one

It treats sessions as the peers' own library does, with all of its traps: requests without a session
or with id 0 get no answer, a result that is false becomes {}, its own ids begin at 0, and a message
that is not one JSON object ends the process.

Each line of stdin is a command, each line of stdout an event, both JSON:

    {"call": METHOD, "params": P, "id": ID, "sid": SID}    send a request; without "id" a notification
    {"release": true}                                      end one `custom_wait`
    {"send": {...}}                                        send a message as it is
    {"event": "listening" | "connected" | "closed", ...}
    {"event": "answer" | "notification", "message": {...}}
"""

import json
import queue
import socket
import struct
import sys
import threading

from jsonrpc import Dispatcher, JSONRPCResponseManager
from jsonrpc.exceptions import JSONRPCDispatchException
from jsonrpc.jsonrpc import JSONRPCRequest

released = queue.Queue()
printing = threading.Lock()


def emit(**event):
    with printing:
        print(json.dumps(event), flush=True)


def member(message):
    """The member of a message that has the session."""
    if "error" in message:
        return "error"
    return "params" if "method" in message else "result"


class Link:
    """One connection."""

    def __init__(self, connection):
        self.connection = connection
        self.writing = threading.Lock()
        self.numbering = threading.Lock()
        self.next_id = 0
        self.open = {}

    def send(self, message):
        data = json.dumps(message, ensure_ascii=False).encode()
        with self.writing:
            self.connection.sendall(struct.pack(">I", len(data)) + data)

    def send_in_session(self, message, sid):
        if sid is not None:
            name = member(message)
            message[name] = {"sid": sid, name: message.get(name) or {}}
        self.send(message)

    def request(self, method, params, sid):
        """Sends a request from inside a method, and waits for its answer."""
        with self.numbering:
            own, self.next_id = self.next_id, self.next_id + 1
        answers = self.open[own] = queue.Queue()
        message = {"jsonrpc": "2.0", "id": own, "method": method, "params": params}
        self.send_in_session(message, sid)
        answer = answers.get()
        name = member(answer)
        return answer[name][name] if answer[name] else answer[name]

    def notify(self, method, params, sid):
        self.send_in_session({"jsonrpc": "2.0", "method": method, "params": params}, sid)

    def read_exactly(self, size):
        data = b""
        while len(data) < size:
            part = self.connection.recv(size - len(data))
            if not part:
                return None
            data += part
        return data

    def serve(self):
        while (head := self.read_exactly(4)) is not None:
            (size,) = struct.unpack(">I", head)
            data = self.read_exactly(size)
            if data is None:
                return
            message = json.loads(data.decode())
            if "method" in message:
                threading.Thread(target=self.answer, args=(message,), daemon=True).start()
            else:
                self.answered(message)

    def answered(self, message):
        own = self.open.pop(message["id"], None)
        if own is not None:
            own.put(message)
        else:
            emit(event="answer", message=message)

    def answer(self, message):
        name = member(message)
        sid = message[name].pop("sid")
        if name in message[name]:
            message[name] = message[name][name]
        if "id" not in message:
            emit(event="notification", message=message)
            return
        dispatcher = methods(self, sid)
        request = JSONRPCRequest.from_data(message)
        response = JSONRPCResponseManager.handle_request(request, dispatcher)
        if response is not None and response._id:
            self.send_in_session(response.data, sid)


def methods(link, sid):
    """The methods, for one session."""
    dispatcher = Dispatcher()

    @dispatcher.add_method
    def specification_get():
        return {"type": 0, "content": {"version": "20240723.13"}}

    @dispatcher.add_method
    def dataflow_run(dataflow):
        for progress in (0, 50, 100):
            params = {"method": "dataflow_run", "progress": progress}
            link.notify("progress_change", params, sid)
        graph = link.request("graph_get", {"of": dataflow}, sid)
        return {"type": 0, "content": graph}

    @dispatcher.add_method
    def dataflow_export(**_):
        raise JSONRPCDispatchException(code=-1, message="Something went very, very bad...")

    @dispatcher.add_method
    def custom_echo(**data):
        return data

    @dispatcher.add_method
    def custom_value(json_text):
        return json.loads(json_text)

    @dispatcher.add_method
    def custom_sid():
        return {"sid": sid}

    @dispatcher.add_method
    def custom_wait():
        emit(event="waiting", sid=sid)
        released.get()
        return {"released": True}

    return dispatcher


current = None


def commands():
    for line in sys.stdin:
        command = json.loads(line)
        if "release" in command:
            released.put(True)
        elif "send" in command:
            current.send(command["send"])
        else:
            message = {"jsonrpc": "2.0", "method": command["call"], "params": command["params"]}
            if "id" in command:
                message["id"] = command["id"]
            current.send_in_session(message, command.get("sid"))


def serve(connection):
    global current
    current = Link(connection)
    emit(event="connected")
    current.serve()
    connection.close()
    emit(event="closed")


def main():
    role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    threading.Thread(target=commands, daemon=True).start()
    if role == "connect":
        serve(socket.create_connection((host, port)))
        return
    while True:
        # As the server: it does not listen while an application is connected.
        with socket.create_server((host, port)) as listener:
            port = listener.getsockname()[1]
            emit(event="listening", port=port)
            connection, _ = listener.accept()
        serve(connection)


main()
