"""Which account an action uses: shown on its card before anybody decides, and used whatever changes until it runs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr
from temporalio import activity
from temporalio.plugin import SimplePlugin

from retinue.accounts.access import Access
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.accounts.routing import Implementation, Routing
from retinue.activity_adapter import build_activities
from retinue.capability import DESTRUCTIVE, READ, SENDS, Capability, tool
from retinue.effect_status import EffectStatus, Outcome
from retinue.errors import NotFound
from retinue.temporal.registry import announce
from retinue.testing import plan_answer
from tests.accounts.fake_accounts import AccountsOfPeople, FakeAccounts
from tests.conftest import Stack, pending, steps
from workers.runner import capability_worker

Fresh = Callable[[str], str]
NAME = "letters"


class Letter(BaseModel):
    model_config = ConfigDict(extra="forbid")
    to: str
    subject: str = "Hello"
    body: str = "Hi"


class LetterRef(BaseModel):
    model_config = ConfigDict(extra="forbid")
    letter_id: str


class Sent(BaseModel):
    letter_id: str
    to: str


class Nothing(BaseModel):
    pass


class Letters(Capability):
    """Letters that leave by a person's account; the test's own, since its worker has accounts and the stack's have none."""

    name = NAME
    version = "1"
    description = "Letters."
    instructions = ""
    uses_accounts = True

    @activity.defn(name="letters.send")
    @tool(title="Send a letter", annotations=SENDS.replace(sensitive=("/to",), personal=True, undo="letters.call_back"))
    async def send(self, letter: Letter) -> Sent:
        """Send a letter."""
        raise NotImplementedError

    @activity.defn(name="letters.newest")
    @tool(title="Newest letter", annotations=READ.replace(personal=True, trusted_output=True))
    async def newest(self) -> Sent:
        """Read the newest letter."""
        raise NotImplementedError

    @activity.defn(name="letters.look_up")
    @tool(title="Look up a letter", annotations=READ.replace(personal=True, trusted_output=True), plannable=False)
    async def look_up(self, letter: LetterRef) -> Sent:
        """Read one letter."""
        raise NotImplementedError

    @activity.defn(name="letters.call_back")
    @tool(
        title="Call a letter back",
        annotations=DESTRUCTIVE.replace(personal=True, lookups={"letter_id": "letters.look_up"}),
    )
    async def call_back(self, letter: LetterRef) -> Nothing:
        """Call a letter back."""
        raise NotImplementedError


class Box(Letters):
    """The letters of one account."""

    def __init__(self, name: str) -> None:
        self.name_of_account = name
        self.sent: dict[str, str] = {}

    async def send(self, letter: Letter) -> Sent:
        self.sent[f"{self.name_of_account}-{len(self.sent) + 1}"] = letter.to
        return await self.newest()

    async def newest(self) -> Sent:
        return Sent(letter_id=[*self.sent][-1], to=[*self.sent.values()][-1])

    async def look_up(self, letter: LetterRef) -> Sent:
        if letter.letter_id not in self.sent:
            raise NotFound("there is no such letter")
        return Sent(letter_id=letter.letter_id, to=self.sent[letter.letter_id])

    async def call_back(self, letter: LetterRef) -> Nothing:
        await self.look_up(letter)
        del self.sent[letter.letter_id]
        return Nothing()


class NoLedger:
    async def close(self, activity_id: str) -> EffectStatus:
        return EffectStatus(outcome=Outcome.NOTHING)


class Post:
    """The capability with a person's accounts, and what left by each."""

    def __init__(self) -> None:
        self.accounts = AccountsOfPeople()
        self.boxes = {name: Box(name) for name in ("work", "private", "own")}

    def connect(self, *names: str) -> None:
        """The person has these accounts; the first one is the default."""
        self.accounts.people["local"] = FakeAccounts([account(name) for name in names], default_for=(NAME,))

    def sent(self) -> dict[str, list[str]]:
        return {name: [*box.sent.values()] for name, box in self.boxes.items() if box.sent}


def account(name: str) -> Connection:
    return Connection(
        account_id=f"id-{name}",
        name=name,
        address=f"me@{name}.example",
        provider=Provider.IMAP,
        secret=SecretStr("canary"),
        kind=SecretKind.PASSWORD,
    )


@pytest.fixture
async def post(stack: Stack) -> AsyncIterator[Post]:
    post = Post()

    def build(access: Access) -> Implementation[Letters]:
        return Implementation(post.boxes[access.connection.name])

    routing: Routing[Letters] = Routing(NAME, post.accounts, {Provider.IMAP: build}, ledger=NoLedger())
    plugin = SimplePlugin(NAME, activities=build_activities(post.boxes["own"], accounts=routing))
    async with capability_worker(stack.temporal, Letters, plugin):
        await announce(stack.temporal, Letters.manifest(accounts=True))
        yield post


def letter(to: str, **args: Any) -> dict[str, Any]:
    return {"id": "s1", "tool": "letters.send", "args": {"to": to, "subject": "Hello", "body": "Hi", **args}}


@pytest.fixture
def friend() -> str:
    """Nobody whom a grant of another test is about."""
    return f"{uuid.uuid4().hex[:8]}@example.com"


async def asked(stack: Stack, fresh: Fresh, *planned: dict[str, Any]) -> Any:
    message = fresh("Write them")
    stack.model.script(message, plan_answer(planned))
    return await stack.asked((await stack.start(message))["id"])


async def test_a_card_names_the_account_and_the_step_uses_it_though_the_default_is_another_then(
    stack: Stack, post: Post, fresh: Fresh, friend: str
) -> None:
    post.connect("work", "private")
    view = await asked(stack, fresh, letter(friend))
    [approval] = pending(view)
    assert approval["preview"].splitlines()[:3] == [
        "Send a letter",
        "from: me@work.example (work)",
        f"to: {friend}",
    ]
    assert "account" not in approval["args"]
    post.connect("private", "work")
    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert done["status"] == "completed", done
    assert post.sent() == {"work": [friend]}


async def test_a_plan_names_an_account(stack: Stack, post: Post, fresh: Fresh, friend: str) -> None:
    post.connect("work", "private")
    view = await asked(stack, fresh, letter(friend, account="Private"))
    assert "from: me@private.example (private)" in pending(view)[0]["preview"]
    assert "account:" not in pending(view)[0]["preview"]
    await stack.decide(view)
    await stack.ended(view["id"])
    assert post.sent() == {"private": [friend]}


async def test_own_data_need_no_line_and_are_used_though_an_account_is_connected_meanwhile(
    stack: Stack, post: Post, fresh: Fresh, friend: str
) -> None:
    view = await asked(stack, fresh, letter(friend))
    assert "from:" not in pending(view)[0]["preview"]
    post.connect("work")
    await stack.decide(view)
    await stack.ended(view["id"])
    assert post.sent() == {"own": [friend]}


async def test_an_account_that_does_not_exist_is_not_asked_about(
    stack: Stack, post: Post, fresh: Fresh, friend: str
) -> None:
    post.connect("work", "private")
    message = fresh("Write them")
    stack.model.script(message, plan_answer([letter(friend, account="school")]), plan_answer())
    done = await stack.ended((await stack.start(message))["id"])
    assert done["approvals"] == []
    error = steps(done)["s1"]["error"]
    assert error["type"] == "NotFound"
    assert "work, private" in error["message"]
    assert post.sent() == {}


async def test_an_account_that_is_revoked_before_the_decision_fails_in_words(
    stack: Stack, post: Post, fresh: Fresh, friend: str
) -> None:
    post.connect("work", "private")
    view = await asked(stack, fresh, letter(friend))
    post.connect("private")
    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert steps(done)["s1"]["status"] == "failed"
    assert "not connected any more" in steps(done)["s1"]["error"]["message"]
    assert post.sent() == {}


async def test_a_grant_for_one_account_does_not_cover_another(
    stack: Stack, post: Post, fresh: Fresh, friend: str
) -> None:
    post.connect("work", "private")
    view = await asked(stack, fresh, letter(friend))
    await stack.decide(view, grant={})
    await stack.ended(view["id"])
    grants = (await stack.http.get("/v1/grants")).json()["grants"]
    [says] = [grant["says"] for grant in grants if friend in grant["says"]]
    assert "with the account me@work.example (work)" in says

    message = fresh("Write them again")
    stack.model.script(message, plan_answer([letter(friend, account="work")]))
    again = await stack.ended((await stack.start(message))["id"])
    assert (again["approvals"], again["status"]) == ([], "completed")

    for args in ({"account": "private"}, {"account": "own"}):
        other = await asked(stack, fresh, letter(friend, **args))
        await stack.decide(other, "reject")
        await stack.ended(other["id"])
    assert post.sent() == {"work": [friend, friend]}


async def test_an_old_grant_is_for_the_own_data_alone(stack: Stack, post: Post, fresh: Fresh, friend: str) -> None:
    body = {"tool": "letters.send", "args": {"/to": [friend]}}
    assert (await stack.http.post("/v1/grants", json=body)).status_code == 201
    message = fresh("Write them")
    stack.model.script(message, plan_answer([letter(friend)]))
    assert (await stack.ended((await stack.start(message))["id"]))["approvals"] == []
    post.connect("work")
    view = await asked(stack, fresh, letter(friend))
    await stack.decide(view, "reject")
    await stack.ended(view["id"])
    assert post.sent() == {"own": [friend]}
    body["account"] = "id-work"
    assert (await stack.http.post("/v1/grants", json=body)).status_code == 201
    message = fresh("Write them")
    stack.model.script(message, plan_answer([letter(friend)]))
    assert (await stack.ended((await stack.start(message))["id"]))["approvals"] == []


async def test_an_edit_changes_the_text_and_not_the_account(
    stack: Stack, post: Post, fresh: Fresh, friend: str
) -> None:
    post.connect("work", "private")
    view = await asked(stack, fresh, letter(friend))
    args = pending(view)[0]["args"]
    refused = await stack.decide(view, "edit", args=args | {"account": "private"})
    assert refused.status_code == 422
    assert "the account cannot be changed here" in refused.text
    other = f"x{friend}"
    assert (await stack.decide(view, "edit", args=args | {"to": other})).status_code == 200
    await stack.ended(view["id"])
    assert post.sent() == {"work": [other]}


@pytest.mark.parametrize("reference", [{"$from": "s1", "path": "/letter_id"}, "private-0"], ids=["referred", "written"])
async def test_what_was_read_from_one_account_is_changed_there_and_so_is_an_undo(
    stack: Stack, post: Post, fresh: Fresh, friend: str, reference: Any
) -> None:
    post.connect("work", "private")
    post.boxes["private"].sent["private-0"] = friend
    newest = {"id": "s1", "tool": "letters.newest", "args": {"account": "private"}}
    back = {"id": "s2", "tool": "letters.call_back", "args": {"letter_id": reference}, "depends_on": ["s1"]}
    view = await asked(stack, fresh, newest, back)
    preview = pending(view)[0]["preview"]
    assert "account: me@private.example (private)" in preview
    assert f"to {friend}" in preview
    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert done["status"] == "completed", done
    assert post.sent() == {}

    sent = await asked(stack, fresh, letter(friend, account="private"))
    await stack.decide(sent)
    await stack.ended(sent["id"])
    post.connect("work", "private")
    response = await stack.http.post(f"/v1/assistants/{sent['id']}/undo")
    assert response.status_code == 202, response.text
    await stack.until(sent["id"], lambda view: not post.sent())


async def test_the_same_call_is_known_again_in_another_round(
    stack: Stack, post: Post, fresh: Fresh, friend: str
) -> None:
    post.connect("work")
    message = fresh("Write them")
    stack.model.script(
        message, plan_answer([letter(friend)], final=False), plan_answer([letter(friend) | {"id": "s2"}])
    )
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert [step["error"] and step["error"]["type"] for step in done["plan"]["steps"]] == [None, "Repeated"]
    assert post.sent() == {"work": [friend]}


async def test_without_accounts_nothing_more_is_asked_of_anybody(stack: Stack, fresh: Fresh, friend: str) -> None:
    planned = {"id": "s1", "tool": "email.send", "args": {"to": [friend], "subject": "Hello", "body": "Hi"}}
    view = await asked(stack, fresh, planned)
    await stack.decide(view)
    await stack.ended(view["id"])
    history = await stack.temporal.get_workflow_handle(view["id"]).fetch_history()
    assert "which_account" not in str(history.events)
    assert '"accounts"' not in str(history.events)
