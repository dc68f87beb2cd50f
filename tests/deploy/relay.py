"""`python -P tests/deploy/relay.py LISTEN CONNECT`: passes connections on between two networks of one machine.

LISTEN is `host:port` or a path of a Unix socket, which other network namespaces reach too. CONNECT is the same, or `proxy`:
then it is an HTTP proxy for what may be asked from where it runs. It ends with the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from urllib.parse import urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(address: str) -> Streams:
    """Open a connection to `host:port` or to a Unix socket."""
    if address.startswith("/"):
        return await asyncio.open_unix_connection(address)
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on one direction until it ends."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


async def proxied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Streams:
    """Read the head of a request to a proxy, and open the connection that it asks for."""
    method, target, version = (await reader.readline()).decode().split()
    head = b""
    while (line := await reader.readline()).strip():
        head += b"" if line.lower().startswith((b"proxy-", b"connection:")) else line
    if method == "CONNECT":
        there = await connect(target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return there
    url = urlsplit(target)
    there = await connect(f"{url.hostname}:{url.port or 80}")
    path = url._replace(scheme="", netloc="").geturl() or "/"
    there[1].write(f"{method} {path} {version}\r\n".encode() + head + b"Connection: close\r\n\r\n")
    return there


async def main(listen: str, to: str) -> None:
    """Serve until the end of the process."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await (proxied(reader, writer) if to == "proxy" else connect(to))
            await asyncio.gather(pump(reader, there), pump(back, writer))
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
        finally:
            for one in filter(None, (writer, there)):
                one.close()

    if listen.startswith("/"):
        server = await asyncio.start_unix_server(serve, listen)
    else:
        host, _, port = listen.rpartition(":")
        server = await asyncio.start_server(serve, host, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
