"""The own mailbox: mails in the capability's database, independent of tools, plans and Temporal."""

from collections.abc import Collection

from sqlalchemy import delete, func, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.email.contract import Folder, SearchMail
from activities.email.models import Arrival, EmailBase, Message, Source
from activities.email.plaintext import folded
from retinue.errors import NotFound, ServiceUnavailable
from retinue.store import Store

MOST_IN_THREAD = 50
_DELIVERIES = 20
"""Attempts of a delivery; each that fails was overtaken by another one."""


class MailStore:
    """The mailbox of one person over one database."""

    def __init__(self, url: str) -> None:
        """Name the database by its SQLAlchemy address; `open()` connects."""
        self.database = Store(url, EmailBase.metadata, owner="email")

    async def open(self) -> None:
        """Connect, and create the tables that are missing.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        await self.database.open()

    async def close(self) -> None:
        """Close all connections."""
        await self.database.close()

    async def deliver(self, message: Message, content: bytes = b"") -> Message | None:
        """Put an incoming mail into its folder, or return the mail of that id that is already there, in any folder.

        Args:
            message: As it was read.
            content: The mail as it came, for its attachments and for replies.
        """
        for _ in range(_DELIVERIES):
            try:
                async with self.database.write() as session:
                    number = (await session.exec(select(func.max(Arrival.number)))).one() or 0
                    session.add(Arrival(number=number + 1, message_id=message.message_id))
                    self.add(session, message, content)
            except IntegrityError:
                # The primary keys decide, so two deliveries at once need no look beforehand. Numbers are in the order of
                # the commits, so that nobody who reads up to a number misses a smaller one that is committed later.
                if known := await self._known(message.message_id):
                    return known
            else:
                return None
        raise ServiceUnavailable("too many mails are delivered at once", hint="try again in a few seconds")

    async def _known(self, message_id: str) -> Message | None:
        async with self.database.read() as session:
            return await session.get(Message, message_id)

    async def last_arrival(self) -> int:
        """Return the number of the mail that came last; 0 without any."""
        async with self.database.read() as session:
            return (await session.exec(select(func.max(Arrival.number)))).one() or 0

    async def arrivals(self, after: int, *, limit: int) -> list[tuple[int, Message, bytes]]:
        """Return the mails that came after that number and are still there, oldest first, each with what it came as."""
        query = (
            select(Arrival.number, Message, Source.content)
            .join(Message, col(Message.message_id) == col(Arrival.message_id))
            .outerjoin(Source, col(Source.message_id) == col(Arrival.message_id))
            .where(col(Arrival.number) > after)
            .order_by(col(Arrival.number))
            .limit(limit)
        )
        async with self.database.read() as session:
            return [(number, message, content or b"") for number, message, content in await session.exec(query)]

    async def sent_among(self, ids: Collection[str]) -> set[str]:
        """Return which of these ids are of mails that were sent from here."""
        query = select(Message.message_id).where(col(Message.message_id).in_(ids), col(Message.folder) == Folder.SENT)
        async with self.database.read() as session:
            return set(await session.exec(query))

    async def get(self, message_id: str) -> Message:
        """Return one mail.

        Raises:
            NotFound: There is no mail of that id.
        """
        async with self.database.read() as session:
            return await self.find(session, message_id)

    async def search(self, wish: SearchMail) -> list[Message]:
        """Return the newest mails of one folder that contain every word of the query."""
        query = select(Message).where(col(Message.folder) == wish.folder)
        for word in folded(wish.query or "").split():
            query = query.where(col(Message.haystack).contains(word, autoescape=True))
        if wish.unread is not None:
            query = query.where(col(Message.unread) == wish.unread)
        newest_first = query.order_by(col(Message.date).desc(), col(Message.message_id)).limit(wish.limit)
        async with self.database.read() as session:
            return list((await session.exec(newest_first)).all())

    async def thread(self, message_id: str) -> list[Message]:
        """Return a mail, the mails that it answers, and the mails that answer one of these; at most `MOST_IN_THREAD`.

        Raises:
            NotFound: There is no mail of that id.
        """
        async with self.database.read() as session:
            first = await self.find(session, message_id)
            found, ask = {first.message_id: first}, {first.message_id, first.in_reply_to or first.message_id}
            while ask and len(found) < MOST_IN_THREAD:
                named = or_(col(Message.message_id).in_(ask), col(Message.in_reply_to).in_(ask))
                query = select(Message).where(named).order_by(col(Message.date)).limit(MOST_IN_THREAD)
                new = [message for message in await session.exec(query) if message.message_id not in found]
                found |= {message.message_id: message for message in new}
                ask = {name for message in new for name in (message.message_id, message.in_reply_to) if name}
            return list(found.values())[:MOST_IN_THREAD]

    async def count(self) -> int:
        """How many mails there are in all folders."""
        async with self.database.read() as session:
            return (await session.exec(select(func.count()).select_from(Message))).one()

    async def source(self, message_id: str) -> bytes:
        """Return a mail as it came; empty where only its text was kept."""
        async with self.database.read() as session:
            found = await session.get(Source, message_id)
            return b"" if found is None else found.content

    def add(self, session: AsyncSession, message: Message, content: bytes = b"") -> None:
        """Add a mail, and what it came as, within the caller's transaction."""
        if content:
            session.add(Source(message_id=message.message_id, content=content))
        message.haystack = folded(f"{message.sender_name} {message.sender}\n{message.subject}\n{message.text}")
        session.add(message)

    async def find(self, session: AsyncSession, message_id: str) -> Message:
        """Return one mail within the caller's transaction.

        Raises:
            NotFound: There is no mail of that id.
        """
        message = await session.get(Message, message_id)
        if message is None:
            raise NotFound(
                "there is no mail with that message_id", hint="email.search shows the message_id of every mail"
            )
        return message

    async def remove(self, session: AsyncSession, message: Message) -> None:
        """Delete a mail for good within the caller's transaction."""
        await session.exec(delete(Message).where(col(Message.message_id) == message.message_id))
        await session.exec(delete(Source).where(col(Source.message_id) == message.message_id))
