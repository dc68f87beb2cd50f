"""The history that a chat client sends, and its names. Pure.

Clients store no state at the server: each request has the whole conversation. So a conversation is found by its
content, or by the client's id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.protocols.openai.schemas import ChatMessage
from api.services.schemas import MAX_MESSAGE
from retinue.conversation import Message, Role
from retinue.errors import InvalidArguments

_TEXTS = frozenset({"text", "input_text", "output_text", "refusal"})
_LAST_MESSAGES, _LAST_TEXT = 20, 16_000
_SAID = {"user": Role.USER, "assistant": Role.ASSISTANT}


@dataclass(frozen=True)
class History:
    """A conversation as sent by a client.

    Args:
        earlier: Earlier messages of the person and the assistant.
        asked: The person's new message.
        named: The client's id of the conversation.
        scope: Separates conversations of different callers.
        schema: The schema of the answer; None for plain text.
        after: The previous request, if the client names it instead of sending earlier messages.
        names_requests: Whether a later request may name this one as its previous request.
    """

    earlier: tuple[Message, ...]
    asked: str
    named: str | None
    scope: tuple[str, ...]
    schema: Mapping[str, Any] | None = None
    after: str | None = None
    names_requests: bool = False

    @property
    def request(self) -> str:
        """Return the name of this request: the same conversation and the same new message."""
        form = [self.schema] if self.schema is not None else []
        return self._digest("request", self.after or self._identity(self.earlier), self.asked, *form)

    @property
    def place(self) -> str | None:
        """Return the name of the conversation before this request; None if it starts here."""
        if self.named is not None:
            return self._digest("named")
        if self.after is not None:
            return _answered(self.after)
        return self._digest("after", self._identity(self.earlier)) if self.earlier else None

    def places_after(self, answer: str) -> list[str]:
        """Return the name of the conversation with this answer, as the next request has it."""
        here = [_answered(self.request)] if self.names_requests else []
        return here if self.after is not None else [*here, self._place_after(answer)]

    def _place_after(self, answer: str) -> str:
        if self.named is not None:
            return self._digest("named")
        both = (Message(role=Role.USER, text=self.asked), Message(role=Role.ASSISTANT, text=answer))
        return self._digest("after", self._identity((*self.earlier, *both)))

    def for_planners(self) -> list[Message]:
        """Return the earlier messages for a new run. Answers may contain strangers' words or be invented."""
        return [
            message.model_copy(update={"withheld": True}) if message.role is Role.ASSISTANT else message
            for message in self.earlier
        ]

    def _identity(self, messages: Sequence[Message]) -> list[list[str]]:
        """Return the identifying part of a history: words without spacing; with an id, only the person's."""
        return [
            [message.role, " ".join(message.text.split())]
            for message in messages
            if self.named is None or message.role is Role.USER
        ]

    def _digest(self, *parts: object) -> str:
        text = json.dumps([*self.scope, self.named, *parts], ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read(
    messages: Sequence[ChatMessage],
    *,
    scope: tuple[str, ...],
    named: str | None = None,
    schema: Mapping[str, Any] | None = None,
) -> History:
    """Read a client's messages.

    Raises:
        InvalidArguments: The last message is not the person's, empty or too long; or there is more than text.
    """
    dialogue = _messages(messages)
    if not dialogue or dialogue[-1].role is not Role.USER:
        raise InvalidArguments("the last message must be the user's, with a text")
    asked = dialogue[-1].text
    if len(asked) > MAX_MESSAGE:
        raise InvalidArguments(f"the last message has more than {MAX_MESSAGE} characters; shorten it")
    return History(tuple(dialogue[:-1]), asked, named, scope, schema)


def _answered(request: str) -> str:
    """Return the name of the conversation after the answer to a request."""
    return hashlib.sha256(f"answered {request}".encode()).hexdigest()


def _messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Return the messages of both, consecutive ones merged. Other roles are ignored."""
    found: list[Message] = []
    for message in messages:
        role = _SAID.get(message.role)
        text = _text(message) if role else ""
        if role is None or not text.strip():
            continue
        if found and found[-1].role is role:
            found[-1] = Message(role=role, text=f"{found[-1].text}\n\n{text}")
        else:
            found.append(Message(role=role, text=text))
    return found


def _text(message: ChatMessage) -> str:
    if not isinstance(message.content, list):
        return message.content or message.refusal or ""
    if message.role == "user" and any(part.type not in _TEXTS for part in message.content):
        raise InvalidArguments("only text is supported; omit images, audio and files")
    return "\n\n".join(part.text or part.refusal or "" for part in message.content if part.type in _TEXTS)
