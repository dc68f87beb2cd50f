"""Splits a text into tokens with positions, so that every answer can quote the text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_TOKENS = 600
"""Maximum length of a request: the grammar's work grows with it."""

_STRAIGHT = str.maketrans("‘’“”„«»–—\u00a0", '\'\'"""""-- ')


class Kind(StrEnum):
    """The kind of a token."""

    QUOTED = "quoted"
    URL = "url"
    ADDRESS = "address"
    ISO = "iso"
    NUMERIC_DATE = "numeric_date"
    TIME = "time"
    ORDINAL = "ordinal"
    NUMBER = "number"
    WORD = "word"
    MARK = "mark"


# Every repetition is either bounded or over a class that its follower is not in, so no input makes it backtrack.
_TOKEN = re.compile(
    r"""
    (?P<quoted>"[^"]*"|'(?:[^']|'(?=\w))*'(?!\w))
    |(?P<url>(?:https?://|www\.)[^\s<>"]+)
    |(?P<address>[A-Za-z0-9.!\#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})
    |(?P<iso>\d{4}-\d{2}-\d{2}(?:[Tt]\d{2}:\d{2}(?::\d{2})?(?:[+-]\d{2}:\d{2})?)?(?![\w-]))
    |(?P<numeric_date>\d{1,2}(?P<separator>[./-])\d{1,2}(?P=separator)\d{2,4}(?!\w))
    |(?P<time>\d{1,2}:\d{2}(?!\d))
    |(?P<ordinal>\d{1,4}(?:st|nd|rd|th)(?!\w))
    |(?P<number>\d{1,15}(?:\.\d{1,3}(?![\d.]))?)
    |(?P<word>[ap]\.m\.?(?!\w)|[^\W\d_](?:\w|['&](?=\w)|-(?=[^\W\d_]))*)
    |(?P<mark>\S)
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a text: its kind, its text as typed and in lower case, and its position."""

    kind: Kind
    text: str
    low: str
    start: int
    end: int

    @property
    def value(self) -> str:
        """The text without its quotes."""
        return self.text[1:-1].strip() if self.kind is Kind.QUOTED else self.text

    @property
    def capital(self) -> bool:
        """Whether it is written like a name."""
        return self.text[:1].isupper()


def straighten(text: str) -> str:
    """Replace typographic quotes and dashes by plain ones, character for character, so that places stay the same."""
    return text.translate(_STRAIGHT)


def tokenize(text: str) -> list[Token]:
    """Cut a text that `straighten` went over; stops after `MAX_TOKENS` + 1 tokens."""
    found: list[Token] = []
    at = 0
    while len(found) <= MAX_TOKENS and (match := _TOKEN.search(text, at)):
        token = _token(match)
        found.append(token)
        at = token.end
    return found


def _token(match: re.Match[str]) -> Token:
    kind = next(name for name in Kind if match[name.value] is not None)
    piece = match[kind.value]
    if kind is Kind.URL:
        piece = piece.rstrip(".,;:!?)'")
    if kind is Kind.ADDRESS:
        piece = piece.rstrip(".-")
    start = match.start(kind.value)
    return Token(kind, piece, piece.casefold(), start, start + len(piece))


def typed(text: str, tokens: Sequence[Token]) -> str:
    """The text from the first to the last of some tokens, as it was typed."""
    return text[tokens[0].start : tokens[-1].end] if tokens else ""
