"""Who asked for a step: what a capability with data of one person is told, beside the arguments.

The workflow builds it from the run's own start and from what was decided; plans, arguments and models cannot affect it.
`retinue.temporal.person_header` carries it to the worker.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field


class How(StrEnum):
    """How the text of a step came to be allowed."""

    TYPED = "typed"
    """The person typed it."""
    APPROVED = "approved"
    """It was proposed, and the person approved it."""
    ALLOWED = "allowed"
    """A rule or a grant of the person's allows it."""


class AskedBy(BaseModel):
    """For whom a step is done, and by whose words."""

    person: str = Field(min_length=1, description="the owner of the run; in an organisation as `acme:anna`")
    through: str = Field("", description="an API key through which it was requested, in words; empty: in person")
    may_read: bool = Field(True, description="false if it was requested through a credential without the permission")
    how: How | None = Field(None, description="of a step that writes")
    account: str | None = Field(
        None,
        max_length=100,
        description="id of the account at a service elsewhere that the step must use, or `own`: the one that the person saw "
        "before deciding, or that an earlier step read from",
    )
    message: int | None = Field(None, description="number of the person's message before it, from 1")
