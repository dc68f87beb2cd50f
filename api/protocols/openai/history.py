"""The history that a chat client sends, and what it is known by. Pure.

Clients keep no state at the server: each request brings the whole conversation. So a conversation is found by what was
said in it, or by the id that the client gives it.
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
    """A conversation as a client sent it.

    Args:
        earlier: What was said before, by the person and the assistant.
        asked: What the person says now.
        named: The id that the client gave the conversation.
        scope: What else keeps conversations apart: whose it is.
        schema: In which the client wants the answer; None for plain words.
        after: The request that this one follows, where the client names it instead of sending what was said before.
        names_requests: Whether the client may say later that a request follows this one.
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
        """Names this request: the same conversation up to here, and the same words now."""
        form = [self.schema] if self.schema is not None else []
        return self._digest("request", self.after or self._told(self.earlier), self.asked, *form)

    @property
    def place(self) -> str | None:
        """Names the conversation as it stood before this request; None where it begins with it."""
        if self.named is not None:
            return self._digest("named")
        if self.after is not None:
            return _answered(self.after)
        return self._digest("after", self._told(self.earlier)) if self.earlier else None

    def places_after(self, answer: str) -> list[str]:
        """Name the conversation as the next request may name or send it, with this answer."""
        here = [_answered(self.request)] if self.names_requests else []
        return here if self.after is not None else [*here, self._place_after(answer)]

    def _place_after(self, answer: str) -> str:
        if self.named is not None:
            return self._digest("named")
        both = (Message(role=Role.USER, text=self.asked), Message(role=Role.ASSISTANT, text=answer))
        return self._digest("after", self._told((*self.earlier, *both)))

    def for_planners(self) -> list[Message]:
        """What was said before, for a run that was not there. Answers may hold strangers' words, or be made up."""
        return [
            Message(role=said.role, text=said.text, withheld=True) if said.role is Role.ASSISTANT else said
            for said in self.earlier
        ]

    def _told(self, messages: Sequence[Message]) -> list[list[str]]:
        """What counts of a history: words, not their spacing. With an id the assistant's words count for nothing."""
        return [
            [said.role, " ".join(said.text.split())]
            for said in messages
            if self.named is None or said.role is Role.USER
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
    """Read what a client sent.

    Raises:
        InvalidArguments: The last words are not the person's, are none, or are too long; or there is more than text.
    """
    said = _said(messages)
    if not said or said[-1].role is not Role.USER:
        raise InvalidArguments("the last message must be the user's, with a text")
    asked = said[-1].text
    if len(asked) > MAX_MESSAGE:
        raise InvalidArguments(f"the last message has more than {MAX_MESSAGE} characters; say it shorter")
    return History(tuple(said[:-1]), asked, named, scope, schema)


def _answered(request: str) -> str:
    """Names the conversation as it stood after the answer to a request."""
    return hashlib.sha256(f"answered {request}".encode()).hexdigest()


def _said(messages: Sequence[ChatMessage]) -> list[Message]:
    """The words of the two, those of one in a row as one message. Other roles are not for this assistant."""
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
        raise InvalidArguments("only text is understood here; leave pictures, sounds and files out")
    return "\n\n".join(part.text or part.refusal or "" for part in message.content if part.type in _TEXTS)
