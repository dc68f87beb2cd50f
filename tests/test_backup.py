"""Backup and restore of a local stack: dump, lose everything, restore to an older point, and no mail goes out twice."""

from __future__ import annotations

import asyncio
import shutil
import stat
import tarfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from retinue.settings import RESTORED_AT
from tests.activities.email.mail_servers import Sink, sink
from tests.conftest import ENDED, pending
from tests.local_stack import LocalStack, environment, wait_until
from workers.temporal_server import free_port

pytestmark = [pytest.mark.xdist_group("local_stack"), pytest.mark.timeout(400), pytest.mark.deploy]


@pytest.fixture
async def post() -> AsyncIterator[Sink]:
    async with sink() as running:
        yield running


class Home:
    """A local stack whose mail goes out over a real SMTP conversation, and whose mailbox cannot be looked into."""

    def __init__(self, data: Path, post: Sink) -> None:
        variables = environment(
            data,
            EMAIL_PROVIDER="imap",
            EMAIL_FROM="me@retinue.test",
            EMAIL_SMTP_URL=post.url(),
            EMAIL_IMAP_URL=f"imap://me:canary-secret@127.0.0.1:{free_port()}?starttls=false",
            EMAIL_SETTLE_SECONDS="1",
        )
        self.stack = LocalStack(data, variables)

    def ask(self, message: str, key: str = "") -> dict[str, Any]:
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        body = {"message": message, "timezone": "UTC", "wait_seconds": 30}
        with self.stack.http as http:
            found: dict[str, Any] = http.post("/v1/assistants", json=body, headers=headers).json()
        return found

    def view(self, assistant_id: str) -> dict[str, Any]:
        with self.stack.http as http:
            found: dict[str, Any] = http.get(f"/v1/assistants/{assistant_id}").json()
        return found

    def until(self, assistant_id: str, *, kind: str = "", ended: bool = False) -> dict[str, Any]:
        """The view once an approval of this kind waits, or once it has ended."""

        def holds() -> bool:
            found = self.view(assistant_id)
            kinds = [approval["kind"] for approval in pending(found)] if "approvals" in found else []
            return kind in kinds or (ended and found.get("status") in ENDED)

        wait_until(holds, what=f"{kind or 'the end'}: {self.view(assistant_id)}", seconds=90)
        return self.view(assistant_id)

    def decide(self, view: dict[str, Any], decision: str = "approve") -> None:
        [approval] = pending(view)
        body = {"decision": decision, "args_hash": approval["args_hash"]}
        with self.stack.http as http:
            answer = http.post(f"/v1/assistants/{view['id']}/approvals/{approval['id']}", json=body)
        assert answer.status_code == 200, answer.text

    def mail(self, to: str) -> dict[str, Any]:
        """A run that waits until its mail is approved."""
        return self.until(self.ask(f"Email {to}@example.com saying hello")["id"], kind="action")

    def send(self, view: dict[str, Any]) -> None:
        self.decide(view)
        assert self.until(view["id"], ended=True)["status"] == "completed"

    def lose(self, *names: str) -> None:
        """Delete the data folder, or these databases in it."""
        if not names:
            shutil.rmtree(self.stack.data)
            self.stack.data.mkdir()
        for name in names:
            for file in self.stack.data.glob(f"{name}.db*"):
                file.unlink()

    def only(self, file: Path, name: str) -> None:
        """Put one database of a backup in the place of the present one, as an operator does by hand."""
        self.lose(name)
        with tarfile.open(file) as source:
            source.extract(f"{name}.db", self.stack.data, filter="data")
        (self.stack.data / RESTORED_AT).touch()


async def test_nothing_is_sent_twice_whichever_of_ledger_and_temporal_is_older(tmp_path: Path, post: Sink) -> None:
    data, file = tmp_path / "data", tmp_path / "backup.tar"
    data.mkdir()
    home = Home(data, post)

    def before() -> dict[str, Any]:
        home.stack.start()
        assert home.ask("Add a task to buy milk")["status"] == "completed"
        home.send(home.mail("first"))
        waiting = {name: home.mail(name) for name in ("approved", "rejected", "later")}
        said = home.stack.command("backup", str(file))
        assert said.returncode == 0, said.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        return waiting

    waiting = await asyncio.to_thread(before)
    assert len(post.taken) == 1

    def after_the_backup() -> str:
        for name in ("approved", "rejected"):
            home.send(waiting[name])
        lost = home.ask("Email lost@example.com saying hello", key="the-lost-one")
        home.send(home.until(lost["id"], kind="action"))
        assert home.stack.stop() == 0
        return str(lost["id"])

    lost = await asyncio.to_thread(after_the_backup)
    assert len(post.taken) == 4

    def temporal_is_older() -> None:
        """The ledger knows that the mail went out, so an approval that is given again sends nothing."""
        home.only(file, "temporal")
        home.stack.start()
        again = home.until(waiting["approved"]["id"], kind="action")
        home.decide(again)
        done = home.until(again["id"], ended=True)
        assert done["status"] == "completed", done
        assert home.stack.stop() == 0

    await asyncio.to_thread(temporal_is_older)
    assert len(post.taken) == 4

    def everything_is_older() -> None:
        refused = home.stack.command("restore", str(file))
        assert "nothing is overwritten" in refused.stderr
        home.lose()
        restored = home.stack.command("restore", str(file))
        assert restored.returncode == 0, restored.stderr
        home.stack.start()
        assert "runs on" in home.stack.command("restore", str(file)).stderr
        assert home.view(lost).get("status") == 404
        assert home.stack.count("tasks", "SELECT count(*) FROM task") == 1
        for name, decision in (("approved", "reject"), ("rejected", "reject"), ("later", "approve")):
            home.decide(home.until(waiting[name]["id"], kind="action"))
            asked = home.until(waiting[name]["id"], kind="repeat")
            assert "a backup was restored after this assistant began" in str(pending(asked)[0]["reasons"])
            home.decide(asked, decision)
            ended = home.until(waiting[name]["id"], ended=True)
            assert ended["status"] == ("completed" if decision == "approve" else "failed"), ended

    await asyncio.to_thread(everything_is_older)
    assert len(post.taken) == 5, "the one whose repeat a person approved"

    def the_same_request_again() -> None:
        """Its run is lost, and what it did too; in the first minutes all effects outside are asked."""
        again = home.ask("Email lost@example.com saying hello", key="the-lost-one")
        assert again["id"] == lost
        home.decide(home.until(lost, kind="action"))
        home.decide(home.until(lost, kind="repeat"), "reject")
        home.until(lost, ended=True)
        assert home.ask("Add a task to buy bread")["status"] == "completed"
        assert home.stack.stop() == 0

    await asyncio.to_thread(the_same_request_again)
    assert len(post.taken) == 5
