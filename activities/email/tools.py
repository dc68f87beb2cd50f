"""The mail tools over the own mailbox. Every effect goes through the ledger, so a retried step never acts twice."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.email.answers import fitting, moved, summary, whole
from activities.email.changes import change, named
from activities.email.contract import (
    Folder,
    Mail,
    MailChanges,
    MailThread,
    MessageRef,
    MovedMail,
    MoveMail,
    ReadMailChanges,
    SearchMail,
    SearchMailResult,
    SendResult,
)
from activities.email.incoming import ReplyHeaders, automatic, own_id, parse, reply_headers
from activities.email.mime_builder import Letter, Origin, mail_bytes
from activities.email.models import Message
from activities.email.plaintext import one_line, plain
from activities.email.replying import Original
from activities.email.store import MOST_IN_THREAD, MailStore
from activities.email.writing import Head, Write, WritingTools, invitation_in, origin_of
from retinue.errors import InvalidArguments, NotFound
from retinue.ledger import effect_key
from retinue.times import present


class EmailTools(WritingTools):
    """The contract over `MailStore`. No mail server is configured: what is sent is kept in `sent` and says so."""

    def __init__(self, mailbox: MailStore, *, sender: str, clock: Callable[[], datetime] = present) -> None:
        """Keep the mailbox.

        Args:
            mailbox: Whose `open()` was or will be called by the caller.
            sender: The person's own address.
            clock: The present, for the date of written mails.
        """
        super().__init__(mailbox.database, sender=sender, clock=clock)
        self._mailbox = mailbox

    async def search(self, wish: SearchMail) -> SearchMailResult:
        """Look through one folder; fewer mails than `limit` come back where their headers are monstrous."""
        return SearchMailResult(messages=fitting([summary(message) for message in await self._mailbox.search(wish)]))

    async def read(self, mail: MessageRef) -> Mail:
        """Give one mail, its text cut to what fits."""
        message, content = await self._mailbox.get(mail.message_id), await self._mailbox.source(mail.message_id)
        return whole(message, invitation=await invitation_in(content))

    async def thread(self, mail: MessageRef) -> MailThread:
        """Follow who answers whom, in both directions."""
        found = sorted(await self._mailbox.thread(mail.message_id), key=lambda message: message.date)
        shown = fitting([summary(message) for message in found])
        return MailThread(messages=shown, truncated=len(shown) < len(found) or len(found) >= MOST_IN_THREAD)

    async def changes(self, wish: ReadMailChanges) -> MailChanges:
        """Read the mails that were delivered after the cursor, which is the number of the last one."""
        last = await self._mailbox.last_arrival()
        after = arrival_number(wish.cursor, last=last)
        if after is None:
            after = max(0, last - wish.limit) if wish.latest else last
        found = [] if wish.folder is not Folder.INBOX else await self._mailbox.arrivals(after, limit=wish.limit + 1)
        taken = found[: wish.limit]
        own = await self._mailbox.sent_among(named([message for _, message, _ in taken]))
        changes = await asyncio.to_thread(
            lambda: [change(message, automatic(content), own=own) for _, message, content in taken]
        )
        more = len(found) > len(taken)
        until = taken[-1][0] if more else max([last, *(number for number, _, _ in taken)])
        return MailChanges(changes=changes, cursor=str(until), more=more)

    async def archive(self, mail: MessageRef) -> MovedMail:
        """Move it, from whichever folder; archiving what is archived changes nothing."""
        return await self._move(mail, Folder.ARCHIVE, status="archived")

    async def move(self, mail: MoveMail) -> MovedMail:
        """Move it, from whichever folder."""
        return await self._move(mail, mail.folder, status="moved")

    async def delete(self, mail: MessageRef) -> MovedMail:
        """Remove the row."""

        async def remove(session: AsyncSession) -> MovedMail:
            message = await self._mailbox.find(session, mail.message_id)
            await self._mailbox.remove(session, message)
            return moved(message, status="deleted")

        return await self.ledger.once(mail, MovedMail, remove)

    async def _move(self, mail: MessageRef, folder: Folder, *, status: str) -> MovedMail:
        async def move(session: AsyncSession) -> MovedMail:
            message = await self._mailbox.find(session, mail.message_id)
            result = moved(message, status=status)
            message.folder = folder
            session.add(message)
            return result

        return await self.ledger.once(mail, MovedMail, move)

    async def _original(self, message_id: str, *, glance: bool = False) -> Original:
        message, content = await self._mailbox.get(message_id), await self._mailbox.source(message_id)
        if not content:
            return Original(message, ReplyHeaders([]), _as_text(message), is_whole=False)
        return Original(message, await asyncio.to_thread(reply_headers, content), content)

    async def _origin(self, answered: str | None) -> Origin | None:
        try:
            return None if answered is None else origin_of(await self._original(answered))
        except NotFound:
            return None

    async def _post(self, arguments: BaseModel, head: Head, write: Write, folder: Folder) -> SendResult:
        """Keep the mail in its folder."""

        async def keep(session: AsyncSession) -> SendResult:
            message_id, letter, now = own_id(effect_key().encode()), await write(), self._clock()
            content = mail_bytes(letter, sender=self._sender, message_id=message_id, date=now)
            message = self._row(head, letter, message_id, folder, now)
            message.attachments = (await asyncio.to_thread(parse, content, now=now)).attachments
            self._mailbox.add(session, message, content)
            status = "draft" if folder is Folder.DRAFTS else "sent"
            return SendResult(
                message_id=message_id,
                status=status,
                delivery="own-store",
                to=[*message.recipients, *message.cc],
                subject=message.subject,
            )

        return await self.ledger.once(arguments, SendResult, keep)

    def _row(self, head: Head, letter: Letter, message_id: str, folder: Folder, now: datetime) -> Message:
        return Message(
            message_id=message_id,
            folder=folder,
            sender=self._sender,
            recipients=list(head.to),
            cc=list(head.cc),
            subject=one_line(head.subject, limit=500),
            date=now,
            text=plain(letter.body),
            in_reply_to=None if head.in_reply_to is None else one_line(head.in_reply_to, limit=500),
            unread=folder is Folder.INBOX,
        )


def arrival_number(cursor: str | None, *, last: int) -> int | None:
    """Return the number in a cursor; None for one to begin with.

    Raises:
        InvalidArguments: It is none of this mailbox.
    """
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit()):
        raise InvalidArguments("this cursor was not given by this mailbox")
    return min(int(cursor[:18]), last)


def _as_text(message: Message) -> bytes:
    """Return what is known of a mail of which only the text was kept, to know it again."""
    return message.model_dump_json(exclude={"folder", "unread", "haystack"}).encode()
