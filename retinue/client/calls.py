"""What is sent: one function per route of the API, which makes a `Call`. Nothing here does I/O.

The sync and the async client send the same calls. `tests/client/test_contract.py` holds each of them against the OpenAPI
document: route, parameters, fields of the body, fields of the answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, SecretStr, ValidationError

from retinue.client import models
from retinue.client.errors import NotUnderstood

Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)
Decision = Literal["approve", "reject", "edit"]
Mode = Literal["task", "chat"]
Choice = Literal["wait", "skip", "fail"]
AlsoFor = Literal["schedules", "keys"]
TriggerEvent = Literal["mail", "calendar"]
FactKind = Literal["home_place", "working_hours", "alias", "preference", "fact"]
AccountUse = Literal["calendar", "contacts", "email"]
PasswordProvider = Literal["caldav", "carddav", "imap"]
Arguments = Mapping[str, JsonValue]
Patterns = Mapping[str, Sequence[str]]
_RUN = "/v1/assistants/{assistant_id}"
_SCHEDULE = "/v1/schedules/{schedule_id}"
_TRIGGER = "/v1/triggers/{trigger_id}"
_FACT = "/v1/memory/facts/{fact_id}"
_ACCOUNT = "/v1/accounts/mine/{account_id}"


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Answer]):
    """One request and how its answer is read.

    Attributes:
        method: Of HTTP.
        route: The address as the OpenAPI document names it, with `{names}`.
        answer: What the answer is read as; None where there is none.
        read: Makes the answer out of the body.
        path: The values of the names in the route.
        query: What stands behind the question mark.
        body: What is sent as JSON; None sends nothing.
        key: The Idempotency-Key, with which it can be sent again without happening twice.
        accept: The media type that is asked for.
        waits: Seconds for which the API was asked to wait.
    """

    method: str
    route: str
    answer: Any
    read: Callable[[bytes], Answer]
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | int | float] = field(default_factory=dict)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    key: str | None = None
    accept: str = "application/json"
    waits: float = 0

    @property
    def address(self) -> str:
        """The path that is asked for. Whatever stands in an id, it stays one part of the path."""
        return self.route.format_map({name: quote(value, safe="") for name, value in self.path.items()})

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no more than sending it once."""
        return self.method == "GET" or self.key is not None


def _call(
    method: str, route: str, answer: type[Model], path: Mapping[str, str] | None = None, **more: Any
) -> Call[Model]:
    return Call(method=method, route=route, answer=answer, read=_reader(answer), path=path or {}, **more)


def _reader(answer: type[Model]) -> Callable[[bytes], Model]:
    def read(body: bytes) -> Model:
        try:
            return answer.model_validate_json(body)
        except ValidationError:
            raise NotUnderstood("what answered is not Retinue's API, or one of another version") from None

    return read


def _nothing(_body: bytes) -> None:
    return None


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="replace")


def _given(**values: Any) -> dict[str, Any]:
    """What was said; what was not is left to the API's defaults."""
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value.model_dump(mode="json", exclude_unset=True) if isinstance(value, BaseModel) else value


def _key(given: str | None) -> str:
    return given or str(uuid.uuid4())


def start(
    message: str,
    *,
    timezone: str | None,
    mode: Mode | None,
    preview: bool | None,
    policy: str | None,
    budget: Mapping[str, float] | models.Limits | None,
    plan: str | None,
    plan_args: Arguments | None,
    wait_seconds: float | None,
    idempotency_key: str | None,
) -> Call[models.Assistant]:
    """Start an assistant."""
    body = _given(message=message, timezone=timezone, mode=mode, preview=preview, policy=policy, budget=budget)
    body |= _given(plan=plan, plan_args=plan_args, wait_seconds=wait_seconds)
    return _call(
        "POST", "/v1/assistants", models.Assistant, body=body, key=_key(idempotency_key), waits=wait_seconds or 0
    )


def list_assistants(
    *, status: str | None, limit: int | None, cursor: str | None, mine: bool
) -> Call[models.AssistantPage]:
    """Return a page of assistants."""
    query = _given(status=status, limit=limit, cursor=cursor, mine="true" if mine else None)
    return _call("GET", "/v1/assistants", models.AssistantPage, query=query)


def read_assistant(assistant_id: str, *, wait_seconds: float | None) -> Call[models.Assistant]:
    """Return one assistant."""
    query = _given(wait_seconds=wait_seconds)
    return _call("GET", _RUN, models.Assistant, _run(assistant_id), query=query, waits=wait_seconds or 0)


def messages(assistant_id: str, *, before: int | None, limit: int | None) -> Call[models.MessagePage]:
    """Return a part of a conversation."""
    query = _given(before=before, limit=limit)
    return _call("GET", f"{_RUN}/messages", models.MessagePage, _run(assistant_id), query=query)


def send_message(
    assistant_id: str,
    message: str,
    *,
    question_id: str | None,
    wait_seconds: float | None,
    idempotency_key: str | None,
) -> Call[models.Assistant]:
    """Return the next message of a chat, or an answer."""
    body = _given(message=message, question_id=question_id, wait_seconds=wait_seconds)
    more: dict[str, Any] = {"body": body, "key": _key(idempotency_key), "waits": wait_seconds or 0}
    return _call("POST", f"{_RUN}/messages", models.Assistant, _run(assistant_id), **more)


def cancel(assistant_id: str, *, undo: bool | None, idempotency_key: str | None) -> Call[models.Assistant]:
    """Stop a run."""
    more: dict[str, Any] = {"body": _given(undo=undo), "key": _key(idempotency_key), "waits": 3}
    return _call("POST", f"{_RUN}/cancel", models.Assistant, _run(assistant_id), **more)


def undo(assistant_id: str, *, wait_seconds: float | None, idempotency_key: str | None) -> Call[models.Assistant]:
    """Take back what an ended run did."""
    more: dict[str, Any] = {"body": _given(wait_seconds=wait_seconds), "waits": wait_seconds or 5}
    more |= {"key": _key(idempotency_key)}
    return _call("POST", f"{_RUN}/undo", models.Assistant, _run(assistant_id), **more)


def fork(
    assistant_id: str,
    from_step: str,
    *,
    message: str | None,
    args: Arguments | None,
    preview: bool | None,
    wait_seconds: float | None,
    idempotency_key: str | None,
) -> Call[models.Assistant]:
    """Go on from a step in a new run."""
    body = _given(from_step=from_step, message=message, args=args, preview=preview, wait_seconds=wait_seconds)
    more: dict[str, Any] = {"body": body, "key": _key(idempotency_key), "waits": wait_seconds or 0}
    return _call("POST", f"{_RUN}/fork", models.Assistant, _run(assistant_id), **more)


def choose(assistant_id: str, step_id: str, choice: Choice, *, idempotency_key: str | None) -> Call[models.Assistant]:
    """Decide about a step that no worker takes."""
    path = {**_run(assistant_id), "step_id": step_id}
    return _call(
        "POST", f"{_RUN}/steps/{{step_id}}", models.Assistant, path, body={"choice": choice}, key=_key(idempotency_key)
    )


def receipt(assistant_id: str) -> Call[models.Receipt]:
    """What a run did."""
    return _call("GET", f"{_RUN}/receipt", models.Receipt, _run(assistant_id))


def receipt_text(assistant_id: str) -> Call[str]:
    """Return the same for reading."""
    return Call(
        method="GET",
        route=f"{_RUN}/receipt",
        answer=str,
        read=_text,
        path=_run(assistant_id),
        accept="text/plain",
    )


def events(assistant_id: str) -> Call[None]:
    """Return the stream of a run's events."""
    path = _run(assistant_id)
    accept = "text/event-stream"
    return Call(method="GET", route=f"{_RUN}/events", answer=None, read=_nothing, path=path, accept=accept)


def inbox(*, limit: int | None, cursor: str | None) -> Call[models.Inbox]:
    """What waits for the caller."""
    return _call("GET", "/v1/approvals", models.Inbox, query=_given(limit=limit, cursor=cursor))


def decide(
    assistant_id: str,
    approval_id: str,
    decision: Decision,
    *,
    args_hash: str,
    args: Arguments | None,
    comment: str | None,
    grant: Mapping[str, Any] | None,
    wait_seconds: float | None,
    idempotency_key: str | None,
) -> Call[models.Assistant]:
    """Decide an approval."""
    body = _given(decision=decision, args_hash=args_hash, args=args, comment=comment, wait_seconds=wait_seconds)
    body |= _given(grant=grant)
    path = {**_run(assistant_id), "approval_id": approval_id}
    route = f"{_RUN}/approvals/{{approval_id}}"
    more: dict[str, Any] = {"body": body, "key": _key(idempotency_key), "waits": wait_seconds or 0}
    return _call("POST", route, models.Assistant, path, **more)


@dataclass(frozen=True, kw_only=True)
class OneDecision:
    """One of several decisions. Its fields are those of `decide`."""

    assistant_id: str
    approval_id: str
    decision: Decision
    args_hash: str
    args: Arguments | None = None
    comment: str | None = None
    grant: Mapping[str, Any] | None = None


def decide_all(decisions: Sequence[OneDecision], *, idempotency_key: str | None) -> Call[models.BatchOutcomes]:
    """Decide several at once."""
    body = {"decisions": [_given(**vars(decision)) for decision in decisions]}
    return _call("POST", "/v1/approvals", models.BatchOutcomes, body=body, key=_key(idempotency_key))


def capabilities() -> Call[models.Capabilities]:
    """What the assistant can do."""
    return _call("GET", "/v1/capabilities", models.Capabilities)


def pauses() -> Call[models.ModelPauses]:
    """Return the language models that are left alone now."""
    return _call("GET", "/v1/pauses", models.ModelPauses)


def end_pauses() -> Call[models.ModelPauses]:
    """End the pauses of language models."""
    return _call("DELETE", "/v1/pauses", models.ModelPauses)


def language_models() -> Call[models.LanguageModels]:
    """Return the language models in use, and those on this machine."""
    return _call("GET", "/v1/language-model", models.LanguageModels)


def use_model(server: str, model: str) -> Call[models.LanguageModels]:
    """Use a model that a server on this machine offers."""
    return _call("POST", "/v1/language-model", models.LanguageModels, body={"server": server, "model": model})


def use_built_in_model() -> Call[models.LanguageModels]:
    """Use the built-in model again."""
    return _call("DELETE", "/v1/language-model", models.LanguageModels)


def test_model() -> Call[models.LanguageModels]:
    """Send one small request to the model that plans."""
    return _call("POST", "/v1/language-model/test", models.LanguageModels)


def list_facts(*, kind: FactKind | None, after: str | None) -> Call[models.FactPage]:
    """What is remembered."""
    return _call("GET", "/v1/memory", models.FactPage, query=_given(kind=kind, after=after))


def export_facts() -> Call[models.MemoryExport]:
    """Everything that is remembered."""
    return _call("GET", "/v1/memory/export", models.MemoryExport)


def remember_fact(text: str, kind: FactKind, *, idempotency_key: str | None) -> Call[models.FactChange]:
    """Remember a fact."""
    body = {"text": text, "kind": kind}
    return _call("POST", "/v1/memory", models.FactChange, body=body, key=_key(idempotency_key))


def correct_fact(fact_id: str, text: str) -> Call[models.FactChange]:
    """Replace the text of a fact."""
    return _call("PUT", _FACT, models.FactChange, {"fact_id": fact_id}, body={"text": text})


def forget_fact(fact_id: str) -> Call[models.FactChange]:
    """Forget a fact."""
    return _call("DELETE", _FACT, models.FactChange, {"fact_id": fact_id})


def forget_facts(*, kind: FactKind | None) -> Call[models.FactChange]:
    """Forget everything, or all of one kind."""
    return _call("DELETE", "/v1/memory", models.FactChange, query=_given(kind=kind))


def list_accounts() -> Call[models.Accounts]:
    """Return the caller's accounts elsewhere."""
    return _call("GET", "/v1/accounts", models.Accounts)


def read_account(account_id: str) -> Call[models.Account]:
    """Return one account."""
    return _call("GET", _ACCOUNT, models.Account, {"account_id": account_id})


def list_account_providers() -> Call[models.AccountProviders]:
    """Return where accounts can be connected."""
    return _call("GET", "/v1/accounts/providers", models.AccountProviders)


def list_account_events(*, before: int | None, limit: int | None) -> Call[models.AccountEvents]:
    """Return what happened to the caller's accounts."""
    return _call("GET", "/v1/accounts/events", models.AccountEvents, query=_given(before=before, limit=limit))


def connect_account(
    provider: PasswordProvider,
    address: str,
    password: SecretStr,
    *,
    username: str | None,
    endpoints: Mapping[str, str] | None,
    name: str | None,
    account_id: str | None,
    idempotency_key: str | None,
) -> Call[models.Account]:
    """Connect an account by an app password."""
    body = _given(provider=provider, address=address, password=password, username=username, endpoints=endpoints)
    body |= _given(name=name, account_id=account_id)
    return _call("POST", "/v1/accounts", models.Account, body=body, key=_key(idempotency_key))


def discover_servers(address: str) -> Call[models.DiscoveredServers]:
    """Find the servers of an address."""
    return _call("POST", "/v1/accounts/discover", models.DiscoveredServers, body={"address": address})


def begin_consent(
    provider_id: str,
    capabilities: Sequence[AccountUse],
    *,
    name: str | None,
    account_id: str | None,
    redirect_uri: str | None,
    read_only: Sequence[AccountUse] | None,
) -> Call[models.ConsentBegun]:
    """Begin to connect an account by consent."""
    body = _given(provider_id=provider_id, capabilities=list(capabilities), name=name, account_id=account_id)
    body |= _given(redirect_uri=redirect_uri, read_only=read_only)
    return _call("POST", "/v1/accounts/oauth", models.ConsentBegun, body=body)


def finish_consent(state: str, *, code: SecretStr | None, iss: str | None, error: str | None) -> Call[models.Account]:
    """Finish a consent with what the redirect brought."""
    return _call(
        "POST", "/v1/accounts/oauth/finish", models.Account, body=_given(state=state, code=code, iss=iss, error=error)
    )


def begin_device_consent(
    provider_id: str,
    capabilities: Sequence[AccountUse],
    *,
    name: str | None,
    account_id: str | None,
    read_only: Sequence[AccountUse] | None,
) -> Call[models.DeviceConsentBegun]:
    """Begin a consent that is given on another device."""
    body = _given(provider_id=provider_id, capabilities=list(capabilities), name=name, account_id=account_id)
    body |= _given(read_only=read_only)
    return _call("POST", "/v1/accounts/oauth/device", models.DeviceConsentBegun, body=body)


def poll_device_consent(state: str) -> Call[models.DeviceConsent]:
    """Finish a consent that is given on another device."""
    return _call("POST", "/v1/accounts/oauth/device/poll", models.DeviceConsent, body={"state": state})


def change_account(
    account_id: str,
    *,
    name: str | None,
    capabilities: Sequence[AccountUse] | None,
    default_for: Sequence[AccountUse] | None,
) -> Call[models.Account]:
    """Rename an account, or say what it is used for."""
    body = _given(name=name, capabilities=capabilities, default_for=default_for)
    return _call("PATCH", _ACCOUNT, models.Account, {"account_id": account_id}, body=body)


def revoke_account(account_id: str) -> Call[None]:
    """Remove an account."""
    return Call(method="DELETE", route=_ACCOUNT, answer=None, read=_nothing, path={"account_id": account_id})


def test_account(account_id: str) -> Call[models.AccountTest]:
    """Try whether an account works."""
    return _call("POST", f"{_ACCOUNT}/test", models.AccountTest, {"account_id": account_id})


def list_connections(*, after: str | None) -> Call[models.AccountConnections]:
    """Return who in the organisation is connected."""
    return _call("GET", "/v1/accounts/organisation/connections", models.AccountConnections, query=_given(after=after))


def list_all_account_events(*, before: int | None, limit: int | None) -> Call[models.AccountEvents]:
    """Return what happened to all accounts of the organisation."""
    return _call(
        "GET", "/v1/accounts/organisation/events", models.AccountEvents, query=_given(before=before, limit=limit)
    )


def read_account_rules() -> Call[models.AccountRules]:
    """Return which accounts the organisation allows."""
    return _call("GET", "/v1/accounts/organisation/rules", models.AccountRules)


def set_account_rules(
    *, allowed_providers: Sequence[str] | None, roles: Mapping[str, str]
) -> Call[models.AccountRules]:
    """Say which accounts the organisation allows."""
    body = {"allowed_providers": allowed_providers, "roles": roles}
    return _call("PUT", "/v1/accounts/organisation/rules", models.AccountRules, body=body)


def list_grants(*, everything: bool) -> Call[models.GrantList]:
    """Standing permissions."""
    return _call("GET", "/v1/grants", models.GrantList, query={"all": "true"} if everything else {})


def add_grant(
    tool: str,
    args: Patterns,
    *,
    uses: int | None,
    expires_at: datetime | str | None,
    schedule_id: str | None,
    also_for: Sequence[AlsoFor],
    account: str | None,
    idempotency_key: str | None,
) -> Call[models.Grant]:
    """Allow something from now on."""
    body = _given(tool=tool, args=args, uses=uses, expires_at=expires_at, schedule_id=schedule_id)
    body |= {"also_for": list(also_for)} if also_for else {}
    body |= _given(account=account)
    return _call("POST", "/v1/grants", models.Grant, body=body, key=_key(idempotency_key))


def revoke_grant(grant_id: str) -> Call[models.Grant]:
    """End a standing permission."""
    return _call("DELETE", "/v1/grants/{grant_id}", models.Grant, {"grant_id": grant_id})


def usage() -> Call[models.UsageToday]:
    """What today has used."""
    return _call("GET", "/v1/usage", models.UsageToday)


def add_schedule(
    cron: str,
    *,
    message: str | None,
    plan: str | None,
    plan_args: Arguments | None,
    name: str | None,
    timezone: str | None,
    policy: str | None,
    budget: Mapping[str, float] | models.Limits | None,
    catch_up_seconds: int | None,
    ends_at: datetime | str | None,
    idempotency_key: str | None,
) -> Call[models.Schedule]:
    """Make a schedule."""
    body = _given(cron=cron, message=message, plan=plan, plan_args=plan_args, name=name, timezone=timezone)
    body |= _given(policy=policy, budget=budget, catch_up_seconds=catch_up_seconds, ends_at=ends_at)
    return _call("POST", "/v1/schedules", models.Schedule, body=body, key=_key(idempotency_key))


def add_trigger(
    event: TriggerEvent,
    message: str,
    *,
    conditions: Mapping[str, JsonValue] | None,
    account: str | None,
    name: str | None,
    timezone: str | None,
    quiet_hours: Mapping[str, str] | None,
    per_hour: int | None,
    per_day: int | None,
    policy: str | None,
    budget: Mapping[str, float] | models.Limits | None,
    idempotency_key: str | None,
) -> Call[models.Trigger]:
    """Make a trigger."""
    body = _given(event=event, message=message, conditions=conditions, name=name, timezone=timezone, policy=policy)
    body |= _given(account=account, budget=budget, per_hour=per_hour, per_day=per_day, quiet_hours=quiet_hours)
    return _call("POST", "/v1/triggers", models.Trigger, body=body, key=_key(idempotency_key))


def list_triggers() -> Call[models.TriggerPage]:
    """Return the caller's triggers."""
    return _call("GET", "/v1/triggers", models.TriggerPage)


def read_trigger(trigger_id: str) -> Call[models.Trigger]:
    """Return one trigger."""
    return _call("GET", _TRIGGER, models.Trigger, {"trigger_id": trigger_id})


def pause_trigger(trigger_id: str, *, note: str | None) -> Call[models.Trigger]:
    """Start no run until it is resumed."""
    return _call("POST", f"{_TRIGGER}/pause", models.Trigger, {"trigger_id": trigger_id}, body=_given(note=note))


def resume_trigger(trigger_id: str) -> Call[models.Trigger]:
    """Start runs again, for what arrives from now on."""
    return _call("POST", f"{_TRIGGER}/resume", models.Trigger, {"trigger_id": trigger_id})


def test_trigger(trigger_id: str, *, start: bool, idempotency_key: str | None) -> Call[models.TriggerTest]:
    """Say what the latest arrivals would do."""
    body = {"start": start} if start else {}
    path = {"trigger_id": trigger_id}
    return _call("POST", f"{_TRIGGER}/test", models.TriggerTest, path, body=body, key=_key(idempotency_key))


def delete_trigger(trigger_id: str) -> Call[None]:
    """Start no run any more."""
    return Call(method="DELETE", route=_TRIGGER, answer=None, read=_nothing, path={"trigger_id": trigger_id})


def list_schedules(*, limit: int | None) -> Call[models.SchedulePage]:
    """Return the caller's schedules."""
    return _call("GET", "/v1/schedules", models.SchedulePage, query=_given(limit=limit))


def read_schedule(schedule_id: str) -> Call[models.Schedule]:
    """Return one schedule."""
    return _call("GET", _SCHEDULE, models.Schedule, {"schedule_id": schedule_id})


def pause_schedule(schedule_id: str, *, note: str | None) -> Call[models.Schedule]:
    """Start no run for a while."""
    return _call("POST", f"{_SCHEDULE}/pause", models.Schedule, {"schedule_id": schedule_id}, body=_given(note=note))


def resume_schedule(schedule_id: str) -> Call[models.Schedule]:
    """Go on with the next time."""
    return _call("POST", f"{_SCHEDULE}/resume", models.Schedule, {"schedule_id": schedule_id})


def run_schedule(schedule_id: str, *, idempotency_key: str | None) -> Call[models.Schedule]:
    """Start a run now."""
    return _call("POST", f"{_SCHEDULE}/run", models.Schedule, {"schedule_id": schedule_id}, key=_key(idempotency_key))


def delete_schedule(schedule_id: str) -> Call[None]:
    """Start no run any more."""
    return Call(method="DELETE", route=_SCHEDULE, answer=None, read=_nothing, path={"schedule_id": schedule_id})


def me() -> Call[models.Me]:
    """Whom the front door takes the caller for."""
    return _call("GET", "/v1/me", models.Me)


def list_keys() -> Call[models.ApiKeys]:
    """Return the caller's API keys."""
    return _call("GET", "/v1/keys", models.ApiKeys)


def add_key(name: str, *, scopes: Sequence[str] | None, expires_at: datetime | str | None) -> Call[models.NewApiKey]:
    """Make an API key."""
    return _call("POST", "/v1/keys", models.NewApiKey, body=_given(name=name, scopes=scopes, expires_at=expires_at))


def revoke_key(key_id: str) -> Call[None]:
    """End an API key."""
    return Call(method="DELETE", route="/v1/keys/{key_id}", answer=None, read=_nothing, path={"key_id": key_id})


def health() -> Call[models.Health]:
    """Whether the API's process lives."""
    return _call("GET", "/healthz", models.Health)


def readiness() -> Call[models.Health]:
    """Whether requests can be taken."""
    return _call("GET", "/readyz", models.Health)


def _run(assistant_id: str) -> dict[str, str]:
    return {"assistant_id": assistant_id}
