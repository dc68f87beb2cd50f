"""A gateway before Temporal, as a cluster or Temporal Cloud has one: TLS ends here, and clients show a certificate or a key.

It looks at the first request of a connection and passes the bytes on to a server without TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hpack import Decoder, Encoder

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _SETTINGS = 1, 4
_PADDED, _PRIORITY, _END = 0x8, 0x20, 0x5
_UNAUTHENTICATED = "16"


@dataclass
class Authority:
    """A certificate authority, and the files of what it signed."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self.name} authority")])
        signed = self._signed(self._subject, self._key.public_key(), ca=True)
        self.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    @property
    def file(self) -> Path:
        """Its own certificate."""
        return self.folder / f"{self.name}.ca.pem"

    def issue(self, name: str, *, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """A certificate for this machine, or a client, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, key_file = self.folder / f"{self.name}.{name}.pem", self.folder / f"{self.name}.{name}.key"
        signed = self._signed(subject, key.public_key(), host=host)
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        return certificate, key_file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool = False, host: str = "127.0.0.1"
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(host)), x509.DNSName("temporal.test")]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )


@dataclass
class Gateway:
    """The gateway. Without `clients` no certificate is asked, without `api_key` no key."""

    upstream: str
    server: tuple[Path, Path]
    clients: Path | None = None
    api_key: str = ""
    port: int = 0
    seen: list[str] = field(default_factory=list)
    """The common names and keys of the connections that were let through."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            read, stream, key = await _first_request(client)
            if self.api_key and key != f"Bearer {self.api_key}":
                answer.write(_refusal(stream))
                await answer.drain()
                return
            shown = answer.get_extra_info("peercert") or {}
            self.seen.append(str(dict(part[0] for part in shown.get("subject", ())).get("commonName", key)))
            host, _, port = self.upstream.rpartition(":")
            server, towards = await asyncio.open_connection(host, int(port))
            towards.write(read)
            await asyncio.gather(_pumped(client, towards), _pumped(server, answer))
        answer.close()


async def _pumped(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while content := await source.read(65_536):
            target.write(content)
            await target.drain()
    target.close()


async def _first_request(client: asyncio.StreamReader) -> tuple[bytes, int, str]:
    """All bytes up to the first request's headers, its stream, and its authorization."""
    read = await client.readexactly(len(_PREFACE))
    while True:
        head = await client.readexactly(9)
        content = await client.readexactly(int.from_bytes(head[:3]))
        read += head + content
        if head[3] != _HEADERS:
            continue
        padding = content[0] if head[4] & _PADDED else 0
        start = (1 if head[4] & _PADDED else 0) + (5 if head[4] & _PRIORITY else 0)
        headers = Decoder().decode(content[start : len(content) - padding])
        keys = [str(value) for name, value in headers if str(name) == "authorization"]
        return read, int.from_bytes(head[5:9]), "".join(keys)


def _refusal(stream: int) -> bytes:
    """What Temporal Cloud answers without a valid key: gRPC's status alone."""
    headers = Encoder().encode(
        [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", _UNAUTHENTICATED),
            ("grpc-message", "Request unauthorized."),
        ]
    )
    settings = bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0]) + bytes([0, 0, 0, _SETTINGS, 1, 0, 0, 0, 0])
    return settings + len(headers).to_bytes(3) + bytes([_HEADERS, _END]) + stream.to_bytes(4) + headers


@contextlib.asynccontextmanager
async def gateway(running: Gateway) -> AsyncIterator[Gateway]:
    """Serve while the block runs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*running.server)
    context.set_alpn_protocols(["h2"])
    if running.clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(running.clients)
    served = await asyncio.start_server(running.serve, "127.0.0.1", 0, ssl=context)
    running.port = served.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        served.close()
