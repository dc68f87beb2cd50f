"""What an image is made of: `python -m deploy.sbom` prints a bill of materials, `--licences` a list of licences.

The last step of a build writes both into /app (`--write NAME`), so that they are exported by

    docker run --rm retinue-api:local deploy.sbom > sbom.cdx.json

The bill is CycloneDX 1.6. It names the Python packages and those of the Debian base; the same image gives the same bytes.
It uses the standard library alone.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

BILL = Path("/app/sbom.cdx.json")
LICENCES = Path("/app/licences.txt")
DEBIAN = Path("/var/lib/dpkg/status")
DOCUMENTS = Path("/usr/share/doc")
_LONGEST_NAME = 100
"""Some packages put the whole text of their licence where its name belongs."""


def python_packages() -> Iterator[dict[str, Any]]:
    """The installed Python packages as components."""
    for one in metadata.distributions():
        name, version = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(), one.version
        yield {
            "type": "library",
            "bom-ref": (purl := f"pkg:pypi/{name}@{version}"),
            "name": name,
            "version": version,
            "purl": purl,
            "licenses": _python_licences(one.metadata),
        }


def _python_licences(about: metadata.PackageMetadata) -> list[dict[str, Any]]:
    if "License-Expression" in about:
        return [{"expression": about["License-Expression"]}]
    classifiers = [
        line.split(" :: ")[-1] for line in about.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    stated = about["License"].strip() if "License" in about else ""
    names = [stated] if stated and len(stated) <= _LONGEST_NAME and "\n" not in stated else classifiers
    return [{"license": {"name": name}} for name in names or ["see the package's own files"]]


def debian_packages() -> Iterator[dict[str, Any]]:
    """The packages of the base as components; none where it is not Debian's."""
    for paragraph in DEBIAN.read_text(encoding="utf-8").split("\n\n") if DEBIAN.exists() else ():
        fields = dict(re.findall(r"^(\w+): (.*)$", paragraph, re.MULTILINE))
        if "installed" in fields.get("Status", ""):
            name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
            yield {
                "type": "library",
                "bom-ref": (purl := f"pkg:deb/debian/{name}@{version.replace(':', '%3A')}?arch={machine}"),
                "name": name,
                "version": version,
                "purl": purl,
                "licenses": [{"license": {"name": licence}} for licence in _debian_licences(name)],
            }


def _debian_licences(name: str) -> list[str]:
    file = DOCUMENTS / name / "copyright"
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    return sorted(set(re.findall(r"^License: (\S.{0,99})$", text, re.MULTILINE))) or ["see Debian's copyright file"]


def bill(name: str) -> dict[str, Any]:
    """The bill of materials of this image."""
    components = sorted([*python_packages(), *debian_packages()], key=lambda one: str(one["purl"]))
    moment = dt.datetime.fromtimestamp(_epoch(), dt.UTC)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name + json.dumps(components, sort_keys=True))}",
        "version": 1,
        "metadata": {
            "timestamp": moment.isoformat().replace("+00:00", "Z"),
            "component": {
                "type": "container",
                "name": f"retinue-{name}",
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
    }


def licences(made: dict[str, Any]) -> str:
    """One line per component: its name, its version, its licences."""
    return "".join(
        f"{one['name']} {one['version']}: "
        f"{', '.join(each.get('expression') or each['license']['name'] for each in one['licenses'])}\n"
        for one in made["components"]
    )


def write(name: str) -> None:
    """Write both files, with the time of the build's input and not that of the build."""
    made = bill(name)
    BILL.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    LICENCES.write_text(licences(made), encoding="utf-8")
    for path in (BILL, LICENCES, BILL.parent):
        os.utime(path, (_epoch(), _epoch()))


def _epoch() -> int:
    return int(os.environ.get("SOURCE_DATE_EPOCH") or 0)


def main() -> None:
    """Write the files, or print one."""
    parser = argparse.ArgumentParser(prog="python -m deploy.sbom", description="What this image is made of.")
    parser.add_argument("--licences", action="store_true", help="print the list of licences instead")
    parser.add_argument("--write", metavar="NAME", help="write both files; the build of an image does so")
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write)
    else:
        sys.stdout.write((LICENCES if arguments.licences else BILL).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
