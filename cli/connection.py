"""The API and the key of a command: the given ones, else those stored by `login`, else the local stack."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

import typer

from cli import credentials, local
from cli.exits import WrongUsage
from retinue.client import Client, Unavailable, Unreachable

Result = TypeVar("Result")
PATIENCE = 60.0
"""Seconds for which a watching command retries while Retinue does not answer."""
_PAUSE = 0.5


def address(context: typer.Context) -> str:
    """Return the API's address."""
    given: str | None = context.find_root().obj
    stored = credentials.stored()
    return given or (stored.url if stored else local.api_url())


def open_client(context: typer.Context, *, timeout: float = 20) -> Client:
    """Return a client of the selected API."""
    return client_of(address(context), timeout=timeout)


def client_of(url: str, *, api_key: str | None = None, timeout: float = 20) -> Client:
    """Return a client of an address. A stored key is sent only to the address that it was stored for.

    The client itself does not retry: commands print that they wait.

    Raises:
        WrongUsage: The address is invalid.
    """
    key = api_key if api_key is not None else os.environ.get("RETINUE_API_KEY") or credentials.key_for(url)
    try:
        return Client(url, key, timeout=timeout, retries=0)
    except ValueError as error:
        raise WrongUsage(str(error)) from None


def patiently(
    call: Callable[[], Result], *, on_wait: Callable[[str], None], seconds: float = PATIENCE, pause: float = _PAUSE
) -> Result:
    """Call until Retinue answers, reporting each failure to `on_wait`.

    Raises:
        Unreachable: It did not answer for `seconds`.
        Unavailable: It answered 503 for `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except (Unreachable, Unavailable) as error:
            if time.monotonic() > deadline:
                raise
            on_wait(str(error))
            time.sleep(pause)
