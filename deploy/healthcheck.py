"""Says whether the process of this container can do its work: `python -m deploy.healthcheck`, exit code 0 or 1.

One image plays every role, so the check asks the command line of process 1 which role it is. It knows no other room and
uses the standard library alone, because it starts every few seconds in every container.

That the check can run at all shows that process 1 lives: a container ends with it. What is left to ask:

- `api`, `accounts`, `offline`: does it answer `GET /healthz`?
- `workers`: can Temporal be reached? Whether a worker polls is seen from outside, at `GET /v1/capabilities`. While
  Temporal is away this check fails though the worker is fine and waits; so it must never decide about a restart.
- both `api` and `workers`: was the file `RETINUE_LIVENESS_FILE` touched lately? A process that is stuck ends itself; one
  that is frozen as a whole cannot, and is known by this. `python -m deploy.healthcheck --liveness` asks this alone, so it
  may decide about a restart.
- anything else is a command that a person runs once, and is well while it runs.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT = 3.0
"""Seconds; below the time that the image grants the whole check."""
API_PORT = 8000
ACCOUNTS_PORT = 8010
OFFLINE_PORT = 8089
TEMPORAL_PORT = 7233
SILENCE = 60.0
"""Seconds that a process may go without touching its file; it does so every five."""


def problem(command: Sequence[str], environ: Mapping[str, str], *, liveness: bool = False) -> str | None:
    """Say what is wrong with the process that was started by `command`, or None.

    Args:
        command: Its whole command line, the interpreter and a process that only wraps it (an init) included.
        environ: Its environment.
        liveness: Ask only what decides about a restart.
    """
    role, arguments = _role(command)
    if role in ("api", "workers") and (frozen := _silence(environ, must_exist=liveness)):
        return frozen
    if liveness:
        return None
    match role:
        case "api":
            return _http_problem(int(environ.get("RETINUE_PORT") or API_PORT))
        case "accounts":
            return _http_problem(int(environ.get("ACCOUNTS_PORT") or ACCOUNTS_PORT))
        case "offline":
            return _http_problem(_port(arguments))
        case "workers":
            return _tcp_problem(environ.get("TEMPORAL_ADDRESS") or f"127.0.0.1:{TEMPORAL_PORT}")
        case _:
            return None


def _role(command: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The module after `-m`, and its arguments."""
    start = command.index("-m") + 1 if "-m" in command else len(command)
    return "".join(command[start : start + 1]), command[start + 1 :]


def _silence(environ: Mapping[str, str], *, must_exist: bool) -> str | None:
    """Whether the process has not touched its file for too long. Before the first touch it is still starting."""
    if not (path := environ.get("RETINUE_LIVENESS_FILE")):
        return None
    try:
        seconds = time.time() - Path(path).stat().st_mtime
    except OSError:
        return f"{path} does not exist: the process has not begun to work" if must_exist else None
    return f"no sign of life for {seconds:.0f} s" if seconds > SILENCE else None


def _port(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=OFFLINE_PORT)
    known, _ = parser.parse_known_args(arguments)
    port: int = known.port
    return port


def _http_problem(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"port {port} does not answer: {error!r}"
    finally:
        connection.close()
    return None if status == http.HTTPStatus.OK else f"port {port} answers {status}"


def _tcp_problem(address: str) -> str | None:
    """Connect and hang up. `address` is host:port as Temporal's clients write it, IPv6 in brackets."""
    parts = urlsplit(f"//{address}")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or TEMPORAL_PORT), timeout=TIMEOUT):
            return None
    except OSError as error:
        return f"Temporal at {address} cannot be reached: {error}"


def main() -> int:
    """Check process 1; a sentence on standard error ends up in `docker inspect`."""
    command = Path("/proc/1/cmdline").read_text(encoding="utf-8").split("\0")
    found = problem(command, os.environ, liveness=sys.argv[1:] == ["--liveness"])
    if found:
        print(found, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
