"""A real PostgreSQL server of this test process: unprivileged, in a temporary folder, gone with the tests.

Its texts are sorted by a human language (ICU), passwords are checked, and every test has an empty schema of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from workers.temporal_server import free_port

PASSWORD = "canary-p4ssw0rd"
_USER = "retinue"
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


def programs() -> Path | None:
    """Where PostgreSQL's server programs are; the newest of several."""
    debians = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda folder: int(folder.parent.name))
    on_path = shutil.which("initdb")
    return debians or (Path(on_path).resolve().parent if on_path else None)


def as_somebody(*command: str | Path) -> list[str]:
    """The command as a user without privileges, whom PostgreSQL insists on; it ends with this process."""
    end_with_us = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        end_with_us += ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    return [*end_with_us, *map(str, command)]


@dataclass
class PostgreSQL:
    """One server."""

    programs: Path
    folder: Path
    port: int = field(default_factory=free_port)

    def make(self) -> None:
        """Make its files."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for owned in (self.folder, password):
                shutil.chown(owned, "postgres", "postgres")
        language = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
        access = ("--username", _USER, "--auth=scram-sha-256", f"--pwfile={password}")
        _run(*as_somebody(self.programs / "initdb", "--no-sync", *language, *access, self._data))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [part for setting in (*_QUICK, f"unix_socket_directories={self.folder}") for part in ("-c", setting)]
        where = ("-D", self._data, "-h", "127.0.0.1", "-p", str(self.port))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                as_somebody(self.programs / "postgres", *where, *settings), stdout=log, stderr=log, cwd="/"
            )
        ready = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 20
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once; whoever is connected is cut off, and what was committed is found again."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)

    async def create(self) -> str:
        """An empty schema whose owner sees no other, as a capability should have it; its address."""
        name = f"t{uuid.uuid4().hex}"
        await execute(
            self.address(), f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'", f"CREATE SCHEMA AUTHORIZATION {name}"
        )
        return self.address(user=name)

    def address(self, database: str = "postgres", *, user: str = _USER, password: str = PASSWORD) -> str:
        """The address of a database, as a setting would give it."""
        return f"postgresql+asyncpg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"


async def execute(url: str, *statements: str) -> None:
    """Run statements outside transactions, on a connection of their own."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The server of this test process."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL's server programs are not on this machine: nothing was tried on PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="retinue-postgresql-"))
    server = PostgreSQL(found, folder)
    try:
        server.make()
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def postgresql_url(postgresql: PostgreSQL) -> str:
    """An empty database on PostgreSQL."""
    return await postgresql.create()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'database.db'}"
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        yield await server.create()
