"""A local HTTP server that answers in JSON as Google's APIs do; its token is `token`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]
Answer = Callable[[str, str, dict[str, str], Json, str], Json]
"""Method, path, query, body and `If-Match` to the answer; raises `Refused`."""


class Refused(Exception):
    """An error as Google words it."""

    def __init__(self, status: int, reason: str, *, name: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.error = {
            "code": status,
            "message": reason,
            "errors": [{"domain": "global", "reason": reason}],
            **({"status": name} if name else {}),
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Answer
    lock: threading.Lock

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        address = urlsplit(self.path)
        if self.headers.get("Authorization") != "Bearer token":
            return self._say(401, {"error": Refused(401, "authError").error})
        try:
            with self.lock:
                found = type(self).answer(
                    self.command, address.path, dict(parse_qsl(address.query)), body, self.headers.get("If-Match") or ""
                )
        except Refused as refused:
            return self._say(refused.status, {"error": refused.error})
        return self._say(200 if found else 204, found)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815  # the base class's names

    def _say(self, status: int, found: Json) -> None:
        content = b"" if status == 204 else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@contextmanager
def json_server(answer: Answer) -> Iterator[str]:
    """Serve on a free port, one request at a time; yields the address."""
    handler = type("OwnHandler", (_Handler,), {"answer": staticmethod(answer), "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
