"""A program that hears of reminders by HTTP and checks their signatures, as Standard Webhooks says receivers do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@dataclass
class Receiver:
    """What arrived, and what is answered next; when nothing is left, that all is well."""

    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    always: int = 204
    swallows: int = 0


class Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message_id, timestamp = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        expected = hmac.new(KEY, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        assert hmac.compare_digest(self.headers["webhook-signature"], f"v1,{base64.b64encode(expected).decode()}")
        assert self.headers["Idempotency-Key"] == message_id
        self.receiver.messages.append(json.loads(body))
        self.receiver.ids.append(message_id)
        if self.receiver.swallows:
            self.receiver.swallows -= 1
            return
        self.send_response(self.receiver.answers.pop(0) if self.receiver.answers else self.receiver.always)
        self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Open one on a free port."""
    receiver = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"receiver": receiver}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook?token=canary-url"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
