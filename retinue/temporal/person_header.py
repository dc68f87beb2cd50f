"""The Temporal header `retinue-person`, which tells a capability with data of one person whose they are.

Only steps of tools that are annotated `personal` carry it. The workflow sets it (`asking`), the workers' interceptor
(`retinue.temporal.tenant_header`) adds and reads it. A worker in another language reads the same header: `AskedBy` as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from retinue.errors import ServiceRefused
from retinue.provenance.asked_by import AskedBy
from retinue.settings import only_person
from retinue.temporal.failures import non_retryable
from retinue.tenancy import HOME, organisation

HEADER = "retinue-person"
_MOST_BYTES = 4096
_current: ContextVar[AskedBy | None] = ContextVar("asked_by", default=None)


@contextmanager
def asking(asked_by: AskedBy | None) -> Iterator[None]:
    """Within the block, activities are started, or run, for this person; None: for nobody in particular."""
    token = _current.set(asked_by)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> AskedBy | None:
    """Return for whom activities are started, or run, now; None for nobody in particular."""
    return _current.get()


def asked_by(tenant: str) -> AskedBy:
    """Return for whom the running activity works. Without a header it is the one person of the installation, if there is one.

    Args:
        tenant: The organisation of the running activity.

    Raises:
        ServiceRefused: The header is missing, or names a person of another organisation. Nothing is read or written then.
    """
    found = _current.get()
    if found is None and tenant == HOME and (only := only_person()):
        return AskedBy(person=only)
    if found is None or organisation(found.person) != tenant:
        raise ServiceRefused("nobody said for which person this is", hint="update the workflow workers")
    return found


def outgoing() -> dict[str, Payload]:
    """Return the header of an activity that is started now."""
    found = _current.get()
    return (
        {HEADER: PayloadConverter.default.to_payload(found.model_dump(mode="json", exclude_unset=True))}
        if found
        else {}
    )


def incoming(headers: Mapping[str, Payload]) -> AskedBy | None:
    """Return what the header of an activity says; None without one.

    Raises:
        ApplicationError: It cannot be read, so nothing is done.
    """
    header = headers.get(HEADER)
    if header is None:
        return None
    try:
        if len(header.data) > _MOST_BYTES:
            raise ValueError("too long")
        return AskedBy.model_validate(PayloadConverter.default.from_payload(header, dict))
    except (ValidationError, ValueError, TypeError, RuntimeError, KeyError):
        raise non_retryable("InvalidArguments", "the person header is unreadable") from None
