"""Stores large payloads in an S3 bucket instead of a shared folder (`RETINUE_BLOB_BUCKET`), by Temporal's own driver.

Region, endpoint and credentials are those of the standard AWS variables and profiles. An object's name holds the workflow
and the SHA-256 of the content, which is checked when it is read. This module deletes no objects.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.aws.s3driver import S3StorageDriver, S3StorageDriverClient
from temporalio.converter import StorageDriverClaim, StorageDriverRetrieveContext, StorageDriverStoreContext

from retinue.errors import ServiceUnavailable

if TYPE_CHECKING:
    from botocore.client import BaseClient

_CONNECT = 5
_READ = 20
_ATTEMPTS = 3
_HINT = "all processes need the same RETINUE_BLOB_BUCKET, and AWS credentials that may read and write it"


class S3Blobs(S3StorageDriver):
    """Stores payloads as objects.

    Args:
        buckets: Returns the buckets: the first one is written, all are read. Called each time, since this object is
            created at import, before configuration.
    """

    def __init__(self, buckets: Callable[[], Sequence[str]]) -> None:
        super().__init__(_BotocoreClient(), bucket=lambda _context, _payload: buckets()[0])
        self._buckets = buckets

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Write payloads, before anything refers to them.

        Raises:
            ServiceUnavailable: The bucket cannot be written.
        """
        try:
            return await super().store(context, payloads)
        except (RuntimeError, ValueError) as error:
            raise ServiceUnavailable(
                f"a large part of a run cannot be written to the bucket: {_why(error)}", hint=_HINT
            ) from None

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read payloads.

        Raises:
            ServiceUnavailable: An object is missing, cannot be read, is not what was written, or is in a bucket that is
                not ours: a history must not make this process read another one.
        """
        if not {claim.claim_data.get("bucket") for claim in claims} <= set(self._buckets()):
            raise ServiceUnavailable("a large part of this run is in a bucket that is not configured here", hint=_HINT)
        try:
            return await super().retrieve(context, claims)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ServiceUnavailable(
                f"a large part of this run cannot be read from the bucket: {_why(error)}", hint=_HINT
            ) from None


class _BotocoreClient(S3StorageDriverClient):
    """S3 by botocore, in threads: its clients may be used by several at once."""

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        """Write an object."""
        await asyncio.to_thread(_client().put_object, Bucket=bucket, Key=key, Body=data)

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        """Return whether an object is there. Without `s3:ListBucket` S3 does not say so, and it is written again."""
        from botocore.exceptions import ClientError

        try:
            await asyncio.to_thread(_client().head_object, Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("403", "404"):
                return False
            raise
        return True

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Read an object."""

        def read() -> bytes:
            content: bytes = _client().get_object(Bucket=bucket, Key=key)["Body"].read()
            return content

        return await asyncio.to_thread(read)


@functools.cache
def _client() -> Any:
    """Return the client of this process."""
    # imported here: it costs 13 MB and 0.3 s, which only installations with a bucket need
    import botocore.session
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT, read_timeout=_READ, retries={"mode": "standard", "total_max_attempts": _ATTEMPTS}
    )
    client: BaseClient = botocore.session.get_session().create_client("s3", config=config)
    return client


def _why(error: BaseException) -> str:
    """Return the reason without bucket and key, which name the assistant."""
    cause = error.__cause__
    response = getattr(cause, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "refused"))
    if cause is not None:
        return type(cause).__name__
    return "it is not what was written" if "integrity" in str(error) else type(error).__name__
