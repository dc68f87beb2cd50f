"""What schemathesis loads beside its own checks: a refusal of what fits the schema must be about what no schema can say."""

from __future__ import annotations

import uuid
from typing import Any

import schemathesis

NO_SCHEMA_CAN_SAY = (
    "this cursor is not valid",  # cursors are made by lists
    "is not an IANA time zone",  # 600 names, and others every year
    "there is no policy",  # they stand in a file
    "there is no tool",  # they are announced while the stack runs
    "has no argument at",  # likewise
    "expires_at must",  # be in the future, or within a year: counted from today
    "ends_at",
    "cron",  # it may read like one and name no time that comes
    "there is no key or token",  # no header, and none is needed by everybody
    "quiet hours need two different times",
    "this installation has no accounts",
    "is a condition of mails",
    "the last message must be the user's",  # JSON schemas know no last place
    "only text is supported",
    "holds NaN, Infinity or half of a Unicode character",
    "the patterns are larger than",
    "answers cannot be written in the schema of the request",
    "both name a conversation",
)
"""The beginnings of words in which such refusals are told."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Never send a key twice: that is refused for what was sent before."""
    if case.headers and "Idempotency-Key" in case.headers and _fits(case):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


@schemathesis.check
def only_what_no_schema_can_say_is_refused(context: Any, response: Any, case: Any) -> None:
    """422 to what fits the schema."""
    if response.status_code == 422 and _fits(case):
        told = response.json()
        words = told.get("detail") or told["error"]["message"]
        assert any(known in words for known in NO_SCHEMA_CAN_SAY), f"the schema should say: {words[:300]}"


def _fits(case: Any) -> bool:
    return case.meta is not None and bool(case.meta.generation.mode.is_positive)
