"""A server on this machine to which a provider sends the browser back, for one answer (RFC 8252)."""

from __future__ import annotations

import hmac
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from cli.exits import CommandError

_PAGE = b"<!doctype html><html lang=en><title>Retinue</title><p>You can close this page and go back to the terminal."
_LONGEST = 8000


@dataclass(frozen=True)
class Brought:
    """What the browser brought back."""

    code: SecretStr | None
    iss: str | None
    error: str | None


class Loopback:
    """Listens on a free port of 127.0.0.1 while the block runs; `host` is how the provider is told to call it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._state = ""
        self._answers: list[dict[str, str]] = []
        self._answered = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends the browser."""
        return f"http://{self._host}:{self._server.server_address[1]}/callback"

    def __enter__(self) -> Loopback:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def expect(self, state: str) -> None:
        """Take the answer with this state, and no other."""
        self._state = state

    def wait(self, *, seconds: float) -> Brought:
        """Return the answer.

        Raises:
            CommandError: None came in time.
        """
        if not self._answered.wait(seconds):
            raise CommandError("nobody agreed in time; nothing was connected")
        found = self._answers[0]
        code = found.get("code")
        return Brought(SecretStr(code) if code else None, found.get("iss"), found.get("error"))

    def _take(self, path: str) -> bool:
        parts = urlsplit(path[:_LONGEST])
        found = {name: values[0] for name, values in parse_qs(parts.query).items()}
        state = found.get("state", "")
        ours = parts.path == "/callback" and hmac.compare_digest(state.encode(), self._state.encode())
        if ours and self._state:
            self._answers.append(found)
            self._answered.set()
        return ours and bool(self._state)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name that http.server calls
                taken = take(self.path)
                self.send_response(200 if taken else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.send_header("Referrer-Policy", "no-referrer")
                self.end_headers()
                self.wfile.write(_PAGE if taken else b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as http.server calls it
                """Say nothing: the address has the code in it."""

        return Handler
