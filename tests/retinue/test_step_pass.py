"""The pass of a step: who can make one, what a changed or old one is worth, and the keys of callers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from retinue.accounts import caller_keys
from retinue.errors import NotAuthenticated
from retinue.temporal import keyring
from retinue.temporal.step_pass import StepPass, sign, verify

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
RING = keyring.parse_keys(keyring.new_key(), kind="test")
STEP = StepPass(
    organisation="acme",
    person="acme:änna.b",
    capability="calendar",
    workflow_id="assistant-1",
    activity_id="s1",
    expires=int(NOW.timestamp()) + 60,
)


def test_a_pass_says_what_was_signed() -> None:
    assert verify(sign(STEP, RING), RING, now=NOW) == STEP


def test_a_pass_is_worth_nothing_after_its_expiry() -> None:
    with pytest.raises(NotAuthenticated, match="expired"):
        verify(sign(STEP, RING), RING, now=NOW + timedelta(seconds=61))


def test_another_key_makes_no_pass() -> None:
    other = keyring.parse_keys(keyring.new_key(), kind="test")
    with pytest.raises(NotAuthenticated):
        verify(sign(STEP, other), RING, now=NOW)


def test_every_changed_character_of_a_pass_is_noticed() -> None:
    text = sign(STEP, RING)
    for place, letter in enumerate(text):
        changed = text[:place] + ("A" if letter != "A" else "B") + text[place + 1 :]
        with pytest.raises(NotAuthenticated):
            verify(changed, RING, now=NOW)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "é.b.c", "x" * 9000, "\x00"])
def test_what_is_no_pass_is_refused(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        verify(text, RING, now=NOW)


def test_a_callers_key_names_its_caller_and_opens_nothing_else() -> None:
    calendar = caller_keys.bearer_of("calendar", RING)
    assert caller_keys.caller(calendar, RING) == "capability/calendar"
    assert caller_keys.caller(caller_keys.bearer_of_people(RING), RING) == "people"
    for wrong in (
        calendar.replace("calendar", "email", 1),
        calendar.replace("capability/calendar", "people", 1),
        calendar[:-1],
        "",
        "~~",
        "é~é~é",
    ):
        assert caller_keys.caller(wrong, RING) is None


def test_a_changed_root_accepts_the_old_callers_as_long_as_it_is_kept() -> None:
    old, new = keyring.new_key(), keyring.new_key().replace("k2", "n2", 1)
    held = caller_keys.bearer_of("email", keyring.parse_keys(old, kind="test"))
    assert caller_keys.caller(held, keyring.parse_keys(f"{new},{old}", kind="test")) == "capability/email"
    assert caller_keys.caller(held, keyring.parse_keys(new, kind="test")) is None


def test_the_keys_of_passes_differ_from_those_of_callers() -> None:
    ring = keyring.parse_keys(caller_keys.pass_keys(RING), kind="test")
    assert verify(sign(STEP, ring), ring, now=NOW) == STEP
    with pytest.raises(NotAuthenticated):
        verify(sign(STEP, RING), ring, now=NOW)
