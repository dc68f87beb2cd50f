"""What a mail from outside becomes. Strangers write these files, so nothing in them is believed or may crash us."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.message import Message as AnyMessage
from email.parser import BytesParser
from email.policy import EmailPolicy, compat32
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from activities.email.charsets import as_browsers_read, decoded
from activities.email.contract import Automatic, Folder
from activities.email.filetypes import sized, type_of, warning_of
from activities.email.models import Message
from activities.email.plaintext import from_html, one_line, plain
from retinue.errors import InvalidArguments

MAX_BYTES = 12 * 1024 * 1024
OWN_DOMAIN = "retinue.example"
MAX_TEXT = 200_000
_MAX_HEADER = 16_384
_MOST_PARSED = 2_000
"""Characters of a header that are read by its grammar; the parser's time grows with their square."""
_MOST_OF_PART = 2_000
"""Characters of a header in which a part describes itself."""
_MAX_PEOPLE = 50
_MAX_ATTACHMENTS = 20
_MAX_PARTS = 200
_MAX_NAMED = 20
_MESSAGE_ID = re.compile(r"<[^\s<>]{1,498}>", re.ASCII)
_ADDRESS = re.compile(r"""[^\s<>()"',;:@]{1,64}@[^\s<>()"',;:@]{1,189}""")
_UNSAID = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)')
"""Quoted names and comments, in which separators mean nothing."""

_LIST_POST = re.compile(r"<mailto:([^<>?\s]{3,254})[^<>]*>", re.IGNORECASE)
_COMMENT = re.compile(r"\([^()]*\)")
_REPLIERS = {"x-autoreply", "x-autorespond", "x-vacation"}
_LISTS = {"list-id", "list-post", "list-unsubscribe"}
_CALENDARS = ("text/calendar", "application/ics")
_READABLE = ("text/plain", "text/html")
_ZONES = {
    **dict.fromkeys(("WET",), "+0000"),
    **dict.fromkeys(("CET", "MEZ", "BST", "WEST"), "+0100"),
    **dict.fromkeys(("CEST", "MESZ", "EET"), "+0200"),
    **dict.fromkeys(("EEST", "MSK"), "+0300"),
    **dict.fromkeys(("JST", "KST"), "+0900"),
    **dict.fromkeys(("AEST",), "+1000"),
}
"""Names of zones that programs write in dates although mails know those of North America only."""

_TELLING_HEADERS = ("from", "to", "subject", "date", "message-id", "received")

# What the standard library's header parser is known to raise for headers that break the grammar or nest endlessly.
_PARSER_FAILURES = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError, MessageError)

if TYPE_CHECKING:
    _Policy = EmailPolicy[EmailMessage]
else:
    _Policy = EmailPolicy  # generic for type checkers only


class _Careful(_Policy):
    """The default policy, for headers of any length and any grammar: all header access goes through here."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """Cut endless headers, for which the parser's time grows faster than they do; decode bare 8-bit ones."""
        name, value = super().header_source_parse(sourcelines)
        return name, as_browsers_read(_eight_bit(value[:_MAX_HEADER]))

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """Give the header's words where it is endless, or where its grammar makes the parser fail."""
        if name.lower().startswith("content-"):
            # A mail has thousands of parts, and each is asked several times: for these a plain reading has to do.
            return " ".join(value[:_MOST_OF_PART].split())
        if len(value) > _MOST_PARSED:
            return " ".join(value.split())
        try:
            return super().header_fetch_parse(name, value)
        except _PARSER_FAILURES:
            return " ".join(value.split())


def parse(content: bytes, *, now: datetime, unnamed: str | None = None) -> Message:
    """Read one mail in the form of an .eml file; it becomes an unread mail of the inbox.

    Args:
        content: The file's bytes, or as many of them as there are.
        now: The date of mails that carry none, or one that cannot be true.
        unnamed: The id of a mail that has none of its own; left out, it is made of the content.

    Raises:
        InvalidArguments: It is too large, or not a mail.
    """
    if len(content) > MAX_BYTES:
        raise InvalidArguments(f"the mail is larger than {MAX_BYTES // 1024**2} MiB")
    try:
        mail = BytesParser(EmailMessage, policy=_Careful()).parsebytes(content)
        _check_is_mail(mail)
        return _message(mail, unnamed or own_id(content), now=now)
    except RecursionError:
        raise InvalidArguments("this mail cannot be read: its parts are nested too deeply") from None


@dataclass(frozen=True)
class ReplyHeaders:
    """What a reply needs to know of a mail besides its text.

    Attributes:
        reply_to: Where it asks replies to go, if it does.
        mailing_list: Address of the list that it came over; empty for other mails.
        references: Ids of the mails before it.
    """

    reply_to: list[str]
    mailing_list: str = ""
    references: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AttachedFile:
    """One attachment of a mail, or one file to attach."""

    name: str
    content: bytes

    @property
    def content_type(self) -> str:
        """By its content."""
        return type_of(self.content, self.name)

    def described(self) -> str:
        """Return name, type and size, for a person."""
        return f"{self.name} ({self.content_type}, {sized(len(self.content))})"


def reply_headers(content: bytes) -> ReplyHeaders:
    """Read from the headers of a mail where replies go."""
    mail = BytesParser(EmailMessage, policy=_Careful()).parsebytes(content, headersonly=True)
    posts = _LIST_POST.search(str(mail.get("list-post", "")))
    return ReplyHeaders(
        reply_to=[address for _, address in _people(mail, "reply-to") if address],
        mailing_list=one_line(posts[1], limit=254) if posts else "",
        references=_ids(mail, "references") or _ids(mail, "in-reply-to"),
    )


TELLS_AUTOMATIC = _LISTS | _REPLIERS
"""Headers that only programs write."""


def automatic(content: bytes) -> Automatic:
    """Return what wrote a mail, as its headers say (RFC 3834, and what programs write beside it)."""
    mail = BytesParser(EmailMessage, policy=_Careful()).parsebytes(content, headersonly=True)
    submitted = str(mail.get("auto-submitted", "no")).partition(";")[0].strip().lower()
    precedence = str(mail.get("precedence", "")).strip().lower()
    is_report = str(mail.get("content-type", "")).lower().startswith("multipart/report")
    if submitted == "auto-replied" or precedence == "auto_reply" or is_report or _REPLIERS & {*map(str.lower, mail)}:
        return Automatic.REPLIED
    if _LISTS & {*map(str.lower, mail)} or precedence in ("list", "bulk", "junk"):
        return Automatic.LIST
    return Automatic.NO if submitted in ("no", "") else Automatic.GENERATED


def attached_files(content: bytes) -> list[AttachedFile]:
    """Return the attachments of a mail, in the order in which `parse` lists them.

    Raises:
        InvalidArguments: It cannot be read.
    """
    try:
        mail = BytesParser(EmailMessage, policy=_Careful()).parsebytes(content)
        parts = [part for part in islice(_leaves(mail), _MAX_PARTS) if _is_attached(part)]
        return [AttachedFile(_name(part), _whole_bytes(part)) for part in parts[:_MAX_ATTACHMENTS]]
    except RecursionError:
        raise InvalidArguments("this mail cannot be read: its parts are nested too deeply") from None


def calendar_text(content: bytes) -> str | None:
    """Return the first calendar text that is attached to a mail, as invitations are; None without one."""
    for part in islice(_leaves(BytesParser(EmailMessage, policy=_Careful()).parsebytes(content)), _MAX_PARTS):
        if part.get_content_type() in _CALENDARS or _name(part).lower().endswith(".ics"):
            return decoded(_bytes(part), part.get_content_charset())
    return None


def own_id(seed: bytes, *, domain: str = OWN_DOMAIN) -> str:
    """Return a message id that is the same for the same seed."""
    return f"<{hashlib.sha256(seed).hexdigest()[:40]}@{domain}>"


def is_message_id(text: str) -> bool:
    """Whether it is an id as mails carry it, in its angle brackets."""
    return _MESSAGE_ID.fullmatch(text) is not None


def named_ids(headers: bytes, header: str) -> list[str]:
    """Return the message ids that a header of a mail names, in its order, each once; at most `_MAX_NAMED`."""
    return _ids(BytesParser(EmailMessage, policy=_Careful()).parsebytes(headers, headersonly=True), header)


def _ids(mail: EmailMessage, header: str) -> list[str]:
    found = _MESSAGE_ID.findall(plain(str(mail.get(header, ""))))
    return list(dict.fromkeys(found))[-_MAX_NAMED:]


def _eight_bit(value: str) -> str:
    """Headers with bare 8-bit characters are against the rules and common: nearly always UTF-8, else Windows-1252."""
    return decoded(value.encode("utf-8", "surrogateescape"), None)


def _check_is_mail(mail: EmailMessage) -> None:
    if not any(mail.get(name) for name in _TELLING_HEADERS):
        raise InvalidArguments(
            "this is not a mail: it has none of the headers that mails begin with",
            hint="expected is an .eml file as mail programs save it",
        )


def _message(mail: EmailMessage, unnamed: str, *, now: datetime) -> Message:
    parts = list(islice(_leaves(mail), _MAX_PARTS))
    attached = [part for part in parts if _is_attached(part)]
    name, address = _sender(mail)
    text = _text(mail, frozenset(map(id, parts))) or "\n\n".join(filter(None, map(_attached_text, attached)))
    return Message(
        message_id=_message_id(mail, unnamed),
        folder=Folder.INBOX,
        sender=address or one_line(str(mail.get("from", "")), limit=254),
        sender_name=name,
        recipients=[address for _, address in _people(mail, "to") if address],
        cc=[address for _, address in _people(mail, "cc") if address],
        subject=one_line(str(mail.get("subject", "")), limit=500),
        date=_date(mail, now=now),
        text=_bounded(plain(text)),
        unread=True,
        attachments=[_attachment(part) for part in attached[:_MAX_ATTACHMENTS]],
        in_reply_to=_named_id(mail, "in-reply-to") or _last_reference(mail),
    )


def _message_id(mail: EmailMessage, unnamed: str) -> str:
    """Return the mail's own id, or the given one. Ids of our own domain are ours to give: those are not believed."""
    named = _named_id(mail, "message-id")
    return unnamed if named is None or named.lower().endswith(f"@{OWN_DOMAIN}>") else named


def _named_id(mail: EmailMessage, header: str) -> str | None:
    found = _MESSAGE_ID.search(plain(str(mail.get(header, ""))))
    return found.group() if found else None


def _bounded(text: str) -> str:
    """Return the beginning of a text of any length; one that was cut says so, since the rest is kept nowhere."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n[cut: the text has {len(text)} characters]"


def _last_reference(mail: EmailMessage) -> str | None:
    """Return the mail that this one answers, where only References says so."""
    return next(reversed(_MESSAGE_ID.findall(plain(str(mail.get("references", ""))))), None)


def _sender(mail: EmailMessage) -> tuple[str, str]:
    """Name and address of who wrote it. In `Foo, Joe PhD <joe@example.com>` the comma belongs to the name."""
    senders = _people(mail, "from")
    first = next((index for index, (_, address) in enumerate(senders) if address), None)
    if first is None:
        return senders[0] if senders else ("", "")
    if first == 0:
        return senders[0]
    written = str(mail.get("from", "")).partition("<")[0]
    return one_line(written.replace('"', ""), limit=100), senders[first][1]


def _people(mail: EmailMessage, header: str) -> list[tuple[str, str]]:
    """Display names and bare addresses of one header; of a header without grammar only what looks like addresses."""
    value = mail.get(header)
    parsed = getattr(value, "addresses", None)
    people = [] if parsed is None else [(person.display_name, person.addr_spec) for person in parsed]
    if parsed is None or len(people) < len(separated := _by_semicolons(mail, header)):
        people = [("", address) for address in (_ADDRESS.findall(str(value or "")) if parsed is None else separated)]
    return [
        (one_line(name, limit=100), one_line(address, limit=254) if "@" in address else "")
        for name, address in people[:_MAX_PEOPLE]
    ]


def _by_semicolons(mail: EmailMessage, header: str) -> list[str]:
    """The addresses of a header that separates them as some programs show them; the parser stops at the first one."""
    written = _UNSAID.sub(" ", _as_written(mail, header))
    return _ADDRESS.findall(written) if ";" in written and ":" not in written else []


def _as_written(mail: EmailMessage, header: str) -> str:
    """Return the first header of that name on one line, before the parser makes its own of it."""
    found = (str(value) for name, value in mail.raw_items() if name.lower() == header)
    return " ".join(next(found, "")[:_MOST_PARSED].split())


def _date(mail: EmailMessage, *, now: datetime) -> datetime:
    """Return the date in UTC: as the sender wrote it, else as the last server noted it, else today's.

    A mail from the future would stay on top of the inbox for ever, so its own date does not count.
    """
    received = _as_written(mail, "received").rpartition(";")[2]
    for written in (_as_written(mail, "date"), received):
        date = _moment(written)
        if date is not None and date <= now + timedelta(days=1):
            return date
    return now


def _moment(written: str) -> datetime | None:
    """Return a date in the form of mails, or in ISO 8601; without a zone it is in UTC."""
    text = _COMMENT.sub(" ", written).strip()
    for read in (_by_rfc, datetime.fromisoformat):
        try:
            date = read(text)
            return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
        except (TypeError, ValueError, IndexError, OverflowError):
            continue
    return None


def _by_rfc(text: str) -> datetime:
    words = text.rsplit(None, 1)
    if len(words) == 2 and words[1].upper() in _ZONES:
        text = f"{words[0]} {_ZONES[words[1].upper()]}"
    return parsedate_to_datetime(text)


def _leaves(part: MIMEPart) -> Iterator[MIMEPart]:
    """Yield the parts that hold content. A forwarded mail is one leaf: its text is not this mail's."""
    if not _holds_parts(part):
        yield part
        return
    for inner in part.iter_parts():
        yield from _leaves(inner)


def _holds_parts(part: MIMEPart) -> bool:
    return part.get_content_maintype() == "multipart" and part.is_multipart()


def _is_attached(part: MIMEPart) -> bool:
    """Whether it is no text of the mail itself. A text with a name is both: it is shown, and listed by its name."""
    return not _is_text(part) or part.get_filename() is not None


def _is_text(part: MIMEPart) -> bool:
    readable = part.get_content_type() in _READABLE or part.get_content_maintype() == "multipart"  # of a broken one
    return readable and part.get_content_disposition() != "attachment"


def _text(part: MIMEPart, leaves: frozenset[int]) -> str:
    """What a part says: all its texts; of alternatives the plain one, or the first that says something.

    Args:
        part: Of a mail.
        leaves: The identities of the parts that are looked at; of a mail with thousands of them those are the first.
    """
    if not _holds_parts(part):
        return _said(part) if _is_text(part) and id(part) in leaves else ""
    inner = [(each, _text(each, leaves)) for each in part.iter_parts()]
    said = [(each, text) for each, text in inner if text]
    if part.get_content_type() == "multipart/alternative":
        said.sort(key=lambda found: found[0].get_content_type() != "text/plain")
        said = said[:1]
    return "\n\n".join(text for _, text in said)


def _said(part: MIMEPart) -> str:
    is_html = part.get_content_type() == "text/html"
    text = decoded(_bytes(part), part.get_content_charset(), is_html=is_html)
    return from_html(text) if is_html else text.strip()


def _attached_text(part: MIMEPart) -> str:
    """A text that is only attached, under its name: where a mail says nothing else, it is what the mail says."""
    if part.get_content_type() not in _READABLE or not (text := _said(part)):
        return ""
    return f"[{_name(part)}]\n{text}"


def _bytes(part: MIMEPart) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _words(name: str) -> str:
    """A file's name with its encoded words (`=?utf-8?q?...?=`) read, which are against the rules there and common."""
    try:
        return str(make_header(decode_header(name[:_MOST_OF_PART])))
    except _PARSER_FAILURES:
        return name


def _name(part: MIMEPart) -> str:
    name = one_line(_words(part.get_filename() or "").replace("/", "_").replace("\\", "_"), limit=100)
    return name or ("mail.eml" if isinstance(part.get_payload(), list) else "unnamed")


def _whole_bytes(part: MIMEPart) -> bytes:
    """Return what is attached; of a forwarded mail all of it, as it came."""
    inner = part.get_payload()
    if not isinstance(inner, list):
        return _bytes(part)
    try:
        return b"".join(each.as_bytes(policy=compat32) for each in inner if isinstance(each, AnyMessage))
    except (*_PARSER_FAILURES, UnicodeError):
        return b""


def _attachment(part: MIMEPart) -> dict[str, Any]:
    name, content = _name(part), _whole_bytes(part)
    return {
        "name": name,
        "content_type": type_of(content, name),
        "size": len(content),
        "warning": warning_of(content, name),
    }
