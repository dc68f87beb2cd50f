"""Foreign text made safe to look at."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"
_HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def safe(text: str) -> str:
    """The text with every control and invisible formatting character replaced by a visible mark.

    Escape sequences could repaint the terminal, direction marks could make an address read backwards. Line feeds and
    tabs stay, and so do the joiners that scripts and emoji need.
    """
    return "".join(_visible(char) for char in text.replace("\r\n", "\n"))


def _visible(char: str) -> str:
    if char in "\n\t" or char in _JOINERS or unicodedata.category(char) not in _HARMFUL:
        return char
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return f"<U+{code:04X}>"
