"""Which API a command talks to and with whose key: what is given, else what `login` stored, else the local stack."""

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
"""Seconds for which a command that watches a run goes on while Retinue does not answer."""
_PAUSE = 0.5


def address(context: typer.Context) -> str:
    """Where the API is."""
    given: str | None = context.find_root().obj
    stored = credentials.stored()
    return given or (stored.url if stored else local.api_url())


def open_client(context: typer.Context, *, timeout: float = 20) -> Client:
    """A client of the API that is meant."""
    return client_of(address(context), timeout=timeout)


def client_of(url: str, *, api_key: str | None = None, timeout: float = 20) -> Client:
    """A client of an address. A stored key is sent to the address that it was stored for, and nowhere else.

    Nothing is sent twice by the client itself: a command says it when it waits.

    Raises:
        WrongUsage: It is no address.
    """
    key = api_key if api_key is not None else os.environ.get("RETINUE_API_KEY") or credentials.key_for(url)
    try:
        return Client(url, key, timeout=timeout, retries=0)
    except ValueError as error:
        raise WrongUsage(str(error)) from None


def patiently(
    call: Callable[[], Result], *, on_wait: Callable[[str], None], seconds: float = PATIENCE, pause: float = _PAUSE
) -> Result:
    """Call until Retinue answers, telling `on_wait` why it takes long.

    Raises:
        Unreachable: It did not for `seconds`.
        Unavailable: It answered all that time that it cannot.
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
