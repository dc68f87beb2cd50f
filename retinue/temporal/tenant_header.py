"""The Temporal header `retinue-organisation`, which carries a run's organisation to every activity.

A run takes its organisation from its owner's name in its start, which the API wrote. The workflow worker adds the header to
each activity and child workflow of the run; plans, arguments and models cannot affect it. A capability's worker reads it
before the activity begins. Without organisations there is no header. A worker in another language reads the same header: a
JSON string. Why: docs/decisions/0024.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import client, worker, workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from retinue.capability import ACCOUNT
from retinue.errors import InvalidArguments
from retinue.provenance.asked_by import AskedBy
from retinue.settings import only_person
from retinue.temporal import person_header, step_pass
from retinue.temporal.failures import non_retryable
from retinue.temporal.keyring import Keyring
from retinue.tenancy import HOME, organisation

HEADER = "retinue-organisation"
_MOST_HEADER = 4096
_UNLIMITED = timedelta(hours=1)
_OWNERS = ("owner", "by")
"""Field of a run's input with the owner; of an undo's input, with the requester."""
_current: ContextVar[str] = ContextVar("organisation", default=HOME)


def current_tenant() -> str:
    """Return the organisation of the running activity; empty without organisations."""
    return _current.get()


@contextmanager
def use_tenant(name: str) -> Iterator[None]:
    """Work for an organisation: stores read and write its data within the block."""
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def working_for(person: str, *, of_organisation: str = HOME) -> Iterator[None]:
    """Within the block, stores are this person's, outside of any activity: for files that are imported.

    Args:
        person: As the front door names them, with the organisation before a colon or without; empty: the only one.
        of_organisation: The organisation of a person who is named without one.

    Raises:
        InvalidArguments: Nobody is named, though there may be several people.
    """
    named = person or ("" if of_organisation else only_person())
    if not named:
        raise InvalidArguments("it is not said for whom", hint="name the person with --person")
    owner = named if organisation(named) or not of_organisation else f"{of_organisation}:{named}"
    with use_tenant(organisation(owner)), person_header.asking(AskedBy(person=owner)):
        yield


def _header(name: str) -> dict[str, Payload]:
    return {HEADER: PayloadConverter.default.to_payload(name)} if name else {}


def _named(headers: Mapping[str, Payload]) -> str:
    """Return the organisation in a header; without one there is none.

    Raises:
        ApplicationError: It cannot be read, so nothing is done.
    """
    header = headers.get(HEADER)
    if header is None:
        return HOME
    try:
        name = PayloadConverter.default.from_payload(header, str) if len(header.data) <= _MOST_HEADER else None
    except (ValueError, TypeError, RuntimeError, KeyError):
        name = None
    if not isinstance(name, str):
        raise non_retryable("InvalidArguments", "the organisation header is unreadable")
    return name


class OrganisationOfClients(client.Interceptor):
    """Adds the organisation to workflows that an activity starts, such as a reminder's."""

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:  # as its base calls it
        """Name the organisation at each start."""
        return _Starting(next)


class _Starting(client.OutboundInterceptor):
    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:
        input.headers = {**input.headers, **_header(current_tenant())}
        return await super().start_workflow(input)


class OrganisationOfWorkers(worker.Interceptor):
    """On every worker: adds a run's organisation to what it starts, and applies it in activities.

    Args:
        passes: The keys by which a workflow worker signs the passes of steps; None: steps carry no pass.
    """

    def __init__(self, passes: Keyring | None = None) -> None:
        self._passes = passes

    def intercept_activity(self, next: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:
        """Read the organisation before anything else happens."""
        return _Acting(next)

    def workflow_interceptor_class(
        self,
        input: worker.WorkflowInterceptorClassInput,  # as its base calls it
    ) -> type[worker.WorkflowInboundInterceptor]:
        """Carry it through the workflow."""
        del input
        return type("Running", (_Running,), {"passes": self._passes})


class _Acting(worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        asked_by = person_header.incoming(input.headers)
        passed = step_pass.incoming(input.headers)
        with use_tenant(_named(input.headers)), person_header.asking(asked_by), step_pass.with_pass(passed):
            return await super().execute_activity(input)


class _Running(worker.WorkflowInboundInterceptor):
    """Determines the organisation of a run before any of its code runs."""

    passes: Keyring | None = None

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        self._carrying = _Carrying(outbound, self.passes)
        super().init(self._carrying)

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        self._carrying.header = _header(_of_run(input))
        return await super().execute_workflow(input)


def _of_run(begun: worker.ExecuteWorkflowInput) -> str:
    """Return a run's organisation. Children inherit the parent's tenant, since their arguments are untrusted."""
    if workflow.info().parent is None:
        for name in _OWNERS:
            if isinstance(owner := getattr(begun.args[0] if begun.args else None, name, None), str):
                return organisation(owner)
    return _named(begun.headers)


def _longest(started: worker.StartActivityInput) -> timedelta:
    """Return how long an activity may last at most, its retries included; an hour if nothing limits it."""
    return started.schedule_to_close_timeout or started.start_to_close_timeout or _UNLIMITED


class _Carrying(worker.WorkflowOutboundInterceptor):
    """Adds the organisation to what a run starts, and to steps of a person the person and the pass."""

    header: Mapping[str, Payload] | None = None

    def __init__(self, following: worker.WorkflowOutboundInterceptor, passes: Keyring | None) -> None:
        super().__init__(following)
        self._passes = passes

    def _with(self, headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
        if self.header is None:
            raise RuntimeError("a run started work before its organisation was known")
        return {**headers, **self.header} if self.header else headers

    def start_activity(self, input: worker.StartActivityInput) -> workflow.ActivityHandle[Any]:
        headers = {**input.headers, **person_header.outgoing(), **self._passed(input)}
        return super().start_activity(replace(input, headers=self._with(headers)))

    def _passed(self, started: worker.StartActivityInput) -> Mapping[str, Payload]:
        """Return the header with the pass of a step; empty where no person is named, or without a key."""
        asked_by = person_header.current()
        if asked_by is None or self._passes is None:
            return {}
        arguments = started.args[0] if started.args else None
        named = arguments.get(ACCOUNT) if isinstance(arguments, dict) else None
        account = asked_by.account or named
        step = step_pass.StepPass(
            organisation=organisation(asked_by.person),
            person=asked_by.person,
            capability=started.activity.partition(".")[0],
            workflow_id=workflow.info().workflow_id,
            activity_id=started.activity_id or "",
            account=account if isinstance(account, str) and account else None,
            expires=int((workflow.now() + _longest(started) + step_pass.SLACK).timestamp()),
        )
        return step_pass.header(step_pass.sign(step, self._passes))

    async def start_child_workflow(
        self,
        input: worker.StartChildWorkflowInput,
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        return await super().start_child_workflow(replace(input, headers=self._with(input.headers)))

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:
        super().continue_as_new(replace(input, headers=self._with(input.headers)))
