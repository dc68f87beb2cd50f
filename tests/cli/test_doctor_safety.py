"""What the doctor says of who may call, whose decisions count, and what is encrypted."""

from __future__ import annotations

import pytest

from cli import safety

NAME = "k-mine"
KEY = f"{NAME}:{'A' * 43}"


@pytest.mark.parametrize(
    ("variables", "check", "level", "words"),
    [
        ({}, "who calls", "ok", "single user"),
        ({"RETINUE_HOST": "0.0.0.0"}, "who calls", "fail", "no sign-in"),
        ({"RETINUE_HOST": "0.0.0.0", "RETINUE_PRIVATE_ADDRESS": "true"}, "who calls", "warn", "0.0.0.0"),
        ({"RETINUE_DOORS": "-"}, "protocols", "ok", "none"),
        ({"RETINUE_HOST": "0.0.0.0"}, "Temporal's ports", "warn", "without authentication"),
        ({"RETINUE_OIDC_ISSUER": "https://id.example.com"}, "who calls", "ok", "id.example.com"),
        ({"RETINUE_USER_HEADER": "X-User"}, "who calls", "ok", "X-User"),
        ({}, "decisions", "ok", "mode open"),
        ({"RETINUE_DECISIONS": "open", "RETINUE_USER_HEADER": "X-User"}, "decisions", "warn", "anyone"),
        ({"RETINUE_DECISION_KEYS": KEY}, "decisions", "ok", NAME),
        ({"RETINUE_DECISION_KEYS": "k1:short"}, "decisions", "fail", "32 bytes"),
        ({"RETINUE_DECISIONS": "perhaps"}, "decisions", "fail", "open"),
        ({}, "encryption", "ok", "off"),
        ({"RETINUE_ENCRYPTION_KEYS": KEY}, "encryption", "ok", NAME),
        ({"RETINUE_ENCRYPTION_KEYS": "nonsense"}, "encryption", "fail", "32 bytes"),
    ],
)
def test_it_says_how_things_stand_and_no_key(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], check: str, level: str, words: str
) -> None:
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    [found] = [finding for finding in safety.examine() if finding.check == check]
    assert found.level == level, found
    assert words in found.found
    assert KEY.partition(":")[2] not in found.found + found.advice
