"""bgpy's own server: bgpy_server.py"""

import socket
import threading
import time

from bgpy import Server
from bgpy.core.token import token_setenv

token_setenv("tok-0123456789")
with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
server = Server(host="127.0.0.1", port=port, log_level="CRITICAL")
threading.Thread(target=server.run).start()
time.sleep(1)  # It reports no start.
print(f"127.0.0.1:{port}", flush=True)
