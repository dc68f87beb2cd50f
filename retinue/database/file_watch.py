"""Watches the files of open SQLite databases: whether the files at a path are still those that a connection writes to.

A process that has a file open can still read and write it after it was deleted or replaced; its commits are lost. This
module never opens the file, since closing it would drop the locks that SQLite holds on it in this process.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self
from weakref import WeakSet

_PARTS = ("", "-wal", "-shm")
"""The database, what was committed last, and how its processes know of each other's commits."""

LEAST_FREE = 4 * 1024 * 1024
"""Bytes on the disk of a database, below which its next commit may fail."""

Inode = tuple[int, int]


@dataclass
class OpenFiles:
    """The files that one connection has open."""

    path: Path
    inodes: tuple[Inode | None, ...]
    largest: int = 0
    """The largest size of the database so far, in bytes. A smaller file means that it was overwritten."""

    @classmethod
    def at(cls, path: Path, *, largest: int = 0) -> Self:
        """Return the files at `path` now; call it after the connection's first read, which opens them all."""
        return cls(path, tuple(map(_inode, _parts(path))), largest)

    def same_database(self) -> bool:
        """Whether the main file is still the same; the other files disappear with the last connection."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        if (found.st_dev, found.st_ino) != self.inodes[0] or found.st_size < self.largest:
            return False
        self.largest = found.st_size
        return True

    def are_there(self) -> bool:
        """Whether opening `path` now yields the same files, except for those that the connection has not opened."""
        beside = zip(self.inodes[1:], map(_inode, _parts(self.path)[1:]), strict=True)
        return self.same_database() and all(opened is None or opened == found for opened, found in beside)


def _parts(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{part}") for part in _PARTS]


def _inode(file: Path) -> Inode | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def obstacle(file: Path) -> str:
    """Return in words why the next commit to this file may fail, judged without opening it; else empty."""
    if not file.exists():
        return ""
    if not os.access(file, os.W_OK):
        return "its file is read-only"
    free = shutil.disk_usage(file.parent).free
    return "" if free >= LEAST_FREE else f"its disk is full: {free // 1024} KiB are free"


class OpenDatabase(Protocol):
    """A database that this process has open."""

    @property
    def file(self) -> Path | None:
        """Its file; None on a database server."""
        ...

    def lost(self) -> str:
        """Return in words why it cannot be used any more; else empty."""
        ...

    async def problem(self) -> str:
        """Return in words why it cannot be written; else empty.

        It tries to write only if a write failed before, or if the file suggests that it would.
        """
        ...


OPEN: WeakSet[OpenDatabase] = WeakSet()
"""The databases that this process has open."""


def lost() -> str:
    """Return in words which open database of this process cannot be used any more; else empty.

    The process must then end: its state came from a file that is gone, and a new process opens the present file.
    """
    return next((words for database in list(OPEN) if (words := database.lost())), "")


def files() -> list[Path]:
    """Return the files of this process's open databases."""
    return [database.file for database in list(OPEN) if database.file is not None]


async def problem() -> str:
    """Return in words which open database of this process cannot be written now; else empty.

    It costs a few system calls for each database while all are well.
    """
    for database in list(OPEN):
        if words := await database.problem():
            return words
    return ""
