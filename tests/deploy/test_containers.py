"""Every image is built and the whole stack of docker-compose.yml runs: `make test-deploy TESTS=tests/deploy/test_containers.py`.

PostgreSQL, Temporal and its Web UI are stand-ins, since no image can be pulled here: PostgreSQL's server is Debian's, Temporal's
the development server. The rest is what ships.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.deploy.engine import WORLD, Engine, until, why_not
from tests.deploy.stack import OURS, Stack, build_image, build_images, make_stand_ins

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(2400),
]

MOST_ADDED = 120_000_000
"""Bytes that an image may add to its base: with the slim base, which has about 130 MB, that makes 250 MB."""
ALONE = ["workflows", "offline", "memory"]
"""What deploy/README.md says reaches no one but Temporal."""


@pytest.fixture(scope="module")
def built(engine: Engine) -> Engine:
    """The engine with all images of ours, and stand-ins for the others."""
    make_stand_ins(engine)
    build_images(engine)
    return engine


@pytest.fixture(scope="module")
def stack(built: Engine) -> Iterator[Stack]:
    """The whole stack, and a host outside of it."""
    built.world()
    with Stack.started(built) as stack:
        yield stack


@pytest.mark.parametrize("part", OURS)
def test_an_image_says_what_it_is_made_of(built: Engine, part: str) -> None:
    run = ["run", "--rm", "--network", "none", f"retinue-{part}:local", "deploy.sbom"]
    bill = json.loads(built.docker(*run))
    names = {one["name"] for one in bill["components"]}
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", f"retinue-{part}")
    assert {"pydantic", "libc6"} <= names
    assert not {"pip", "setuptools", "wheel", "uv", "pytest"} & {
        one["name"] for one in bill["components"] if one["purl"].startswith("pkg:pypi/")
    }
    assert "pydantic" in built.docker(*run, "--licences")


@pytest.mark.parametrize("part", OURS)
def test_an_image_is_small_and_its_process_is_not_root(built: Engine, part: str) -> None:
    size, base = (
        int(built.inspect(image, "{{.Size}}")) for image in (f"retinue-{part}:local", "python:3.11-slim-bookworm")
    )
    assert size - base < MOST_ADDED
    assert built.inspect(f"retinue-{part}:local", "{{.Config.User}}") == "10001:10001"


def test_the_same_input_makes_the_same_files(built: Engine) -> None:
    """Paths, modes, owners, contents and links of the whole image, and the times of all files of ours."""
    listing = (
        "import hashlib, os\n"
        "for top, folders, files in os.walk('/'):\n"
        "    folders[:] = sorted(f for f in folders if os.path.join(top, f) not in ('/proc', '/sys', '/dev'))\n"
        "    for name in sorted(files):\n"
        "        path = os.path.join(top, name); s = os.lstat(path)\n"
        "        if path in ('/etc/hostname', '/etc/hosts', '/etc/resolv.conf', '/.dockerenv'): continue\n"
        "        what = os.readlink(path) if os.path.islink(path) else hashlib.sha256(open(path, 'rb').read()).hexdigest()\n"
        "        ours = path.startswith(('/app', '/opt'))\n"
        "        print(path, s.st_mode, s.st_uid, s.st_gid, s.st_size, what, int(s.st_mtime) if ours else '')\n"
    )
    found = []
    for tag in ("once", "twice"):
        name = build_image(built, "offline", "--no-cache", tag=tag)
        found.append(
            built.docker("run", "--rm", "--user", "0", "--entrypoint", "python", name, "-P", "-c", listing).splitlines()
        )
    assert len(found[0]) > 1000
    assert [pair for pair in zip(*found, strict=True) if pair[0] != pair[1]] == []


def test_a_mail_is_sent_after_its_approval_and_not_before(stack: Stack) -> None:
    run = stack.ask("Email team@example.com that the containers are at noon")
    assert (run["status"], stack.mails("containers")) == ("awaiting_approval", 0)
    assert (stack.approve(run)["status"], stack.mails("containers")) == ("completed", 1)


@pytest.mark.parametrize("service", OURS)
def test_a_process_is_confined(stack: Stack, service: str) -> None:
    template = (
        "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.PidsLimit}} "
        "{{.HostConfig.Memory}} {{.Config.User}} {{.State.Health.Status}}"
    )
    memory = 1 << (30 if service == "workflows" else 29)
    found = stack.engine.inspect(stack.containers(service)[0], template)
    assert found == f"true [ALL] [no-new-privileges:true] 256 {memory} 10001:10001 healthy"
    look = "import os; print(os.getuid(), [p for p in ('/', '/app', '/opt/retinue', '/etc') if os.access(p, os.W_OK)])"
    assert stack.execute(service, "python", "-P", "-c", look).strip() == "10001 []"
    status = stack.execute(service, "sh", "-c", "grep -E '^(CapEff|NoNewPrivs)' /proc/1/status")
    assert status.split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


@pytest.mark.parametrize("service", OURS)
def test_who_reaches_the_world_is_what_the_readme_says(stack: Stack, service: str) -> None:
    look = f"import socket; socket.create_connection(('{WORLD}', 80), 3); print('reached')"
    reached = "reached" in stack.execute(service, "python", "-P", "-c", look, check=False)
    assert reached == (service not in ALONE)


@pytest.mark.parametrize("service", OURS)
def test_nobody_of_ours_reaches_the_database_of_temporal(stack: Stack, service: str) -> None:
    look = "import socket; socket.create_connection(('postgresql', 5432), 3); print('reached')"
    assert "reached" not in stack.execute(service, "python", "-P", "-c", look, check=False)


def test_a_process_that_takes_too_much_memory_dies_alone(stack: Stack) -> None:
    take = "x = [bytearray(16 << 20) for _ in range(80)]; print('took it')"
    assert "took it" not in stack.execute("tasks", "python", "-P", "-c", take, check=False)
    assert stack.approve(stack.ask("Email team@example.com that memory is at noon"))["status"] == "completed"


def test_two_replicas_of_a_capability_share_its_work(stack: Stack) -> None:
    stack.compose("up", "--wait", "--no-build", "--no-recreate", "--scale", "email=2", "email")
    assert len(stack.containers("email")) == 2
    runs = stack.send_mails("scaled", 4)
    assert {stack.approve(run)["status"] for run in runs} == {"completed"}
    assert stack.mails("scaled") == 4


@pytest.mark.parametrize("service", ["email", "workflows", "api", "temporal"])
def test_a_kill_loses_no_mail_and_doubles_none(stack: Stack, service: str) -> None:
    runs = stack.send_mails(f"killed-{service}", 3)
    for container in stack.containers(service):
        stack.engine.docker("kill", "--signal", "KILL", container)
        stack.engine.docker("start", container)
    assert {stack.approve(run)["status"] for run in runs} == {"completed"}
    assert stack.mails(f"killed-{service}") == 3


def test_rolling_a_capability_loses_no_mail(stack: Stack) -> None:
    runs = stack.send_mails("rolled", 3)
    stack.compose("up", "--no-build", "--force-recreate", "--detach", "email")
    assert {stack.approve(run)["status"] for run in runs} == {"completed"}
    assert stack.mails("rolled") == 3


@pytest.mark.parametrize("service", [*OURS])
def test_a_process_stops_in_time_and_with_code_0(stack: Stack, service: str) -> None:
    stopped_in_time(stack, service)


def stopped_in_time(stack: Stack, service: str) -> None:
    """Stop and start a service. The engine kills after 20 s; then the exit code is 137."""
    container = stack.containers(service)[0]
    began = time.monotonic()
    stack.engine.docker("stop", "--time", "20", container)
    took = time.monotonic() - began
    code = stack.engine.inspect(container, "{{.State.ExitCode}}")
    stack.engine.docker("start", container)
    assert (code, took < 20) == ("0", True), f"{service}: code {code} after {took:.1f} s"


@pytest.mark.parametrize("service", ["workflows", "calendar", "api"])
def test_a_process_stops_in_time_when_temporal_is_away_and_its_name_unknown(stack: Stack, service: str) -> None:
    temporal = stack.containers("temporal")[0]
    stack.engine.docker("stop", temporal)
    try:
        stopped_in_time(stack, service)
        assert "Traceback" not in stack.engine.docker("logs", "--tail", "40", stack.containers(service)[0])
    finally:
        stack.engine.docker("start", temporal)
        until(lambda: stack.engine.inspect(stack.containers(service)[0], "{{.State.Health.Status}}") == "healthy")
