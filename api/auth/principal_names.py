"""Encodes external names reversibly, so that two people never get the same name."""

from __future__ import annotations

import re
import string

_PLAIN = frozenset(string.ascii_letters + string.digits + "._@+-")
_FIRST = frozenset(string.ascii_letters + string.digits)
_LONGEST = 100
RESERVED = frozenset({"signal", "policy"})
"""Names that the workflows use for an unknown person or for no decision."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_OURS = RESERVED | {"local"}


def encoded(name: str) -> str | None:
    """Encode a name: `auth0|7` becomes `auth0~7C7`, plain names stay; None if empty or too long.

    `~` itself is encoded as well, and so is the first letter of reserved names.
    """
    try:
        parts = [_char(char, first=not index, ours=name in _OURS) for index, char in enumerate(name[: _LONGEST + 1])]
    except UnicodeEncodeError:
        return None
    result = "".join(parts)
    return result if 0 < len(result) <= _LONGEST else None


def _char(char: str, *, first: bool, ours: bool) -> str:
    if char in (_FIRST if first else _PLAIN) and not (first and ours):
        return char
    return "".join(f"~{byte:02X}" for byte in char.encode())
