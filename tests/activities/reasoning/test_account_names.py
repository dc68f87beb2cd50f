"""A plan may name an account only where its person has several, and never at the price of a plan."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

import activities
from activities.reasoning import prompts
from activities.reasoning.account_names import naming_accounts, several_accounts
from activities.reasoning.contract import PlanRequest
from activities.reasoning.offering import Offer
from activities.reasoning.plan_format import plan_format
from activities.weather.contract import Weather
from retinue.accounts.connection import AccountName
from retinue.conversation import Message, Role
from retinue.errors import NotAuthenticated, RetinueError, ServiceUnavailable

CALENDAR = activities.load("calendar").CONTRACT.manifest(accounts=True)
MANIFESTS = [CALENDAR, Weather.manifest()]
REQUEST = PlanRequest(
    messages=[Message(role=Role.USER, text="What is on?")], timezone="UTC", now=datetime(2026, 12, 1, tzinfo=UTC)
)


class Names:
    def __init__(self, *names: AccountName, error: RetinueError | None = None, late: float = 0) -> None:
        self._names, self._error, self._late = names, error, late

    async def names(self) -> list[AccountName]:
        await asyncio.sleep(self._late)
        if self._error:
            raise self._error
        return list(self._names)


def named(name: str, *capabilities: str, default_for: tuple[str, ...] = ()) -> AccountName:
    return AccountName(account_id=f"id-{name}", name=name, capabilities=list(capabilities), default_for=[*default_for])


async def test_only_capabilities_with_several_accounts_are_told_of_the_default_one_first() -> None:
    private = named("private", "calendar", "email")
    work = named("work", "calendar", "weather", default_for=("calendar",))
    assert await several_accounts(Names(private, work), MANIFESTS) == {"calendar": ["work", "private"]}
    assert await several_accounts(Names(private), MANIFESTS) == {}


async def test_without_an_accounts_service_nobody_is_asked() -> None:
    never = Names(error=ServiceUnavailable("asked"))
    assert await several_accounts(None, MANIFESTS) == {}
    assert await several_accounts(never, [activities.load("calendar").CONTRACT.manifest(), *MANIFESTS[1:]]) == {}


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), NotAuthenticated("no pass")])
async def test_a_service_that_fails_is_no_reason_not_to_plan(error: RetinueError) -> None:
    assert await several_accounts(Names(error=error), MANIFESTS) == {}


async def test_a_service_that_hangs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.reasoning.account_names._PATIENCE", 0.01)
    assert await several_accounts(Names(late=60), MANIFESTS) == {}


def said(offer: Offer) -> str:
    return json.dumps(prompts.for_plan(REQUEST, offer))


def test_the_prompt_speaks_of_accounts_only_where_there_is_a_choice() -> None:
    one = Offer(MANIFESTS, list(CALENDAR.tools))
    several = Offer(MANIFESTS, list(CALENDAR.tools), accounts={"calendar": ["work", 'my "home"']})
    assert "account" not in said(one)
    message = next(part for part in prompts.for_plan(REQUEST, several) if part["content"].startswith(prompts.ACCOUNTS))
    assert json.loads(message["content"].splitlines()[1]) == {"calendar": ["work", 'my "home"']}
    # the tools themselves, the longest part, stay the same for everybody
    assert prompts.for_plan(REQUEST, one)[0] == prompts.for_plan(REQUEST, several)[0]


def test_the_format_of_an_answer_takes_the_names_and_nothing_else() -> None:
    def arguments(accounts: dict[str, list[str]]) -> dict[str, Any]:
        form = plan_format(naming_accounts(CALENDAR.tools, accounts), [], may_need=False)
        return form.schema

    assert "account" not in json.dumps(arguments({}))
    assert '"work"' in json.dumps(arguments({"calendar": ["work", "private"]}))
    assert '"work"' not in json.dumps(arguments({"email": ["work", "private"]}))


def test_agents_use_the_default_account() -> None:
    assert "account" not in json.dumps(prompts.functions(CALENDAR))
