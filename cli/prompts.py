"""Questions to the person at the terminal."""

from __future__ import annotations

import sys
import termios

_MEANINGS = {"a": "approve", "r": "reject", "e": "edit", "l": "later"}


def is_interactive() -> bool:
    """Whether a person sits at this terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def choice() -> str:
    """One of approve, reject, edit, later. Nothing is taken for consent but the word itself or its first letter."""
    while True:
        word = typed("[a]pprove, [r]eject, [e]dit, [l]ater? ", end="later").lower()
        meaning = _MEANINGS.get(word, word)
        if meaning in _MEANINGS.values():
            return meaning


def typed(prompt: str, *, end: str = "") -> str:
    """What the person types now; keys pressed before the prompt was shown do not count. `end` stands for Ctrl-D."""
    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    try:
        return input(prompt).strip()
    except EOFError:
        print()
        return end
