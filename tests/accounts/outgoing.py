"""A mail server that takes whatever is sent, and keeps it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from workers.temporal_server import free_port


class Taking:
    """Keeps the mails that go out."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        self.taken.append(envelope)
        return "250 taken"


@pytest.fixture
def outgoing() -> Iterator[tuple[str, list[Envelope]]]:
    handler = Taking()
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=lambda *_: AuthResult(success=True),
        auth_require_tls=False,
    )
    controller.start()
    yield f"smtp://127.0.0.1:{controller.port}?starttls=false", handler.taken
    controller.stop()
