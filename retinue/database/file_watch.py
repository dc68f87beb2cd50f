"""The files of open SQLite databases: whether those at a path are still the ones that a connection writes to.

A file that was deleted or replaced stays readable and writable for whoever has it open; what is committed to it is lost.
The file is never opened here: closing it would drop the locks that SQLite holds on it in this process.
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
    """Bytes of the database as seen so far. It never shrinks, but where somebody writes another one over it."""

    @classmethod
    def at(cls, path: Path, *, largest: int = 0) -> Self:
        """Those that stand at `path` now: call it when the connection has read something, which opens them all."""
        return cls(path, tuple(map(_inode, _parts(path))), largest)

    def same_database(self) -> bool:
        """Whether the database itself is still there; the parts beside it go with the last connection."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        if (found.st_dev, found.st_ino) != self.inodes[0] or found.st_size < self.largest:
            return False
        self.largest = found.st_size
        return True

    def are_there(self) -> bool:
        """Whether somebody who opens `path` now gets the same files. A part that the connection has not got is not asked for."""
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
    """Return in words why the next commit to this file may fail, as far as one sees without opening it; else nothing."""
    if not file.exists():
        return ""
    if not os.access(file, os.W_OK):
        return "its file is read-only"
    free = shutil.disk_usage(file.parent).free
    return "" if free >= LEAST_FREE else f"its disk is full: {free // 1024} KiB are free"


class OpenDatabase(Protocol):
    """A database that this process has open."""

    def lost(self) -> str:
        """In words why it cannot be used any more; else nothing."""
        ...

    async def problem(self) -> str:
        """Return in words why it cannot be written; else nothing.

        It is tried only where it failed before, or where its file looks as if it would.
        """
        ...


OPEN: WeakSet[OpenDatabase] = WeakSet()
"""The databases that this process has open."""


def lost() -> str:
    """In words which open database of this process cannot be used any more; else nothing.

    The process has to end then: what it knows came from a file that is gone, and a new one opens what stands there now.
    """
    return next((words for database in list(OPEN) if (words := database.lost())), "")


async def problem() -> str:
    """Return in words which open database of this process cannot be written now; else nothing.

    It costs a few system calls for each database while all are well.
    """
    for database in list(OPEN):
        if words := await database.problem():
            return words
    return ""
