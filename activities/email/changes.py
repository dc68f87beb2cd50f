"""Which mails have arrived since a cursor: what providers share, and a plain way over `email.search` for the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Sequence

from activities.email.contract import Automatic, MailChange, MailChanges, MailSummary, ReadMailChanges, SearchMail
from activities.email.contract import SearchMailResult as Found
from activities.email.models import Message
from retinue.errors import InvalidArguments

_SEARCHED = 50
_KEPT = 200
"""Mails that a cursor of `changes_by_search` knows."""
_WORDS = 16


def change_id(message_id: str) -> str:
    """Return the id of a mail's arrival: by the mail's own id, so that it survives a new numbering of the mailbox."""
    return hashlib.sha256(message_id.encode(errors="surrogatepass")).hexdigest()[:32]


def change(message: Message, automatic: Automatic, *, own: Collection[str] = (), message_id: str = "") -> MailChange:
    """Return a mail's arrival.

    Args:
        message: As it was read.
        automatic: What its headers say.
        own: Ids of mails that this assistant sent, as far as this mail may be or answer one.
        message_id: By which it can be read, if not by its own.
    """
    return MailChange(
        change_id=change_id(message.message_id),
        message_id=message_id or message.message_id,
        sender=message.sender,
        from_name=message.sender_name,
        subject=message.subject,
        date=message.date,
        automatic=automatic,
        own=message.message_id in own,
        answers_own=(message.in_reply_to or "") in own,
    )


def named(messages: Sequence[Message]) -> list[str]:
    """Return the ids that decide whether mails are own or answer own ones."""
    return [name for message in messages for name in (message.message_id, message.in_reply_to) if name]


async def changes_by_search(wish: ReadMailChanges, search: Callable[[SearchMail], Awaitable[Found]]) -> MailChanges:
    """Find new mails by looking at the newest ones: for providers without a better way.

    It knows neither who wrote a mail nor which are own, and misses some where more than `_SEARCHED` arrive between two
    looks; `reset` says so then.

    Args:
        wish: What is asked for. The cursor is the digests of the mails seen last.
        search: The provider's own.
    """
    newest_first = (await search(SearchMail(folder=wish.folder, limit=_SEARCHED))).messages
    if wish.cursor is None:
        shown = newest_first[: wish.limit] if wish.latest else []
        return MailChanges(changes=_oldest_first(shown), cursor=_cursor(newest_first, []))
    seen = _seen(wish.cursor)
    new = [mail for mail in newest_first if change_id(mail.message_id)[:_WORDS] not in seen]
    overrun = bool(seen) and len(new) == len(newest_first) == _SEARCHED
    taken = new[-wish.limit :]
    return MailChanges(
        changes=_oldest_first(taken),
        cursor=_cursor(taken, seen),
        more=len(taken) < len(new),
        reset=f"more than {_SEARCHED} mails arrived between two looks, so some may be missing" if overrun else "",
    )


def _oldest_first(found: Sequence[MailSummary]) -> list[MailChange]:
    return [
        MailChange(
            change_id=change_id(mail.message_id),
            message_id=mail.message_id,
            sender=mail.sender,
            from_name=mail.from_name,
            subject=mail.subject,
            date=mail.date,
        )
        for mail in reversed(found)
    ]


def _cursor(newest_first: Sequence[MailSummary], seen: Sequence[str]) -> str:
    return json.dumps([*(change_id(mail.message_id)[:_WORDS] for mail in newest_first), *seen][:_KEPT])


def _seen(cursor: str) -> list[str]:
    try:
        found = json.loads(cursor)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise InvalidArguments("this cursor was not given by this mailbox")
    return found
