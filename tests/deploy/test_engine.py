"""The engine that the other `deploy` tests here stand on: what it shows, and that nothing of it stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deploy.engine import BASE, WORLD, Engine, why_not

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(900),
]


def traces() -> dict[str, object]:
    """What a container engine usually leaves on a machine."""
    network = [subprocess.run(words, capture_output=True, text=True, check=True).stdout for words in _NETWORK]
    return {
        "network": [[line for line in text.splitlines() if not line.startswith(("#", ":"))] for text in network],
        "mounts": Path("/proc/self/mounts").read_text(encoding="utf-8"),
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob("**/retinue-engine-*")],
        "folders": [str(path) for path in Path("/tmp").glob("retinue-engine-*")],  # where they are made
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="utf-8"),
    }


_NETWORK = (["iptables-save"], ["ip", "-o", "link"], ["ip", "route"])


def test_nothing_is_left_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETINUE_ENGINE_FOLDER", raising=False)
    before = traces()
    with Engine.started() as engine:
        (engine.folder / "Dockerfile").write_text("FROM scratch\nCOPY client /client\n")
        engine.build("empty", engine.folder, "--file", engine.folder / "Dockerfile")
        engine.docker("network", "create", "one")
        assert (
            "DOCKER-USER" in subprocess.run([*engine.inside(), "iptables-save"], capture_output=True, text=True).stdout
        )
        folder = engine.folder
    assert not folder.exists()
    assert traces() == before


def test_containers_reach_no_machine_but_the_one_that_stands_for_the_internet(engine: Engine) -> None:
    look = "import socket; socket.create_connection(('{}', 80), 3)"
    engine.world()
    engine.docker("run", "--rm", BASE, "python", "-c", look.format(WORLD))
    with pytest.raises(AssertionError, match=r"timed out|unreachable|refused"):
        engine.docker("run", "--rm", BASE, "python", "-c", look.format("192.0.2.1"))
