"""S22. schemathesis as a judge of the front door: what openapi.json says is what it does, whatever is sent.

By default each operation gets few examples, so that all of it takes seconds. `FUZZ_EXAMPLES=50` looks longer (minutes).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import serving
from tests.api.auth.issuer import bearer, issuing
from tests.api.conftest import browsing
from tests.conftest import Stack

PUBLIC = {"/healthz", "/readyz", "/metrics"}
OURS = {"Origin": "http://localhost"}
SEED = "20261122"
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
FEW = (EXAMPLES + 1) // 2
UNBOUNDED = "10000000/60"
SECONDS = max(600, 30 * EXAMPLES)
HOOKS = Path(__file__).with_name("hooks.py")
CONFIG = """
hooks = "{hooks}"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]

[generation]
with-security-parameters = {guess}
"""
"""What fits the schema may still name a tool, a policy or a cursor that does not exist: 422, as `hooks` knows. Never 400."""
pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS + 5)]


@asynccontextmanager
async def front_door(stack: Stack, folder: Path) -> AsyncIterator[str]:
    """One of its own on a real port, with the stack behind it, which may be asked as often as it takes."""
    settings = ApiSettings(
        api_database_url=f"sqlite+aiosqlite:///{folder}/api.db",
        retinue_rate_limit=UNBOUNDED,
        retinue_failed_logins=UNBOUNDED,
    )
    async with serving(create_app(settings, client=stack.temporal)) as found:
        try:
            yield found
        finally:
            await _clear_up(stack)


async def _clear_up(stack: Stack) -> None:
    """Take back what would go on in later tests: grants that let mails out unasked, what starts runs."""
    for grant in (await stack.http.get("/v1/grants")).json()["grants"]:
        assert (await stack.http.delete(f"/v1/grants/{grant['grant_id']}")).is_success
    for schedule in (await stack.http.get("/v1/schedules")).json()["schedules"]:
        assert (await stack.http.delete(f"/v1/schedules/{schedule['id']}")).is_success
    for trigger in (await stack.http.get("/v1/triggers")).json()["triggers"]:
        assert (await stack.http.delete(f"/v1/triggers/{trigger['id']}")).is_success


@pytest.fixture
async def alone(stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    """Where there is one person."""
    async with front_door(stack, tmp_path) as address:
        yield address


@pytest.fixture
async def told_apart(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Where people sign in, and what brings somebody with every role in."""
    async with issuing() as issuer:
        for name, value in issuer.settings().items():
            monkeypatch.setenv(name, value)
        async with front_door(stack, tmp_path) as address:
            yield address, bearer(issuer.token(roles=["owner", "approver", "operator", "auditor"]))


async def judged(
    address: str, folder: Path, *arguments: str, guess: bool = False, phases: str = "fuzzing"
) -> tuple[int, str]:
    """What `schemathesis run` says, and its exit code; it is killed when it takes too long.

    Args:
        address: Of the front door.
        folder: To work in.
        arguments: Further ones.
        guess: Whether it makes up credentials.
        phases: `coverage` sends what stands at the edges of each schema.
    """
    (folder / "schemathesis.toml").write_text(CONFIG.format(guess=str(guess).lower(), hooks=HOOKS))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "schemathesis.cli", "run", f"{address}/openapi.json"),
        *(
            "--phases",
            phases,
            "--checks",
            "all",
            "--seed",
            SEED,
            "--no-shrink",
            "--no-color",
            "--continue-on-failure",
        ),
        # accounts are switched off here: each of their operations says so, whatever is sent
        *("--exclude-path-regex", "^/v1/accounts"),
        *("--generation-database", "none", "--request-timeout", "20", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            told, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        told, _ = await process.communicate()
        raise AssertionError(f"no verdict in time: {told.decode()[-3000:]}") from None
    assert process.returncode is not None
    return process.returncode, told.decode()


async def test_what_is_documented_is_what_happens(alone: str, tmp_path: Path) -> None:
    """No 5xx, no undocumented status, type, header or body, nothing wrong accepted and nothing right refused."""
    code, told = await judged(alone, tmp_path, "--max-examples", str(FEW), phases="examples,coverage,fuzzing")
    assert code == 0, told[-12_000:]


async def test_the_same_where_people_sign_in(told_apart: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    """What answers somebody is asked again without and with wrong credentials, and refuses (`ignored_auth`)."""
    address, [(name, value)] = told_apart[0], told_apart[1].items()
    code, told = await judged(address, tmp_path, "--max-examples", str(EXAMPLES), "--header", f"{name}: {value}")
    assert code == 0, told[-12_000:]


async def test_without_credentials_or_with_made_up_ones_nothing_answers(
    told_apart: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    code, told = await judged(told_apart[0], tmp_path, "--max-examples", str(FEW), "--mode", "positive", guess=True)
    assert code == 0, told[-12_000:]


NOBODY: list[dict[str, str]] = [
    {},
    {"X-Person": ""},
    {"X-Person": "signal"},
    {"Cookie": "retinue_session=x", **OURS},
    bearer("rtn_" + "a" * 43),
    {"Authorization": "Basic YTpi"},
]
ISSUER = {"RETINUE_OIDC_ISSUER": "https://id.example.com", "RETINUE_OIDC_AUDIENCE": "retinue"}


@pytest.mark.parametrize("variables", [{"RETINUE_USER_HEADER": "X-Person"}, ISSUER], ids=["proxy", "issuer"])
async def test_without_credentials_no_operation_answers(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """Where people are told apart, whoever is nobody reads and changes nothing, whatever else they send."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db", retinue_failed_logins=UNBOUNDED)
    async with browsing(create_app(settings, client=stack.temporal)) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
        calls = [(method, path) for path, found in paths.items() for method in found if path not in PUBLIC]
        assert len(calls) >= 25
        for method, path in calls:
            for headers in NOBODY:
                answer = await http.request(method.upper(), path, json={}, headers=headers)
                assert answer.status_code in (401, 403), (method, path, headers, answer.text)
