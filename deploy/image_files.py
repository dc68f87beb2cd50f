"""Prepares what an image copies, in a stage of the build that is not shipped: `python -P image_files.py packages LOCK | code`.

`packages` installs what a lock pins, hashes checked, wheels only, so that no package's code runs while building; then it
removes what no process reads: tests, sources and headers of compiled modules, stubs, scripts, debug symbols. Licences stay.
`code` compiles our own modules, and of packages the modules that the start of the process imported into PYTHONPYCACHEPREFIX; the
others, two thirds, are compiled if they are ever imported. The same input leaves the same bytes: compiled files know no
times, and all files have the time SOURCE_DATE_EPOCH (seconds).
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = Path("/opt/retinue")
CODE = Path("/app")
IMPORTED = Path("/imported")
UNREAD = {".a", ".c", ".cc", ".cpp", ".h", ".hpp", ".pxd", ".pxi", ".pyi", ".pyx", ".rs"}
"""Endings of files that only compilers and type checkers read."""
TESTS = {"test", "tests"}
SERVICES = {"s3", "sso", "sso-oidc", "sts"}
"""The services that botocore is used for: large payloads, and the credentials that open them. It describes 400."""


def install(lock: Path) -> None:
    """Install the packages of a lock into the environment at PACKAGES."""
    pip = [sys.executable, "-P", "-m", "pip", "--python", str(PACKAGES / "bin" / "python"), "install", "--no-compile"]
    options = ["--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, *options, "--quiet", "-r", str(lock)], check=True)


def trim(folder: Path) -> None:
    """Remove what no process reads."""
    for path in sorted(folder.rglob("*"), reverse=True):
        licence = any(part.endswith(".dist-info") for part in path.parts)
        if path.is_dir() and path.name in TESTS and not licence:
            shutil.rmtree(path)
        elif path.is_file() and path.suffix in UNREAD and not licence:
            path.unlink()
    for service in folder.glob("python3*/site-packages/botocore/data/*/"):
        if service.name not in SERVICES:
            shutil.rmtree(service)
    for script in (PACKAGES / "bin").iterdir():
        if not script.name.startswith("python"):
            script.unlink()


def strip(folder: Path) -> None:
    """Remove symbols that only debuggers read from compiled modules."""
    modules = sorted(folder.rglob("*.so"))
    if modules:
        subprocess.run([shutil.which("strip") or "strip", "--strip-unneeded", *map(str, modules)], check=True)


def settle() -> None:
    """Compile so that the result depends on sources alone: our modules, and those of packages that a start imports."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(CODE, quiet=1, invalidation_mode=mode):
        raise SystemExit("not all modules could be compiled")
    for compiled in sorted((IMPORTED / PACKAGES.relative_to("/")).rglob("*.pyc")):
        source = Path("/") / compiled.parent.relative_to(IMPORTED) / f"{compiled.name.split('.')[0]}.py"
        py_compile.compile(str(source), doraise=True, invalidation_mode=mode)
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in (CODE, *CODE.rglob("*"), PACKAGES, *PACKAGES.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def main(what: str, *lock: str) -> None:
    """Prepare packages, or code."""
    if what == "packages":
        install(Path(*lock))
        trim(PACKAGES / "lib")
        strip(PACKAGES / "lib")
    else:
        settle()


if __name__ == "__main__":
    main(*sys.argv[1:])
