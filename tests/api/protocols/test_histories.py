"""What a run that continues another one knows of its conversation: what was only clicked there stays so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.protocols.shared.history import credited, last_messages
from retinue.conversation import Message, Role
from workflows.run.conversation import was_offered

OFFERED = "offered@elsewhere.example"
KNOWN = [
    Message(role=Role.USER, text="Mail her"),
    Message(role=Role.ASSISTANT, text="To whom?", options=[OFFERED, "To nobody"]),
    Message(role=Role.USER, text=OFFERED, offered=True),
    Message(role=Role.ASSISTANT, text="Fine."),
]
SENT = [Message(role=message.role, text=f" {message.text}\n") for message in KNOWN]


@pytest.mark.parametrize(
    "history",
    [lambda: last_messages(KNOWN), lambda: last_messages(KNOWN * 10), lambda: credited(SENT, KNOWN)],
    ids=["of the run", "of its end", "of the client"],
)
def test_what_was_clicked_and_what_was_offered_is_still_known(history: Callable[[], list[Message]]) -> None:
    messages = history()
    assert {said.text.strip(): said.offered for said in messages if said.role is Role.USER} == {
        "Mail her": False,
        OFFERED: True,
    }
    assert [was_offered(text, messages) for text in (OFFERED, "To nobody", "Mail her")] == [True, True, False]
