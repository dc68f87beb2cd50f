"""Questions to the person at the terminal."""

from __future__ import annotations

import sys
import termios

_MEANINGS = {"a": "approve", "r": "reject", "e": "edit", "l": "later"}
_GRANT = {"g": "grant"}


def is_interactive() -> bool:
    """Whether a person sits at this terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def choice(*, offered: bool = False) -> str:
    """One of approve, reject, edit, later, and where a grant is `offered`, from now on.

    Nothing is taken for consent but the word itself or its first letter.
    """
    meanings = _MEANINGS | (_GRANT if offered else {})
    question = "[a]pprove, [r]eject, [e]dit, [l]ater? "
    while True:
        word = typed(f"[g]rant, {question}" if offered else question, end="later").lower()
        meaning = meanings.get(word, word)
        if meaning in meanings.values():
            return meaning


def typed(prompt: str, *, end: str = "") -> str:
    """What the person types now; keys pressed before the prompt was shown do not count. `end` stands for Ctrl-D."""
    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    try:
        return input(prompt).strip()
    except EOFError:
        print()
        return end
