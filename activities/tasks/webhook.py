"""Telling another program of a reminder by HTTP, signed as Standard Webhooks says.

The receiver knows each reminder by its `webhook-id`, so that one which comes twice, after a lost reply, is known as such.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping

from retinue.errors import ServiceRefused, ServiceUnavailable
from retinue.outside import Outside

PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)
MOST_BYTES = 64 * 1024
"""Of a receiver's answer, which says nothing that we need."""


def key_of(secret: str) -> bytes:
    """The key of a secret as both sides write it: `whsec_` and base64 of 24 to 64 bytes.

    Raises:
        ValueError: It is none. The message does not repeat it.
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


class Webhook:
    """One address that wants to hear of reminders."""

    def __init__(self, outside: Outside, url: str, key: bytes) -> None:
        self._outside = outside
        self._url = url
        self._key = key

    async def post(self, message_id: str, content: Mapping[str, str | None], *, timestamp: int) -> None:
        """Send one message.

        Args:
            message_id: The same for every attempt of one message.
            content: What it says.
            timestamp: Of this attempt, in seconds since 1970: receivers refuse what is old.

        Raises:
            ServiceUnavailable: It was not taken, and may be later.
            ServiceRefused: It will not be taken, however often it is sent.
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
        reply = await self._outside.ask("POST", self._url, headers=headers, content=body, changes=True)
        if 200 <= reply.status < 300:
            return
        if reply.status == 410 or 300 <= reply.status < 400:
            raise ServiceRefused(f"the webhook is not there any more (HTTP {reply.status})", hint="check the settings")
        raise ServiceUnavailable(f"the webhook did not take it (HTTP {reply.status})")


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """What proves that a message is ours and whole."""
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"
