"""Servers on loopback that answer `GET /v1/models` as a test wants, and record what they are sent."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

OLLAMA = {
    "object": "list",
    "data": [
        {"id": name, "object": "model", "created": 1, "owned_by": "library"}
        for name in ("qwen3:4b", "nomic-embed-text", "llama3.2", "gemma3", "phi4")
    ],
}


@dataclass
class Fake:
    """A running server."""

    url: str
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and headers of each request."""


@contextmanager
def answering(content: Any, status: int = 200, **headers: str) -> Iterator[Fake]:
    """Answer every `GET` with this content: bytes, or a value as JSON."""
    fake = Fake("")
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.requests.append((self.command, self.path, dict(self.headers.items())))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
