"""Prompts at the terminal."""

from __future__ import annotations

import sys
import termios

_MEANINGS = {"a": "approve", "r": "reject", "e": "edit", "l": "later"}
_GRANT = {"g": "grant"}


def is_interactive() -> bool:
    """Return whether this is an interactive terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def choice(*, offered: bool = False) -> str:
    """Prompt for approve, reject, edit or later; if a grant is `offered`, also for grant.

    Only the word itself or its first letter counts as consent.
    """
    meanings = _MEANINGS | (_GRANT if offered else {})
    question = "[a]pprove, [r]eject, [e]dit, [l]ater? "
    while True:
        word = typed(f"[g]rant, {question}" if offered else question, end="later").lower()
        meaning = meanings.get(word, word)
        if meaning in meanings.values():
            return meaning


def typed(prompt: str, *, end: str = "") -> str:
    """Read a line typed after the prompt; earlier input is dropped. Ctrl-D returns `end`."""
    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    try:
        return input(prompt).strip()
    except EOFError:
        print()
        return end
