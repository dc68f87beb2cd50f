"""Stands between the tools and a server: counts what passes, and does what bad networks and servers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

Fault = Callable[["Handler", httpx.Response | None], None]


@dataclass
class Between:
    """What passed, and what goes wrong with the next requests of a method: before they reach the server, or after."""

    target: str
    asked: list[str] = field(default_factory=list)
    before: dict[str, list[Fault]] = field(default_factory=dict)
    after: dict[str, list[Fault]] = field(default_factory=dict)
    meanwhile: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What somebody else does right before a request of a method arrives."""
    url: str = ""

    def take(self, faults: dict[str, list[Fault]], method: str) -> Fault | None:
        waiting = faults.get(method) or faults.get("*") or []
        return waiting.pop(0) if waiting else None


class Handler(BaseHTTPRequestHandler):
    """Passes one request on."""

    protocol_version = "HTTP/1.1"
    between: Between

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.between.asked.append(self.command)
        if fault := self.between.take(self.between.before, self.command):
            return fault(self, None)
        self.between.meanwhile.pop(self.command, lambda: None)()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        answer = httpx.request(
            self.command, f"{self.between.target}{self.path}", headers=headers, content=body, timeout=10
        )
        if fault := self.between.take(self.between.after, self.command):
            return fault(self, answer)
        return self.reply(answer.status_code, answer.content, dict(answer.headers))

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_OPTIONS = do_PROPFIND = do_REPORT = _pass_on  # noqa: N815  # the base class's names

    def reply(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if name.lower() in ("etag", "content-type", "retry-after", "dav", "location"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


def lost(handler: Handler, _: httpx.Response | None) -> None:
    """The connection ends without a word."""
    handler.close_connection = True


def half(handler: Handler, answer: httpx.Response | None) -> None:
    """The connection ends in the middle of the answer."""
    content = answer.content if answer else b"<multistatus"
    handler.send_response(207)
    handler.send_header("Content-Length", str(len(content) * 2))
    handler.end_headers()
    handler.wfile.write(content)
    handler.close_connection = True


def slow(handler: Handler, _: httpx.Response | None) -> None:
    """Nothing comes for longer than anybody waits."""
    time.sleep(1.5)
    handler.close_connection = True


def says(status: int, content: bytes = b"", **headers: str) -> Fault:
    """The server answers this."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.reply(status, content, named)


@contextmanager
def standing_between(target: str) -> Iterator[Between]:
    """Open the way to `target`, on a free port."""
    between = Between(target)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"between": between}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    between.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield between
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
