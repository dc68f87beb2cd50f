"""Renders the Helm chart for `kubectl apply -k`: `python -P -m deploy.render VALUES.yaml FOLDER`.

Helm's own engine does it, the package `helm-python-sdk`, which is installed apart from all others since it is large. The
folder gets one file of manifests and a kustomization; it is made when it is missing. Generated files are not a part of the
repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "helm" / "retinue"


def manifests(values: dict[str, Any], *, name: str = "retinue", namespace: str = "retinue") -> list[dict[str, Any]]:
    """Render all templates with `values`.

    Raises:
        helm_python.HelmError: The values do not fit the schema, or a template refuses them.
        SystemExit: Helm's engine is not installed.
    """
    try:
        import helm_python
    except ImportError:
        raise SystemExit(
            "this needs Helm's engine: .venv/bin/uv pip install --python .venv/bin/python 'helm-python-sdk>=0.2.2'"
        ) from None
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name=name, namespace=namespace)
    files = (text for path, text in sorted(rendered.items()) if path.endswith(".yaml"))
    return [document for text in files for document in yaml.safe_load_all(text) if document]


def write(values: dict[str, Any], folder: Path, *, name: str = "retinue", namespace: str = "retinue") -> None:
    """Write manifests and kustomization into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = manifests(values, name=name, namespace=namespace)
    (folder / "retinue.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": ["retinue.yaml"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization, sort_keys=False), encoding="utf-8")


def main() -> None:
    """Render one file of values."""
    parser = argparse.ArgumentParser(prog="python -P -m deploy.render", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("values", type=Path, help="file of values, as for `helm install -f`")
    parser.add_argument("folder", type=Path, help="where the manifests go")
    parser.add_argument("--name", default="retinue", help="name of the release")
    parser.add_argument("--namespace", default="retinue")
    arguments = parser.parse_args()
    values = yaml.safe_load(arguments.values.read_text(encoding="utf-8")) or {}
    write(values, arguments.folder, name=arguments.name, namespace=arguments.namespace)


if __name__ == "__main__":
    main()
