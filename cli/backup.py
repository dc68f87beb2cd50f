"""Backups of the local stack's data folder: one file with its databases, keys, settings and large payloads.

The stack may run meanwhile: each SQLite database is copied as it is at one moment, Temporal's first, so that the ledgers
know at least what Temporal knows (docs/backup.md).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from cli import local
from cli.exits import CommandError
from retinue.settings import RESTORED_AT, temporal_address

_TEMPORAL = "temporal.db"
_LEFT_OUT = (".log", ".log.1", ".lock", "-wal", "-shm", "-journal", ".alive")
_LOGS = "logs"
_LOCK = "up.lock"
_SERVER = "_DATABASE_URL"


def backup(file: Path, data: Path) -> tuple[int, list[str]]:
    """Write a new backup, readable for this user alone.

    Args:
        file: Does not exist yet.
        data: The data folder.

    Returns:
        How many files it holds, and in words what it does not hold.

    Raises:
        CommandError: There is no data, or the file exists or cannot be written.
    """
    if not data.is_dir():
        raise CommandError(f"there is no data in {data}")
    try:
        with _created(file) as target, tempfile.TemporaryDirectory(dir=file.resolve().parent) as folder:
            return _write(target, data, Path(folder) / "copy.db"), missing()
    except FileExistsError:
        raise CommandError(f"{file} exists already and is kept") from None
    except (OSError, sqlite3.Error) as error:
        file.unlink(missing_ok=True)
        raise CommandError(f"the backup failed: {error}") from None


def restore(file: Path, data: Path) -> int:
    """Restore a backup into a data folder that has no database.

    The next start of the stack notes the time: what runs of before may have done since the backup is asked from then on.

    Returns:
        How many files it held.

    Raises:
        CommandError: The stack runs, the folder has databases, or the file is no backup.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _stopped(data):
        if found := sorted(path.name for path in data.rglob("*.db")):
            raise CommandError(
                f"{data} holds {', '.join(found[:3])}; move the folder away or set RETINUE_DATA_DIR, nothing is overwritten"
            )
        try:
            with tarfile.open(file) as source:
                members = source.getmembers()
                if _TEMPORAL not in {member.name for member in members}:
                    raise CommandError(f"{file} is no backup of Retinue")
                source.extractall(data, members, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise CommandError(f"{file} cannot be restored: {error}") from None
        (data / RESTORED_AT).write_text("")
    return len(members)


def missing() -> list[str]:
    """Return in words what belongs to this installation and is not in its data folder."""
    servers = sorted(
        name
        for name, value in os.environ.items()
        if name.endswith(_SERVER) and value.startswith(("postgresql", "postgres"))
    )
    found = [f"{name} names a PostgreSQL database: dump it with pg_dump" for name in servers]
    if temporal_address() is not None:
        found.append("TEMPORAL_ADDRESS names a Temporal server: back up its database")
    if buckets := local.settings().buckets():
        found.append(f"large payloads are in the bucket {buckets[0]}: keep its objects")
    blobs = local.settings().blobs()
    if not blobs.is_relative_to(local.data_dir()):
        found.append(f"large payloads are in {blobs}: copy the folder after this backup")
    if any(os.environ.get(name) for name in ("RETINUE_ENCRYPTION_KEYS", "RETINUE_ENCRYPTION_KEY_FILE")):
        found.append("the encryption keys are set by a variable: without them no run can be read")
    return found


@contextlib.contextmanager
def _created(file: Path) -> Iterator[tarfile.TarFile]:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w") as target:
            yield target
        raw.flush()
        os.fsync(raw.fileno())


def _write(target: tarfile.TarFile, data: Path, copy: Path) -> int:
    files = _files(data)
    for path in files:
        if path.suffix == ".db":
            _copy_database(path, copy)
            target.add(copy, str(path.relative_to(data)))
            copy.unlink()
        else:
            target.add(path, str(path.relative_to(data)))
    return len(files)


def _files(data: Path) -> Sequence[Path]:
    """Return what is backed up: Temporal's database first, other databases, then the rest, so that payloads come last."""
    found = [
        path
        for path in data.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not path.name.endswith(_LEFT_OUT)
        and path.name != RESTORED_AT
        and path.relative_to(data).parts[0] != _LOGS
    ]
    return sorted(found, key=lambda path: (path.name != _TEMPORAL, path.suffix != ".db", path))


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, while others write."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as found,
        closing(sqlite3.connect(target)) as copy,
    ):
        found.backup(copy)
        if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise OSError(f"{source.name} is damaged")


@contextlib.contextmanager
def _stopped(data: Path) -> Iterator[None]:
    """Hold the lock of the local stack.

    Raises:
        CommandError: It runs.
    """
    with (data / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(f"Retinue runs on {data}; stop it first") from None
        yield
