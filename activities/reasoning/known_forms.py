"""In which form each model answers in JSON: found out once by a tiny request, or learnt from refusals, shared by all workers.

If the database does not answer, each worker keeps what it knows itself.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from activities.reasoning.models import AnswerForm
from activities.reasoning.settings import Structured
from activities.reasoning.store import OnDemand
from retinue.errors import ServiceUnavailable

KEPT_FOR = timedelta(days=7)
"""After it a model is tried again: its server may have learnt more."""
_log = logging.getLogger("retinue.reasoning")


@dataclass(frozen=True)
class KnownForm:
    """How one model answers in JSON.

    Args:
        model: The model and its endpoint, without secrets.
        words: How that is known, for people.
        at: Since when.
    """

    model: str
    form: Structured
    words: str
    at: datetime


class KnownForms:
    """The forms of all models. A model is named by its identity, which is the same for all workers.

    Args:
        store: Shared by all workers; without one each process keeps its own.
    """

    def __init__(self, store: OnDemand | None = None) -> None:
        self._store = store
        self._own: dict[str, KnownForm] = {}

    async def of(self, model: str) -> KnownForm | None:
        """Return what is known of a model; None if nothing is, or too long ago."""
        found = self._own.get(model) or await self._stored(model)
        if found is None or datetime.now(UTC) - found.at > KEPT_FOR:
            self._own.pop(model, None)
            return None
        self._own[model] = found
        return found

    def own(self, model: str) -> KnownForm | None:
        """Return what this process itself has learnt of a model."""
        return self._own.get(model)

    async def keep(self, model: str, form: Structured, words: str) -> None:
        """Record how a model answers, and how that is known."""
        known = self._own[model] = KnownForm(model, form, words, datetime.now(UTC))
        if self._store is None:
            return
        try:
            await _write(self._store, known)
        except ServiceUnavailable as error:
            _log.warning("the form in which a model answers is not shared: %s", error.message)

    async def known(self) -> list[KnownForm]:
        """List all that is known and not too old.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        oldest = datetime.now(UTC) - KEPT_FOR
        if self._store is None:
            return [one for one in self._own.values() if one.at > oldest]
        async with self._store.read() as session:
            rows = (await session.exec(select(AnswerForm).where(col(AnswerForm.at) > oldest))).all()
        return [_read(row) for row in sorted(rows, key=lambda row: row.model)]

    async def _stored(self, model: str) -> KnownForm | None:
        if self._store is None:
            return None
        try:
            async with self._store.read() as session:
                row = await session.get(AnswerForm, model)
        except ServiceUnavailable:
            return None
        return _read(row) if row else None


def _read(row: AnswerForm) -> KnownForm:
    return KnownForm(row.model, Structured(row.form), row.words, row.at)


async def _write(store: OnDemand, known: KnownForm) -> None:
    """Write it.

    Raises:
        ServiceUnavailable: The database does not answer.
    """
    try:
        async with store.write() as session:
            row = AnswerForm(model=known.model, form=known.form.value, words=known.words, at=known.at)
            await session.merge(row)
    except IntegrityError:  # another worker was the first, and knows as much
        return
