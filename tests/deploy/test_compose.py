"""The container side without an engine: Compose's own parser, the Dockerfile's linter, the lock and the scripts."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.api.enums.v1 import IndexedValueType

import activities
from deploy import lock_parts
from retinue.accounts import caller_keys
from retinue.temporal.connection import indexed
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES
from tests.deploy.image import build

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MODEL = {"OPENAI_API_KEY": "a-key-of-mine", "OPENAI_BASE_URL": "http://model.example/v1"}
IGNORE_RULES = [
    line
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
LET_IN = [rule.removeprefix("!") for rule in IGNORE_RULES if rule.startswith("!")]


def compose(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the Compose parser on the stack, away from this machine's variables and `.env`."""
    command: list[str | Path] = [
        BIN / "docker-compose",
        "--env-file",
        os.devnull,
        "--file",
        ROOT / "docker-compose.yml",
        *arguments,
    ]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)


def configured(environ: dict[str, str]) -> dict[str, Any]:
    """The stack as Compose understands it."""
    done = compose("config", "--format", "json", environ=environ)
    assert done.returncode == 0, done.stderr
    stack: dict[str, Any] = json.loads(done.stdout)
    return stack


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    """The stack with a model of one's own."""
    return configured(MODEL)


@pytest.fixture(scope="module")
def services(stack: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The stack's services by name."""
    found: dict[str, dict[str, Any]] = stack["services"]
    return found


@pytest.fixture(scope="module")
def ours(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The services that run an image of this project."""
    return {name: service for name, service in services.items() if "build" in service}


def read(name: str) -> str:
    """A file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, str]:
    """Package to version, as a lock file pins them."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE))


def test_every_capability_is_included_and_nothing_else_is() -> None:
    """Adding a capability costs one line; a forgotten or a left-over one is found here."""
    written = yaml.safe_load(read("docker-compose.yml"))
    assert sorted(written["include"]) == [f"activities/{name}/compose.yaml" for name in activities.folders()]
    assert not set(written["services"]) & set(activities.folders())


@pytest.mark.parametrize("name", activities.folders())
def test_capability_service_runs_its_own_worker(services: dict[str, dict[str, Any]], name: str) -> None:
    assert services[name]["command"] == ["workers", name]


@pytest.mark.parametrize("name", activities.folders())
def test_capability_keeps_its_data_in_a_volume_of_its_own(
    stack: dict[str, Any], services: dict[str, dict[str, Any]], name: str
) -> None:
    volumes = {(volume["type"], volume["source"], volume["target"]) for volume in services[name]["volumes"]}
    users = [user for user, service in services.items() if f'"{name}-data"' in json.dumps(service)]
    assert volumes == {("volume", f"{name}-data", "/data"), ("volume", "blobs", "/blobs")}
    assert users == [name]
    assert f"{name}-data" in stack["volumes"]


@pytest.mark.parametrize("name", activities.folders())
def test_settings_of_a_capability_reach_no_other_service(services: dict[str, dict[str, Any]], name: str) -> None:
    prefix = f"{name.upper()}_"
    holders = {
        holder
        for holder, service in services.items()
        for variable in service.get("environment", {})
        if variable.startswith(prefix) and variable != f"{prefix}MODEL"
    }
    assert holders <= {name}


def test_large_payloads_are_shared_by_those_who_speak_to_temporal(services: dict[str, dict[str, Any]]) -> None:
    """A history refers to files; a process with another folder could not read it. The stand-in model gets none."""
    users = {name for name, service in services.items() if '"target": "/blobs"' in json.dumps(service)}
    assert users == {"api", "workflows", *activities.folders()}
    assert {services[name]["environment"]["RETINUE_BLOB_DIR"] for name in users} == {"/blobs"}


def test_the_model_of_an_agent_is_told_to_reasoning_alone(services: dict[str, dict[str, Any]]) -> None:
    holders = {name for name, service in services.items() if "CALENDAR_MODEL" in service.get("environment", {})}
    assert holders == {"reasoning"}


def test_the_key_of_the_model_reaches_reasoning_alone(services: dict[str, dict[str, Any]]) -> None:
    holders = {name for name, service in services.items() if MODEL["OPENAI_API_KEY"] in json.dumps(service)}
    assert holders == {"reasoning"}


KEY = "k1:" + "A" * 43


@pytest.mark.parametrize(
    ("variable", "holders"),
    [
        ("RETINUE_DECISION_KEYS", {"api", "workflows"}),
        ("RETINUE_ENCRYPTION_KEYS", {"api", "workflows", *activities.folders()}),
        ("RETINUE_ANNOUNCE_KEYS", {"api", "workflows", *activities.folders()}),
        ("RETINUE_ACCOUNTS_SEAL_KEYS", {"accounts"}),
        ("RETINUE_ACCOUNTS_ROOT_KEYS", {"accounts"}),
        ("RETINUE_ACCOUNTS_PASS_KEYS", {"workflows"}),
        ("RETINUE_ACCOUNTS_KEY_API", {"api"}),
        *((f"RETINUE_ACCOUNTS_KEY_{name.upper()}", {name}) for name in caller_keys.CAPABILITIES),
        ("ACCOUNTS_GOOGLE_CLIENT_SECRET", {"accounts"}),
    ],
)
def test_a_key_reaches_those_who_need_it_and_nobody_else(variable: str, holders: set[str]) -> None:
    found = configured({**MODEL, variable: KEY})["services"]
    assert {name for name, service in found.items() if KEY in json.dumps(service)} == holders


def test_the_accounts_service_is_reached_by_those_who_need_it_and_reaches_no_temporal(
    services: dict[str, dict[str, Any]],
) -> None:
    assert {name for name, service in services.items() if "accounts" in service["networks"]} == {
        "accounts",
        "api",
        *caller_keys.CAPABILITIES,
    }
    assert set(services["accounts"]["networks"]) == {"accounts", "outside"}


def test_without_keys_nobody_asks_the_accounts_service(services: dict[str, dict[str, Any]]) -> None:
    assert not [name for name, one in services.items() if one.get("environment", {}).get("RETINUE_ACCOUNTS_URL")]


def test_people_who_are_told_apart_decide_with_proofs_or_the_stack_does_not_start() -> None:
    done = compose("config", "--quiet", environ={**MODEL, "RETINUE_OIDC_ISSUER": "https://id.example.com"})
    assert done.returncode != 0
    assert "RETINUE_DECISION_KEYS" in done.stderr


def test_the_password_of_the_database_reaches_no_process_of_ours() -> None:
    services = configured({"POSTGRES_PASSWORD": "a-password-of-mine"})["services"]
    holders = {name for name, service in services.items() if "a-password-of-mine" in json.dumps(service)}
    assert holders == {"postgresql", "temporal", "temporal-schema"}


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://offline:8089/v1"),
        ({"OPENAI_BASE_URL": "http://model.example/v1"}, "http://model.example/v1"),
        (MODEL, MODEL["OPENAI_BASE_URL"]),
    ],
)
def test_the_stand_in_answers_only_when_no_model_is_named(environ: dict[str, str], url: str) -> None:
    assert configured(environ)["services"]["reasoning"]["environment"]["OPENAI_BASE_URL"] == url


def test_a_key_without_an_address_is_refused() -> None:
    """It would never be used: the stand-in would answer, and the person would wonder."""
    done = compose("config", "--quiet", environ={"OPENAI_API_KEY": "a-key-of-mine"})
    assert done.returncode != 0
    assert "OPENAI_BASE_URL" in done.stderr


def test_ports_are_published_on_loopback_alone(services: dict[str, dict[str, Any]]) -> None:
    published = {
        name: {port.get("host_ip") for port in service["ports"]}
        for name, service in services.items()
        if service.get("ports")
    }
    assert published == {name: {"127.0.0.1"} for name in ("api", "temporal", "temporal-ui")}


def test_database_is_on_an_internal_network_alone(stack: dict[str, Any]) -> None:
    assert list(stack["services"]["postgresql"]["networks"]) == ["state"]
    assert {name for name, network in stack["networks"].items() if network.get("internal")} == {
        "accounts",
        "inside",
        "state",
    }


def test_every_process_of_ours_has_an_image_of_its_own(ours: dict[str, dict[str, Any]]) -> None:
    """Each holds one process alone; `tests/test_independence.py` looks into them."""
    targets = {name: (name, None) for name in lock_parts.ROOMS}
    assert {name: _built(one) for name, one in ours.items()} == {
        name: (str(ROOT), "Dockerfile", f"retinue-{name}:local", *targets.get(name, ("capability", name)))
        for name in (*targets, *activities.folders())
    }


def _built(service: dict[str, Any]) -> tuple[Any, ...]:
    made = service["build"]
    return made["context"], made["dockerfile"], service["image"], made["target"], made.get("args", {}).get("PART")


def test_every_process_of_ours_runs_confined(ours: dict[str, dict[str, Any]]) -> None:
    assert {
        (
            one["read_only"],
            one["init"],
            tuple(one["cap_drop"]),
            tuple(one["security_opt"]),
            one["restart"],
            one["stop_grace_period"],
            "memory" in one["deploy"]["resources"]["limits"],
            "healthcheck" in one,
        )
        for one in ours.values()
    } == {(True, True, ("ALL",), ("no-new-privileges:true",), "unless-stopped", "20s", True, False)}


def test_every_service_can_be_scaled_and_named_twice(services: dict[str, dict[str, Any]]) -> None:
    """A container name is unique on a machine: with one there is no second replica and no second stack."""
    assert not [name for name, service in services.items() if "container_name" in service]


@pytest.mark.parametrize("name", [*activities.folders(), "api", "workflows"])
def test_starts_when_namespace_and_search_attributes_are_there(services: dict[str, dict[str, Any]], name: str) -> None:
    assert services[name]["depends_on"]["temporal-namespace"]["condition"] == "service_completed_successfully"


def test_images_of_others_are_pinned(services: dict[str, dict[str, Any]], ours: dict[str, dict[str, Any]]) -> None:
    images = {service["image"] for name, service in services.items() if name not in ours}
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", image)] == []


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/lambda/Dockerfile"])
def test_dockerfile_passes_its_linter(file: str) -> None:
    done = subprocess.run([BIN / "hadolint", ROOT / file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("part", lock_parts.parts())
def test_what_the_dockerfile_copies_is_let_in(part: str, tmp_path: Path) -> None:
    target, arguments = (part, {}) if part in lock_parts.ROOMS else ("capability", {"PART": part})
    copied = build(target, tmp_path / part, **arguments).copied
    assert [path for path in copied if not _let_in(path)] == []


def _let_in(path: str) -> bool:
    return any(path == rule or path.startswith(f"{rule}/") for rule in LET_IN)


def test_images_take_in_only_what_is_named() -> None:
    assert IGNORE_RULES[0] == "*"
    assert {".", ".env", ".retinue", ".git", "tests", "examples", "cli", "bench"}.isdisjoint(LET_IN)
    assert {"**/__pycache__", "**/.env*", "**/compose.yaml", "**/README.md"} <= set(IGNORE_RULES)


@pytest.mark.parametrize("part", [*lock_parts.parts(), lock_parts.LAMBDA])
def test_a_lock_names_no_host(part: str) -> None:
    assert "://" not in read(f"deploy/locks/{part}.lock")


@pytest.mark.parametrize("part", [*lock_parts.parts(), lock_parts.LAMBDA])
def test_a_lock_pins_what_is_tested(part: str) -> None:
    """An image runs the very versions that the suite runs; otherwise `make lock`."""
    tested = pins(read("requirements.lock"))
    shipped = pins(read(f"deploy/locks/{part}.lock"))
    assert shipped == {name: tested.get(name) for name in shipped}


@pytest.mark.parametrize("part", lock_parts.parts())
def test_a_lock_has_every_dependency_of_its_part(part: str) -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    own = project["optional-dependencies"].get(part, [])
    wanted = own if part == lock_parts.OUTSIDE else [*project["dependencies"], *own]
    names = {re.split(r"[\[<>=!~ ]", line, maxsplit=1)[0] for line in wanted}
    assert names - set(pins(read(f"deploy/locks/{part}.lock"))) == set()


def test_there_is_a_lock_for_each_part_and_no_other() -> None:
    assert sorted(file.stem for file in lock_parts.LOCKS.iterdir()) == sorted([*lock_parts.parts(), lock_parts.LAMBDA])


def test_an_extra_belongs_to_a_part_or_to_the_laptop() -> None:
    assert set(lock_parts.extras()) - set(lock_parts.parts()) - set(lock_parts.SHARED) == {
        "cli",
        "up",
        lock_parts.LAMBDA,
    }


@pytest.fixture(scope="module")
def temporal() -> Iterator[str]:
    """The address of an empty Temporal server. It may still be starting: the script under test has patience."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(BIN / "temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    overrides = yaml.safe_load(read("deploy/temporal/dynamicconfig.yaml"))
    values = [f"{key}={json.dumps(entry['value'])}" for key, entries in overrides.items() for entry in entries]
    flags = [flag for value in values for flag in ("--dynamic-config-value", value)]
    with subprocess.Popen([*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        yield f"127.0.0.1:{port}"
        server.terminate()


def test_namespace_script_prepares_a_server_and_can_be_repeated(temporal: str) -> None:
    namespace = f"n-{uuid.uuid4()}"
    environ = {"PATH": f"{BIN}:/usr/bin:/bin", "TEMPORAL_ADDRESS": temporal, "TEMPORAL_NAMESPACE": namespace}
    runs = [
        subprocess.run(
            ["sh", ROOT / "deploy/temporal/namespace.sh"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )
        for _ in range(2)
    ]
    listed = subprocess.run(
        [BIN / "temporal", "operator", "search-attribute", "list", "--output", "json"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [(run.returncode, run.stdout) for run in runs] == [(0, f"namespace {namespace} is ready\n")] * 2
    assert json.loads(listed.stdout)["customAttributes"] == {
        name: IndexedValueType.Name(indexed(kind)) for name, kind in SEARCH_ATTRIBUTES.items()
    }


def test_namespace_script_gives_up_with_the_servers_own_words() -> None:
    environ = {"PATH": f"{BIN}:/usr/bin:/bin", "TEMPORAL_ADDRESS": "127.0.0.1:1", "PATIENCE": "1"}
    done = subprocess.run(
        ["sh", ROOT / "deploy/temporal/namespace.sh"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("script", ["namespace.sh", "schema.sh"])
def test_scripts_are_valid_shell(script: str) -> None:
    subprocess.run(["sh", "-n", ROOT / "deploy/temporal" / script], check=True)
