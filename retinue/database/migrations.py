"""Database migrations.

Every capability with tables has a folder `migrations` beside its `models.py`; so have the API and the ledger, whose table
is part of every capability's database. The folders contain Alembic scripts, named `<owner>_<four digits>_<words>.py` after
their revision, in one sequence without branches. A version table records a database's revision.

Scripts only go forward. During a rollout, workers of the old version use the same database, so a script only adds what
they need not know; a later version removes what is obsolete.

A new script: change the models, then `python -P -m retinue.database.migrations activities.calendar.models "what changes"`, and read what it wrote.

Alembic costs 18 MB and half a second, so it is imported only if a database is older than the code: one without tables is
created from the models and marked as the newest.
"""

from __future__ import annotations

import hashlib
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import (
    Column,
    Enum,
    MetaData,
    String,
    Table,
    TypeDecorator,
    create_engine,
    func,
    insert,
    inspect,
    select,
    update,
)

from retinue.errors import ServiceRefused

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import Connection

VERSION_TABLE = "alembic_version"
_FOLDER, _OWNER, _TABLE = "migrations", "owner", "version_table"
_SCRIPT = re.compile(r"(?P<revision>[a-z]\w*_\d{4})_\w+\.py", re.ASCII)
_SMALLEST_KEY = -(2**63)


def migrated(folder: Path, *, owner: str | None = None, version_table: str = VERSION_TABLE) -> MetaData:
    """Return metadata whose tables the scripts in `folder` migrate.

    Args:
        folder: Where the scripts are.
        owner: Begins the scripts' names; by default the name of the folder that holds `folder`.
        version_table: The table for the revision; two metadata in one database need two.
    """
    return MetaData(info={_FOLDER: folder, _OWNER: owner or folder.parent.name, _TABLE: version_table})


def up_to_date(connection: Connection, metadata: MetaData) -> bool:
    """Whether the database is at the newest revision, without a lock."""
    folder = metadata.info.get(_FOLDER)
    return folder is not None and _recorded(connection, metadata) == newest(folder)


def touch(connection: Connection, metadata: MetaData) -> None:
    """Write the stored revision again, to test whether the database can be written."""
    version = _version_table(metadata)
    connection.execute(update(version).values(version_num=version.c.version_num))


def lock(connection: Connection, name: str) -> None:
    """Hold a lock until the transaction ends, so that one transaction at a time passes. SQLite locks at its begin.

    Raises:
        DBAPIError: Another transaction held the lock for longer than the connection's patience.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(lock_key(name))))


def lock_key(name: str) -> int:
    """Return PostgreSQL's number for a lock."""
    return int.from_bytes(hashlib.sha256(f"retinue/{name}".encode()).digest()[:8]) + _SMALLEST_KEY


def bring_up_to_date(connection: Connection, metadata: MetaData, *, owner: str) -> None:
    """Create or migrate the tables within the caller's transaction, which must hold the `lock`.

    Raises:
        ServiceRefused: The database belongs to a newer version or another owner; it is unchanged.
    """
    folder = metadata.info.get(_FOLDER)
    if folder is None:
        metadata.create_all(connection)
        return
    recorded, head = _recorded(connection, metadata), newest(folder)
    if recorded == head:
        return
    if recorded is not None and recorded not in revisions(folder):
        raise ServiceRefused(
            f"the database of {owner} is at revision {recorded}, which this version of {owner} does not know",
            hint=f"it belongs to a newer version, or not to {owner}: each capability needs its own database",
        )
    if recorded is None and not set(inspect(connection).get_table_names()) & set(metadata.tables):
        metadata.create_all(connection)
        _mark(connection, metadata, head)
    else:
        upgrade(connection, metadata)


def newest(folder: Path) -> str:
    """Return the revision of the newest script, from the files' names."""
    return revisions(folder)[-1]


def revisions(folder: Path) -> list[str]:
    """Return all revisions, oldest first."""
    names = (_SCRIPT.fullmatch(file.name) for file in folder.iterdir())
    return sorted(name["revision"] for name in names if name is not None)


def upgrade(connection: Connection, metadata: MetaData) -> None:
    """Run the missing scripts within the caller's transaction; on an empty database, all of them."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    scripts = _scripts(metadata.info[_FOLDER])
    context = MigrationContext.configure(
        connection,
        opts={
            "fn": lambda heads, _: scripts._upgrade_revs("head", heads),
            "version_table": metadata.info[_TABLE],
        },
    )
    with Operations.context(context):
        context.run_migrations()


def differences(connection: Connection, metadata: MetaData) -> list[Any]:
    """Return the differences between a database and the models, as Alembic finds them."""
    from alembic.autogenerate import compare_metadata

    found: list[Any] = compare_metadata(_comparing(connection, metadata), metadata)
    return found


def _comparing(connection: Connection, metadata: MetaData) -> Any:
    """Return a context for these tables alone, since the ledger's are in the same database."""
    from alembic.runtime.migration import MigrationContext

    def ours(name: str | None, kind: str, _: object) -> bool:
        return kind != "table" or name in metadata.tables

    return MigrationContext.configure(
        connection,
        opts={
            "target_metadata": metadata,
            "compare_type": True,
            "compare_server_default": _other_default,
            "include_name": ours,
            "render_item": _plain_type,
            "version_table": metadata.info[_TABLE],
        },
    )


def _other_default(*compared: Any) -> bool | None:
    """Whether a column's default differs, ignoring the parentheses that SQLite adds to a default of an added column."""
    _, _, _, found, _, meant = compared
    return False if found == f"('{meant}')" else None


def _plain_type(kind: str, item: Any, _: object) -> str | Literal[False]:
    """Return the database's type for a column, since a script outlives Python types."""
    if kind != "type" or not isinstance(item, TypeDecorator):
        return False
    plain = item.impl_instance
    return f"sa.{plain!r}" if not isinstance(plain, Enum) else False


def _scripts(folder: Path) -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(folder), version_locations=[str(folder)])


def _recorded(connection: Connection, metadata: MetaData) -> str | None:
    version = _version_table(metadata)
    if not inspect(connection).has_table(version.name):
        return None
    return connection.execute(select(version.c.version_num)).scalar_one_or_none()


def _mark(connection: Connection, metadata: MetaData, revision: str) -> None:
    version = _version_table(metadata)
    version.create(connection, checkfirst=True)
    connection.execute(insert(version).values(version_num=revision))


def _version_table(metadata: MetaData) -> Table:
    """Return the table as Alembic makes it."""
    return Table(metadata.info[_TABLE], MetaData(), Column("version_num", String(32), primary_key=True))


def write_script(owner: str, metadata: MetaData, words: str) -> Path:
    """Write the script that migrates databases from the newest revision to the current models.

    Alembic proposes its content by comparison; it takes a rename for a removal and an addition.

    Raises:
        LookupError: The models have not changed.
    """
    folder: Path = metadata.info[_FOLDER]
    folder.mkdir(exist_ok=True)
    earlier = revisions(folder)
    body = _proposed(metadata)
    if body in ("", "pass"):
        raise LookupError(f"the scripts in {folder} already produce the current models: there is nothing to write")
    revision = f"{owner}_{len(earlier) + 1:04}"
    file = folder / f"{revision}_{'_'.join(re.findall(r'[a-z0-9]+', words.lower()))}.py"
    down = f'"{earlier[-1]}"' if earlier else "None"
    file.write_text(_TEMPLATE.format(words=words.rstrip("."), revision=revision, down=down, body=body))
    return file


def _proposed(metadata: MetaData) -> str:
    """Return as code what is missing after all scripts, found on SQLite in memory."""
    from alembic.autogenerate import produce_migrations, render_python_code

    with create_engine("sqlite://").begin() as connection:
        upgrade(connection, metadata)
        ops = produce_migrations(_comparing(connection, metadata), metadata).upgrade_ops
        rendered = render_python_code(ops, render_item=_plain_type) if ops is not None else ""
    return "\n".join(line for line in rendered.splitlines() if "###" not in line).strip()


_TEMPLATE = '''"""{words}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down}


def upgrade() -> None:
    """{words}."""
    {body}
'''


def metadata_of(module: str) -> MetaData:
    """Return the metadata of the module of that name, such as `activities.calendar.models`.

    Raises:
        LookupError: It has no tables that scripts migrate.
    """
    for value in vars(import_module(module)).values():
        found = getattr(value, "metadata", value)
        if isinstance(found, MetaData) and _FOLDER in found.info:
            return found
    raise LookupError(f"{module} has no tables on `migrated(...)` metadata")


def main(module: str, words: str) -> None:
    """Write a script for the tables of a module."""
    metadata = metadata_of(module)
    sys.stdout.write(f"{write_script(metadata.info[_OWNER], metadata, words)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
