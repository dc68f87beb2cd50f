"""Rows that belong to one person: the one place that decides whose rows a statement reads and changes.

A table with people's data has the column `person`, first in its primary key (`OfPerson`). A session works for one person.
Every statement through it gets the condition `person = ...`, new rows get the person, and rows of others are refused. As a
check of this, `refuse_unbounded` looks at each statement right before it is sent.

On PostgreSQL, row-level security is the second wall: the server itself shows a transaction only the rows of the person in
its setting `retinue.person`. It holds for the tables' owner too, but not for a superuser. Why: docs/decisions/0033.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar

from sqlalchemy import MetaData, Table, Text, and_, event, exists, func, select, text, update
from sqlalchemy import inspect as inspected
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, ORMExecuteState, UOWTransaction, with_loader_criteria
from sqlalchemy.schema import UniqueConstraint
from sqlmodel import Field, Session, SQLModel, col

from retinue.errors import ServiceRefused

PERSON = "person"
UNCLAIMED = "*"
"""The person of rows from before people were told apart, until the operator says whose they are; nobody has this name."""
EVERYBODY = "retinue_everybody"
"""Execution option of connections that work on the rows of all people: migrations and `claim`."""
_FOR = "retinue_person"
_SETTING = "retinue.person"
_POLICY = "retinue_person"
_NOBODY = "nobody said for which person this is"
Row = TypeVar("Row")


class OfPerson(SQLModel):
    """A row of one person. The session sets `person`."""

    person: str = Field(
        default="", primary_key=True, sa_type=Text, sa_column_kwargs={"server_default": UNCLAIMED, "nullable": False}
    )


@cache
def tables_of_people(metadata: MetaData) -> tuple[Table, ...]:
    """Return the tables whose rows belong to people."""
    return tuple(table for table in metadata.sorted_tables if table.primary_key.columns.keys()[:1] == [PERSON])


class PersonSession(Session):
    """A session whose statements reach the rows of one person only. Without a person it reaches no rows of people."""

    def __init__(self, *arguments: Any, person: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.info[PERSON] = person

    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        """Return the person's row of this id, or None. The person is not part of `ident`."""
        return super().get(entity, _with_person(self, entity, ident), **options)

    def merge(self, instance: Row, **options: Any) -> Row:
        """Merge into the person's row of the same id.

        Raises:
            ServiceRefused: The row is another person's.
        """
        if isinstance(instance, OfPerson):
            _own(self, instance)
        return super().merge(instance, **options)


def _person(session: Any) -> str:
    """Return the person of a session.

    Raises:
        ServiceRefused: It has none.
    """
    person = session.info.get(PERSON)
    if not person or person == UNCLAIMED:
        raise ServiceRefused(_NOBODY, hint="update the workflow workers")
    return str(person)


def _with_person(session: Session, entity: Any, ident: Any) -> Any:
    mapper = inspected(entity)
    if not (isinstance(mapper, Mapper) and issubclass(mapper.class_, OfPerson)) or len(mapper.primary_key) == 1:
        return ident
    parts = ident if isinstance(ident, tuple) else (ident,)
    return parts if len(parts) == len(mapper.primary_key) else (_person(session), *parts)


def _own(session: Session, row: OfPerson) -> None:
    """Say in a new row whose it is."""
    person = _person(session)
    row.person = row.person or person
    if row.person != person:
        raise ServiceRefused("a row of another person is not touched")


@event.listens_for(PersonSession, "do_orm_execute")
def _restrict(state: ORMExecuteState) -> None:
    """Add the condition to a statement; what it could not be added to is refused by `refuse_unbounded`."""
    if not state.is_orm_statement or state.is_insert:
        return
    person = _person(state.session)
    state.statement = state.statement.options(
        *(
            with_loader_criteria(entity, col(entity.person) == person, include_aliases=True)
            for entity in OfPerson.__subclasses__()
        )
    )


@event.listens_for(PersonSession, "before_flush")
def _stamp(session: PersonSession, _context: UOWTransaction, _instances: object) -> None:
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, OfPerson):
            _own(session, row)


@event.listens_for(PersonSession, "after_begin")
def _tell_server(session: PersonSession, _transaction: object, connection: Connection) -> None:
    """Say for whom the transaction works: to the server, and to `refuse_unbounded`."""
    person = session.info[PERSON]
    connection.execution_options(**{_FOR: person})
    if person and connection.dialect.name == "postgresql":
        connection.execute(select(func.set_config(_SETTING, person, True)))


def refuse_unbounded(metadata: MetaData) -> Any:
    """Return a listener of `before_cursor_execute` that refuses statements on rows of more than one person.

    Every table of people in a statement must be compared with a person, and every new row must be the person's.
    """
    names = [table.name for table in tables_of_people(metadata)]
    if not names:
        return None
    mentioned = re.compile(
        rf'\b(FROM|JOIN|UPDATE|INTO|,)\s+(?:"?[\w-]+"?\.)?"?({"|".join(names)})"?(?:\s+AS\s+(\w+))?\b', re.I
    )

    def check(
        connection: Connection, _cursor: object, statement: str, _parameters: object, context: Any, _many: bool
    ) -> None:
        options = connection.get_execution_options()
        found = [] if options.get(EVERYBODY) else list(mentioned.finditer(statement))
        if not found:
            return
        person = options.get(_FOR)
        if not person:
            raise ServiceRefused(_NOBODY, hint="update the workflow workers")
        compiled = context.compiled_parameters if context is not None and context.compiled is not None else []
        for match in found:
            word, table, alias = match[1].upper(), match[2], match[3]
            if word == "INTO":
                bounded = bool(compiled) and all(row.get(PERSON) == person for row in compiled)
            else:
                bounded = re.search(rf"\b{alias or table}\.{PERSON} = ", statement) is not None
            if not bounded:
                raise RuntimeError(f"a statement on {table} is not bounded to one person")

    return check


def secure(connection: Connection, metadata: MetaData) -> None:
    """Let PostgreSQL show a transaction only the rows of its person. Repeatable; on SQLite nothing."""
    for table in _on_postgresql(connection, metadata):
        for statement in (
            f'ALTER TABLE "{table.name}" ENABLE ROW LEVEL SECURITY',
            f'ALTER TABLE "{table.name}" FORCE ROW LEVEL SECURITY',
            f'DROP POLICY IF EXISTS {_POLICY} ON "{table.name}"',
            f'CREATE POLICY {_POLICY} ON "{table.name}" '
            f"USING ({PERSON} = current_setting('{_SETTING}', true)) "
            f"WITH CHECK ({PERSON} = current_setting('{_SETTING}', true))",
        ):
            connection.execute(text(statement))


def open_to_owner(connection: Connection, metadata: MetaData) -> None:
    """Let the tables' owner see all rows until `secure`, in one transaction: for migrations."""
    for table in _on_postgresql(connection, metadata):
        connection.execute(text(f'ALTER TABLE "{table.name}" NO FORCE ROW LEVEL SECURITY'))


def _on_postgresql(connection: Connection, metadata: MetaData) -> Sequence[Table]:
    if connection.dialect.name != "postgresql" or not tables_of_people(metadata):
        return []
    existing = set(inspected(connection).get_table_names())
    return [table for table in tables_of_people(metadata) if table.name in existing]


def unclaimed(connection: Connection, metadata: MetaData) -> int:
    """Return how many rows belong to nobody yet. It must not run in a transaction that works for a person."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.set_config(_SETTING, UNCLAIMED, True)))
    return sum(map(partial(_nobodys, connection), tables_of_people(metadata)))


def _nobodys(connection: Connection, table: Table) -> int:
    counted = select(func.count()).select_from(table).where(table.c.person == UNCLAIMED)
    return int(connection.execute(counted).scalar_one())


def claim(connection: Connection, metadata: MetaData, person: str) -> int:
    """Give the rows of nobody to a person, within the caller's transaction; returns how many.

    Rows that the person has already, such as a mail of the same Message-ID, stay where they are.
    """
    open_to_owner(connection, metadata)
    given = 0
    for table in tables_of_people(metadata):
        own = table.alias()
        taken = [
            exists().where(own.c.person == person, and_(*(own.c[name] == table.c[name] for name in names)))
            for names in _keys(table)
        ]
        moved = update(table).where(table.c.person == UNCLAIMED, *(~each for each in taken)).values(person=person)
        given += connection.execute(moved).rowcount
    secure(connection, metadata)
    return given


def _keys(table: Table) -> Iterator[list[str]]:
    """Yield the columns of each key of a table, without the person."""
    for constraint in (table.primary_key, *table.constraints):
        if constraint is table.primary_key or isinstance(constraint, UniqueConstraint):
            yield [column.name for column in constraint.columns if column.name != PERSON]


def sees_everything(connection: Connection) -> bool:
    """Whether PostgreSQL's row-level security does not hold for the role of this connection."""
    if connection.dialect.name != "postgresql":
        return False
    asked = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    return bool(connection.execute(asked).scalar_one())


def people_options(person: str | None) -> Mapping[str, Any]:
    """Return the arguments of an `AsyncSession` that works for a person."""
    return {"sync_session_class": PersonSession, PERSON: person}
