"""Why a service cannot be reached is told in words: by the same function for every client, against real servers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from activities.mcp.config import Server
from activities.mcp.connection import Connection
from activities.reasoning.model import LanguageModel
from activities.reasoning.settings import ReasoningSettings
from retinue.errors import RetinueError, ServiceRefused, ServiceUnavailable
from retinue.network.service_client import ExternalService
from tests.activities.email.mail_servers import certificates
from workers.temporal_server import free_port


@asynccontextmanager
async def listening(folder: Path | None = None, *, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A web server that answers `OK`, with TLS where there is a folder for its certificate; its port."""
    context = None
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates(folder, host=host))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def asked(url: str, verify: ssl.SSLContext | None = None) -> RetinueError:
    async with httpx.AsyncClient(verify=verify or ssl.create_default_context(), trust_env=False) as client:
        with pytest.raises(RetinueError) as caught:
            await ExternalService(client, name="the calendar server", deadline=5).request("GET", url)
    return caught.value


async def test_a_certificate_that_nobody_signed_is_told(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:
        error = await asked(f"https://127.0.0.1:{port}/")
    told = "the certificate of the calendar server is not to be trusted: it is not signed by a trusted authority"
    assert (type(error), error.message) == (ServiceRefused, told)


async def test_a_certificate_for_another_place_is_told(tmp_path: Path) -> None:
    async with listening(tmp_path, host="127.0.0.9") as port:
        trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        error = await asked(f"https://127.0.0.1:{port}/", trusting)
    told = "the certificate of the calendar server is not to be trusted: it is for another address"
    assert (type(error), error.message) == (ServiceRefused, told)


async def test_tls_at_a_port_without_it_is_told() -> None:
    async with listening() as port:
        error = await asked(f"https://127.0.0.1:{port}/")
    assert (type(error), error.message) == (ServiceRefused, "the calendar server does not speak TLS at that port")
    assert "check the port" in str(error.hint)


async def test_no_tls_at_a_port_of_tls_is_told(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:
        error = await asked(f"http://127.0.0.1:{port}/")
    assert type(error) is ServiceUnavailable
    assert error.hint == "if that port is one of TLS, the address must begin with https://"


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1", "cannot be reached: nothing listens at that port"),
        ("no-such-host.invalid", "cannot be reached: its host name is not known"),
    ],
)
async def test_nobody_there_is_told(host: str, told: str) -> None:
    error = await asked(f"http://{host}:{free_port()}/")
    assert (type(error), error.message) == (ServiceUnavailable, f"the calendar server {told}")


async def test_a_language_model_tells_the_same(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:
        model = LanguageModel(ReasoningSettings(api_key="k", base_url=f"https://127.0.0.1:{port}/v1", timeout=5))
        with pytest.raises(ServiceRefused, match=r"the certificate of the language model at 127\.0\.0\.1 is not to be"):
            await model.complete([{"role": "user", "content": "hi"}])
        await model.close()


async def test_an_mcp_server_tells_the_same(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:
        connection = Connection("files", Server.model_validate({"url": f"https://127.0.0.1:{port}/mcp"}))
        with pytest.raises(
            ServiceRefused, match="the certificate of the MCP server files is not to be trusted: it is not signed"
        ):
            await connection.session()
        await connection.close()
