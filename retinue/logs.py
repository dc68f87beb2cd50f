"""Structured logs: one line per event, `key=value` pairs after the text. Never bodies, tokens or prompts."""

import logging
import sys

_KEYS = ("worker", "queue", "capability", "tool", "revision", "child", "pid", "code", "workflow_id", "status", "port")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        pairs = [f"{key}={getattr(record, key)}" for key in _KEYS if isinstance(getattr(record, key, None), (str, int))]
        return " ".join([line, *pairs])


def configure(level: str = "INFO") -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for said_too_much in ("httpx", "httpx2", "aiosqlite"):  # addresses; the parameters of statements
        logging.getLogger(said_too_much).setLevel(logging.WARNING)
