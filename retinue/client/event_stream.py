"""Reading server-sent events: bytes in, events out, and where to go on after a break."""

from __future__ import annotations

import json
from collections.abc import Iterator

from retinue.client.calls import Call
from retinue.client.errors import NotUnderstood
from retinue.client.models import Event

SILENCE = 45.0
"""Seconds without a byte after which a stream counts as broken: the API sends a comment every 15."""
RETRIES = 8
"""Tries in a row without an event, after which following gives up: about half a minute."""
LARGEST = 8 * 1024 * 1024
"""Bytes of the largest event."""
END = "end"


class EventReader:
    """The state of following one run, over all its connections.

    Args:
        after: The id of the last event that is known; what changed since comes first.
    """

    def __init__(self, after: str | None = None) -> None:
        self.last_id = after
        self.ended = False
        self._rest = b""
        self._fields: dict[str, list[str]] = {}
        self._size = 0
        self._heard = False

    def headers(self, call: Call[None]) -> dict[str, str]:
        """With which the next connection goes on where the last one broke."""
        known = {} if self.last_id is None else {"Last-Event-ID": self.last_id}
        return {"Accept": call.accept, "Cache-Control": "no-store", **known}

    def heard(self) -> bool:
        """Whether anything was told, or a sign of life given, since this was asked last."""
        heard, self._heard = self._heard, False
        return heard

    def connected(self) -> None:
        """Forget the half of an event that came before a break: it comes again."""
        self._rest, self._fields, self._size = b"", {}, 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that are complete with this chunk.

        Raises:
            NotUnderstood: It is no stream of events, or one of them is larger than 8 MiB.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._grow(len(chunk))
        for line in lines:
            text = line.removesuffix(b"\r").decode("utf-8", errors="replace")
            if text:
                self._keep(text)
            elif event := self._dispatched():
                yield event

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > LARGEST:
            raise NotUnderstood("an event of the stream is larger than 8 MiB")

    def _keep(self, line: str) -> None:
        name, _, value = line.partition(":")
        self._heard |= name != "retry"  # an event, or the comment that says that the stream lives
        if name:
            self._fields.setdefault(name, []).append(value.removeprefix(" "))

    def _dispatched(self) -> Event | None:
        fields, self._fields, self._size = self._fields, {}, len(self._rest)
        if "data" not in fields:
            return None
        event = _event(fields)
        self.last_id = event.id or self.last_id
        self.ended = event.kind == END
        return event


def _event(fields: dict[str, list[str]]) -> Event:
    try:
        data = json.loads("\n".join(fields["data"]))
    except (ValueError, RecursionError):
        raise NotUnderstood("an event of the stream holds no JSON") from None
    kind, [*ids] = fields.get("event", ["message"])[-1], fields.get("id", [])
    return Event(id=ids[-1] if ids else None, kind=kind, data=data if isinstance(data, dict) else {"value": data})
