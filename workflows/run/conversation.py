"""The conversation of a run: its messages, its inbox, and what of it a planner may see."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from pydantic import JsonValue

from retinue.conversation import Message, Role, Transcript
from workflows.messages import ContinuedState, SendMessage

MAX_KEYS = 300
"""How many message keys are stored, so that a message that is sent again is not read twice."""
MAX_WAITING = 200
_WITHHELD = "(The answer is left out here, since strangers' words may stand in it. The person has read it.)"


class Conversation:
    """Messages in order, an inbox of unread ones, and how many the transcript already holds.

    A message that a model wrote after reading strangers' words is shown to people and withheld from planners.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        *,
        key: str | None = None,
        continued: ContinuedState | None = None,
        answer_schema: dict[str, JsonValue] | None = None,
    ) -> None:
        self.messages = list(messages)
        self.answer_schema = answer_schema
        self._key = key
        self._transcribed = continued.transcribed if continued else 0
        self._inbox = list(continued.inbox) if continued else []
        self._keys = list(continued.message_keys) if continued else []

    def receive(self, message: SendMessage) -> bool:
        """Add a person's message to the inbox. Returns False if it was received before."""
        if self.received(message):
            return False
        if message.key is not None:
            self._keys = [*self._keys[-MAX_KEYS + 1 :], f"{_digest(message.text)} {message.key}"]
        self._inbox.append(message)
        return True

    def received(self, message: SendMessage) -> bool:
        """Whether this message was received before.

        Raises:
            ValueError: Another message with its key was received.
        """
        digests = [known.partition(" ")[0] for known in self._keys if known.partition(" ")[2] == message.key]
        if digests and digests[-1] != _digest(message.text):
            raise ValueError("this key was used for another message; use a new one")
        return bool(digests)

    def waiting(self) -> int:
        """Return the number of unread messages."""
        return len(self._inbox)

    def read(
        self, *, only: Callable[[SendMessage], bool] = lambda _: True, offered: Callable[[str], bool] = lambda _: False
    ) -> bool:
        """Read the next message that waits, of those that count now; whether there was one.

        Args:
            only: Which messages count.
            offered: Whether the assistant offered a text: who sends one has typed nothing of it.
        """
        message = next(filter(only, self._inbox), None)
        if message is None:
            return False
        self._inbox.remove(message)
        said = said_by_person(message)
        self.messages.append(said.model_copy(update={"offered": True}) if offered(message.text) else said)
        self.answer_schema = message.answer_schema
        return True

    def say(self, text: str, *, withheld: bool = False, options: Sequence[str] = ()) -> None:
        """Add a message of the assistant, with the texts that it offers."""
        more = {"withheld": withheld, "options": list(options)}
        self.messages.append(
            Message(role=Role.ASSISTANT, text=text, **{name: value for name, value in more.items() if value})
        )

    def said(self) -> list[Message]:
        """Return the person's messages, each with its credential."""
        return [message for message in self.messages if message.role is Role.USER]

    def for_model(self) -> list[Message]:
        """Return the messages for a planner: all, or with a transcript only those that it does not hold yet."""
        new = self.messages[self._transcribed :] if self._key else self.messages
        return [
            Message(role=message.role, text=_WITHHELD if message.withheld else message.text)
            if message.withheld or message.through or message.offered or message.options
            else message
            for message in new
        ]

    def transcript(self) -> Transcript | None:
        """Return the transcript of the earlier conversation; None for a task, whose requests repeat its few messages."""
        return Transcript(key=self._key, length=self._transcribed) if self._key else None

    def mark_transcribed(self) -> None:
        """Record that the transcript holds all messages so far."""
        if self._key:
            self._transcribed = len(self.messages)

    def continued(self) -> dict[str, object]:
        """Return the fields of `ContinuedState` for the next run of a chat."""
        return {
            "messages": self.messages,
            "inbox": self._inbox,
            "message_keys": self._keys,
            "transcribed": self._transcribed,
        }


def was_offered(text: str, messages: Iterable[Message]) -> bool:
    """Whether the assistant offered a text with any of its messages: whoever sends it may have clicked it."""
    return any(text in message.options for message in messages)


def said_by_person(message: SendMessage) -> Message:
    """Return a person's message in the form that a conversation stores."""
    through = {"through": message.through} if message.through else {}
    return Message(role=Role.USER, text=message.text, **through)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
