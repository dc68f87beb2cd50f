"""Translates database errors into words for a person.

The database's own texts are not repeated, since they may contain rows, addresses or names. The log has the error's number.
"""

from __future__ import annotations

import logging
import sqlite3

from retinue.errors import InvalidArguments, RetinueError, StoreUnavailable

_log = logging.getLogger("retinue.store")

_SQLITE = {
    sqlite3.SQLITE_BUSY: "another process holds it",
    sqlite3.SQLITE_LOCKED: "another process holds it",
    sqlite3.SQLITE_READONLY: "its file is read-only",
    sqlite3.SQLITE_IOERR: "its file cannot be read or written",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_PERM: "its file cannot be opened",
    sqlite3.SQLITE_NOTADB: "its file is no database",
}
_POSTGRESQL = {
    "08": "the connection to it broke",
    "0A000": "its tables were changed meanwhile",
    "25006": "it is read-only",
    "28": "it refuses the user or the password",
    "3D": "the server has no database of that name",
    "42501": "its user may not do this",
    "53": "the server has no room for more",
    "53100": "its disk is full",
    "53300": "the server takes no more connections",
    "55P03": "another process holds it",
    "40": "another process was faster",
    "57014": "it took too long",
    "57": "the server is stopping or starting",
    "58": "the server's disk or system fails",
    "XX001": "its file is damaged",
}
"""By SQLSTATE, or by its first two characters: a class."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_STAYS_BROKEN = _DAMAGED | {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}
"""Errors after which a connection may stay unusable even without the cause: one opened read-only never writes."""
_FAILED_OVER = "25006"
"""PostgreSQL's code of a write on a read-only server, such as a former primary after a failover."""
_NOT_KEPT = "22"
"""PostgreSQL's class of values that cannot be stored: a text with NUL, or longer than its column."""


def to_retinue_error(error: BaseException | None, owner: str) -> RetinueError:
    """Return the error to raise instead of the database's.

    Args:
        error: As the driver raised it.
        owner: The capability that owns the database.
    """
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith(_NOT_KEPT):
        return InvalidArguments(f"the database of {owner} cannot keep one of the values: too long, or no text")
    _log.warning("database failed", extra={"owner": owner, "error": type(error).__name__, "code": _code(error)})
    reason = _reason(error, state)
    return StoreUnavailable(f"the database of {owner} does not work at the moment: {reason}")


def breaks_connection(error: BaseException | None) -> bool:
    """Whether to reconnect to the database after this error."""
    return getattr(error, "sqlstate", None) == _FAILED_OVER or _kind(error) in _STAYS_BROKEN


def is_damage(error: BaseException | None) -> bool:
    """Whether the error says that the database's file is corrupt."""
    return _kind(error) in _DAMAGED


def _reason(error: BaseException | None, state: str) -> str:
    if state:
        return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2]) or f"it answered with error {state}"
    if isinstance(error, sqlite3.Error):
        return _SQLITE.get(_kind(error), type(error).__name__)
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError):
        return "it cannot be reached"
    return (
        "the connection to it broke"
        if type(error).__name__ in ("InterfaceError", "InternalClientError")
        else type(error).__name__
    )


def _kind(error: BaseException | None) -> int:
    return _code(error) & 0xFF


def _code(error: BaseException | None) -> int:
    """Return SQLite's error code; its lowest byte is the kind, the rest the cause."""
    return int(getattr(error, "sqlite_errorcode", 0))
