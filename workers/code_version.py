"""Which code the workflows of this folder are: a digest by which `up` names the build."""

from __future__ import annotations

import hashlib
from pathlib import Path

_ROOMS = ("retinue", "workers", "workflows")


def code_version(root: Path) -> str:
    """Twelve hexadecimal digits that change with any line of code that a workflow worker may run."""
    files = [file for room in _ROOMS for file in (root / room).rglob("*.py")]
    digest = hashlib.sha256()
    for file in sorted([*files, *(root / "activities").rglob("contract.py")]):
        digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]
