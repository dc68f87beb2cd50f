"""Finds servers of language models on this machine, such as Ollama, by asking for their list of models.

Only loopback addresses are asked, all at once, by a `GET` that carries no key and no data. A server that answers anything
else than a list of models, or that is Retinue itself, is not one.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

WITHIN = 0.5
"""Seconds for all servers together."""
USUAL = {
    "http://127.0.0.1:11434/v1": "Ollama",
    "http://127.0.0.1:8080/v1": "llama.cpp",
    "http://127.0.0.1:1234/v1": "LM Studio",
    "http://127.0.0.1:8000/v1": "vLLM",
    "http://127.0.0.1:1337/v1": "Jan",
}
"""Where they listen unless they were told otherwise."""
HOW_TO_USE = "choose one: `bin/retinue model use NAME`"
_BY_OWNER = {"library": "Ollama", "llamacpp": "llama.cpp", "vllm": "vLLM"}
"""What some of them write into the list as the owner of a model."""
_OURSELVES = "retinue"
_LONGEST_LIST = 256 * 1024
_MOST_MODELS = 100
_LONGEST_NAME = 200
_NAMED = 3
"""Models of one server that a line names."""


@dataclass(frozen=True)
class FoundModel:
    """A model of a server.

    Attributes:
        name: As the server names it.
        context: The tokens that it reads and writes together; None where the server does not say so.
    """

    name: str
    context: int | None = None


@dataclass(frozen=True)
class ModelServer:
    """A server that answered with a list of models, in the order of that list."""

    name: str
    base_url: str
    models: tuple[FoundModel, ...]


def addresses(listed: str) -> list[str]:
    """Return the addresses of a list by comma, each with its path; `off` is none, and an empty list the usual ones.

    Raises:
        ValueError: One of them is not `http` on loopback.
    """
    parts = [part.strip() for part in listed.split(",") if part.strip()]
    return [] if parts == ["off"] else [_address(part) for part in parts or USUAL]


def _address(listed: str) -> str:
    place = urlsplit(listed)
    if place.scheme != "http" or not is_loopback(place.hostname) or place.username or place.query or not _port(place):
        raise ValueError(f"{listed!r} is no address on this machine; write one such as http://127.0.0.1:11434")
    path = place.path.rstrip("/") or "/v1"
    return f"http://{place.netloc}{path}"


def _port(place: SplitResult) -> int | None:
    try:
        return place.port or 80
    except ValueError:
        return None


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def find(asked: Sequence[str], *, within: float | None = None) -> list[ModelServer]:
    """Return the servers that answer with a list of models, in the order of the addresses.

    Args:
        asked: As `addresses` returns them.
        within: Seconds for all of them; by default `WITHIN`.
    """
    deadline = time.monotonic() + (WITHIN if within is None else within)
    requests = [_Request(url, deadline) for url in asked]
    for request in requests:
        request.start()
    for request in requests:
        request.finish()
    return [request.found for request in requests if request.found is not None]


@dataclass
class _Request:
    """One request, in a thread of its own."""

    url: str
    deadline: float
    found: ModelServer | None = None
    _connection: http.client.HTTPConnection | None = None
    _thread: threading.Thread | None = field(default=None, repr=False)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until the deadline, then end the request."""
        assert self._thread is not None
        self._thread.join(max(0.0, self.deadline - time.monotonic()))
        opened = self._connection.sock if self._connection else None
        if self._thread.is_alive() and opened is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        place = urlsplit(self.url)
        assert place.hostname is not None
        seconds = max(0.01, self.deadline - time.monotonic())
        self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=seconds)
        with contextlib.closing(self._connection) as connection:
            try:
                connection.request("GET", f"{place.path}/models", headers={"Accept": "application/json"})
                answer = connection.getresponse()
                content = answer.read(_LONGEST_LIST + 1) if answer.status == 200 else b""
                found = _read(self.url, content)
            except (OSError, ValueError, RecursionError, http.client.HTTPException):
                return
        if time.monotonic() <= self.deadline:
            self.found = found


def _read(url: str, content: bytes) -> ModelServer | None:
    """Return what a list of models says; None if it is none."""
    if len(content) > _LONGEST_LIST:
        return None
    read = json.loads(content)
    listed = read.get("data") if isinstance(read, dict) else None
    if not isinstance(listed, list):
        return None
    entries = [entry for entry in listed[:_MOST_MODELS] if isinstance(entry, dict)]
    owners = {entry.get("owned_by") for entry in entries if isinstance(entry.get("owned_by"), str)}
    models = tuple(model for entry in entries if (model := _model(entry)))
    if not models or _OURSELVES in owners:
        return None
    named = next((name for owner, name in _BY_OWNER.items() if owner in owners), None)
    return ModelServer(named or USUAL.get(url, "A model server"), url, models)


def _model(entry: dict[str, object]) -> FoundModel | None:
    name, context = entry.get("id"), entry.get("max_model_len")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        return None
    if "embed" in name.lower():  # such a model writes no text
        return None
    return FoundModel(name, context if isinstance(context, int) and context > 0 else None)


def in_words(found: Sequence[ModelServer]) -> str:
    """Return one line with the servers and their first models; empty if there are none."""
    return "; ".join(f"{one.name} at {urlsplit(one.base_url).netloc} has {_some(one.models)}" for one in found)


def _some(models: Sequence[FoundModel]) -> str:
    named = ", ".join(model.name for model in models[:_NAMED])
    more = len(models) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
