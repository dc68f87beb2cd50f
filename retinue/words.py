"""Words of strangers made harmless: what a server says about its tools is read by planners and people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from retinue.text import without_invisible

HIDDEN = "[secret]"


def plain(text: str) -> str:
    """Without control and invisible characters, which hide text from people and show it to models."""
    return without_invisible(text)


def bounded(text: str, limit: int) -> str:
    """At most `limit` characters, with a mark where something was cut."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def one_line(text: str, limit: int) -> str:
    """One line of plain text."""
    return bounded(" ".join(plain(text).split()), limit)


class Redaction:
    """Hides the operator's secrets, wherever a server repeats what it was given."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # longer ones first: one may be a part of another
        self._secrets = sorted(secrets, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with each secret replaced, and without what no database and no JSON parser keeps."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text.replace("\x00", "").encode(errors="replace").decode()

    def value(self, value: Any) -> Any:
        """The same for every text inside a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(name)): self.value(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value
