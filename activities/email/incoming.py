"""What a mail from outside becomes. Strangers write these files, so nothing in them is believed or may crash us."""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.policy import EmailPolicy
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from activities.email.contract import Folder
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
        return name, _eight_bit(value[:_MAX_HEADER])

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


def own_id(seed: bytes, *, domain: str = OWN_DOMAIN) -> str:
    """A message id that is the same for the same seed."""
    return f"<{hashlib.sha256(seed).hexdigest()[:40]}@{domain}>"


def is_message_id(text: str) -> bool:
    """Whether it is an id as mails carry it, in its angle brackets."""
    return _MESSAGE_ID.fullmatch(text) is not None


def named_ids(headers: bytes, header: str) -> list[str]:
    """The message ids that a header of a mail names, in its order, each once; at most `_MAX_NAMED`."""
    mail = BytesParser(EmailMessage, policy=_Careful()).parsebytes(headers, headersonly=True)
    found = _MESSAGE_ID.findall(plain(str(mail.get(header, ""))))
    return list(dict.fromkeys(found))[-_MAX_NAMED:]


def _eight_bit(value: str) -> str:
    """Headers with bare 8-bit characters are against the rules and common: nearly always UTF-8, else Latin-1."""
    content = value.encode("utf-8", "surrogateescape")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _check_is_mail(mail: EmailMessage) -> None:
    if not any(mail.get(name) for name in _TELLING_HEADERS):
        raise InvalidArguments(
            "this is not a mail: it has none of the headers that mails begin with",
            hint="expected is an .eml file as mail programs save it",
        )


def _message(mail: EmailMessage, unnamed: str, *, now: datetime) -> Message:
    parts = list(islice(_leaves(mail), _MAX_PARTS))
    attached = [part for part in parts if _is_attached(part)]
    senders = _people(mail, "from")
    name, address = senders[0] if senders else ("", "")
    return Message(
        message_id=_message_id(mail, unnamed),
        folder=Folder.INBOX,
        sender=address or one_line(str(mail.get("from", "")), limit=254),
        sender_name=name,
        recipients=[address for _, address in _people(mail, "to") if address],
        cc=[address for _, address in _people(mail, "cc") if address],
        subject=one_line(str(mail.get("subject", "")), limit=500),
        date=_date(mail, now=now),
        text=_text([part for part in parts if not _is_attached(part)]),
        unread=True,
        attachments=[_attachment(part) for part in attached[:_MAX_ATTACHMENTS]],
        in_reply_to=_named_id(mail, "in-reply-to"),
    )


def _message_id(mail: EmailMessage, unnamed: str) -> str:
    """The mail's own id, or the given one. Ids of our own domain are ours to give: those are not believed."""
    named = _named_id(mail, "message-id")
    return unnamed if named is None or named.lower().endswith(f"@{OWN_DOMAIN}>") else named


def _named_id(mail: EmailMessage, header: str) -> str | None:
    found = _MESSAGE_ID.search(plain(str(mail.get(header, ""))))
    return found.group() if found else None


def _people(mail: EmailMessage, header: str) -> list[tuple[str, str]]:
    """Display names and bare addresses of one header; of a header without grammar only what looks like addresses."""
    value = mail.get(header)
    parsed = getattr(value, "addresses", None)
    if parsed is None:
        people = [("", address) for address in _ADDRESS.findall(str(value or ""))]
    else:
        people = [(person.display_name, person.addr_spec) for person in parsed]
    return [
        (one_line(name, limit=100), one_line(address, limit=254) if "@" in address else "")
        for name, address in people[:_MAX_PEOPLE]
    ]


def _date(mail: EmailMessage, *, now: datetime) -> datetime:
    """The date in UTC. A mail from the future would stay on top of the inbox for ever, so it gets today's."""
    try:
        written = parsedate_to_datetime(str(mail.get("date", "")))
        date = written.replace(tzinfo=UTC) if written.tzinfo is None else written.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return now
    return now if date > now + timedelta(days=1) else date


def _leaves(part: MIMEPart) -> Iterator[MIMEPart]:
    """The parts that hold content. A forwarded mail is one leaf: its text is not this mail's."""
    if part.get_content_maintype() != "multipart" or not part.is_multipart():
        yield part
        return
    for inner in part.iter_parts():
        yield from _leaves(inner)


def _is_attached(part: MIMEPart) -> bool:
    readable = part.get_content_type() in ("text/plain", "text/html") or part.get_content_maintype() == "multipart"
    return not readable or part.get_content_disposition() == "attachment" or part.get_filename() is not None


def _text(parts: list[MIMEPart]) -> str:
    """The plain text if there is one, else what the HTML says."""
    written = [_decoded(part) for part in parts if part.get_content_type() != "text/html"]
    text = "\n\n".join(piece for piece in map(str.strip, written) if piece)
    if not text:
        pages = (from_html(_decoded(part)) for part in parts if part.get_content_type() == "text/html")
        text = "\n\n".join(page for page in pages if page)
    return plain(text)[:MAX_TEXT]


def _decoded(part: MIMEPart) -> str:
    """The part's characters; UTF-8 where it names no charset, or one that is unknown or no text encoding."""
    content = _bytes(part)
    try:
        return content.decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")


def _bytes(part: MIMEPart) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _words(name: str) -> str:
    """A file's name with its encoded words (`=?utf-8?q?...?=`) read, which are against the rules there and common."""
    try:
        return str(make_header(decode_header(name[:_MOST_OF_PART])))
    except _PARSER_FAILURES:
        return name


def _attachment(part: MIMEPart) -> dict[str, Any]:
    name = one_line(_words(part.get_filename() or "").replace("/", "_").replace("\\", "_"), limit=100)
    return {
        "name": name or "unnamed",
        "content_type": one_line(part.get_content_type(), limit=100),
        "size": sum(len(_bytes(inner)) for inner in part.walk()),
    }
