"""Mail addresses, checked strictly: what decides where data goes must not be open to two readings."""

import re

_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)


def check_address(value: str) -> str:
    """Return `value` if it is one bare ASCII address (`ana@example.com`).

    Raises:
        ValueError: It is not; display names, several addresses and control characters are refused.
    """
    if not _ADDRESS.fullmatch(value) or ".." in value or value.startswith(".") or ".@" in value:
        raise ValueError(f"{value[:80]!r} is not a mail address like ana@example.com")
    return value
