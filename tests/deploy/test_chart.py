"""The Helm chart by Helm's own engine, the schemas of Kubernetes, and what Compose and the code say. No control plane."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import activities
from deploy import render
from retinue.capability import Capability
from tests.deploy import chart_tools
from tests.deploy.test_compose import MODEL, configured

TOOLS = chart_tools.installed()
sys.path.append(str(TOOLS))

import helm_python  # noqa: E402  # installed by the lines above
import kubernetes_validate  # noqa: E402  # likewise

ROOT = Path(__file__).resolve().parents[2]
SETS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in render.CHART.glob("ci/*.yaml")}
KUBERNETES = "1.37"
TEXT = {"type": "string"}
NUMBER = {"type": "string", "pattern": "^[0-9]+$"}
NAME = {"type": "object", "required": ["name"], "additionalProperties": False, "properties": {"name": TEXT}}


def strict(required: list[str], **properties: Any) -> dict[str, Any]:
    """A schema of an object that has these fields alone."""
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


KEDA = {
    "ScaledObject": strict(
        ["scaleTargetRef", "triggers"],
        scaleTargetRef=NAME,
        pollingInterval={"type": "integer"},
        cooldownPeriod={"type": "integer"},
        minReplicaCount={"type": "integer"},
        maxReplicaCount={"type": "integer"},
        triggers={
            "type": "array",
            "items": strict(
                ["type", "metadata"],
                type={"const": "temporal"},
                authenticationRef=NAME,
                metadata=strict(
                    ["endpoint", "namespace", "taskQueue", "queueTypes", "targetQueueSize", "enableTLS"],
                    endpoint=TEXT,
                    namespace=TEXT,
                    taskQueue=TEXT,
                    queueTypes={"const": "activity"},
                    targetQueueSize=NUMBER,
                    activationTargetQueueSize=NUMBER,
                    enableTLS={"enum": ["true", "false"]},
                    tlsServerName=TEXT,
                    workerDeploymentName=TEXT,
                    workerDeploymentBuildId=TEXT,
                ),
            ),
        },
    ),
    "TriggerAuthentication": strict(
        ["secretTargetRef"],
        secretTargetRef={
            "type": "array",
            "items": strict(
                ["parameter", "name", "key"],
                parameter={"enum": ["apiKey", "cert", "key", "ca"]},
                name=TEXT,
                key=TEXT,
            ),
        },
    ),
}
"""Own schemas of the fields that this chart uses; KEDA's metadata are strings."""
OTHERS = {"HTTPRoute", "ExternalSecret"}
"""Kinds of other projects, whose schemas are not here."""


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[dict[str, Any]]]:
    """The manifests of each set of values."""
    return {name: render.manifests(values) for name, values in SETS.items()}


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """The documents of a kind by their names without the release's."""
    return {d["metadata"]["name"].removeprefix("retinue-"): d for d in documents if d["kind"] == kind}


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    """The only container of a deployment."""
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(deployment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The environment of a deployment's container by variable."""
    return {entry["name"]: entry for entry in container(deployment).get("env", [])}


def contracts() -> dict[str, type[Capability]]:
    """The contract of each capability that has workers of its own in Compose."""
    names = [path.parent.name for path in (ROOT / "activities").glob("*/compose.yaml")]
    return {name: activities.load(name).CONTRACT for name in names}


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    found = helm_python.lint(str(render.CHART), values=SETS["minimal"])

    assert found["errors"] == []
    assert [m for m in found["messages"] if m["severity"] > 1] == []


def test_there_are_six_sets_of_values() -> None:
    assert len(SETS) == 6


@pytest.mark.parametrize("name", sorted(SETS))
def test_kubernetes_takes_the_manifests(name: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    for document in rendered[name]:
        if schema := KEDA.get(document["kind"]):
            jsonschema.validate(document["spec"], schema)
        elif document["kind"] not in OTHERS:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", sorted(SETS))
def test_names_are_unique_within_their_kind(name: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    keys = [(d["kind"], d["metadata"]["name"]) for d in rendered[name]]

    assert len(keys) == len(set(keys))


def test_the_capabilities_are_those_of_the_code() -> None:
    values = yaml.safe_load((render.CHART / "values.yaml").read_text(encoding="utf-8"))

    assert {name: own["version"] for name, own in values["capabilities"].items()} == {
        name: contract.version for name, contract in contracts().items()
    }


def test_each_process_starts_as_in_compose(rendered: dict[str, list[dict[str, Any]]]) -> None:
    ours = {name: service for name, service in configured(MODEL)["services"].items() if "build" in service}
    deployments = of_kind(rendered["accounts"], "Deployment")

    assert {name: container(d)["args"] for name, d in deployments.items()} == {
        name: service["command"] for name, service in ours.items()
    }


@pytest.mark.parametrize("name", sorted(SETS))
def test_every_variable_is_documented(name: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    known = set(re.findall(r"^#([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))

    for deployment in of_kind(rendered[name], "Deployment").values():
        assert set(environment(deployment)) <= known


def allows(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector of labels takes a pod."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def reached(documents: list[dict[str, Any]], name: str) -> set[str]:
    """The networks of Compose that a pod has by the NetworkPolicies."""
    pods = {n: d["spec"]["template"]["metadata"]["labels"] for n, d in of_kind(documents, "Deployment").items()}
    policies = [d["spec"] for d in documents if d["kind"] == "NetworkPolicy"]
    mine = [p for p in policies if allows(p["podSelector"], pods[name])]
    assert any(set(p["policyTypes"]) == {"Ingress", "Egress"} for p in mine), "nothing is forbidden by default"
    leaving = [rule for p in mine for rule in p.get("egress", [])]
    entering = [r for p in policies if allows(p["podSelector"], pods["accounts"]) for r in p.get("ingress", [])]
    found = set()
    if any(peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for rule in leaving for peer in rule.get("to", [])):
        found.add("outside")
    if any(port["port"] == 7233 for rule in leaving for port in rule.get("ports", [])):
        found.add("inside")
    goes = any(
        allows(t["podSelector"], pods["accounts"]) for r in leaving for t in r.get("to", []) if "podSelector" in t
    )
    comes = any(allows(f["podSelector"], pods[name]) for r in entering for f in r["from"])
    if goes and comes:
        found.add("accounts")
    return found


def test_the_network_policies_say_what_the_networks_of_compose_say(rendered: dict[str, list[dict[str, Any]]]) -> None:
    ours = {name: service for name, service in configured(MODEL)["services"].items() if "build" in service}

    assert {name: reached(rendered["accounts"], name) for name in ours} == {
        name: set(service["networks"]) for name, service in ours.items()
    }


@pytest.mark.parametrize("name", sorted(SETS))
def test_pods_are_confined_and_have_no_token(name: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    accounts = of_kind(rendered[name], "ServiceAccount")
    for part, deployment in of_kind(rendered[name], "Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert accounts[part]["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        security = container(deployment)["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", sorted(SETS))
def test_secrets_stand_in_no_manifest(name: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    """What is a secret by its name comes by reference; the chart makes no Secret."""
    assert not of_kind(rendered[name], "Secret")
    for deployment in of_kind(rendered[name], "Deployment").values():
        for variable, entry in environment(deployment).items():
            if re.search(r"(_KEYS?|_SECRET|_PASSWORD)$", variable):
                assert "value" not in entry


def test_no_probe_restarts_a_worker_because_temporal_is_away(rendered: dict[str, list[dict[str, Any]]]) -> None:
    for part, deployment in of_kind(rendered["minimal"], "Deployment").items():
        probes = container(deployment)
        if part == "offline":
            continue
        for probe in ("livenessProbe", "startupProbe"):
            assert probes[probe]["exec"]["command"][-1] == "--liveness"
        assert "readinessProbe" in probes


def test_what_is_rarely_used_stops_while_nothing_waits(rendered: dict[str, list[dict[str, Any]]]) -> None:
    scaled = of_kind(rendered["scaling"], "ScaledObject")
    deployments = of_kind(rendered["scaling"], "Deployment")

    assert {name: d["spec"]["minReplicaCount"] for name, d in scaled.items()} == {"calendar": 1, "weather": 0, "web": 0}
    for name, contract in contracts().items():
        if name in scaled:
            (trigger,) = scaled[name]["spec"]["triggers"]
            assert trigger["metadata"]["taskQueue"] == contract.task_queue()
            assert trigger["metadata"]["workerDeploymentName"] == f"retinue-{name}"
            assert trigger["metadata"]["workerDeploymentBuildId"] == f"{name}-{contract.version}"
            assert "replicas" not in deployments[name]["spec"], "two would set the number of workers"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temporal": {"address": ""}}, "temporal.address"),
        ({"api": {"env": {}}}, "RETINUE_OIDC_ISSUER"),
        ({"api": {"replicas": 2, "env": {"RETINUE_PRIVATE_ADDRESS": "true"}}}, "SQLite"),
        ({"capabilities": {"email": {"scaling": {"enabled": True}}}}, "SQLite"),
        ({"capabilities": {"weather": {"scaling": {"enabled": True, "min": 9}}}}, "scaling.min"),
        ({"temporl": {}}, "temporl"),
        ({"env": {"RETINUE_PORT": 8000}}, "RETINUE_PORT"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(helm_python.HelmError, match=said):
        render.manifests(SETS["minimal"] | change)


def test_kubectl_takes_the_rendered_folder(tmp_path: Path) -> None:
    render.write(SETS["cloud-mtls"], tmp_path, namespace="assistants")

    done = subprocess.run(
        [TOOLS / "bin" / "kubectl", "kustomize", tmp_path], capture_output=True, text=True, timeout=60, check=True
    )

    built = [d for d in yaml.safe_load_all(done.stdout) if d]
    assert {(d["kind"], d["metadata"]["name"]) for d in built} == {
        (d["kind"], d["metadata"]["name"]) for d in render.manifests(SETS["cloud-mtls"])
    }
    assert {d["metadata"]["namespace"] for d in built} == {"assistants"}


def test_the_readme_names_every_value() -> None:
    values = yaml.safe_load((render.CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((render.CHART / "values.schema.json").read_text(encoding="utf-8"))
    readme = (render.CHART / "README.md").read_text(encoding="utf-8")

    assert set(values) == set(schema["properties"]) - {"global"}
    assert set(re.findall(r"^\| `([a-zA-Z]+)` \|", readme, re.MULTILINE)) == set(values)
