"""Which of a person's accounts an action uses: settled before anybody decides, and the same one when it runs.

The capability's worker tells it from the accounts service's data, so a card names the account in words that no model wrote.
What a step read from one account, a later step with its ids changes on the same account.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from pydantic import JsonValue

from retinue.capability import ACCOUNT, ToolOptions, which_account
from retinue.plan import BoundStep, references
from retinue.provenance.asked_by import AskedBy
from workflows.rules.chosen_account import ChosenAccount
from workflows.steps.activity import Waiting, run_activity

PATCH = "accounts"
_ID = re.compile(r".+_ids?")
_OPTIONS = ToolOptions(start_to_close=20, attempts=8)


async def choose_account(
    step: BoundStep,
    args: Mapping[str, JsonValue],
    *,
    key: str,
    asked_by: AskedBy,
    on_waiting: Callable[[Waiting], None],
) -> ChosenAccount:
    """Return the account that a step would use now.

    Args:
        step: Of a tool with accounts.
        args: Its resolved arguments.
        key: The activity's id.
        asked_by: The person, and the account that an earlier step decides.
        on_waiting: Called when it begins to wait for a worker.

    Raises:
        ActivityError: There is no such account, or nobody can tell.
    """
    found: ChosenAccount = await run_activity(
        which_account(step.capability),
        {ACCOUNT: args.get(ACCOUNT)},
        task_queue=step.task_queue,
        options=_OPTIONS,
        activity_id=key,
        summary="which account",
        on_waiting=on_waiting,
        result_type=ChosenAccount,
        asked_by=asked_by,
    )
    return found


def account_of_references(
    step: BoundStep, steps: Mapping[str, BoundStep], results: Mapping[str, JsonValue]
) -> str | None:
    """Return the account from which a step's references and ids come; None if it names one itself, or they do not agree."""
    if not step.annotations.accounts or step.args.get(ACCOUNT):
        return None
    read = {
        other: result
        for other, result in results.items()
        if other in steps and steps[other].capability == step.capability and isinstance(result, dict)
    }
    referred = {other for other, _ in references(step.args)}
    ids = set(_ids(step.args))
    used = {result.get(ACCOUNT) for other, result in read.items() if other in referred}
    used = used or {result.get(ACCOUNT) for result in read.values() if ids and not ids.isdisjoint(_texts(result))}
    [account] = used if len(used) == 1 else {None}
    return account if isinstance(account, str) else None


def _ids(args: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield the ids that a plan has written out instead of referring to them."""
    for name, value in args.items():
        if _ID.fullmatch(name):
            yield from _texts(value)


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
