"""Histories sent by clients, and earlier messages for a run that continues another one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from retinue.conversation import Message, Role
from retinue.provenance.credential import decides

_LAST_MESSAGES, _LAST_TEXT = 20, 16_000


def last_messages(messages: Sequence[Message]) -> list[Message]:
    """Return the last messages of a run for a run that continues it; planners do not see the assistant's.

    Each keeps its credential, since the next caller has not sent it, and what was offered, since nobody has typed it.
    """
    taken: list[Message] = []
    left = _LAST_TEXT
    for message in reversed(messages[-_LAST_MESSAGES:]):
        left -= len(message.text)
        if left < 0:
            break
        taken.append(message.model_copy(update={"withheld": message.role is Role.ASSISTANT}))
    return _with_offers(taken[::-1], messages)


def credited(sent: Sequence[Message], known: Sequence[Message]) -> list[Message]:
    """Return a client's history, each message with the credential with which it was sent.

    A client's history has no senders, and clients change white space. So once a credential that may not decide has sent a
    message, only messages that are known to be the person's count as theirs. What the assistant offered is not known to
    clients either.

    Args:
        sent: The client's messages; consecutive ones are merged.
        known: The run's messages.
    """
    of_user = [message for message in known if message.role is Role.USER]
    others = [message for message in of_user if not decides(message.through)]
    own = {_words(message.text) for message in of_user if decides(message.through)}

    def credited_message(message: Message) -> Message:
        words = _words(message.text)
        if message.role is not Role.USER or _is_made_of(words, own):
            return message
        named = [other.through for other in others if _words(other.text) in words]
        return message.model_copy(update={"through": named[0] if named else others[-1].through})

    return _with_offers([credited_message(message) for message in sent] if others else sent, known)


def _with_offers(taken: Sequence[Message], known: Sequence[Message]) -> list[Message]:
    """Return messages with what the assistant offered in the run, and with the marks of those that were clicked."""
    offers = list(dict.fromkeys(option for message in known for option in message.options))
    clicked = {_words(text) for text in (*offers, *(message.text for message in known if message.offered))}
    marked = [
        message.model_copy(update={"offered": True})
        if message.role is Role.USER and _words(message.text) in clicked
        else message
        for message in taken
    ]
    if offers and marked:
        marked[-1] = marked[-1].model_copy(update={"options": offers})
    return marked


def _words(text: str) -> str:
    return " ".join(text.split())


def _is_made_of(words: str, own: Collection[str]) -> bool:
    """Return whether a text is one of the person's, or several of them in a row."""
    while words:
        prefixes = [text for text in own if text and f"{words} ".startswith(f"{text} ")]
        if not prefixes:
            return False
        words = words[len(max(prefixes, key=len)) :].lstrip()
    return True
