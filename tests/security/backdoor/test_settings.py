"""Whose decisions count, and by which keys: from the environment."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from retinue.temporal.keyring import Keyring, new_key, parse_keys
from retinue.temporal.proofs import Mode, ProofSettings
from tests.security.backdoor.installation import VARIABLES

KEY = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*VARIABLES, "RETINUE_USER_HEADER", "RETINUE_OIDC_ISSUER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, Mode.OPEN),
        ({"RETINUE_DECISIONS": "proved"}, Mode.PROVED),
        ({"RETINUE_USER_HEADER": "X-User"}, Mode.PROVED),
        ({"RETINUE_OIDC_ISSUER": "https://id.example.com"}, Mode.PROVED),
        ({"RETINUE_DECISION_KEYS": KEY}, Mode.PROVED),
        ({"RETINUE_DECISION_KEY_FILE": "keys"}, Mode.PROVED),
        ({"RETINUE_USER_HEADER": "X-User", "RETINUE_DECISIONS": "open"}, Mode.OPEN),
    ],
)
def test_decisions_are_proved_where_people_are_told_apart(
    variables: dict[str, str], mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ProofSettings().mode() is mode
    assert bool(ProofSettings().interceptors("default")) is (mode is Mode.PROVED)


async def test_without_a_key_one_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """The API and the workflow worker start at the same time, and both must have the same one."""
    rings = await asyncio.gather(*[asyncio.to_thread(ProofSettings().keyring) for _ in range(20)])
    [file] = (tmp_path / "data").iterdir()
    assert {tuple(ring.keys.items()) for ring in rings} == {
        tuple(parse_keys(file.read_text(), kind="decision").keys.items())
    }
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "k1", "k1:short", f"{KEY},{KEY}", "k 1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "k1:äöü"]
)
def test_a_malformed_key_is_refused_without_being_said(text: str) -> None:
    with pytest.raises(ValueError, match="decision key") as raised:
        parse_keys(text, kind="decision")
    assert "AAAA" not in str(raised.value)


def test_keys_are_shown_nowhere() -> None:
    line = new_key()
    ring = parse_keys(line, kind="decision")
    assert isinstance(ring, Keyring)
    assert repr(next(iter(ring.keys.values()))) not in repr(ring)


def test_a_key_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_DECISION_KEY_FILE", os.devnull + "/none")
    with pytest.raises(ValueError, match="RETINUE_DECISION_KEY_FILE cannot be read"):
        ProofSettings().keyring()
