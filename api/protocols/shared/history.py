"""Histories sent by clients, and earlier messages for a run that continues another one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from retinue.conversation import Message, Role
from retinue.provenance.credential import decides

_LAST_MESSAGES, _LAST_TEXT = 20, 16_000


def last_said(messages: Sequence[Message]) -> list[Message]:
    """Return the last messages of a run for a run that continues it; planners do not see the assistant's.

    Each keeps its credential: the next caller has not sent it.
    """
    taken: list[Message] = []
    left = _LAST_TEXT
    for message in reversed(messages[-_LAST_MESSAGES:]):
        left -= len(message.text)
        if left < 0:
            break
        through = {"through": message.through} if message.through else {}
        taken.append(Message(role=message.role, text=message.text, withheld=message.role is Role.ASSISTANT, **through))
    return taken[::-1]


def credited(sent: Sequence[Message], known: Sequence[Message]) -> list[Message]:
    """Return a client's history, with the stored form of each message that the run has.

    A client's history has no senders. A message with a credential that may not decide must not return as the person's.

    Args:
        sent: The client's messages; consecutive ones are merged.
        known: The run's messages.
    """
    asked = [said for said in known if said.role is Role.USER and not decides(said.through)]

    def heard(message: Message) -> Message:
        lines = f"\n\n{message.text}\n\n"
        found = next((said.through for said in asked if f"\n\n{said.text}\n\n" in lines), None)
        return message.model_copy(update={"through": found}) if found and message.role is Role.USER else message

    return [heard(message) for message in sent]
