"""A sentence under the reader's eye: its tokens, the moment it was written, and small questions about a place in it."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from offline.planner.tokens import Kind, Token, straighten, tokenize, typed


def phrases(text: str) -> tuple[str, ...]:
    """The phrases of a list that is written with `|` between them."""
    return tuple(text.split("|"))


@dataclass(frozen=True)
class Scan:
    """A text cut into tokens, read relative to a moment in a time zone."""

    text: str
    now: datetime
    zone: ZoneInfo
    tokens: tuple[Token, ...] = field(default=())

    @classmethod
    def of(cls, text: str, now: datetime, zone: ZoneInfo) -> "Scan":
        """Cut a text."""
        return cls(text, now.astimezone(zone), zone, tuple(tokenize(straighten(text))))

    @property
    def today(self) -> date:
        """The person's date."""
        return self.now.date()

    @property
    def size(self) -> int:
        """Return the number of tokens."""
        return len(self.tokens)

    def low(self, at: int) -> str:
        """The token in lower case; empty past the end and for quoted text, whose words are never grammar."""
        if at >= self.size or self.tokens[at].kind is Kind.QUOTED:
            return ""
        return self.tokens[at].low

    def kind(self, at: int) -> Kind | None:
        """Return the token's kind, or None past the end."""
        return self.tokens[at].kind if 0 <= at < self.size else None

    def phrase(self, at: int, *choices: str) -> int | None:
        """Return the position after the longest given phrase here, or None."""
        for choice in sorted(choices, key=len, reverse=True):
            words = choice.split()
            if all(self.low(at + index) == word for index, word in enumerate(words)):
                return at + len(words)
        return None

    def skip(self, at: int, *choices: str) -> int:
        """Return the position after one of the phrases, or the same position."""
        return self.phrase(at, *choices) or at

    def typed(self, start: int, end: int) -> str:
        """The text of the tokens from `start` up to `end`, as it was typed."""
        return typed(self.text, self.tokens[start:end])

    def begin(self, at: int) -> int:
        """Where a token begins in the text; the end of the last one past it."""
        return self.tokens[at].start if at < self.size else self.close(self.size)

    def until(self, end: int) -> "Scan":
        """The same sentence without the tokens from `end` on."""
        return replace(self, tokens=self.tokens[:end])

    def close(self, at: int) -> int:
        """Where the token before `at` ends in the text."""
        return self.tokens[at - 1].end if 0 < at <= self.size else 0
