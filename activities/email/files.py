"""Files that a person saved from mails: kept in the capability's database, so each organisation has its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

from sqlalchemy import func
from sqlalchemy.orm import defer
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.email.filetypes import problem_of, sized
from activities.email.incoming import AttachedFile
from activities.email.models import SavedFile
from retinue.errors import InvalidArguments, NotFound
from retinue.store import Store

if TYPE_CHECKING:
    from sqlalchemy.orm import InstrumentedAttribute

LARGEST = 8 * 1024 * 1024
"""Bytes of one file, and of all attachments of one mail: encoded, a mailbox still reads such a mail in whole."""
MOST_SAVED = 500
MOST_BYTES = 200 * 1024 * 1024


class FileStore:
    """Saved files."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, file_id: str) -> SavedFile:
        """Return a file with its content.

        Raises:
            NotFound: There is none of that id.
        """
        async with self._store.read() as session:
            return await self.find(session, file_id)

    async def find(self, session: AsyncSession, file_id: str) -> SavedFile:
        """Return a file within the caller's transaction.

        Raises:
            NotFound: There is none of that id.
        """
        found = await session.get(SavedFile, file_id)
        if found is None:
            raise NotFound("there is no saved file with that file_id", hint="email.list_files shows all")
        return found

    async def listed(self, words: Sequence[str], limit: int) -> list[SavedFile]:
        """Return the newest files whose names contain all words, without their contents."""
        query = select(SavedFile).options(
            defer(cast("InstrumentedAttribute[bytes]", SavedFile.content), raiseload=True)
        )
        for word in words:
            query = query.where(func.lower(col(SavedFile.name)).contains(word.lower(), autoescape=True))
        newest = query.order_by(col(SavedFile.saved_at).desc(), col(SavedFile.file_id)).limit(limit)
        async with self._store.read() as session:
            return list((await session.exec(newest)).all())

    async def save(self, session: AsyncSession, file: AttachedFile, *, now: datetime) -> tuple[SavedFile, bool]:
        """Keep a file within the caller's transaction; returns it, and whether it is new.

        Raises:
            InvalidArguments: It is a program or too large, or there is no room for it.
        """
        check(file)
        file_id = id_of(file)
        if (known := await session.get(SavedFile, file_id)) is not None:
            return known, False
        counted = await session.exec(select(func.count(), func.coalesce(func.sum(SavedFile.size), 0)))
        count, size = counted.one()
        if count >= MOST_SAVED or size + len(file.content) > MOST_BYTES:
            raise InvalidArguments(
                f"{count} files with {sized(size)} are saved, and there is no room for more",
                hint="email.delete_file removes one",
            )
        saved = SavedFile(
            file_id=file_id,
            name=file.name,
            content_type=file.content_type,
            size=len(file.content),
            saved_at=now,
            content=file.content,
        )
        session.add(saved)
        return saved, True


def id_of(file: AttachedFile) -> str:
    """Return the id of a file, made of its name and content."""
    digest = hashlib.sha256(file.name.encode("utf-8", "replace") + b"\0")
    digest.update(file.content)
    return digest.hexdigest()


def check(*files: AttachedFile) -> None:
    """Make sure that files may be saved or sent.

    Raises:
        InvalidArguments: One is a program, or they are too large together.
    """
    for file in files:
        if problem := problem_of(file.content, file.name):
            raise InvalidArguments(
                f"'{file.name}' is neither saved nor sent: {problem}",
                hint="leave it out; a forwarded mail can go without its attachments (with_attachments: false)",
            )
    if (size := sum(len(file.content) for file in files)) > LARGEST:
        raise InvalidArguments(f"the files have {sized(size)} together; at most {sized(LARGEST)} can be saved or sent")
