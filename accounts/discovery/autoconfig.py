"""Mozilla's autoconfig: the file in which a provider describes its mail servers, read as far as it names encrypted ones.

Format: https://www.bucksch.org/1/projects/thunderbird/autoconfiguration/config-file-format.html
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

_SCHEMES = {
    ("imap", "SSL"): "imaps",
    ("imap", "STARTTLS"): "imap",
    ("smtp", "SSL"): "smtps",
    ("smtp", "STARTTLS"): "smtp",
}
_PASSWORD = "password-cleartext"  # noqa: S105  # the file's word for a password that goes over TLS as it is


@dataclass(frozen=True)
class MailServers:
    """Where a domain's mail is read and sent, and the name to sign in with."""

    imap: str
    smtp: str
    username: str


def read(content: bytes, *, address: str) -> MailServers | None:
    """Return the servers that a file describes; None if it names no encrypted pair that takes a password.

    Args:
        content: The file, from a stranger.
        address: The person's, for the file's placeholders.
    """
    try:
        root = ElementTree.fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    incoming = _first(root, "incomingServer", "imap", address)
    outgoing = _first(root, "outgoingServer", "smtp", address)
    if incoming is None or outgoing is None:
        return None
    return MailServers(imap=incoming[0], smtp=outgoing[0], username=incoming[1])


def _first(root: Element, kind: str, protocol: str, address: str) -> tuple[str, str] | None:
    """Return address and login of the first fitting server, those with TLS from the start before others."""
    found = [
        told
        for server in root.iterfind(f"./emailProvider/{kind}")
        if server.get("type") == protocol and (told := _server(server, protocol, address)) is not None
    ]
    return min(found, key=lambda told: not told[0].startswith(f"{protocol}s:"), default=None)


def _server(server: Element, protocol: str, address: str) -> tuple[str, str] | None:
    host = _filled(server.findtext("hostname", ""), address).casefold()
    port = server.findtext("port", "").strip()
    scheme = _SCHEMES.get((protocol, server.findtext("socketType", "").strip()))
    ways = [(way.text or "").strip() for way in server.iterfind("authentication")]
    is_number = port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536
    if scheme is None or not is_number or not plain_host(host) or (ways and _PASSWORD not in ways):
        return None
    return f"{scheme}://{host}:{port}", _filled(server.findtext("username", ""), address)


def _filled(text: str, address: str) -> str:
    local, _, domain = address.rpartition("@")
    for name, value in (("EMAILADDRESS", address), ("EMAILLOCALPART", local), ("EMAILDOMAIN", domain)):
        text = text.replace(f"%{name}%", value)
    return text.strip()[:320]


def plain_host(host: str) -> bool:
    """Whether a text is a host name of a public form: letters, digits, hyphens, and at least one dot."""
    labels = host.split(".")
    fits = all(label and label.isascii() and label.replace("-", "").isalnum() for label in labels)
    return fits and len(labels) > 1 and len(host) <= 253 and not labels[-1].isdigit()
