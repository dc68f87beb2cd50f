"""Names from outside as names of ours: reversibly, so that no two people ever become one."""

from __future__ import annotations

import re
import string

_PLAIN = frozenset(string.ascii_letters + string.digits + "._@+-")
_FIRST = frozenset(string.ascii_letters + string.digits)
_LONGEST = 100
RESERVED = frozenset({"signal", "policy"})
"""Names by which the workflows say that nobody is known, or that nobody decided."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_OURS = RESERVED | {"local"}


def encoded(name: str) -> str | None:
    """`auth0|7` becomes `auth0~7C7`; None where it is empty or too long. What is plain stays as it is.

    `~` itself is encoded as well, and names that mean something to us lose their first letter to the encoding.
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
