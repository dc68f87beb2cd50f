"""What a client sent of a conversation, and what a run that goes on from another one is told of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from retinue.conversation import Message, Role
from retinue.provenance.credential import decides

_LAST_MESSAGES, _LAST_TEXT = 20, 16_000


def last_said(messages: Sequence[Message]) -> list[Message]:
    """The last messages of a run, as many as another one may be told; planners do not see what an assistant said.

    Each keeps the credential with which it came: whoever goes on from there has not said it.
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
    """What a client sent of a conversation, each message as it was heard where the run behind it is known.

    A client's history names nobody. What came with a credential that may not decide must not come back as the person's.

    Args:
        sent: By the client; what was said in a row stands there as one message.
        known: The messages of the run.
    """
    asked = [said for said in known if said.role is Role.USER and not decides(said.through)]

    def heard(message: Message) -> Message:
        lines = f"\n\n{message.text}\n\n"
        found = next((said.through for said in asked if f"\n\n{said.text}\n\n" in lines), None)
        return message.model_copy(update={"through": found}) if found and message.role is Role.USER else message

    return [heard(message) for message in sent]
