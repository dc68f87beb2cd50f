"""How reading a request can end without steps: a question to the person, or a plain refusal."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Doubt:
    """A piece of the text with more than one reading, or with none.

    Attributes:
        question: What to ask; ends with a question mark.
        start: Where the piece begins in the text.
        end: Where it ends.
        closed: Whether only a choice may replace the piece, since any other text would change what is done.
        choices: Pairs of what the question offers and the unmistakable text that may replace the piece.
    """

    question: str
    start: int
    end: int
    choices: tuple[tuple[str, str], ...] = ()
    closed: bool = False


class Ask(Exception):
    """Something is missing or doubtful, so the person is asked.

    Attributes:
        doubt: The question, and the stretch of text that the answer replaces (empty where something is missing).
        template: How an answer is worked into the text; `{}` stands for it.
    """

    def __init__(self, doubt: Doubt, *, template: str = "{}") -> None:
        super().__init__(doubt.question)
        self.doubt = doubt
        self.template = template


class Refuse(Exception):
    """The request cannot be done; the text says why, and does not end with a question mark."""


class Unread(Refuse):
    """A part of the request is not understood.

    Attributes:
        piece: The part, as typed.
    """

    def __init__(self, piece: str, hint: str = "") -> None:
        super().__init__(piece)
        self.piece = piece
        self.hint = hint
