"""The single-user mode: whoever comes is the one person, so only loopback may be reached."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.auth.loopback_only import is_loopback
from api.settings import ApiSettings
from retinue.errors import InvalidArguments
from tests.api.conftest import refused
from tests.conftest import Stack

ROOT = Path(__file__).parents[3]
ISSUER = {"RETINUE_OIDC_ISSUER": "https://id.example.com", "RETINUE_OIDC_AUDIENCE": "retinue"}
SAYS = "would let everyone in the network act as the user"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "retinue.example.com"])  # nothing listens
def test_without_identity_an_address_that_others_reach_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("RETINUE_HOST", host)
    with pytest.raises(InvalidArguments, match=SAYS):
        create_app(ApiSettings())


@pytest.mark.parametrize("more", [ISSUER, {"RETINUE_USER_HEADER": "X-Person"}, {"RETINUE_PRIVATE_ADDRESS": "true"}])
def test_where_people_are_told_apart_or_the_address_is_private_it_starts(
    monkeypatch: pytest.MonkeyPatch, more: Mapping[str, str]
) -> None:
    for name, value in {"RETINUE_HOST": "0.0.0.0", **more}.items():  # nothing listens
        monkeypatch.setenv(name, value)
    create_app(ApiSettings())


def test_the_process_ends_with_a_sentence(tmp_path: Path) -> None:
    variables = {"RETINUE_HOST": "0.0.0.0", "RETINUE_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}  # it ends
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "api"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 2
    assert SAYS in ended.stderr
    assert "RETINUE_PRIVATE_ADDRESS" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("private", [False, True])
async def test_a_server_that_chose_the_address_itself_answers_on_loopback_only(
    stack: Stack, tmp_path: Path, private: bool
) -> None:
    """As `uvicorn --host 0.0.0.0` does, of which the application learns by the address at which a request arrives."""
    url = f"sqlite+aiosqlite:///{tmp_path}/api.db"
    settings = ApiSettings(api_database_url=url, retinue_allowed_hosts="*", retinue_private_address=private)
    app = create_app(settings, client=stack.temporal)
    async with app.router.lifespan_context(app):
        for address in ("192.168.1.2", "retinue.example.com"):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{address}") as http:
                answers = [await http.get("/v1/me"), await http.post("/v1/assistants", json={"message": "Hello"})]
            assert [answer.status_code for answer in answers] == ([200, 202] if private else [403, 403])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            assert (await http.get("/v1/me")).status_code == 200


async def test_a_proxy_that_adds_its_header_behind_the_callers_own_is_refused(stack: Stack, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/api.db"
    app = create_app(ApiSettings(api_database_url=url, retinue_user_header="X-Person"), client=stack.temporal)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        assert (await http.get("/v1/me", headers={"X-Person": "anna"})).json()["name"] == "anna"
        refused(await http.get("/v1/me", headers=[("X-Person", "ben"), ("X-Person", "anna")]), 403, "has no name")
        refused(await http.get("/v1/me", headers={"X-Person": "ben, anna"}), 403, "has no name")


@pytest.mark.parametrize(
    ("host", "only"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("127.1", False),
        ("2130706433", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("::ffff:192.168.1.2", False),
        ("", False),
    ],
)
def test_what_is_loopback(host: str, only: bool) -> None:
    assert is_loopback(host) is only
