"""Asking: start a run, once, in the person's own time zone."""

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
    """The IANA zone of this machine, from `TZ` or /etc/localtime; UTC where neither names one."""
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
    """Start a run; options are those of `client.assistants.start`, errors as for `send_once`."""
    return send_once(lambda key: client.assistants.start(message, timezone=timezone, idempotency_key=key, **options))


def limits(text: str | None) -> dict[str, float] | None:
    """Read a budget such as `steps=50,requests=20`. Which limits there are is the API's to say.

    Raises:
        WrongUsage: It is not written like that.
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
        raise WrongUsage(f"{part!r} is no limit; write NAME=NUMBER, as in steps=50,requests=20")
    return name.strip(), int(number) if number.is_integer() else number


def start_briefing(client: Client, *, place: str | None, timezone: str) -> Assistant:
    """Start the morning briefing; errors as for `send_once`."""
    args = {} if place is None else {"place": place}
    return start(client, "Morning briefing", timezone=timezone, plan="briefing", plan_args=args)


def send_once(send: Callable[[str], Sent]) -> Sent:
    """Send what starts something, under one key. Whatever happens to the connection, nothing is started twice.

    Raises:
        Unreachable: Nothing listens there, or no answer came for a minute.
        Unavailable: It answered for a minute that it cannot.
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
    """Says once that Retinue does not answer and that the command goes on trying."""

    def __init__(self) -> None:
        self._told = False

    def __call__(self, why: str) -> None:
        """Tell it, the first time."""
        if not self._told:
            tell(f"reconnecting: {why}", "yellow")
        self._told = True
