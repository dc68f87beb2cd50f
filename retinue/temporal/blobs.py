"""Stores large payloads as files in a folder that all processes share.

The history contains only the SHA-256 of the content, so a large result costs it a few hundred bytes. The hash is the file's
name: the same content is stored once, writers cannot conflict, and a changed file is detected. This module removes no files;
they may be removed when no run refers to them (see `docs/architecture.md`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from retinue.errors import ServiceUnavailable

INLINE_BYTES = 128 * 1024
"""Payloads of this size and above are stored as files."""
_HASH = "sha256"
_HEX = re.compile(r"[0-9a-f]{64}")
_HINT = "all processes need the same RETINUE_BLOB_DIR"


class BlobFiles(StorageDriver):
    """Stores payloads as files.

    Args:
        folder: Returns the folder; called each time, since this object is created at import, before configuration.
    """

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder

    def name(self) -> str:
        """Return the driver's name, part of histories; do not change it."""
        return "retinue-files"

    def type(self) -> str:
        """Return the driver's type, for readers in other languages."""
        return "files-by-sha256"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Write payloads, before anything refers to them.

        Raises:
            ServiceUnavailable: The folder cannot be written.
        """
        del context
        contents = [payload.SerializeToString(deterministic=True) for payload in payloads]
        return [StorageDriverClaim({_HASH: await asyncio.to_thread(self._keep, content)}) for content in contents]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read payloads.

        Raises:
            ServiceUnavailable: A file is missing, cannot be read, or is not what was written.
        """
        del context
        digests = [claim.claim_data.get(_HASH, "") for claim in claims]
        return [Payload.FromString(await asyncio.to_thread(self._read, digest)) for digest in digests]

    def _keep(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        try:
            if not _is_whole(path, len(content)):
                _write(path, content)
        except OSError as error:
            raise ServiceUnavailable(
                f"a large part of a run cannot be written to the blob folder: {type(error).__name__}", hint=_HINT
            ) from error
        return digest

    def _read(self, digest: str) -> bytes:
        try:
            content = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise ServiceUnavailable(
                f"a large part of this run is not in the blob folder: {digest}", hint=_HINT
            ) from error
        except OSError as error:
            raise ServiceUnavailable(
                f"a large part of this run cannot be read from the blob folder: {type(error).__name__}", hint=_HINT
            ) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise ServiceUnavailable(f"a large part of this run was changed in the blob folder: {digest}")
        return content

    def _path(self, digest: str) -> Path:
        """Return the path of a content; the first two digits are a folder, so that none gets too many entries."""
        if not _HEX.fullmatch(digest):
            raise ServiceUnavailable("a large part of this run is kept under a name that is no SHA-256")
        return self._folder() / digest[:2] / digest[2:]


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically, and to the disk before a history refers to it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
