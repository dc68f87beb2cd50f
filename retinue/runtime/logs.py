"""Structured logs: one line per event, `key=value` pairs after the text. Never bodies, tokens or prompts."""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from retinue.runtime import telemetry
from retinue.text import mark, safe

_KEYS = ("worker", "queue", "capability", "tool", "revision", "child", "pid", "code", "workflow_id", "status", "port")


_discretion = False


def be_discreet() -> None:
    """Stop logging the texts of errors in this process, since they repeat run content; types and locations are logged."""
    global _discretion
    if not _discretion:
        _discretion = True
        logging.setLogRecordFactory(_discreet_record)


def said(text: str) -> str:
    """Return an error's text for the log; empty if the process is discreet."""
    return "" if _discretion else text


def _discreet_record(*arguments: Any, **fields: Any) -> logging.LogRecord:
    record = logging.LogRecord(*arguments, **fields)
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = "".join(_places(record.exc_info[1])).rstrip()
        record.exc_info = None
    return record


def _places(error: BaseException) -> Iterator[str]:
    """Yield a traceback without the errors' texts, the causes first."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None:
        yield from _places(earlier)
    kind = getattr(error, "type", None)
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__name__}{f' ({kind})' if isinstance(kind, str) else ''}\n"


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name of the standard library
        """Return one line, whatever strangers' words it contains."""
        record.message = safe(record.message).replace("\n", mark("\n"))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # as its base calls it
        """Return a traceback, without texts if the process is discreet."""
        return safe(super().formatException(ei))

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return " ".join([line, *(f"{key}={value}" for key, value in _fields(record).items())])


class _JsonFormatter(_Formatter):
    """Writes one JSON object per line, with the ids of the trace that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": safe(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info or record.exc_text:
            line["trace"] = safe(record.exc_text or "") or self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _fields(record: logging.LogRecord) -> dict[str, str | int]:
    said = {key: value for key in _KEYS if isinstance(value := getattr(record, key, None), (str, int))}
    return {**said, **telemetry.trace_ids()}


def configure(level: str = "INFO", form: Literal["text", "json"] = "text") -> None:
    """Log to standard error, as lines for people or as one JSON object per line."""
    handler = logging.StreamHandler(sys.stderr)
    kind = _JsonFormatter if form == "json" else _Formatter
    handler.setFormatter(kind("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for said_too_much in ("httpx", "httpx2", "aiosqlite"):  # addresses; the parameters of statements
        logging.getLogger(said_too_much).setLevel(logging.WARNING)
