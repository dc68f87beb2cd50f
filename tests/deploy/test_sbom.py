"""The bill of materials that each build writes into its image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy import sbom


@pytest.fixture(autouse=True)
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base of one Debian package, and one that was removed."""
    status = tmp_path / "status"
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2:2.36-9\n\n"
        "Package: perl\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 5.36\n"
    )
    (tmp_path / "libc6").mkdir()
    (tmp_path / "libc6" / "copyright").write_text("Files: *\nLicense: LGPL-2.1+\n\nLicense: GPL-2+\n")
    for name, value in (
        ("DEBIAN", status),
        ("DOCUMENTS", tmp_path),
        ("BILL", tmp_path / "b"),
        ("LICENCES", tmp_path / "l"),
    ):
        monkeypatch.setattr(sbom, name, value)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "315532800")


def test_a_bill_names_python_and_debian_packages_with_their_licences() -> None:
    made = sbom.bill("api")
    found = {one["purl"]: one["licenses"] for one in made["components"] if one["name"] in ("libc6", "perl", "pydantic")}
    assert found.pop("pkg:deb/debian/libc6@2%3A2.36-9?arch=amd64") == [
        {"license": {"name": "GPL-2+"}},
        {"license": {"name": "LGPL-2.1+"}},
    ]
    assert [licences for purl, licences in found.items() if purl.startswith("pkg:pypi/pydantic@")] == [
        [{"expression": "MIT"}]
    ]
    assert len(found) == 1
    assert made["metadata"]["timestamp"] == "1980-01-01T00:00:00Z"


def test_every_component_has_a_licence_and_a_name_of_its_own() -> None:
    components = sbom.bill("api")["components"]
    assert [one for one in components if not one["licenses"]] == []
    assert len({one["bom-ref"] for one in components}) == len(components)


def test_the_same_packages_make_the_same_bytes_with_the_time_of_the_input() -> None:
    sbom.write("api")
    first = sbom.BILL.read_bytes()
    sbom.write("api")
    assert sbom.BILL.read_bytes() == first
    assert sbom.BILL.stat().st_mtime == 315532800
    assert f"{json.loads(first)['components'][0]['name']} " in sbom.LICENCES.read_text()
