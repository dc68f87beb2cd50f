"""A Temporal elsewhere: TLS, client certificates and API keys by the standard variables, and every refusal in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from retinue.settings import ROOT
from retinue.temporal.connection import connect
from retinue.temporal.connection_words import TemporalUnreachable
from tests.api.conftest import eventually
from tests.temporal_gateway import Authority, Gateway, gateway
from workers import temporal_server
from workers.temporal_server import free_port

KEY = "canary-api-key"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
async def mutual(temporal: Client, authority: Authority) -> AsyncIterator[Gateway]:
    """A gateway that asks for a client certificate of our authority."""
    upstream = temporal.service_client.config.target_host
    async with gateway(Gateway(upstream, authority.issue("server"), clients=authority.file)) as running:
        yield running


@pytest.fixture
async def by_key(temporal: Client, authority: Authority) -> AsyncIterator[Gateway]:
    """A gateway that asks for an API key, as Temporal Cloud's."""
    upstream = temporal.service_client.config.target_host
    async with gateway(Gateway(upstream, authority.issue("server"), api_key=KEY)) as running:
        yield running


def variables(authority: Authority, address: str, client: tuple[Path, Path] | None = None) -> dict[str, str]:
    """What the operator sets."""
    shown = client or ("", "")
    return {
        "TEMPORAL_ADDRESS": address,
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(authority.file),
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(shown[0]),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(shown[1]),
    }


def set_all(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)


async def refused() -> str:
    with pytest.raises(TemporalUnreachable) as error:
        await connect()
    return str(error.value)


async def test_a_client_with_its_certificate_is_let_in(
    mutual: Gateway, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, **variables(authority, mutual.address, authority.issue("worker")))
    client = await connect()
    assert await client.service_client.check_health()
    assert set(mutual.seen) == {"worker"}


async def test_a_client_without_one_or_with_anothers_is_refused_in_words(
    mutual: Gateway, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, **variables(authority, mutual.address))
    assert "asks for a client certificate: set TEMPORAL_TLS_CLIENT_CERT_PATH" in await refused()
    set_all(monkeypatch, **variables(authority, mutual.address, Authority(tmp_path, "theirs").issue("worker")))
    assert "refuses our client certificate: check TEMPORAL_TLS_CLIENT_CERT_PATH" in await refused()
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    set_all(monkeypatch, **variables(authority, mutual.address, (broken, broken)))
    assert "the client certificate or its key cannot be read" in await refused()
    assert mutual.seen == []


@pytest.mark.parametrize(
    ("shows", "says"),
    [(False, "it asks for a client certificate; set"), (True, "it refuses our client certificate; check")],
)
async def test_a_server_that_says_why_before_it_hangs_up_is_told(
    shows: bool, says: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL's own server sends the alert; Python's hangs up at once."""
    port = free_port()
    certificate, key = authority.issue("server")
    command = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-alpn", "h2", "-Verify", "1"]
    command += ["-verify_return_error", "-cert", str(certificate), "-key", str(key)]
    command += ["-CAfile", str(authority.file)]
    server = opened(*command)
    try:
        theirs = Authority(tmp_path, "theirs").issue("worker") if shows else None
        set_all(monkeypatch, **variables(authority, f"127.0.0.1:{port}", theirs))
        await eventually(refused, lambda words: says in words, seconds=20)
    finally:
        server.kill()
        server.wait(10)


def opened(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def test_a_server_that_is_not_to_be_trusted_is_told(
    mutual: Gateway, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, **variables(Authority(tmp_path, "theirs"), mutual.address, authority.issue("worker")))
    assert "its certificate is not signed by a trusted authority; TEMPORAL_TLS_SERVER_CA_CERT_PATH" in await refused()
    set_all(monkeypatch, **variables(authority, mutual.address), TEMPORAL_TLS_SERVER_NAME="other.test")
    assert "its certificate is for another name; TEMPORAL_TLS_SERVER_NAME" in await refused()
    set_all(monkeypatch, TEMPORAL_TLS_SERVER_NAME="temporal.test")
    set_all(monkeypatch, **variables(authority, mutual.address, authority.issue("worker")))
    assert await (await connect()).service_client.check_health()


async def test_tls_where_there_is_none_and_none_where_there_is(
    mutual: Gateway, temporal: Client, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, **variables(authority, temporal.service_client.config.target_host))
    assert "it does not speak TLS at that port" in await refused()
    set_all(monkeypatch, **variables(authority, mutual.address) | {"TEMPORAL_TLS": "false"})
    assert "if that port is one of TLS, set TEMPORAL_TLS=true" in await refused()
    set_all(monkeypatch, TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    assert await refused() == "Temporal cannot be reached"


async def test_an_api_key_opens_and_a_wrong_one_is_refused_in_words(
    by_key: Gateway, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key alone: it turns TLS on."""
    set_all(monkeypatch, **variables(authority, by_key.address) | {"TEMPORAL_TLS": ""})
    for key in ("", "canary-wrong-key"):
        set_all(monkeypatch, TEMPORAL_API_KEY=key, TEMPORAL_TLS="" if key else "true")
        said = await refused()
        assert "it refuses our API key or certificate for this namespace; check TEMPORAL_API_KEY" in said
        assert "canary" not in said
    assert by_key.seen == []
    set_all(monkeypatch, TEMPORAL_API_KEY=KEY, TEMPORAL_TLS="")
    assert await (await connect()).service_client.check_health()
    assert by_key.seen == [f"Bearer {KEY}"]


def started(environment: dict[str, str], log: Path, *command: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", *command], env=environment, stdout=output, stderr=output, cwd=ROOT
        )


@pytest.fixture
async def own_mutual(authority: Authority, tmp_path: Path) -> AsyncIterator[Gateway]:
    """The same before a server that no other test uses: the workers of this one are killed."""
    port = free_port()
    command = temporal_server.command(
        host="127.0.0.1", port=port, ui_port=free_port(), http_port=free_port(), database=None
    )
    server = temporal_server.start(command, log=tmp_path / "temporal.log")
    upstream = f"127.0.0.1:{port}"
    try:
        async with gateway(Gateway(upstream, authority.issue("server"), clients=authority.file)) as running:
            yield running
    finally:
        server.kill()
        server.wait(10)


@pytest.mark.timeout(180)
async def test_every_process_meets_temporal_behind_tls(
    own_mutual: Gateway, authority: Authority, tmp_path: Path
) -> None:
    """API, workflow worker and a capability's worker, each with a certificate of its own name; then with a wrong one."""
    mutual = own_mutual
    data = tmp_path / "data"
    data.mkdir()
    processes = []
    port = free_port()

    def environment(name: str, ours: Authority = authority) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TEMPORAL_", "RETINUE_"))}
        return (
            kept
            | variables(ours, mutual.address, ours.issue(name))
            | {
                "PYTHONPATH": str(ROOT),
                "RETINUE_DATA_DIR": str(data),
                "RETINUE_PORT": str(port),
                "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(authority.file),
                "WEATHER_PROVIDER": "simulated",
            }
        )

    try:
        for name, command in (
            ("api", ("api",)),
            ("workflows", ("workers", "workflows")),
            ("weather", ("workers", "weather")),
        ):
            processes.append(started(environment(name), tmp_path / f"{name}.log", *command))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:

            async def polled() -> bool:
                try:
                    found = (await http.get("/v1/capabilities")).json()
                except httpx.HTTPError:
                    return False
                return any(one["name"] == "weather" and one["healthy"] for one in found.get("capabilities", []))

            await eventually(polled, bool, seconds=150)
        assert {"api", "workflows", "weather"} <= set(mutual.seen)
        theirs = environment("thief", Authority(tmp_path, "theirs"))
        log = tmp_path / "thief.log"
        processes.append(started(theirs, log, "workers", "weather"))

        async def said() -> str:
            return log.read_text()

        await eventually(said, lambda text: "refuses our client certificate" in text)
        assert "thief" not in mutual.seen
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
