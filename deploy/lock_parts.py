"""Locks the packages of each image: `python -P -m deploy.lock_parts [PART ...]`, called by `make lock`.

A part is what one image holds: the accounts service, the API, the stand-in model, the workflow worker, or one folder of
`activities/`. Its lock pins the project's dependencies (but for the stand-in model, which meets none of the project's code), those of the extra of
the same name, if there is one, and of the shared extras that it needs, to the versions of `requirements.lock`, which is what the tests run with.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "deploy" / "locks"
ROOMS = ("accounts", "api", "offline", "workflows")
OUTSIDE = "offline"
"""The stand-in model is an outside server: its image holds its own extra alone."""
LAMBDA = "lambda"
"""What the image of a function has besides those of its capability: one extra alone."""
SHARED = ("encryption", "s3", "doors", "observability")
"""Extras that are no part's own: whoever reads payloads may have to decrypt them and to read them from a bucket (the
accounts service reads none), the API has the other doors, and traces show what touches a run."""

UNUSED: dict[str, tuple[str, ...]] = {
    "googleapis-common-protos": ("a2a", "api"),
    "proto-plus": (),
    "pycparser": (),
    "pyjwt": ("api",),
    "types-protobuf": (),
}
"""What packages ask for though no module that an image runs imports it, and the parts that do import it. Images hold it only
there; a test compares."""


def parts() -> list[str]:
    """All parts of this checkout, sorted."""
    return sorted([*ROOMS, *(module.parent.name for module in (ROOT / "activities").glob("*/__init__.py"))])


def extras() -> dict[str, list[str]]:
    """The extras of the project by name; a part without dependencies of its own has none."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, list[str]] = tomllib.load(file)["project"]["optional-dependencies"]
    return found


def extras_of(part: str) -> list[str]:
    """The extras that a part's image holds."""
    own = [part] if part in extras() else []
    meets_runs = part not in (OUTSIDE, "accounts")
    has = {"encryption": part != OUTSIDE, "s3": meets_runs, "doors": part == "api", "observability": meets_runs}
    return own + [extra for extra in SHARED if has[extra]]


def lock(part: str) -> None:
    """Write one lock. It names no host, and no package that the part does not need."""
    wanted = [word for extra in extras_of(part) for word in ("--extra", extra)]
    left_out = [word for name, users in UNUSED.items() if part not in users for word in ("--no-emit-package", name)]
    alone = part in (OUTSIDE, LAMBDA)
    source = ["-"] if alone else ["pyproject.toml", *wanted]
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("uv")), "pip", "compile", *source, *left_out),
            *("--universal", "--python-version", "3.11", "--constraint", "requirements.lock"),
            *("--quiet", "--generate-hashes", "--no-header", "--no-emit-index-url", "--no-annotate"),
            *("--output-file", str(LOCKS / f"{part}.lock")),
        ],
        cwd=ROOT,
        check=True,
        input="\n".join(extras()[part]) if alone else None,
        text=True,
    )


def main(wanted: Sequence[str]) -> None:
    """Lock these parts, or all of them; then locks of parts that are gone are removed."""
    LOCKS.mkdir(exist_ok=True)
    kept = [*parts(), LAMBDA]
    for part in wanted or kept:
        lock(part)
    for file in LOCKS.glob("*.lock"):
        if file.stem not in kept:
            file.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
