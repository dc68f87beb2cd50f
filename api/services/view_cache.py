"""Views that were read before: a run of which the server says that nothing happened since is not asked again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from temporalio.client import WorkflowExecutionDescription

from api.services.view_version import RunVersion, run_version
from workflows.messages import AssistantView

_MOST = 64
"""Views that are kept. One may hold some hundred kilobytes."""


class KnownViews:
    """The views that were read last. Whoever asks for one has made sure that its run may be read."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[RunVersion, AssistantView]] = OrderedDict()

    async def of(
        self, description: WorkflowExecutionDescription, read: Callable[[str], Awaitable[AssistantView]]
    ) -> AssistantView:
        """The run's own view of itself.

        Args:
            description: Of the run, from just now: what happens after it shows in the next one.
            read: Asks the run.
        """
        found = self._known.get(description.id)
        if found is None or found[0] != run_version(description):
            return self.note(description, await read(description.id))
        self._known.move_to_end(description.id)
        return found[1]

    def note(self, description: WorkflowExecutionDescription, view: AssistantView) -> AssistantView:
        """Keep a view that was read just after `description`."""
        self._known[description.id] = run_version(description), view
        self._known.move_to_end(description.id)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return view

    def last(self, description: WorkflowExecutionDescription) -> AssistantView | None:
        """The last view of the same execution, for when nobody can be asked: newer or not, nobody knows."""
        found = self._known.get(description.id)
        return found[1] if found is not None and found[0][0] == description.run_id else None
