"""For migration scripts: gives the rows of a table an owner, as the first column of its primary key.

Existing rows belong to nobody (`UNCLAIMED`) until they are claimed, see `retinue.database.people`.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

_UNCLAIMED = "*"
_NAMES = {"uq": "uq_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"}


def add_person(
    table: str,
    key: Sequence[str],
    *,
    unique: Sequence[Sequence[str]] = (),
    drop: Sequence[str] = (),
    indexes: Sequence[tuple[str, Sequence[str]]] = (),
    exists: bool = False,
) -> None:
    """Add the column `person` to a table and begin its keys and indexes with it.

    Args:
        table: Its name.
        key: The columns of its primary key until now.
        unique: The columns of each of its other unique constraints until now.
        drop: Names of indexes that it loses.
        indexes: New ones: name and columns, without the person.
        exists: The column is there already.
    """
    for name in drop:
        op.drop_index(name, table_name=table)
    if op.get_bind().dialect.name == "postgresql":
        _in_place(table, key, unique, exists=exists)
    else:
        _copied(table, key, unique, exists=exists)
    for name, columns in indexes:
        op.create_index(name, table, ["person", *columns])


def _column() -> sa.Column[str]:
    return sa.Column("person", sa.Text(), nullable=False, server_default=_UNCLAIMED)


def _in_place(table: str, key: Sequence[str], unique: Sequence[Sequence[str]], *, exists: bool) -> None:
    found = sa.inspect(op.get_bind())
    if exists:
        op.alter_column(table, "person", server_default=_UNCLAIMED)
    else:
        op.add_column(table, _column())
    op.drop_constraint(str(found.get_pk_constraint(table)["name"]), table, type_="primary")
    op.create_primary_key(f"{table}_pkey", table, ["person", *key])
    for columns in unique:
        for constraint in found.get_unique_constraints(table):
            if constraint["column_names"] == list(columns):
                op.drop_constraint(str(constraint["name"]), table, type_="unique")
        op.create_unique_constraint(None, table, ["person", *columns])


def _copied(table: str, key: Sequence[str], unique: Sequence[Sequence[str]], *, exists: bool) -> None:
    """SQLite changes no keys, so the table is made again and its rows are copied."""
    with op.batch_alter_table(table, recreate="always", naming_convention=_NAMES) as batch:
        if exists:
            batch.alter_column("person", server_default=_UNCLAIMED)
        else:
            batch.add_column(_column(), insert_before=key[0])
        batch.drop_constraint(f"pk_{table}", type_="primary")
        batch.create_primary_key(f"pk_{table}", ["person", *key])
        for columns in unique:
            batch.drop_constraint(f"uq_{table}_{columns[0]}", type_="unique")
            batch.create_unique_constraint(f"uq_{table}_person", ["person", *columns])
