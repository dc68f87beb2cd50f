"""Standing permissions: list, add, revoke; and what the day has used so far."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.auth.principals import Permission
from api.deps import AppState, Caller, State, needs
from api.errors import PROBLEMS
from api.http.etags import UNCHANGED, ListVersion
from api.idempotent_route import IdempotentAnswer, IdempotentRoute
from api.services.grants import Grants
from retinue.capability import ToolSpec
from retinue.errors import InvalidArguments, NotAllowed
from retinue.schemas.plain_number import PLAIN_NUMBER
from retinue.times import Moment, local, present
from workflows.rules.budget import Limits
from workflows.rules.grants import (
    Amounts,
    DayUsage,
    Grant,
    NewGrant,
    Patterns,
    Reach,
    ScheduleId,
    Scope,
    ToolName,
    check_wish,
    describe,
    digest,
    is_live,
)
from workflows.rules.policy import DEFAULT_POLICY, Policy
from workflows.rules.strictness import rule_of_others

router = APIRouter(prefix="/v1", tags=["grants"], responses=PROBLEMS, route_class=IdempotentRoute)
GrantId = Annotated[str, Path(max_length=200)]
_SAME = ("tool", "args", "expires_at", "schedule_id", "also_for")
"""What an `Idempotency-Key` may not stand for twice."""


class GrantBody(BaseModel):
    """What is to run without asking from now on."""

    model_config = ConfigDict(extra="forbid")

    tool: ToolName = Field(description="full name, as in /v1/capabilities", examples=["email.send"])
    args: Patterns = Field(
        description="by JSON pointer, glob patterns that each value there must fit; [] for no value; {} for any "
        "arguments at all",
        examples=[{"/to": ["*@example.com"], "/cc": []}],
    )
    uses: Annotated[int, Field(ge=1, le=1000), PLAIN_NUMBER] | None = Field(
        None, description="how often; without it, any number of times"
    )
    expires_at: Moment | None = Field(None, description="at most a year ahead; without it, until it is revoked")
    schedule_id: ScheduleId = None
    also_for: Reach = ()


class GrantShown(Grant):
    """A grant as the API shows it."""

    says: str = Field(description="in plain words, made by code")
    live: bool = Field(description="neither revoked nor used up nor expired")


class GrantList(BaseModel):
    """The caller's grants, oldest first."""

    grants: list[GrantShown]


class UsageToday(BaseModel):
    """What the caller has used today."""

    day: str = Field(description="ISO date")
    timezone: str = Field(description="the installation's; in it the days of all people's budgets are counted")
    used: Amounts
    budget: Limits | None = Field(None, description="of a day, by the default policy; null is without limit")


def my_grants(state: State, me: Caller) -> Grants:
    """The caller's grants."""
    return Grants(state.client, me.owner)


MyGrants = Annotated[Grants, Depends(my_grants)]


@router.get(
    "/grants",
    summary="List standing permissions",
    response_model=GrantList,
    responses=UNCHANGED,
    dependencies=[needs(Permission.READ)],
)
async def list_grants(
    grants: MyGrants,
    known: ListVersion,
    everything: Annotated[bool, Query(alias="all", description="also revoked, used up and expired ones")] = False,
) -> Response:
    """Those that are live, each in plain words and with its last uses."""
    shown = [_shown(grant) for grant in await grants.all()]
    return known.or_else(GrantList(grants=[grant for grant in shown if everything or grant.live]))


@router.post("/grants", status_code=201, summary="Allow something from now on", dependencies=[needs(Permission.DECIDE)])
async def add_grant(body: GrantBody, grants: MyGrants, state: State, me: Caller, once: IdempotentAnswer) -> GrantShown:
    """Add a standing permission. The same `Idempotency-Key` and body are the same grant, always.

    Whoever may decide may give one, for what they alone decide about: where a rule of the policy wants several approvers,
    or names who decides, it is refused.
    """
    if problem := check_wish(body.expires_at, datetime.now(UTC)):
        raise InvalidArguments(problem)
    _check_rules(body, await _tool(body, state), state.policies[DEFAULT_POLICY.name], me.owner)
    await once.claim(body, fingerprint="grant")
    grant_id = f"g-{digest(once.key) if once.key else uuid.uuid4().hex}"
    grant = await grants.add(NewGrant(**dict(body), grant_id=grant_id, by=me.owner, through=me.credential))
    if any(getattr(grant, field) != getattr(body, field) for field in _SAME):
        raise InvalidArguments("this Idempotency-Key was used for another grant", hint="use a new key")
    return _shown(grant)


@router.delete("/grants/{grant_id}", summary="Revoke a standing permission", dependencies=[needs(Permission.ASK)])
async def revoke_grant(grant_id: GrantId, grants: MyGrants) -> GrantShown:
    """From now on it is asked again. What was done stays done. Revoking twice is the same as once."""
    return _shown(await grants.revoke(grant_id))


@router.get("/usage", summary="What today has used", dependencies=[needs(Permission.READ)])
async def usage(grants: MyGrants, state: State) -> UsageToday:
    """Today's totals over all runs. The day is the installation's, so no request chooses on which one it counts."""
    zone = state.settings.retinue_timezone
    used: DayUsage = await grants.day(local(present(), zone).date())
    return UsageToday(
        day=used.day.isoformat(),
        timezone=zone,
        used=Amounts(**used.model_dump(exclude={"day"})),
        budget=state.policies[DEFAULT_POLICY.name].day_budget,
    )


def _check_rules(body: GrantBody, spec: ToolSpec, policy: Policy, caller: str) -> None:
    """Refuse to allow alone what others have to decide about too.

    Raises:
        NotAllowed: A rule of the policy wants others to decide about some of it.
    """
    rule = rule_of_others(
        policy,
        Scope(args=body.args),
        tool=spec.name,
        annotations=spec.annotations,
        arguments=list(spec.args_schema.get("properties", {})),
        caller=caller,
        also_for=body.also_for,
    )
    if rule is not None:
        raise NotAllowed(
            f"the rule {rule.name!r} of the policy says who decides about this, and it may not be you alone",
            hint="name exact arguments about which you alone decide",
        )


async def _tool(body: GrantBody, state: AppState) -> ToolSpec:
    """The tool. A pointer to an argument that does not exist would look like a limit and be none.

    Raises:
        InvalidArguments: There is no such tool, or it has no such argument.
    """
    specs = [spec for manifest in await state.directory.manifests() if (spec := manifest.tool(body.tool))]
    if not specs:
        raise InvalidArguments(f"there is no tool {body.tool!r}", hint="/v1/capabilities lists all")
    known = specs[0].args_schema.get("properties", {})
    if unknown := [place for place in body.args if _argument(place) not in known]:
        raise InvalidArguments(
            f"{body.tool} has no argument at {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    return specs[0]


def _argument(place: str) -> str:
    return place.split("/")[1].replace("~1", "/").replace("~0", "~")


def _shown(grant: Grant) -> GrantShown:
    return GrantShown(**dict(grant), says=describe(grant), live=is_live(grant, datetime.now(UTC)))
