"""Asking: start a run, once, in the person's own time zone."""

from __future__ import annotations

import math
import os
import uuid
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.client import RetinueClient, patiently
from cli.exits import Unreachable, WrongUsage
from cli.render import tell


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


def start(client: RetinueClient, message: str, *, timezone: str, **options: Any) -> str:
    """Start a run and return the API's answer; options are fields of the request, errors as for `send_once`."""
    return send_once(lambda key: client.start_text(message, timezone=timezone, key=key, **options))


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


def start_briefing(client: RetinueClient, *, place: str | None, timezone: str) -> str:
    """Start the morning briefing and return the API's answer; errors as for `send_once`."""
    args = {} if place is None else {"place": place}
    body = {"message": "Morning briefing", "plan": "briefing", "plan_args": args, "timezone": timezone}
    return send_once(lambda key: client.create_text("/v1/assistants", body, key=key))


def send_once(send: Callable[[str], str]) -> str:
    """Send what starts something, under one key. Whatever happens to the connection, nothing is started twice.

    Raises:
        Unreachable: Nothing listens there, or no answer came for a minute.
    """
    key = str(uuid.uuid4())
    try:
        return send(key)
    except Unreachable as error:
        if error.unsent:
            raise
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
