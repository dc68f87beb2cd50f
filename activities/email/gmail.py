"""The mail tools over Gmail's REST API.

A mail is out when Gmail has taken it. After a lost reply it is looked for in Sent: by its Message-ID, and, since Gmail
may give a mail another one, by its date, subject and recipients. A draft is looked for by its Message-ID. Labels may be
set and mails put into the trash any number of times.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import httpx
from pydantic import BaseModel

from activities.email.answers import fitting, summary, whole
from activities.email.changes import change, named
from activities.email.contract import (
    Email,
    Folder,
    Mail,
    MailChange,
    MailChanges,
    MailSummary,
    MailThread,
    MessageRef,
    MovedMail,
    MoveMail,
    ReadMailChanges,
    SearchMail,
    SearchMailResult,
    SendResult,
)
from activities.email.gmail_mailbox import Glanced, GmailMailbox, check_movable
from activities.email.incoming import automatic, is_message_id, named_ids, parse, reply_headers
from activities.email.mime_builder import Letter, Origin, mail_bytes, message_id_for
from activities.email.models import Message, Relocation
from activities.email.outbox import Outbox
from activities.email.replying import Original
from activities.email.store import MOST_IN_THREAD
from activities.email.writing import Head, Write, WritingTools, invitation_in, origin_among
from retinue.accounts.access import Access
from retinue.errors import InvalidArguments, NotFound, OutcomeUnknown, ServiceError, ServiceUnavailable
from retinue.ledger import SETTLE, Commit, effect_key, lasting_key
from retinue.store import Store
from retinue.times import present

_FORGOTTEN = "Gmail no longer knows the cursor, so mails since the last look may be missing"
_LONGEST_POINT = 40
_LOOKED_THROUGH = 20
"""Of the newest sent mails, after a lost reply."""


def over(access: Access, store: Store, *, http: httpx.AsyncClient, settle: float = SETTLE) -> Email:
    """Return the mail tools over an account at Google.

    Args:
        access: The account's connection; its address is the sender of all mail.
        store: The capability's database, for the ledger and the outbox.
        http: See `RestApi`.
        settle: Seconds after which a sending that never reported counts as lost.
    """
    return GmailEmail(store, GmailMailbox(http, access), sender=access.connection.address, settle=settle)


class GmailEmail(WritingTools):
    """The contract over one account at Google."""

    def __init__(
        self,
        store: Store,
        mailbox: GmailMailbox,
        *,
        sender: str,
        settle: float = SETTLE,
        clock: Callable[[], datetime] = present,
    ) -> None:
        """Use a mailbox.

        Args:
            store: The capability's database, for the ledger and the outbox.
            mailbox: At Gmail.
            sender: The person's own address.
            settle: Seconds after which a sending that never reported counts as lost.
            clock: The present, for the date of written mails.
        """
        super().__init__(store, sender=sender, clock=clock)
        self._outbox = Outbox(store)
        self._mailbox = mailbox
        self._settle = settle

    async def search(self, wish: SearchMail) -> SearchMailResult:
        """Let Gmail search; it finds whole words."""
        words = (wish.query or "").split()
        found = await self._mailbox.search(wish.folder, words=words, unread=wish.unread, limit=wish.limit)
        messages = _told_apart(found, await self._parsed(found))
        return SearchMailResult(messages=fitting([summary(message) for message in messages]))

    async def read(self, mail: MessageRef) -> Mail:
        """Fetch one mail."""
        original = await self._original(mail.message_id)
        invitation = await invitation_in(original.content)
        return whole(original.message, cut=not original.is_whole, invitation=invitation)

    async def thread(self, mail: MessageRef) -> MailThread:
        """Fetch Gmail's own conversation."""
        first = await self._mailbox.find(mail.message_id)
        found = await self._mailbox.thread(first.thread)
        messages = sorted(await self._parsed(found), key=lambda message: message.date)
        shown: list[MailSummary] = fitting([summary(message) for message in messages[:MOST_IN_THREAD]])
        return MailThread(messages=shown, truncated=len(shown) < len(messages))

    async def changes(self, wish: ReadMailChanges) -> MailChanges:
        """Ask Gmail's history. Each mail is named by Gmail's own id, which no sender can copy."""
        since = _point(wish.cursor)
        if since is None:
            point = await self._mailbox.now()
            newest = await self._mailbox.newest(wish.folder, most=wish.limit) if wish.latest else []
            return MailChanges(changes=await self._changes(newest), cursor=_cursor(point))
        arrived = await self._mailbox.arrived(since, wish.folder, most=wish.limit)
        if arrived is None:
            return MailChanges(cursor=_cursor(await self._mailbox.now()), reset=_FORGOTTEN)
        found = await self._changes(arrived.mails)
        return MailChanges(changes=found, cursor=_cursor(arrived.until), more=arrived.more)

    async def _changes(self, mails: Sequence[Glanced]) -> list[MailChange]:
        messages = await self._parsed(mails)
        own = await self._outbox.sent_among(named(messages))
        return [
            change(message, automatic(mail.headers), own=own, message_id=mail.own_id)
            for mail, message in zip(mails, messages, strict=True)
        ]

    async def archive(self, mail: MessageRef) -> MovedMail:
        """Take it out of the inbox; archiving what is archived changes nothing."""
        return await self._move(mail, Folder.ARCHIVE, status="archived")

    async def move(self, mail: MoveMail) -> MovedMail:
        """Move it between Inbox and Archive."""
        return await self._move(mail, mail.folder, status="moved")

    async def delete(self, mail: MessageRef) -> MovedMail:
        """Put it into the trash."""
        return await self._relocate(mail, None, status="deleted")

    async def _move(self, mail: MessageRef, folder: Folder, *, status: str) -> MovedMail:
        return await self._relocate(mail, folder, status=status)

    async def _relocate(self, mail: MessageRef, folder: Folder | None, *, status: str) -> MovedMail:
        """Move one very mail, which the first attempt chose, to a folder, or to the trash."""
        key = effect_key()

        async def act(commit: Commit) -> MovedMail:
            pinned = await self._outbox.relocation(key) or await self._pinned(key, mail.message_id, folder)
            await commit()
            if folder is None:
                await self._mailbox.trash(pinned.mailbox)
            else:
                await self._mailbox.move(pinned.mailbox, folder)
            return MovedMail(message_id=pinned.message_id, subject=pinned.subject, status=status, folder=pinned.folder)

        return await self.ledger.once_outside(mail, MovedMail, act=act, verify=_harmless, settle=self._settle)

    async def _pinned(self, key: str, message_id: str, folder: Folder | None) -> Relocation:
        found = await self._mailbox.find(message_id)
        if folder is not None:
            check_movable(found, folder)
        [message] = await self._parsed([found])
        row = Relocation(
            key=key,
            message_id=message_id,
            subject=message.subject,
            folder=found.folder,
            mailbox=found.gmail_id,
            uid_validity=0,
            uid=0,
        )
        return await self._outbox.pin(row)

    async def _original(self, message_id: str, *, glance: bool = False) -> Original:
        found = await self._mailbox.find(message_id)
        content, is_whole = (found.content, False) if glance else await self._mailbox.content(found)
        [message] = await self._parsed([found], content)
        message.message_id = message_id
        return Original(message, await asyncio.to_thread(reply_headers, content), content, is_whole)

    async def _origin(self, answered: str | None) -> Origin | None:
        """Return the conversation that a mail joins, from the mailbox; without it the mail is sent anyway."""
        if answered is None:
            return None
        try:
            found = await self._mailbox.find(answered)
        except (NotFound, ServiceError):
            return Origin(answered) if is_message_id(answered) and answered.isascii() else None
        own = named_ids(found.content, "message-id")
        return origin_among(own, await asyncio.to_thread(reply_headers, found.content))

    async def _post(self, arguments: BaseModel, head: Head, write: Write, folder: Folder) -> SendResult:
        """Let Gmail send it, or keep it as a draft."""
        if folder is Folder.DRAFTS:
            return await self._draft(arguments, head, write)
        return await self._send(arguments, head, write)

    async def _draft(self, arguments: BaseModel, head: Head, write: Write) -> SendResult:
        message_id = message_id_for(lasting_key(), sender=self._sender)
        result = _result(head, message_id, status="draft")

        async def act(commit: Commit) -> SendResult:
            content = self._written(await write(), message_id)
            thread = await self._thread_of(head)
            await commit()
            await self._mailbox.draft(content, thread=thread)
            return result

        async def verify() -> SendResult:
            if not await self._mailbox.drafted(message_id):
                raise OutcomeUnknown("Gmail never said whether it kept the draft; it is not among the drafts")
            return result

        return await self.ledger.once_outside(arguments, SendResult, act=act, verify=verify, settle=self._settle)

    async def _send(self, arguments: BaseModel, head: Head, write: Write) -> SendResult:
        key = effect_key()
        message_id = message_id_for(lasting_key(), sender=self._sender)

        async def written() -> bytes:
            return self._written(await write(), message_id)

        async def act(commit: Commit) -> SendResult:
            content = await self._outbox.prepare(key, message_id, written)
            thread = await self._thread_of(head)
            await commit()
            sent = await self._mailbox.send(content, thread=thread)
            return _result(head, await self._kept_as(sent) or message_id, status="sent")

        async def verify() -> SendResult:
            found = await self._mailbox.sent(message_id) or await self._alike(key, message_id)
            if found is None:
                raise OutcomeUnknown("Gmail never said whether it sent the mail; it is not in Sent")
            named = named_ids(found.content, "message-id")
            return _result(head, next(iter(named), found.own_id), status="sent")

        sent = await self.ledger.once_outside(arguments, SendResult, act=act, verify=verify, settle=self._settle)
        with suppress(ServiceUnavailable):  # the mail is sent and recorded, so the step must not fail
            await self._outbox.kept_elsewhere(key, sent.message_id)
        return sent.model_copy(update={"sent_copy": "kept"})

    async def _alike(self, key: str, message_id: str) -> Glanced | None:
        """Return the mail in Sent that has the date, subject and recipients of ours; None if there is none."""
        content = await self._outbox.prepared(key)
        if not content:
            return None
        found = await self._mailbox.newest_sent(_LOOKED_THROUGH)
        ours = _marks(parse(content, now=self._clock(), unnamed=message_id))
        same = (mail for mail, read in zip(found, await self._parsed(found), strict=True) if _marks(read) == ours)
        return next(same, None)

    async def _kept_as(self, gmail_id: str) -> str | None:
        """Return the id of a sent mail by which it is found again; None if that cannot be read."""
        try:
            return await self._mailbox.message_id(gmail_id) if gmail_id else None
        except ServiceError:
            return None

    async def _thread_of(self, head: Head) -> str | None:
        """Return Gmail's id of the conversation that a mail joins; None without one."""
        try:
            return (await self._mailbox.find(head.in_reply_to)).thread if head.in_reply_to else None
        except NotFound:
            return None

    def _written(self, letter: Letter, message_id: str) -> bytes:
        return mail_bytes(letter, sender=self._sender, message_id=message_id, date=self._clock())

    async def _parsed(self, found: Sequence[Glanced], content: bytes | None = None) -> list[Message]:
        """Read mails off the event loop, since strangers decide how much work that is."""
        now = self._clock()
        return await asyncio.to_thread(lambda: [_message(mail, content or mail.content, now=now) for mail in found])


def _cursor(point: str) -> str:
    return f"gmail:{point}"


def _point(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    kind, _, point = cursor.partition(":")
    if kind != "gmail" or not point.isascii() or not point.isdigit() or len(point) > _LONGEST_POINT:
        raise InvalidArguments("this cursor was not given by this mailbox")
    return point


async def _harmless() -> None:
    """Nothing to verify: a label that is set stays set, whatever an earlier attempt still does."""


def _message(mail: Glanced, content: bytes, *, now: datetime) -> Message:
    try:
        message = parse(content, now=now, unnamed=mail.own_id)
    except InvalidArguments:
        message = Message(
            message_id=mail.own_id, folder=mail.folder, sender="", subject="(a mail that cannot be read)", date=now
        )
    message.folder, message.unread = mail.folder, mail.unread
    return message


def _told_apart(found: Sequence[Glanced], messages: list[Message]) -> list[Message]:
    """Give mails that share an id one of our own, all but the one that the shared id leads to: the first that came."""
    left = Counter(message.message_id for message in messages)
    for mail, message in zip(found, messages, strict=True):
        left[message.message_id] -= 1
        if left[message.message_id]:
            message.message_id = mail.own_id
    return messages


def _marks(message: Message) -> tuple[object, ...]:
    """Return what two copies of one mail share."""
    return message.date, message.subject, message.recipients, message.cc


def _result(head: Head, message_id: str, *, status: str) -> SendResult:
    return SendResult(
        message_id=message_id, status=status, delivery="gmail", to=[*head.to, *head.cc], subject=head.subject
    )
