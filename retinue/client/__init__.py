"""A client of Retinue's HTTP API for Python, sync and async, typed.

    from retinue.client import Client

    with Client() as retinue:
        run = retinue.assistants.start("What is on my calendar tomorrow?")
        print(retinue.assistants.wait(run.id).reply)

It needs httpx and pydantic and nothing else of Retinue: no other module of this repository is imported, so that the folder
can be taken along alone. docs/client.md shows it at work.
"""

from retinue.client.async_client import AsyncClient
from retinue.client.calls import OneDecision
from retinue.client.errors import (
    BadRequest,
    ClientError,
    Conflict,
    InvalidArguments,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotUnderstood,
    Refused,
    ServerError,
    TooLarge,
    TooManyRequests,
    Unavailable,
    Unreachable,
    WrongValue,
)
from retinue.client.sync_client import Client

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "ClientError",
    "Conflict",
    "InvalidArguments",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "NotUnderstood",
    "OneDecision",
    "Refused",
    "ServerError",
    "TooLarge",
    "TooManyRequests",
    "Unavailable",
    "Unreachable",
    "WrongValue",
]
