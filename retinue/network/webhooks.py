"""Sends webhooks, signed according to Standard Webhooks.

Each message has a `webhook-id`, so that the receiver recognises one that is sent twice after a lost reply.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue

from retinue.errors import ServiceRefused, ServiceUnavailable

if TYPE_CHECKING:
    # callers that only store secrets need no HTTP client
    from retinue.network.service_client import ExternalService

PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)
MOST_BYTES = 64 * 1024
"""The most bytes of a receiver's answer, which is not used."""


def key_of(secret: str) -> bytes:
    """Return the key in a secret: `whsec_` and base64 of 24 to 64 bytes.

    Raises:
        ValueError: It has another form. The message does not repeat it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if len(key) not in _SECRET_BYTES:
        raise ValueError(
            "a webhook's secret is whsec_ and base64 of 24 to 64 bytes, as `openssl rand -base64 32` gives"
        )
    return key


def new_secret() -> str:
    """Return a secret of 256 random bits."""
    return f"{PREFIX}{base64.b64encode(secrets.token_bytes(32)).decode()}"


class Webhook:
    """The address of one receiver."""

    def __init__(self, outside: ExternalService, url: str, key: bytes) -> None:
        self._outside = outside
        self._url = url
        self._key = key

    async def send(self, message_id: str, content: Mapping[str, JsonValue], *, timestamp: int) -> int:
        """Send one message and return the status of the answer, if below 500.

        Args:
            message_id: The same for every attempt of one message.
            content: The JSON body.
            timestamp: Of this attempt, in seconds since 1970, since receivers refuse old messages.

        Raises:
            ServiceUnavailable: The receiver is unavailable; retry later.
            ServiceRefused: It asks for credentials, or its certificate is not trusted.
            OutcomeUnknown: No reply came.
            ServiceBusy: The receiver asks for a pause.
        """
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._key, message_id, timestamp, body),
        }
        reply = await self._outside.request("POST", self._url, headers=headers, content=body, changes=True)
        return reply.status

    async def post(self, message_id: str, content: Mapping[str, JsonValue], *, timestamp: int) -> None:
        """Send one message; a refusal is an error.

        Raises:
            ServiceUnavailable: The receiver is unavailable; retry later.
            ServiceRefused: The receiver refuses it permanently.
            OutcomeUnknown: No reply came.
            ServiceBusy: The receiver asks for a pause.
        """
        status = await self.send(message_id, content, timestamp=timestamp)
        if 200 <= status < 300:
            return
        if status == 410 or 300 <= status < 400:
            raise ServiceRefused(f"the webhook does not exist any more (HTTP {status})", hint="check the settings")
        raise ServiceUnavailable(f"the webhook did not accept it (HTTP {status})")


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message."""
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"
