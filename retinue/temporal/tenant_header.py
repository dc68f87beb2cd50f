"""How work learns for which organisation it is done: a Temporal header, `retinue-organisation`, on every activity.

A run knows its organisation from its own start, which the front door wrote: from its owner's name. The workflow worker
puts it on each activity and child workflow that the run begins; there a plan, its arguments and whatever a model says
have no say. A capability's worker reads it before the activity begins. Where there are no organisations no header is
sent. A worker in another language reads the same header: JSON, a string. Why so: docs/decisions/0024.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, NoReturn

from temporalio import client, worker, workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from retinue.temporal.failures import non_retryable
from retinue.tenancy import HOME, organisation

HEADER = "retinue-organisation"
_MOST_HEADER = 4096
_OWNERS = ("owner", "by")
"""Where the input of a run that the front door starts says whose it is; that of an undoing says who asked for it."""
_current: ContextVar[str] = ContextVar("organisation", default=HOME)


def current_tenant() -> str:
    """The organisation for which the running activity works; empty where there is only one."""
    return _current.get()


@contextmanager
def use_tenant(name: str) -> Iterator[None]:
    """Work for an organisation: what stores read and write from here on is its own."""
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)


def _header(name: str) -> dict[str, Payload]:
    return {HEADER: PayloadConverter.default.to_payload(name)} if name else {}


def _named(headers: Mapping[str, Payload]) -> str:
    """The organisation in a header; without one there is none.

    Raises:
        ApplicationError: It cannot be read. Nothing is done then, for nobody knows whose data it would be.
    """
    header = headers.get(HEADER)
    if header is None:
        return HOME
    try:
        name = PayloadConverter.default.from_payload(header, str) if len(header.data) <= _MOST_HEADER else None
    except (ValueError, TypeError, RuntimeError, KeyError):
        name = None
    if not isinstance(name, str):
        raise non_retryable("InvalidArguments", "it cannot be read for which organisation this is")
    return name


class OrganisationOfClients(client.Interceptor):
    """Workflows that an activity starts, such as a reminder's, belong to the organisation that it works for."""

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:  # noqa: A002  # as its base calls it
        """Name the organisation at each start."""
        return _Starting(next)


class _Starting(client.OutboundInterceptor):
    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:  # noqa: A002
        input.headers = {**input.headers, **_header(current_tenant())}
        return await super().start_workflow(input)


class OrganisationOfWorkers(worker.Interceptor):
    """On every worker: what a run begins carries its organisation, and an activity works for the one that it is told."""

    def intercept_activity(self, next: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:  # noqa: A002
        """Read the organisation before anything else happens."""
        return _Acting(next)

    def workflow_interceptor_class(
        self,
        input: worker.WorkflowInterceptorClassInput,  # noqa: A002  # as its base calls it
    ) -> type[worker.WorkflowInboundInterceptor]:
        """Carry it through the workflow."""
        del input
        return _Running


class _Acting(worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:  # noqa: A002
        with use_tenant(_named(input.headers)):
            return await super().execute_activity(input)


class _Running(worker.WorkflowInboundInterceptor):
    """Learns the organisation of a run when it begins, before any of its code has run."""

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        self._carrying = _Carrying(outbound)
        super().init(self._carrying)

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:  # noqa: A002
        self._carrying.header = _header(_of_run(input))
        return await super().execute_workflow(input)


def _of_run(begun: worker.ExecuteWorkflowInput) -> str:
    """A child's is what its parent told: its arguments may be a model's. Others belong to whoever the front door named."""
    if workflow.info().parent is None:
        for name in _OWNERS:
            if isinstance(owner := getattr(begun.args[0] if begun.args else None, name, None), str):
                return organisation(owner)
    return _named(begun.headers)


class _Carrying(worker.WorkflowOutboundInterceptor):
    """Puts the organisation on what a run begins."""

    header: Mapping[str, Payload] | None = None

    def _with(self, headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
        if self.header is None:
            raise RuntimeError("a run began work before it was known for which organisation")
        return {**headers, **self.header} if self.header else headers

    def start_activity(self, input: worker.StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        return super().start_activity(replace(input, headers=self._with(input.headers)))

    async def start_child_workflow(
        self,
        input: worker.StartChildWorkflowInput,  # noqa: A002
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        return await super().start_child_workflow(replace(input, headers=self._with(input.headers)))

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:  # noqa: A002
        super().continue_as_new(replace(input, headers=self._with(input.headers)))
