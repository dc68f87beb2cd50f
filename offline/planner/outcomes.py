"""Outcomes of parsing without steps: a question to the person, or a refusal."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Doubt:
    """A piece of the text with more than one reading, or with none.

    Attributes:
        question: The question; ends with a question mark.
        start: Where the piece begins in the text.
        end: Where it ends.
        closed: Whether only a choice may replace the piece, since any other text would change the action.
        choices: Pairs of an offered choice and the unambiguous text that replaces the piece.
    """

    question: str
    start: int
    end: int
    choices: tuple[tuple[str, str], ...] = ()
    closed: bool = False


class Ask(Exception):
    """A value is missing or ambiguous, so the person is asked.

    Attributes:
        doubt: The question, and the stretch of text that the answer replaces (empty where something is missing).
        template: The text for an answer, which replaces `{}`.
        known: The intents of the request's clauses, by where they begin in the text: an answer does not change them.
    """

    def __init__(self, doubt: Doubt, *, template: str = "{}") -> None:
        super().__init__(doubt.question)
        self.doubt = doubt
        self.template = template
        self.known: dict[int, str] = {}


class Refuse(Exception):
    """The request cannot be done; the text says why, and does not end with a question mark."""


class Unread(Refuse):
    """A part of the request is not understood.

    Attributes:
        piece: The part, as typed.
        nearest: The intents that it could be, the likeliest first.
    """

    def __init__(self, piece: str, nearest: tuple[str, ...] = ()) -> None:
        super().__init__(piece)
        self.piece = piece
        self.nearest = nearest
