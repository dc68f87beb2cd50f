"""Local servers that the stack can start beside it: `python -m workers up --with radicale --with observability`.

A companion server is supervised like the other processes and stopped last. Its data is in the data folder, and the
capabilities find it by the same variables as any other server.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from retinue.settings import ROOT, RetinueSettings
from workers import temporal_server
from workers.children import Child, Silence

_READY_WAIT = 300.0
"""Seconds; on a busy machine it takes long to start."""
_ANSWER = 60.0
_OBSERVABILITY = ROOT / "deploy" / "observability"
_KEPT = "15d"
_USER = "retinue"
_PRIVATE = 0o600
_COLLECTIONS = {
    "calendar": '<d:resourcetype><d:collection/><c:calendar xmlns:c="urn:ietf:params:xml:ns:caldav"/></d:resourcetype>',
    "contacts": '<d:resourcetype><d:collection/><c:addressbook xmlns:c="urn:ietf:params:xml:ns:carddav"/></d:resourcetype>',
}
_PROTOCOLS = {"calendar": "caldav", "contacts": "carddav"}


class StartFailed(Exception):
    """The stack cannot start; the message says what to do."""


class Companion(Protocol):
    """A companion server of the stack."""

    port: int
    port_variable: str

    def child(self, logs: Path) -> Child | None:
        """Return the server's process; None if there is none to start."""

    def furnish(self, stopped: Callable[[], bool]) -> None:
        """Wait until the server answers, and create what the capabilities need.

        Raises:
            StartFailed: The server does not answer.
        """

    def variables(self, capability: str) -> Mapping[str, str]:
        """Return the variables by which a worker uses it: a capability's, or `workflows`; empty if the person has chosen."""

    def row(self) -> tuple[str, str, str]:
        """Return its line in the table of addresses."""


def companion(name: str, *, host: str, data: Path, settings: RetinueSettings) -> Companion:
    """Return the companion server with this name.

    Raises:
        StartFailed: It is unknown or not installed.
    """
    if name == "observability":
        return Prometheus(host, settings.prometheus_port, data / "prometheus", api_port=settings.port)
    if name != "radicale":
        raise StartFailed(f"there is no companion server {name!r}; there are: observability, radicale")
    if importlib.util.find_spec("radicale") is None:
        raise StartFailed("--with radicale needs Radicale in this environment; run `make venv`, or install `radicale`")
    return Radicale(host, settings.radicale_port, data / "radicale")


class Radicale:
    """A real CalDAV and CardDAV server with a calendar and an address book, which other devices can use too."""

    port_variable = "RETINUE_RADICALE_PORT"

    def __init__(self, host: str, port: int, folder: Path) -> None:
        self.port = port
        self._host = host
        self._folder = folder
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._password = ""

    def child(self, logs: Path) -> Child:
        """Return `python -m radicale` with its own data and user, and without settings of this machine."""
        self._folder.mkdir(parents=True, exist_ok=True)
        users = self._folder / "users"
        self._password = _password(users)
        options = {
            "--server-hosts": self._url.partition("//")[2],
            "--storage-filesystem-folder": str(self._folder / "collections"),
            "--auth-type": "htpasswd",
            "--auth-htpasswd-filename": str(users),
            "--auth-htpasswd-encryption": "plain",
            "--logging-level": "warning",
        }
        arguments = ["--config", "", *(part for option in options.items() for part in option)]
        silence = Silence(self._folder.parent / "alive" / "radicale")
        return Child("radicale", "radicale", arguments, {}, logs / "radicale.log", silence, self._url)

    def furnish(self, stopped: Callable[[], bool]) -> None:
        """Wait until the server answers; create its calendar and address book if missing."""
        deadline = time.monotonic() + _READY_WAIT
        while not temporal_server.answers(self._host, self.port):
            if stopped():
                return
            if time.monotonic() > deadline:
                raise StartFailed(f"Radicale did not start; see radicale.log in {self._folder.parent / 'logs'}")
            time.sleep(0.05)
        for name, kind in _COLLECTIONS.items():
            if self._ask("PROPFIND", name, {"Depth": "0"}) == 404:
                self._make(name, kind)

    def _make(self, name: str, kind: str) -> None:
        body = f'<d:mkcol xmlns:d="DAV:"><d:set><d:prop>{kind}<d:displayname>{name}</d:displayname></d:prop></d:set></d:mkcol>'
        status = self._ask("MKCOL", name, {"Content-Type": "application/xml"}, body)
        if status != 201:
            raise StartFailed(f"Radicale did not make the collection {name} (HTTP {status}); see radicale.log")

    def _ask(self, method: str, name: str, headers: Mapping[str, str], body: str = "") -> int:
        credentials = base64.b64encode(f"{_USER}:{self._password}".encode()).decode()
        request = urllib.request.Request(
            self._collection(name),
            method=method,
            data=body.encode() or None,
            headers={**headers, "Authorization": f"Basic {credentials}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER) as response:
                status: int = response.status
                return status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError as error:
            raise StartFailed(f"Radicale does not answer: {type(error).__name__}; see radicale.log") from None

    def _collection(self, name: str) -> str:
        return f"{self._url}/{_USER}/{name}/"

    def variables(self, capability: str) -> Mapping[str, str]:
        """Return the variables of a capability's collection, unless the person's settings name a provider."""
        prefix = capability.upper()
        if capability not in _COLLECTIONS or os.environ.get(f"{prefix}_PROVIDER"):
            return {}
        return {
            f"{prefix}_PROVIDER": _PROTOCOLS[capability],
            f"{prefix}_URL": self._collection(capability),
            f"{prefix}_USERNAME": _USER,
            f"{prefix}_PASSWORD": self._password,
        }

    def row(self) -> tuple[str, str, str]:
        """Return its address, its capabilities, and where to find the password."""
        used = [name for name in _COLLECTIONS if self.variables(name)]
        whose = " and ".join(used) or "not used, since your settings name other providers"
        return "Radicale", self._url, f"{whose}; user {_USER}, password in {self._folder / 'users'}"


class Prometheus:
    """Prometheus over the API and the workers, with the rules of `deploy/observability`; see docs/operations.md.

    Each worker gets a port for its metrics. Without an installed `prometheus` only these are served, and the table says so.
    """

    port_variable = "RETINUE_PROMETHEUS_PORT"

    def __init__(self, host: str, port: int, folder: Path, *, api_port: int) -> None:
        self.port = port
        self._host = host
        self._folder = folder
        self._api_port = api_port
        self._program = shutil.which("prometheus")
        self._ports: dict[str, int] = {}

    def child(self, logs: Path) -> Child | None:
        """Return the server's process; None if it is not installed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write("api", {"api": self._api_port})
        self._write("workers", {})
        if self._program is None:
            return None
        for name in ("prometheus.yml", "alerts.yml"):
            shutil.copy(_OBSERVABILITY / name, self._folder / name)
        arguments = [
            self._program,
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--storage.tsdb.retention.time={_KEPT}",
            f"--web.listen-address={self._place(self.port)}",
            "--log.level=warn",
        ]
        silence = Silence(self._folder.parent / "alive" / "prometheus")
        address = f"http://{self._place(self.port)}/-/healthy"
        return Child("prometheus", "workers.program", arguments, {}, logs / "prometheus.log", silence, address)

    def furnish(self, stopped: Callable[[], bool]) -> None:
        """Do nothing: nobody needs it to start."""

    def variables(self, name: str) -> Mapping[str, str]:
        """Return the variables by which a worker serves its metrics, unless the person's settings say where they go."""
        if name == "api" or os.environ.get("OTEL_METRICS_EXPORTER"):
            return {}
        self._ports[name] = temporal_server.free_port(self._host)
        self._write("workers", self._ports)
        return {
            "OTEL_METRICS_EXPORTER": "prometheus",
            "OTEL_EXPORTER_PROMETHEUS_HOST": self._host,
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(self._ports[name]),
        }

    def _write(self, job: str, ports: Mapping[str, int]) -> None:
        """Write the addresses of a job; Prometheus reads them again whenever they change."""
        targets = [{"targets": [self._place(port)], "labels": {"process": name}} for name, port in ports.items()]
        (self._folder / f"{job}.json").write_text(json.dumps(targets))

    def _place(self, port: int) -> str:
        return f"{f'[{self._host}]' if ':' in self._host else self._host}:{port}"

    def row(self) -> tuple[str, str, str]:
        """Return its address, or that it is not installed."""
        if self._program is None:
            return "Prometheus", "not installed", "workers serve metrics; Debian's package is `prometheus`"
        return (
            "Prometheus",
            f"http://{self._place(self.port)}",
            "metrics and alerts; what they mean: docs/operations.md",
        )


def _password(users: Path) -> str:
    """Return the password in the file of users, created at the first start and readable only by this user."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(users, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{_USER}:{secrets.token_urlsafe(24)}\n")
    users.chmod(_PRIVATE)
    return users.read_text().strip().partition(":")[2]
