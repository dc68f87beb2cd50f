"""The tools of memory on its own store.

For whom they work is told by the header `retinue-person`, never by arguments. Each change says how many facts there are now;
the run tells the person's workflow, so that requests of people without any ask nothing here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity

from activities.memory.contract import (
    Changed,
    CorrectFact,
    Fact,
    FactRef,
    Facts,
    ForgetAll,
    FoundFacts,
    ListFacts,
    Memory,
    Recalled,
    RecalledFact,
    RecallFacts,
    RememberFact,
    Restore,
    Restored,
    SearchFacts,
)
from activities.memory.models import StoredFact
from activities.memory.ranking import helpful, matching
from activities.memory.store import PersonFacts, plain
from retinue.errors import InvalidArguments, NotFound, ServiceRefused
from retinue.ledger import Ledger
from retinue.provenance.asked_by import AskedBy, How
from retinue.store import Store
from retinue.temporal.person_header import asked_by
from retinue.temporal.tenant_header import current_tenant
from retinue.times import present

MOST_FOUND = 20
PAGE_BYTES = 48 * 1024
"""Of the facts in one result: so few stay in the history and end with it, while larger ones would become files."""

Effect = Callable[[PersonFacts, AskedBy], Awaitable[Changed]]


class MemoryTools(Memory):
    """The contract; every change goes through the ledger."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime] = present) -> None:
        self.ledger: Ledger = Ledger(store)
        self._store = store
        self._clock = clock

    async def remember(self, wish: RememberFact) -> Changed:
        """Remember a text once. What is remembered already stays as it is."""

        async def effect(facts: PersonFacts, asker: AskedBy) -> Changed:
            if known := await facts.same(wish.kind, wish.text):
                return Changed(fact_id=known.fact_id, kind=wish.kind)
            fact = _from(facts.new(wish.kind, wish.text, self._clock()), asker)
            return Changed(fact_id=fact.fact_id, kind=wish.kind, created=True, before=await facts.add(fact))

        _check_words(wish.text)
        return await self._change(wish, effect, text=plain(wish.text))

    async def correct(self, wish: CorrectFact) -> Changed:
        """Replace a text once; its source is then that of the correction."""

        async def effect(facts: PersonFacts, asker: AskedBy) -> Changed:
            fact = await facts.get(wish.fact_id)
            before = [fact.as_fact()]
            fact.text, fact.changed_at = plain(wish.text), self._clock()
            _from(fact, asker)
            return Changed(fact_id=fact.fact_id, kind=before[0].kind, before=before)

        _check_words(wish.text)
        return await self._change(wish, effect, text=plain(wish.text))

    async def forget(self, wish: FactRef) -> Changed:
        """Forget one fact once."""

        async def effect(facts: PersonFacts, _asker: AskedBy) -> Changed:
            removed = await facts.remove([await facts.get(wish.fact_id)])
            return Changed(forgotten=len(removed), before=removed)

        return await self._change(wish, effect)

    async def forget_all(self, wish: ForgetAll) -> Changed:
        """Forget everything, or all of one kind, once."""

        async def effect(facts: PersonFacts, _asker: AskedBy) -> Changed:
            removed = await facts.remove(await facts.all(wish.kind))
            return Changed(forgotten=len(removed), before=removed)

        return await self._change(wish, effect)

    async def restore(self, wish: Restore) -> Restored:
        """Undo a change once. What a later change made of the same fact is undone with it.

        Raises:
            NotFound: What was there before is not known any more, since a worker died right after the change.
        """
        if wish.forgotten > len(wish.before):
            raise NotFound("the texts that were forgotten are not kept, so they cannot be restored")
        removed = 0

        async def effect(facts: PersonFacts, _asker: AskedBy) -> Changed:
            if wish.created and wish.fact_id is not None:
                added = [fact for fact in await facts.all() if fact.fact_id == wish.fact_id]
                nonlocal removed
                removed = len(await facts.remove(added))
            await facts.put_back(wish.before)
            return Changed(forgotten=removed)

        undone = await self._change(wish, effect)
        return Restored(removed=undone.forgotten, restored=len(wish.before), known=undone.known)

    async def _change(
        self, wish: RememberFact | CorrectFact | FactRef | ForgetAll | Restore, effect: Effect, *, text: str = ""
    ) -> Changed:
        """Make a change once. Its row in the ledger holds no text; only the attempt that made it knows what was before."""
        asker = asked_by(current_tenant())
        before: list[Fact] = []

        async def in_transaction(session: AsyncSession) -> Changed:
            facts = PersonFacts(session, asker.person)
            await facts.begin_change(self._clock())
            changed = await effect(facts, asker)
            before[:] = changed.before if len(list(_fitting(changed.before))) == len(changed.before) else []
            return changed.model_copy(update={"before": [], "known": await facts.known()})

        done = await self.ledger.once(wish, Changed, in_transaction)
        of_a_run = asker.message is not None  # nothing else can be undone, so nothing else need keep the texts
        return done.model_copy(update={"before": before if of_a_run else [], "text": text})

    @asynccontextmanager
    async def _reading(self, owner: str) -> AsyncIterator[PersonFacts]:
        async with self._store.read() as session:
            yield PersonFacts(session, owner)

    async def list(self, wish: ListFacts) -> Facts:
        """Return one page."""
        async with self._reading(_reader()) as facts:
            found = [fact.as_fact() for fact in await facts.all(wish.kind)]
            known = await facts.known()
        rest = _after(found, wish.after)
        page = list(_fitting(rest))
        following = page[-1].fact_id if len(page) < len(rest) else None
        return Facts(facts=page, next=following, total=len(found), known=known)

    async def export(self, wish: ListFacts) -> Facts:
        """Return one page of everything."""
        return await self.list(wish)

    async def search(self, wish: SearchFacts) -> FoundFacts:
        """Return the facts that share words with the query."""
        async with self._reading(_reader()) as facts:
            found = [fact.as_fact() for fact in matching(wish.query, await facts.all(wish.kind))]
        return FoundFacts(facts=found[:MOST_FOUND], match=found[0] if len(found) == 1 else None)

    async def recall(self, wish: RecallFacts) -> Recalled:
        """Return what may help with a request."""
        async with self._reading(_reader()) as facts:
            known = [fact.as_fact() for fact in await facts.all()]
        shown = helpful(wish.query, known, wish.characters)
        facts_shown = [
            RecalledFact(fact_id=fact.fact_id, kind=fact.kind, text=fact.text, says=fact.says) for fact in shown
        ]
        return Recalled(facts=facts_shown, left_out=len(known) - len(shown))

    async def look_up(self, wish: FactRef) -> Fact:
        """Return one fact."""
        async with self._reading(_reader()) as facts:
            return (await facts.get(wish.fact_id)).as_fact()


def _reader() -> str:
    """Return whose facts may be read.

    Raises:
        ServiceRefused: The request came through a key without the permission.
    """
    asker = asked_by(current_tenant())
    if not asker.may_read:
        raise ServiceRefused(
            f"the {asker.through or 'credential'} may not read what is remembered",
            hint="use a key that has the permission 'memory'",
        )
    return asker.person


def _from(fact: StoredFact, asker: AskedBy) -> StoredFact:
    """Note where the text of a fact comes from."""
    info = activity.info()
    of_a_run = asker.message is not None
    fact.assistant_id, fact.step_id = (info.workflow_id, info.activity_id) if of_a_run else (None, None)
    fact.message, fact.through = asker.message, asker.through
    fact.how = asker.how or How.APPROVED
    return fact


def _check_words(text: str) -> None:
    if not plain(text):
        raise InvalidArguments("there is nothing to remember in that text")


def _after(facts: Sequence[Fact], after: str | None) -> Sequence[Fact]:
    place = next((number for number, fact in enumerate(facts, 1) if fact.fact_id == after), 0)
    return facts[place:]


def _fitting(facts: Sequence[Fact]) -> Iterator[Fact]:
    left = PAGE_BYTES
    for fact in facts:
        left -= len(json.dumps(fact.model_dump(mode="json")))
        if left < 0:
            return
        yield fact
