"""Views that were read before: a run of which the server says that nothing happened since is not asked again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from temporalio.client import WorkflowExecutionDescription

from api.events.tag import Place, place
from workflows.messages import AssistantView

_MOST = 64
"""Views that are kept. One may hold some hundred kilobytes."""


class KnownViews:
    """The views that were read last. Whoever asks for one has made sure that its run may be read."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Place, AssistantView]] = OrderedDict()

    async def of(
        self, description: WorkflowExecutionDescription, read: Callable[[str], Awaitable[AssistantView]]
    ) -> AssistantView:
        """The run's own view of itself.

        Args:
            description: Of the run, from just now: what happens after it shows in the next one.
            read: Asks the run.
        """
        now, run_id = place(description), description.id
        found = self._known.get(run_id)
        if found is None or found[0] != now:
            found = self._known[run_id] = now, await read(run_id)
        self._known.move_to_end(run_id)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found[1]
