"""Replies and forwarded mails as mail programs write them: recipients, subject and quoted text. Pure.

Everything here is read from a mail, so a stranger chose it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from activities.email.contract import ForwardParts, ReplyParts
from activities.email.incoming import ReplyHeaders
from activities.email.models import Message
from activities.email.plaintext import one_line
from retinue.addresses import check_address, misleading
from retinue.errors import InvalidArguments

MOST_PEOPLE = 50
_MOST_QUOTED = 10_000
_MOST_LINES = 300
_MOST_FORWARDED = 30_000
_CUT = "[...]"
_REPLY_MARKS = re.compile(r"^(?:(?:re|aw|sv|antw|vs|odp|res|rif)(?:\[\d{1,3}\])?\s*:\s*)+", re.IGNORECASE)
_FORWARD_MARKS = re.compile(r"^(?:(?:fwd?|wg|tr|rv|enc)\s*:\s*)+", re.IGNORECASE)


@dataclass(frozen=True)
class Original:
    """A mail that is replied to or forwarded.

    Attributes:
        message: As the mailbox reads it.
        headers: What a reply needs besides.
        content: The mail as it came, or as much of it as is read.
        is_whole: Whether nothing of it was left behind.
    """

    message: Message
    headers: ReplyHeaders
    content: bytes
    is_whole: bool = True

    @property
    def version(self) -> str:
        """By which it is known again after a person has decided."""
        return hashlib.sha256(self.content).hexdigest()[:32]


def replies_go_elsewhere(original: Original) -> list[str]:
    """Return the addresses of Reply-To other than the sender's and the mailing list's."""
    expected = {original.message.sender.casefold(), original.headers.mailing_list.casefold()}
    return [address for address in _usable(original.headers.reply_to) if address.casefold() not in expected]


def recipients(original: Original, *, own: str, to_all: bool) -> tuple[list[str], list[str]]:
    """Return `to` and `cc` of a reply.

    It goes where Reply-To says, else to the sender; a reply to one's own mail to whom that went. A list that names itself
    in Reply-To gets only a reply to all.

    Args:
        original: The mail.
        own: The person's own address, which gets no copy.
        to_all: Whether all who got the mail get the reply.

    Raises:
        InvalidArguments: It names nobody who could get a reply.
    """
    message, posts = original.message, original.headers.mailing_list.casefold()
    sender, reply_to = _usable([message.sender]), _usable(original.headers.reply_to)
    is_own = message.sender.casefold() == own.casefold()
    people = [address for address in reply_to if address.casefold() != posts]
    if is_own:
        to, more = _usable(message.recipients), []
    else:
        to = people or sender
        more = [*_without(reply_to, people), *_usable(message.recipients)]
    to = list(dict.fromkeys([*to, *more] if to_all else to))
    if not to:
        raise InvalidArguments(
            "this mail names no address that could get a reply", hint="name the recipient and send a mail"
        )
    first = _without(to, [own]) or [own]
    return first[:MOST_PEOPLE], (_without(_usable(message.cc), [own, *first]) if to_all else [])[:MOST_PEOPLE]


def reply_parts(original: Original, *, own: str, to_all: bool, attached: list[str]) -> ReplyParts:
    """Return whom a reply goes to and what it is called."""
    to, cc = recipients(original, own=own, to_all=to_all)
    subject = _REPLY_MARKS.sub("", original.message.subject)
    return ReplyParts(to=to, cc=cc, subject=f"Re: {subject}"[:500], attached=attached, version=original.version)


def forward_parts(original: Original, *, attached: list[str]) -> ForwardParts:
    """Return what a forwarded mail is called."""
    subject = _FORWARD_MARKS.sub("", original.message.subject)
    return ForwardParts(subject=f"Fwd: {subject}"[:500], attached=attached, version=original.version)


def reply_body(body: str, original: Original) -> str:
    """Return the text of a reply with the mail quoted below it, at most 300 lines of it."""
    message = original.message
    who = f"{message.sender_name} <{message.sender}>" if message.sender_name else message.sender
    lines = message.text[:_MOST_QUOTED].splitlines()
    cut = [_CUT] if len(lines) > _MOST_LINES or len(message.text) > _MOST_QUOTED else []
    quoted = "\n".join(f">{line}" if line.startswith(">") else f"> {line}" for line in [*lines[:_MOST_LINES], *cut])
    return f"{body.rstrip()}\n\nOn {_day(message.date)}, {one_line(who, limit=300)} wrote:\n{quoted}\n"


def forward_body(body: str, original: Original) -> str:
    """Return the text of a forwarded mail: the person's words, who wrote what to whom, and its text."""
    message = original.message
    who = f"{message.sender_name} <{message.sender}>" if message.sender_name else message.sender
    head = [
        "---------- Forwarded message ----------",
        f"From: {one_line(who, limit=300)}",
        f"Date: {_day(message.date)}",
        f"Subject: {message.subject}",
        f"To: {', '.join(message.recipients)}",
        *([f"Cc: {', '.join(message.cc)}"] if message.cc else []),
    ]
    text = message.text[:_MOST_FORWARDED] + (f"\n{_CUT}" if len(message.text) > _MOST_FORWARDED else "")
    above = f"{body.rstrip()}\n\n" if body.strip() else ""
    return above + "\n".join(head) + f"\n\n{text}\n"


def _day(moment: datetime) -> str:
    return format_datetime(moment)


def _usable(addresses: Iterable[str]) -> list[str]:
    """Return the addresses that a mail may go to, each once; one that imitates another is refused by name later."""
    return [address for address in dict.fromkeys(addresses) if misleading(address) or _is_address(address)]


def _is_address(address: str) -> bool:
    try:
        return bool(check_address(address))
    except ValueError:
        return False


def _without(addresses: Iterable[str], left_out: Iterable[str]) -> list[str]:
    """Return the addresses that are not in the other list, in any case, each once."""
    gone = {address.casefold() for address in left_out}
    return list({address.casefold(): address for address in addresses if address.casefold() not in gone}.values())
