"""The mail tools over the own mailbox. Every effect goes through the ledger, so a retried step never acts twice."""

from collections.abc import Callable
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.email.answers import fitting, moved, summary, whole
from activities.email.contract import (
    Compose,
    Email,
    Folder,
    Mail,
    MailSummary,
    MailThread,
    MessageRef,
    MovedMail,
    MoveMail,
    NotifySelf,
    SearchMail,
    SearchMailResult,
    SendResult,
)
from activities.email.incoming import own_id
from activities.email.models import Message
from activities.email.plaintext import one_line, plain
from activities.email.store import MOST_IN_THREAD, MailStore
from retinue.ledger import Ledger, effect_key
from retinue.times import present


class EmailTools(Email):
    """The contract over `MailStore`. No mail server is configured: what is sent is kept in `sent` and says so."""

    def __init__(self, mailbox: MailStore, *, sender: str, clock: Callable[[], datetime] = present) -> None:
        """Keep the mailbox.

        Args:
            mailbox: Whose `open()` was or will be called by the caller.
            sender: The person's own address.
            clock: The present, for the date of written mails.
        """
        self._mailbox = mailbox
        self.ledger: Ledger = Ledger(mailbox.database)
        self._sender = sender
        self._clock = clock

    async def send(self, mail: Compose) -> SendResult:
        """Keep the mail in `sent`."""
        return await self.ledger.once(mail, SendResult, lambda session: self._write(session, mail, Folder.SENT))

    async def draft(self, mail: Compose) -> SendResult:
        """Keep the mail in `drafts`."""
        return await self.ledger.once(mail, SendResult, lambda session: self._write(session, mail, Folder.DRAFTS))

    async def search(self, wish: SearchMail) -> SearchMailResult:
        """Look through one folder; fewer mails than `limit` come back where their headers are monstrous."""
        return SearchMailResult(messages=fitting([summary(message) for message in await self._mailbox.search(wish)]))

    async def read(self, mail: MessageRef) -> Mail:
        """Give one mail, its text cut to what fits."""
        return whole(await self._mailbox.get(mail.message_id))

    async def thread(self, mail: MessageRef) -> MailThread:
        """Follow who answers whom, in both directions."""
        found = sorted(await self._mailbox.thread(mail.message_id), key=lambda message: message.date)
        shown = fitting([summary(message) for message in found])
        return MailThread(messages=shown, truncated=len(shown) < len(found) or len(found) >= MOST_IN_THREAD)

    async def look_up(self, mail: MessageRef) -> MailSummary:
        """Give its line in the mailbox."""
        return summary(await self._mailbox.get(mail.message_id))

    async def notify_self(self, note: NotifySelf) -> SendResult:
        """Put the note into the inbox, where the person sees it, unread."""
        mail = Compose(to=[self._sender], subject=note.subject, body=note.body)
        return await self.ledger.once(note, SendResult, lambda session: self._write(session, mail, Folder.INBOX))

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

    async def _write(self, session: AsyncSession, mail: Compose, folder: Folder) -> SendResult:
        message = Message(
            message_id=own_id(effect_key().encode()),
            folder=folder,
            sender=self._sender,
            recipients=list(mail.to),
            cc=list(mail.cc),
            subject=one_line(mail.subject, limit=500),
            date=self._clock(),
            text=plain(mail.body),
            in_reply_to=None if mail.in_reply_to is None else one_line(mail.in_reply_to, limit=500),
            unread=folder is Folder.INBOX,
        )
        self._mailbox.add(session, message)
        status = "draft" if folder is Folder.DRAFTS else "sent"
        return SendResult(
            message_id=message.message_id,
            status=status,
            delivery="own-store",
            to=[*message.recipients, *message.cc],
            subject=message.subject,
        )
