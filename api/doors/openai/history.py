"""The history that a chat client sends, and what it is known by. Pure.

Clients keep no state at the server: each request brings the whole conversation. So a conversation is found by what was
said in it, or by the id that the client gives it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from activities.reasoning.contract import Message, Role
from api.doors.openai.models import ChatBody, ChatMessage
from api.models import MAX_MESSAGE
from retinue.errors import InvalidArguments

_SAID = {"user": Role.USER, "assistant": Role.ASSISTANT}


@dataclass(frozen=True)
class History:
    """A conversation as a client sent it.

    Args:
        earlier: What was said before, by the person and the assistant.
        asked: What the person says now.
        named: The id that the client gave the conversation.
        scope: What else keeps conversations apart: whose it is.
    """

    earlier: tuple[Message, ...]
    asked: str
    named: str | None
    scope: tuple[str, ...]

    @property
    def request(self) -> str:
        """Names this request: the same conversation up to here, and the same words now."""
        return self._digest("request", self._told(self.earlier), self.asked)

    @property
    def place(self) -> str | None:
        """Names the conversation as it stood before this request; None where it begins with it."""
        if self.named is not None:
            return self._digest("named")
        return self._digest("after", self._told(self.earlier)) if self.earlier else None

    def place_after(self, answer: str) -> str:
        """Names the conversation as the next request will send it, with this answer."""
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


def read(body: ChatBody, *, owner: str) -> History:
    """Read a request.

    Raises:
        InvalidArguments: The last words are not the person's, are none, or are too long; or there is more than text.
    """
    said = _said(body.messages)
    if not said or said[-1].role is not Role.USER:
        raise InvalidArguments("the last message must be the user's, with a text")
    asked = said[-1].text
    if len(asked) > MAX_MESSAGE:
        raise InvalidArguments(f"the last message has more than {MAX_MESSAGE} characters; say it shorter")
    named = body.metadata.conversation_id if body.metadata else None
    return History(tuple(said[:-1]), asked, named, (owner, body.user or ""))


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
        return message.content or ""
    if message.role == "user" and any(part.type != "text" for part in message.content):
        raise InvalidArguments("only text is understood here; leave pictures, sounds and files out")
    return "\n\n".join(part.text or "" for part in message.content if part.type == "text")
