"""Start a run, once, in the person's time zone."""

from __future__ import annotations

import math
import os
import uuid
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cli.connection import patiently
from cli.exits import WrongUsage
from cli.render import tell
from retinue.client import Client, Unavailable, Unreachable
from retinue.client.models import Assistant

Sent = TypeVar("Sent")


def local_timezone() -> str:
    """Return the IANA time zone of this machine, from `TZ` or /etc/localtime; UTC if neither has one."""
    linked = str(Path("/etc/localtime").resolve())
    named = [os.environ.get("TZ", "").removeprefix(":"), linked.partition("/zoneinfo/")[2]]
    return next((zone for zone in named if zone and _is_zone(zone)), "UTC")


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def start(client: Client, message: str, *, timezone: str, **options: Any) -> Assistant:
    """Start a run with the options of `client.assistants.start`. Errors as for `send_once`."""
    return send_once(lambda key: client.assistants.start(message, timezone=timezone, idempotency_key=key, **options))


def limits(text: str | None) -> dict[str, float] | None:
    """Parse a budget such as `steps=50,requests=20`. The API validates the names.

    Raises:
        WrongUsage: The format is wrong.
    """
    if text is None:
        return None
    return dict(_limit(part.strip()) for part in text.split(","))


def _limit(part: str) -> tuple[str, float]:
    name, _, amount = part.partition("=")
    try:
        number = float(amount)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise WrongUsage(f"{part!r} is not a limit; write NAME=NUMBER, as in steps=50,requests=20")
    return name.strip(), int(number) if number.is_integer() else number


def start_briefing(client: Client, *, place: str | None, timezone: str) -> Assistant:
    """Start the morning briefing; errors as for `send_once`."""
    args = {} if place is None else {"place": place}
    return start(client, "Morning briefing", timezone=timezone, plan="briefing", plan_args=args)


def send_once(send: Callable[[str], Sent]) -> Sent:
    """Send a request with an idempotency key, retrying for a minute; it takes effect at most once.

    Raises:
        Unreachable: The API does not listen, or did not answer for a minute.
        Unavailable: The API answered 503 for a minute.
    """
    key = str(uuid.uuid4())
    try:
        return send(key)
    except Unreachable as error:
        if error.unsent:
            raise
    except Unavailable:
        pass
    return patiently(lambda: send(key), on_wait=Reconnecting())


class Reconnecting:
    """Prints once that Retinue does not answer and that the command retries."""

    def __init__(self) -> None:
        self._told = False

    def __call__(self, why: str) -> None:
        """Print it the first time."""
        if not self._told:
            tell(f"reconnecting: {why}", "yellow")
        self._told = True
