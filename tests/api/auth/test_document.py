"""openapi.json says how callers are recognised: as this installation is configured."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from api.app import create_app
from api.settings import ApiSettings

PUBLIC = {("get", "/healthz"), ("get", "/readyz"), ("get", "/metrics")}
SIGNED_IN: list[dict[str, list[str]]] = [{"bearer": []}, {"session": []}]


def security(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {
        (method, path): operation["security"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def references(node: Any) -> set[str]:
    """Everything that a part of the document refers to."""
    return set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(node)))


@pytest.mark.parametrize(
    ("variables", "further"),
    [
        ({}, [{}]),
        ({"RETINUE_OIDC_ISSUER": "https://id.example.com", "RETINUE_OIDC_AUDIENCE": "retinue"}, []),
        ({"RETINUE_USER_HEADER": "X-Person"}, [{"proxy": []}]),
    ],
    ids=["one person", "identity provider", "proxy"],
)
def test_every_operation_says_how_to_sign_in(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], further: list[dict[str, list[str]]]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    document = create_app(ApiSettings()).openapi()
    said = security(document)
    assert {operation for operation, needs in said.items() if needs == []} == PUBLIC
    assert [
        found for operation, found in said.items() if operation not in PUBLIC and found != SIGNED_IN + further
    ] == []
    assert references(document["paths"]) <= {
        f"#/components/schemas/{name}" for name in document["components"]["schemas"]
    }
    schemes = document["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["session"]["in"], schemes["session"]["name"]) == ("cookie", "retinue_session")
    assert {name for needs in SIGNED_IN + further for name in needs} == set(schemes)
