"""A Docker engine of the tests' own, for `deploy` tests. Nothing of it is left behind.

    from tests.deploy.engine import Engine, why_not

    pytestmark = [pytest.mark.deploy, pytest.mark.skipif(bool(why_not()), reason=why_not())]

    @pytest.fixture(scope="module")
    def engine() -> Iterator[Engine]:
        with Engine.started() as engine:
            yield engine

    engine.docker("run", "--rm", BASE, "python", "-c", "print(1)")     # Debian's client; returns what it printed
    engine.make_base()                                                # BASE and TOOLS, which images are built on
    engine.build("my-image", ROOT, "--target", "api")                 # built with the package index of this machine
    engine.compose("up", "--wait", file=ROOT / "docker-compose.yml")
    with engine.client(8000) as client: client.get("/healthz")        # a port that is published on 127.0.0.1

The engine lives in namespaces of its own: mounts, processes, network. Its bridges, firewall rules and published ports are
those of that network, where 127.0.0.1 is another one than here; two engines do not meet. That network has no way out but
`Engine.proxy`, an HTTP proxy that builds alone use: containers reach no other machine. `Engine.world()` adds a host that
stands for the internet. When the engine ends, or the test process dies, the kernel removes all of it; what is left is one
folder, which `started` removes, unless RETINUE_ENGINE_FOLDER names it (images are then kept for the next run).

Needs Linux, root, and Debian's `docker.io` and `mmdebstrap`; `why_not()` says in words what is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from workers import temporal_server

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DOCKER = "/usr/bin/docker"
"""Debian's client: it has BuildKit built in. Others may want a plug-in."""
BASE = "python:3.11-slim-bookworm"
"""The default base of our Dockerfile; here Debian's own Python under that name, as no image can be pulled."""
TOOLS = "retinue-tools:bookworm"
"""BASE with what building needs (pip, strip) and what stand-ins need (PostgreSQL's server, netcat, temporal)."""
PROXY_PORT = 3128
WORLD = "203.0.113.2"
"""The address of the host that stands for the internet; it is of a block that is for documentation."""
_NEEDED = {
    "dockerd": "docker.io",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "unshare": "util-linux",
    "ip": "iproute2",
}


def why_not() -> str:
    """What keeps an engine from running here, in words; empty if nothing does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a container engine needs Linux and root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({package for command, package in _NEEDED.items() if not shutil.which(command, path=path)})
    return f"not installed: {', '.join(missing)} (Debian packages)" if missing else ""


@dataclass
class Engine:
    """A running engine. `folder` holds all that it writes."""

    folder: Path
    pid: int = 0
    """Process 1 of the engine's own process tree, as this machine counts."""
    _helpers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _relays: dict[int, Path] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Engine]:
        """Start an engine; end it and remove its folder."""
        kept = os.environ.get("RETINUE_ENGINE_FOLDER")
        folder = Path(kept or tempfile.mkdtemp(prefix="retinue-engine-", dir="/tmp"))  # sockets want short paths
        engine = cls(folder)
        process = engine._start()
        try:
            engine._wait(process)
            engine._helpers.append(engine._background(_relay(str(folder / "proxy.sock"), "proxy")))
            engine._helpers.append(
                engine._background([*engine.inside(), *_relay(f"127.0.0.1:{PROXY_PORT}", str(folder / "proxy.sock"))])
            )
            yield engine
        finally:
            engine._end(process)
            if not kept:
                shutil.rmtree(folder)

    @property
    def proxy(self) -> str:
        """An HTTP proxy to the package index of this machine, as seen from the engine's network."""
        return f"http://127.0.0.1:{PROXY_PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for clients: this engine, and no settings of this machine's user."""
        return {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME": str(self.folder),
            "DOCKER_HOST": f"unix://{self.folder / 'docker.sock'}",
            "DOCKER_CONFIG": str(self.folder / "client"),
            "DOCKER_BUILDKIT": "1",
        }

    def docker(self, *arguments: str | Path, check: bool = True, timeout: float = 600) -> str:
        """Run Debian's client. Raises AssertionError with what it said if it fails and `check` is set."""
        return self._run([DOCKER, *arguments], check=check, timeout=timeout)

    def compose(self, *arguments: str, file: Path, check: bool = True, timeout: float = 600, **environ: str) -> str:
        """Run Compose over a file (and `standins.yaml`), without this machine's variables and `.env`."""
        program = str(Path(sys.executable).with_name("docker-compose"))
        command = [program, "--env-file", os.devnull, "--file", str(file)]
        return self._run([*command, *arguments], check=check, timeout=timeout, **environ)

    def build(self, tag: str, context: Path, *arguments: str | Path, timeout: float = 900) -> None:
        """Build an image; `RUN` lines reach this machine's package index through the proxy."""
        through = [word for name in ("http_proxy", "https_proxy") for word in ("--build-arg", f"{name}={self.proxy}")]
        self.docker(
            "build",
            "--quiet",
            "--network",
            "host",
            *through,
            "--build-arg",
            f"BUILDER={TOOLS}",
            "--tag",
            tag,
            *arguments,
            context,
            timeout=timeout,
        )

    def inspect(self, thing: str, template: str) -> str:
        """One value of a container or an image, by a Go template."""
        return self.docker("inspect", "--format", template, thing).strip()

    def client(self, port: int, **options: Any) -> httpx.Client:
        """A client of a port that a container publishes on the engine's 127.0.0.1."""
        if port not in self._relays:
            path = self.folder / f"port-{port}.sock"
            path.unlink(missing_ok=True)
            self._helpers.append(self._background([*self.inside(), *_relay(str(path), f"127.0.0.1:{port}")]))
            until(path.exists)
            self._relays[port] = path
        transport = httpx.HTTPTransport(uds=str(self._relays[port]), retries=3)
        return httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=60, **options)

    def inside(self) -> list[str]:
        """The words before a command that shall run in the engine's network."""
        return ["nsenter", "--target", str(self.pid), "--net", "--"]

    def make_base(self) -> None:
        """Make BASE and TOOLS from Debian packages, unless this engine has them."""
        if not self.docker("images", "--quiet", BASE).strip():
            self._import(BASE, ["python3", "python-is-python3", "ca-certificates"])
        if not self.docker("images", "--quiet", TOOLS).strip():
            self._import(TOOLS + "-packages", [*_TOOLS])
            self._finish_tools()

    def world(self) -> None:
        """Add a host outside of the engine that answers HTTP at WORLD, and the engine's way to it."""
        there = self._background(["unshare", "--net", "sleep", "infinity"])
        self._helpers.append(there)
        outside = ["nsenter", "--target", str(there.pid), "--net", "--"]
        namespace = Path(f"/proc/{there.pid}/ns/net")
        until(lambda: namespace.readlink() != Path("/proc/self/ns/net").readlink())
        for words in (
            [*self.inside(), *f"ip link add world0 type veth peer name world1 netns {there.pid}".split()],
            [*self.inside(), *["ip", "addr", "add", "203.0.113.1/30", "dev", "world0"]],
            [*self.inside(), *["ip", "link", "set", "world0", "up"]],
            [*outside, *f"ip addr add {WORLD}/30 dev world1".split()],
            [*outside, *["ip", "link", "set", "world1", "up"]],
            [*outside, *["ip", "route", "add", "default", "via", "203.0.113.1"]],
            [*self.inside(), *f"ip route add default via {WORLD}".split()],
        ):
            self._run(words)
        empty = self.folder / "world"
        empty.mkdir(exist_ok=True)
        server = [sys.executable, "-P", "-m", "http.server", "80", "--bind", WORLD, "--directory", str(empty)]
        self._helpers.append(self._background([*outside, *server]))
        look = f"import socket; socket.create_connection(('{WORLD}', 80), 1)"
        asked = [*self.inside(), sys.executable, "-c", look]
        until(lambda: subprocess.run(asked, capture_output=True, check=False).returncode == 0)

    def _start(self) -> subprocess.Popen[bytes]:
        run = self.folder / "run"
        for path in (run, self.folder / "client"):
            path.mkdir(parents=True, exist_ok=True)
        (self.folder / "docker.sock").unlink(missing_ok=True)
        (self.folder / "docker.pid").unlink(missing_ok=True)
        dockerd = [
            *("dockerd", "--host", self.environment["DOCKER_HOST"], "--pidfile", str(self.folder / "docker.pid")),
            *("--data-root", str(self.folder / "data"), "--exec-root", "/run/docker", "--storage-driver", "overlay2"),
            *("--cgroup-parent", self._cgroup, "--config-file", str(self.folder / "client" / "daemon.json")),
            # a block that is for tests, so that it is nobody's real network
            *("--bip", "198.18.255.1/24", "--default-address-pool", "base=198.18.0.0/17,size=24"),
        ]
        (self.folder / "client" / "daemon.json").write_text("{}")
        # /run and /etc/docker are the engine's own: sockets of its shims, locks of iptables, a key
        script = (
            "mount -t tmpfs tmpfs /run && mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker && "
            'ip link set lo up && exec docker-init -- "$@"'
        )
        apart = ["unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        return self._background([*apart, "sh", "-c", script, "sh", *dockerd], log="dockerd.log")

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def answers() -> bool:
            assert process.poll() is None, (self.folder / "dockerd.log").read_text()[-3000:]
            return bool(self.docker("version", "--format", "{{.Server.Version}}", check=False, timeout=30).strip())

        until(answers)
        self.pid = int(children.read_text().split()[0])

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End helpers and the engine. Containers die with the engine's process tree."""
        for helper in self._helpers:
            helper.kill()
            helper.wait(timeout=30)
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
        process.kill()
        process.wait(timeout=30)
        for controller in Path("/sys/fs/cgroup").glob(f"**{self._cgroup}"):
            for folder in sorted(controller.glob("**/"), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    @property
    def _cgroup(self) -> str:
        return f"/{self.folder.name}"

    def _background(self, words: Sequence[str], log: str = "helpers.log") -> subprocess.Popen[bytes]:
        """Start a process that dies with this one."""
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *words],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def _run(self, words: Sequence[str | Path], check: bool = True, timeout: float = 600, **environ: str) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            env={**self.environment, **environ},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def _import(self, tag: str, packages: Sequence[str]) -> None:
        """Make a root file system of Debian packages and import it as an image."""
        sources = [path for path in _SOURCES if path.exists()]
        tar = self.folder / "root.tar"
        subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(packages)}"),
                # as the slim images: without manuals and translations
                *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "info", "locale")),
                *("--aptopt=Acquire::Check-Valid-Until false",),
                '--customize-hook=rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/* '
                '"$1"/var/cache/apt/* "$1"/var/log/*',
                # which no slim image has; a package of media types asks for it
                '--customize-hook=chroot "$1" dpkg --purge --force-depends --force-remove-essential '
                "perl perl-modules-5.36 libperl5.36 >/dev/null",
                *("bookworm", str(tar), *map(str, sources)),
            ],
            check=True,
            timeout=600,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
        )
        self.docker("import", "--change", "ENV LANG=C.UTF-8", "--change", 'CMD ["python3"]', tar, tag)
        tar.unlink()

    def _finish_tools(self) -> None:
        """Let pip in builds find the registry as pip here does, and add the stand-ins' programs."""
        context = self.folder / "tools"
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(HERE / "standins", context)
        shutil.copy(_certificates(), context / "certificates.crt")
        (context / "pip.conf").write_text("\n".join(["[global]", f"cert = {_INSIDE_CERTIFICATES}", *_index()]) + "\n")
        shutil.copy(_temporal(), context / "temporal")
        self.docker("build", "--quiet", "--tag", TOOLS, "--build-arg", f"BASE={TOOLS}-packages", context)
        shutil.rmtree(context)


_TOOLS = (
    *("python3", "python-is-python3", "python3-pip", "binutils", "ca-certificates"),
    *("postgresql-15", "netcat-openbsd"),
)
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_INSIDE_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def _relay(listen: str, to: str) -> list[str]:
    return [sys.executable, "-P", str(HERE / "relay.py"), listen, to]


def _certificates() -> str:
    """The authorities that this machine trusts."""
    return os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or _INSIDE_CERTIFICATES


def _index() -> list[str]:
    """The package index that pip uses here, if it is not the usual one."""
    asked = [sys.executable, "-P", "-m", "pip", "config", "get", "global.index-url"]
    found = (
        os.environ.get("PIP_INDEX_URL")
        or subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    )
    return [f"index-url = {found}"] if found else []


def _temporal() -> Path:
    """The `temporal` program, which has a development server."""
    return temporal_server.binary()


def until(happens: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until a condition holds. Raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)
