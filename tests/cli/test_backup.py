"""`bin/retinue backup` and `restore`: what a backup holds, and what is refused in words."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from cli.backup import backup, missing, restore
from cli.exits import CommandError
from retinue.settings import RESTORED_AT


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder as `make up` leaves it, with a row that is only in the log of a database that is still open."""
    folder = tmp_path / "data"
    for name in ("temporal.db", "email.db", "organisations/acme/email.db"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(folder / name)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE word (word TEXT)")
    for name in ("logs/api.log", "blobs/ab/cdef", "decision.keys", "up.lock", "mcp.json", RESTORED_AT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    monkeypatch.setenv("RETINUE_DATA_DIR", str(folder))
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)  # a stack in this process may have set it
    return folder


def test_a_backup_holds_what_is_committed_and_comes_back(data: Path, tmp_path: Path) -> None:
    file, there = tmp_path / "b.tar", tmp_path / "there"
    with closing(sqlite3.connect(data / "email.db", isolation_level=None)) as writer:
        writer.execute("INSERT INTO word VALUES ('committed')")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO word VALUES ('not yet')")
        assert (data / "email.db-wal").stat().st_size > 0
        count, left_out = backup(file, data)
    with tarfile.open(file) as source:
        names = source.getnames()
    assert names == [
        "temporal.db",
        "email.db",
        "organisations/acme/email.db",
        "blobs/ab/cdef",
        "decision.keys",
        "mcp.json",
    ]
    assert (count, left_out) == (6, [])
    assert restore(file, there) == 6
    with closing(sqlite3.connect(there / "email.db")) as database:
        assert database.execute("SELECT word FROM word").fetchall() == [("committed",)]
    assert (there / "blobs/ab/cdef").read_text() == "blobs/ab/cdef"
    assert (there / RESTORED_AT).read_text() == ""


def test_nothing_is_overwritten(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    backup(file, data)
    before = file.read_bytes()
    with pytest.raises(CommandError, match="exists already"):
        backup(file, data)
    assert file.read_bytes() == before
    with pytest.raises(CommandError, match=r"holds email\.db"):
        restore(file, data)
    assert (data / RESTORED_AT).read_text() == RESTORED_AT


def test_what_is_no_backup_is_refused(data: Path, tmp_path: Path) -> None:
    file, there = tmp_path / "b.tar", tmp_path / "there"
    with tarfile.open(file, "w") as made:
        for name in ("temporal.db", "../outside"):
            made.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(CommandError, match="cannot be restored"):
        restore(file, there)
    assert not (tmp_path / "outside").exists()
    assert not (there / RESTORED_AT).exists()
    there = tmp_path / "another"
    with tarfile.open(file, "w") as made:
        made.addfile(tarfile.TarInfo("holiday.jpg"), io.BytesIO())
    with pytest.raises(CommandError, match="is no backup of Retinue"):
        restore(file, there)
    file.write_text("not a tar")
    with pytest.raises(CommandError, match="cannot be restored"):
        restore(file, there)
    with pytest.raises(CommandError, match="there is no data"):
        backup(tmp_path / "c.tar", tmp_path / "nowhere")


def test_a_damaged_database_is_said_and_leaves_no_file(data: Path, tmp_path: Path) -> None:
    (data / "email.db").write_bytes(b"SQLite format 3\0" + b"damage" * 2000)
    with pytest.raises(CommandError, match="the backup failed"):
        backup(tmp_path / "b.tar", data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_what_is_elsewhere_is_named(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALENDAR_DATABASE_URL", "postgresql+asyncpg://u:canary@db/calendar")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal:7233")
    monkeypatch.setenv("RETINUE_BLOB_DIR", str(tmp_path / "blobs"))
    said = missing()
    assert [words.split(" ")[0] for words in said] == ["CALENDAR_DATABASE_URL", "TEMPORAL_ADDRESS", "large"]
    assert "canary" not in str(said)
