"""The client that waits for each answer. Written by `deploy.unasync`: change `async_client.py`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from retinue.client import calls, models, wire
from retinue.client.async_client import AsyncClient
from retinue.client.calls import (
    AccountUse,
    AlsoFor,
    Arguments,
    Call,
    Choice,
    Decision,
    FactKind,
    Mode,
    OneDecision,
    PasswordProvider,
    Patterns,
    TriggerEvent,
)
from retinue.client.errors import ClientError, NotUnderstood
from retinue.client.event_stream import RETRIES, SILENCE, EventReader

Answer = TypeVar("Answer")
_LONGEST_WAIT = 30.0


class Client:
    """Retinue's API at one address.

    Reading is tried again when nothing answers, and so is whatever carries an `Idempotency-Key`, which is made for each
    call that takes one: nothing happens twice by that. All else is sent once. All methods raise `ClientError`.

    Args:
        url: Address of the API; by default `RETINUE_URL`, else the local stack at http://127.0.0.1:8000.
        api_key: A personal API key or an OIDC token; by default `RETINUE_API_KEY`. `""` sends none, whatever is set.
        timeout: Seconds that an answer may take, beyond those for which the API is asked to wait.
        retries: How often what may be sent again is sent again.
        transport: In place of the network.

    Raises:
        ValueError: `url` is no address.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 20,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._door = wire.Door.of(url, api_key)
        self._timeout = timeout
        self._retries = retries
        self._http = httpx.Client(transport=transport, **self._door.options(timeout))
        self.assistants = Assistants(self)
        self.approvals = Approvals(self)
        self.grants = Grants(self)
        self.memory = Memory(self)
        self.schedules = Schedules(self)
        self.triggers = Triggers(self)
        self.keys = Keys(self)
        self.accounts = Accounts(self)

    @property
    def url(self) -> str:
        """Address of the API."""
        return self._door.url

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def as_async(self) -> AsyncClient:
        """A client for asyncio with the same address and credentials."""
        key = self._door.api_key
        return AsyncClient(
            self.url, key.get_secret_value() if key else "", timeout=self._timeout, retries=self._retries
        )

    def send(self, call: Call[Answer]) -> Answer:
        """Send a call and read its answer, again where that is safe and helps."""
        patience = wire.Patience(self._retries if call.repeatable else 0)
        while True:
            try:
                return call.read(self._exchange(call))
            except ClientError as error:
                time.sleep(patience.pause_after(error))

    def _exchange(self, call: Call[Any]) -> bytes:
        try:
            request = wire.request(self._http, self._door, call, self._timeout)
            response = self._http.send(request, stream=True)
            try:
                return self._body(response)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise wire.unreachable(error, self._door) from None

    def _body(self, response: httpx.Response) -> bytes:
        """Return the answer's body.

        Raises:
            Refused: The API said no.
            NotUnderstood: It is larger than any answer of Retinue's.
        """
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > wire.MAX_ANSWER:
                raise NotUnderstood("the answer is larger than any of Retinue's")
        if not response.is_success:
            raise wire.refused(response.status_code, bytes(body), response.headers)
        return bytes(body)

    def follow(self, call: Call[None], reader: EventReader) -> Iterator[models.Event]:
        """Yield the events of a stream, over as many connections as it takes, until its end."""
        patience = wire.Patience(RETRIES)
        while not reader.ended:
            try:
                yield from self._connection(call, reader)
                if not reader.ended:
                    raise wire.unreachable(httpx.RemoteProtocolError("closed"), self._door)
            except ClientError as error:
                if reader.heard():
                    patience.renewed()
                time.sleep(patience.pause_after(error))

    def _connection(self, call: Call[None], reader: EventReader) -> Iterator[models.Event]:
        reader.connected()
        headers = self._door.headers(call) | reader.headers(call)
        limits = httpx.Timeout(SILENCE, connect=wire.CONNECT)
        try:
            with self._http.stream(call.method, call.address, headers=headers, timeout=limits) as response:
                if not response.is_success:
                    self._body(response)
                reader.ended = response.status_code == httpx.codes.NO_CONTENT
                for chunk in response.iter_bytes():
                    yield from reader.feed(chunk)
                    if reader.ended:
                        return
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise wire.unreachable(error, self._door) from None

    def capabilities(self) -> models.Capabilities:
        """What the assistant can do, and whether a worker is there for it."""
        return self.send(calls.capabilities())

    def pauses(self) -> models.ModelPauses:
        """Return the language models that are left alone now, since their endpoints asked for a pause."""
        return self.send(calls.pauses())

    def end_pauses(self) -> models.ModelPauses:
        """End the pauses of language models, so that each is asked again at once. Needs the permission `operate`."""
        return self.send(calls.end_pauses())

    def language_models(self) -> models.LanguageModels:
        """Return the language models in use, and those that servers on this machine offer."""
        return self.send(calls.language_models())

    def use_model(self, server: str, model: str) -> models.LanguageModels:
        """Use a model from the next request on, for everybody. Needs the permission `operate`.

        Args:
            server: The address of a server, as `language_models` names it.
            model: One of its models.

        Raises:
            Conflict: Nothing was changed, since the server does not offer it now or the environment names the model.
        """
        return self.send(calls.use_model(server, model))

    def use_built_in_model(self) -> models.LanguageModels:
        """Forget the chosen model, so that the built-in one answers again. Needs the permission `operate`.

        Raises:
            Conflict: Nothing was changed, since the environment names the model.
        """
        return self.send(calls.use_built_in_model())

    def test_model(self) -> models.LanguageModels:
        """Send one small request to the model that plans, within 50 seconds. Needs the permission `operate`."""
        return self.send(calls.test_model())

    def usage(self) -> models.UsageToday:
        """What today has used, by the calendar of the installation."""
        return self.send(calls.usage())

    def me(self) -> models.Me:
        """Whom the front door takes you for, and what you may do."""
        return self.send(calls.me())

    def health(self) -> models.Health:
        """Whether the API's process lives."""
        return self.send(calls.health())

    def readiness(self) -> models.Health:
        """Whether requests can be taken.

        Raises:
            Unavailable: Not yet, or not at the moment.
        """
        return self.send(calls.readiness())


class Assistants:
    """Runs: `client.assistants`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def start(
        self,
        message: str,
        *,
        timezone: str | None = None,
        mode: Mode | None = None,
        preview: bool | None = None,
        policy: str | None = None,
        budget: Mapping[str, float] | models.Limits | None = None,
        plan: str | None = None,
        plan_args: Arguments | None = None,
        wait_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> models.Assistant:
        """Turn a request in plain language into a run.

        Args:
            message: At most 10,000 characters.
            timezone: IANA zone of the person, as in Europe/Lisbon.
            mode: A task ends with its answer, a chat waits for the next message.
            preview: Stop before anything runs and ask about the plan as a whole.
            policy: The name of a policy in the policy file.
            budget: Limits of this run, as in `{"steps": 50, "requests": 20}`.
            plan: A plan in code, such as `briefing`, instead of planning.
            plan_args: Arguments of that plan.
            wait_seconds: Wait so long, at most 30, for the run to end or to need a person.
            idempotency_key: The same key and request are the same run, always. By default a new one for each call.

        Raises:
            InvalidArguments: A value is wrong, or the key was used for another request.
        """
        return self._client.send(
            calls.start(
                message,
                timezone=timezone,
                mode=mode,
                preview=preview,
                policy=policy,
                budget=budget,
                plan=plan,
                plan_args=plan_args,
                wait_seconds=wait_seconds,
                idempotency_key=idempotency_key,
            )
        )

    def get(self, assistant_id: str, *, wait_seconds: float | None = None) -> models.Assistant:
        """The whole view: plan, approvals, answer. With `wait_seconds` (at most 30) as soon as it needs a person or ends.

        Raises:
            NotFound: There is none, or it is somebody else's.
        """
        return self._client.send(calls.read_assistant(assistant_id, wait_seconds=wait_seconds))

    def wait(self, assistant_id: str, *, seconds: float = 60) -> models.Assistant:
        """Return the view once the run has ended or needs a person (`settled`), or as it stands after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            view = self.get(assistant_id, wait_seconds=min(left, _LONGEST_WAIT))
            if view.settled or left <= 0:
                return view

    def page(
        self, *, status: str | None = None, limit: int | None = None, cursor: str | None = None, mine: bool = False
    ) -> models.AssistantPage:
        """Return a page of your runs, newest first: at most `limit` (100), from where an earlier page ended.

        An auditor's has all runs of the organisation, unless they ask for `mine`.
        """
        return self._client.send(calls.list_assistants(status=status, limit=limit, cursor=cursor, mine=mine))

    def list(self, *, status: str | None = None, mine: bool = False) -> Iterator[models.AssistantSummary]:
        """Yield all your runs, newest first, read page by page while you go on."""
        page = self.page(status=status, limit=100, mine=mine)
        yield from page.assistants
        while page.next_cursor:
            page = self.page(status=status, limit=100, cursor=page.next_cursor, mine=mine)
            yield from page.assistants

    def messages(self, assistant_id: str, *, before: int | None = None, limit: int | None = None) -> models.MessagePage:
        """Return a part of a conversation: at most `limit` (500) messages before a position, in their order."""
        return self._client.send(calls.messages(assistant_id, before=before, limit=limit))

    def conversation(self, assistant_id: str) -> Sequence[models.Message]:
        """Return a whole conversation in its order, as long as it is."""
        page = self.messages(assistant_id, limit=500)
        found = page.messages
        while page.first > 0 and page.messages:
            page = self.messages(assistant_id, before=page.first, limit=500)
            found = [*page.messages, *found]
        return found

    def send_message(
        self,
        assistant_id: str,
        message: str,
        *,
        question_id: str | None = None,
        wait_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> models.Assistant:
        """Say the next thing in a chat, or answer a question; `question_id` says which, so that no other one is answered.

        Raises:
            Conflict: The run has ended, or it does not listen at the moment.
        """
        return self._client.send(
            calls.send_message(
                assistant_id,
                message,
                question_id=question_id,
                wait_seconds=wait_seconds,
                idempotency_key=idempotency_key,
            )
        )

    def cancel(
        self, assistant_id: str, *, undo: bool | None = None, idempotency_key: str | None = None
    ) -> models.Assistant:
        """Stop a run. What has not begun never will; with `undo` what is done is taken back, last effect first.

        Raises:
            Conflict: It has ended already.
        """
        return self._client.send(calls.cancel(assistant_id, undo=undo, idempotency_key=idempotency_key))

    def undo(
        self, assistant_id: str, *, wait_seconds: float | None = None, idempotency_key: str | None = None
    ) -> models.Assistant:
        """Take back what an ended run did; `undo` in the view says what was, and what cannot be.

        Raises:
            Conflict: It has not ended.
        """
        return self._client.send(calls.undo(assistant_id, wait_seconds=wait_seconds, idempotency_key=idempotency_key))

    def fork(
        self,
        assistant_id: str,
        from_step: str,
        *,
        message: str | None = None,
        args: Arguments | None = None,
        preview: bool | None = None,
        wait_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> models.Assistant:
        """Go on from a step in a new run; what is finished is kept, and not done again.

        Args:
            assistant_id: The old run.
            from_step: It runs again, and so does what depends on it.
            message: Another request: the rest is planned anew.
            args: Other arguments of the step, all of them.
            preview: Ask about the plan first.
            wait_seconds: As in `start`.
            idempotency_key: As in `start`.
        """
        return self._client.send(
            calls.fork(
                assistant_id,
                from_step,
                message=message,
                args=args,
                preview=preview,
                wait_seconds=wait_seconds,
                idempotency_key=idempotency_key,
            )
        )

    def choose(
        self, assistant_id: str, step_id: str, choice: Choice, *, idempotency_key: str | None = None
    ) -> models.Assistant:
        """Say what to do about a step that no worker takes: wait on, skip it, or let it fail."""
        return self._client.send(calls.choose(assistant_id, step_id, choice, idempotency_key=idempotency_key))

    def receipt(self, assistant_id: str) -> models.Receipt:
        """What a run did, with whose consent, on which data, at what cost, and how to take it back."""
        return self._client.send(calls.receipt(assistant_id))

    def receipt_text(self, assistant_id: str) -> str:
        """Return the same for reading."""
        return self._client.send(calls.receipt_text(assistant_id))

    def events(self, assistant_id: str, *, after: str | None = None) -> Iterator[models.Event]:
        """What happens in a run, while it happens, until its end.

        A connection that breaks is made again and goes on where it broke: no event with an id is lost or comes twice.
        Pieces of text that a model is still writing have none, and may be.

        Args:
            assistant_id: The run.
            after: The id of an event; what came after it is told. Without it first what stands so far.

        Raises:
            NotFound: There is no such run, before any event.
            Unreachable: Nothing was to be had for about half a minute.
        """
        return self._client.follow(calls.events(assistant_id), EventReader(after))


class Approvals:
    """What waits for your decision: `client.approvals`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> models.Inbox:
        """What waits for you, oldest first, of at most `limit` (200) runs, from where an earlier page ended.

        Runs that began last stand on the first page. With a `limit` of 0 they are only counted.
        """
        return self._client.send(calls.inbox(limit=limit, cursor=cursor))

    def decide(
        self,
        assistant_id: str,
        approval_id: str,
        decision: Decision,
        *,
        args_hash: str,
        args: Arguments | None = None,
        comment: str | None = None,
        grant: Mapping[str, Any] | None = None,
        wait_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> models.Assistant:
        """Approve, reject or edit a pending action. That it is recorded does not say that the action is done.

        Args:
            assistant_id: The run.
            approval_id: The approval.
            decision: `edit` approves with other arguments.
            args_hash: Of the approval as it was shown, so that nothing else is approved.
            args: For `edit`: the new arguments, all of them.
            comment: For the record; with `reject` the assistant gets to read it.
            grant: Allow the like from now on, within limits such as `{"uses": 3}`; `{}` for none.
            wait_seconds: As in `start`.
            idempotency_key: As in `start`.

        Raises:
            Conflict: It was decided or changed meanwhile, or the run has ended.
            InvalidArguments: An edit does not fit the tool.
        """
        return self._client.send(
            calls.decide(
                assistant_id,
                approval_id,
                decision,
                args_hash=args_hash,
                args=args,
                comment=comment,
                grant=grant,
                wait_seconds=wait_seconds,
                idempotency_key=idempotency_key,
            )
        )

    def decide_all(
        self, decisions: Sequence[OneDecision], *, idempotency_key: str | None = None
    ) -> models.BatchOutcomes:
        """Decide up to 50 at once; each is recorded or refused by itself."""
        return self._client.send(calls.decide_all(decisions, idempotency_key=idempotency_key))


class Grants:
    """Standing permissions: `client.grants`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, everything: bool = False) -> models.GrantList:
        """Those that hold, oldest first; with `everything` also revoked, used up and expired ones."""
        return self._client.send(calls.list_grants(everything=everything))

    def add(
        self,
        tool: str,
        args: Patterns,
        *,
        uses: int | None = None,
        expires_at: datetime | str | None = None,
        schedule_id: str | None = None,
        also_for: Sequence[AlsoFor] = (),
        account: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.Grant:
        """Allow something from now on.

        Args:
            tool: Full name, as in email.send.
            args: By JSON pointer, glob patterns that each value there must fit, as in `{"/to": ["*@example.com"]}`;
                `[]` for no value, `{}` for any arguments at all.
            uses: How often; by default any number of times.
            expires_at: At most a year ahead, with its offset; by default until it is revoked.
            schedule_id: Only runs that this schedule starts.
            also_for: Beside what you ask for in person: `schedules`, and `keys` for what your other API keys ask for.
            account: Only actions on this account elsewhere, by its id.
            idempotency_key: As in `start`.
        """
        return self._client.send(
            calls.add_grant(
                tool,
                args,
                uses=uses,
                expires_at=expires_at,
                schedule_id=schedule_id,
                also_for=also_for,
                account=account,
                idempotency_key=idempotency_key,
            )
        )

    def revoke(self, grant_id: str) -> models.Grant:
        """It is asked again from now on. Twice is the same as once."""
        return self._client.send(calls.revoke_grant(grant_id))


class Memory:
    """What is remembered of you: `client.memory`. Needs the permission `memory`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, kind: FactKind | None = None, after: str | None = None) -> models.FactPage:
        """Return one page of facts, oldest first; `after` is `next` of the page before."""
        return self._client.send(calls.list_facts(kind=kind, after=after))

    def export(self) -> models.MemoryExport:
        """Return everything, with where it came from."""
        return self._client.send(calls.export_facts())

    def remember(self, text: str, *, kind: FactKind = "fact", idempotency_key: str | None = None) -> models.FactChange:
        """Remember a fact. A new home place, or new working hours, replace the old."""
        return self._client.send(calls.remember_fact(text, kind, idempotency_key=idempotency_key))

    def correct(self, fact_id: str, text: str) -> models.FactChange:
        """Replace the text of a fact."""
        return self._client.send(calls.correct_fact(fact_id, text))

    def forget(self, fact_id: str) -> models.FactChange:
        """Forget a fact; it is then gone from the store."""
        return self._client.send(calls.forget_fact(fact_id))

    def forget_all(self, *, kind: FactKind | None = None) -> models.FactChange:
        """Forget everything, or all facts of one kind."""
        return self._client.send(calls.forget_facts(kind=kind))


class Schedules:
    """What is done again and again: `client.schedules`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, limit: int | None = None) -> models.SchedulePage:
        """Your schedules by name, at most `limit` (200)."""
        return self._client.send(calls.list_schedules(limit=limit))

    def add(
        self,
        cron: str,
        *,
        message: str | None = None,
        plan: str | None = None,
        plan_args: Arguments | None = None,
        name: str | None = None,
        timezone: str | None = None,
        policy: str | None = None,
        budget: Mapping[str, float] | models.Limits | None = None,
        catch_up_seconds: int | None = None,
        ends_at: datetime | str | None = None,
        idempotency_key: str | None = None,
    ) -> models.Schedule:
        """Ask for something at the times of a cron expression, on the clocks of the zone, also when clocks change.

        Args:
            cron: Minute, hour, day of the month, month, weekday.
            message: The request; or
            plan: a plan in code, such as `briefing`.
            plan_args: Arguments of that plan.
            name: What lists call it.
            timezone: IANA zone.
            policy: The name of a policy in the policy file.
            budget: Limits of each run.
            catch_up_seconds: A run that is late by more, since Temporal was away, is left out.
            ends_at: The last time, with its offset.
            idempotency_key: As in `start`.
        """
        return self._client.send(
            calls.add_schedule(
                cron,
                message=message,
                plan=plan,
                plan_args=plan_args,
                name=name,
                timezone=timezone,
                policy=policy,
                budget=budget,
                catch_up_seconds=catch_up_seconds,
                ends_at=ends_at,
                idempotency_key=idempotency_key,
            )
        )

    def get(self, schedule_id: str) -> models.Schedule:
        """Return one of them, with its next and its last runs."""
        return self._client.send(calls.read_schedule(schedule_id))

    def pause(self, schedule_id: str, *, note: str | None = None) -> models.Schedule:
        """Start no run until it is resumed. One that goes on is left alone."""
        return self._client.send(calls.pause_schedule(schedule_id, note=note))

    def resume(self, schedule_id: str) -> models.Schedule:
        """Go on with the next time. What was left out is not made up for."""
        return self._client.send(calls.resume_schedule(schedule_id))

    def run(self, schedule_id: str, *, idempotency_key: str | None = None) -> models.Schedule:
        """Start a run now; it is the first of `recent_runs`.

        Raises:
            Conflict: One is going on.
        """
        return self._client.send(calls.run_schedule(schedule_id, idempotency_key=idempotency_key))

    def delete(self, schedule_id: str) -> None:
        """Start no run any more. Those that it started stay as they are."""
        self._client.send(calls.delete_schedule(schedule_id))


class Triggers:
    """What is done when mail arrives or an event changes: `client.triggers`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> models.TriggerPage:
        """Your triggers by name."""
        return self._client.send(calls.list_triggers())

    def add(
        self,
        event: TriggerEvent,
        message: str,
        *,
        conditions: Arguments | None = None,
        account: str | None = None,
        name: str | None = None,
        timezone: str | None = None,
        quiet_hours: Mapping[str, str] | None = None,
        per_hour: int | None = None,
        per_day: int | None = None,
        policy: str | None = None,
        budget: Mapping[str, float] | models.Limits | None = None,
        idempotency_key: str | None = None,
    ) -> models.Trigger:
        """Ask for something whenever a mail arrives, or an event is added or changed. Needs the right to decide.

        Args:
            event: What starts a run.
            message: The request. What arrived is read first, and is data of strangers.
            conditions: `senders` (addresses), `contact`, `words`, `folder`, `automatic`; all must hold.
            account: The account that is watched; your default one if it is left out.
            name: What lists call it.
            timezone: IANA zone.
            quiet_hours: `begins` and `ends`, as in 22:00 and 07:00.
            per_hour: The most runs in any hour.
            per_day: The most runs in any 24 hours.
            policy: The name of a policy in the policy file.
            budget: Limits of each run.
            idempotency_key: As in `start`.
        """
        return self._client.send(
            calls.add_trigger(
                event,
                message,
                conditions=conditions,
                account=account,
                name=name,
                timezone=timezone,
                quiet_hours=quiet_hours,
                per_hour=per_hour,
                per_day=per_day,
                policy=policy,
                budget=budget,
                idempotency_key=idempotency_key,
            )
        )

    def get(self, trigger_id: str) -> models.Trigger:
        """Return one of them, with its last runs and what it left out."""
        return self._client.send(calls.read_trigger(trigger_id))

    def pause(self, trigger_id: str, *, note: str | None = None) -> models.Trigger:
        """Start no run until it is resumed."""
        return self._client.send(calls.pause_trigger(trigger_id, note=note))

    def resume(self, trigger_id: str) -> models.Trigger:
        """Start runs again, for what arrives from now on."""
        return self._client.send(calls.resume_trigger(trigger_id))

    def test(self, trigger_id: str, *, start: bool = False, idempotency_key: str | None = None) -> models.TriggerTest:
        """Say which of the latest arrivals fit; with `start`, start a run with the newest of them."""
        return self._client.send(calls.test_trigger(trigger_id, start=start, idempotency_key=idempotency_key))

    def delete(self, trigger_id: str) -> None:
        """Start no run any more. Those that it started stay as they are."""
        self._client.send(calls.delete_trigger(trigger_id))


class Keys:
    """Personal API keys: `client.keys`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> models.ApiKeys:
        """Your keys, without their secrets."""
        return self._client.send(calls.list_keys())

    def add(
        self, name: str, *, scopes: Sequence[str] | None = None, expires_at: datetime | str | None = None
    ) -> models.NewApiKey:
        """Make a key. Its secret, `key`, is shown this once.

        Args:
            name: What lists call it.
            scopes: Permissions to which it is limited; it can never do more than you.
            expires_at: With its offset.
        """
        return self._client.send(calls.add_key(name, scopes=scopes, expires_at=expires_at))

    def revoke(self, key_id: str) -> None:
        """End a key at once."""
        self._client.send(calls.revoke_key(key_id))


class Accounts:
    """Your accounts at services elsewhere, and those of your organisation: `client.accounts`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> models.Accounts:
        """Return your accounts, by name."""
        return self._client.send(calls.list_accounts())

    def get(self, account_id: str) -> models.Account:
        """Return one of them."""
        return self._client.send(calls.read_account(account_id))

    def providers(self) -> models.AccountProviders:
        """Return where you can connect an account."""
        return self._client.send(calls.list_account_providers())

    def connect(
        self,
        provider: PasswordProvider,
        address: str,
        password: str | SecretStr,
        *,
        username: str | None = None,
        endpoints: Mapping[str, str] | None = None,
        name: str | None = None,
        account_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.Account:
        """Connect an account by an app password, which is tested first. Needs the permission `decide`, as all changes do.

        Args:
            provider: By which protocol.
            address: The mail address or login; often enough to find the servers.
            password: An app password, never shown again.
            username: If it is not the address.
            endpoints: Addresses by protocol: `caldav`, `carddav`, `imap` and `smtp`; by default found by the address.
            name: What to call it; by default the address.
            account_id: The account that is connected again.
            idempotency_key: As in `start`; it does not compare passwords.

        Raises:
            InvalidArguments: The service refuses the password, or its servers were not found. Nothing was stored.
        """
        return self._client.send(
            calls.connect_account(
                provider,
                address,
                password if isinstance(password, SecretStr) else SecretStr(password),
                username=username,
                endpoints=endpoints,
                name=name,
                account_id=account_id,
                idempotency_key=idempotency_key,
            )
        )

    def discover(self, address: str) -> models.DiscoveredServers:
        """Look for the calendar, contacts and mail servers of an address. No password is needed or sent."""
        return self._client.send(calls.discover_servers(address))

    def begin(
        self,
        provider_id: str,
        capabilities: Sequence[AccountUse],
        *,
        name: str | None = None,
        account_id: str | None = None,
        redirect_uri: str | None = None,
        read_only: Sequence[AccountUse] | None = None,
    ) -> models.ConsentBegun:
        """Begin to connect an account by consent: `authorize_url` is to be opened in a browser.

        Args:
            provider_id: As `providers` names it.
            capabilities: For what it is to be used.
            name: What to call it; by default the address.
            account_id: The account that is connected again, or gets more rights.
            redirect_uri: An address of a program on this machine, as in http://127.0.0.1:50123/callback; by default the
                browser comes back to the console, where you must be signed in.
            read_only: For which reading is enough; by default as the account has it, of a new one for none.
        """
        return self._client.send(
            calls.begin_consent(
                provider_id,
                capabilities,
                name=name,
                account_id=account_id,
                redirect_uri=redirect_uri,
                read_only=read_only,
            )
        )

    def finish(
        self, state: str, *, code: str | SecretStr | None = None, iss: str | None = None, error: str | None = None
    ) -> models.Account:
        """Connect the account, with what the redirect brought to your own `redirect_uri`.

        Raises:
            InvalidArguments: State or code is unknown, used, expired or another person's.
            NotAllowed: The person declined.
        """
        secret = SecretStr(code) if isinstance(code, str) else code
        return self._client.send(calls.finish_consent(state, code=secret, iss=iss, error=error))

    def begin_device(
        self,
        provider_id: str,
        capabilities: Sequence[AccountUse],
        *,
        name: str | None = None,
        account_id: str | None = None,
        read_only: Sequence[AccountUse] | None = None,
    ) -> models.DeviceConsentBegun:
        """Begin a consent on another device, where the person opens `verification_uri` and types `user_code`."""
        return self._client.send(
            calls.begin_device_consent(provider_id, capabilities, name=name, account_id=account_id, read_only=read_only)
        )

    def poll_device(self, state: str) -> models.DeviceConsent:
        """Connect the account once the person has agreed on the other device; ask every `interval` seconds.

        Raises:
            InvalidArguments: The person declined, or the code has expired.
        """
        return self._client.send(calls.poll_device_consent(state))

    def test(self, account_id: str) -> models.AccountTest:
        """Try whether an account works now."""
        return self._client.send(calls.test_account(account_id))

    def change(
        self,
        account_id: str,
        *,
        name: str | None = None,
        capabilities: Sequence[AccountUse] | None = None,
        default_for: Sequence[AccountUse] | None = None,
    ) -> models.Account:
        """Rename an account, or say what it is used for; what is left out stays."""
        return self._client.send(
            calls.change_account(account_id, name=name, capabilities=capabilities, default_for=default_for)
        )

    def revoke(self, account_id: str) -> None:
        """Delete an account and its secret, and withdraw the consent at its provider where that is offered."""
        self._client.send(calls.revoke_account(account_id))

    def events(self, *, before: int | None = None, limit: int | None = None) -> models.AccountEvents:
        """Return what happened to your accounts, newest first: at most `limit` (200)."""
        return self._client.send(calls.list_account_events(before=before, limit=limit))

    def connections(self, *, after: str | None = None) -> models.AccountConnections:
        """Return who in your organisation is connected to what, page by page. For operators and auditors."""
        return self._client.send(calls.list_connections(after=after))

    def all_events(self, *, before: int | None = None, limit: int | None = None) -> models.AccountEvents:
        """Return what happened to all accounts of your organisation, newest first. For operators and auditors."""
        return self._client.send(calls.list_all_account_events(before=before, limit=limit))

    def rules(self) -> models.AccountRules:
        """Return which accounts your organisation allows."""
        return self._client.send(calls.read_account_rules())

    def set_rules(self, *, allowed_providers: Sequence[str] | None, roles: Mapping[str, str]) -> models.AccountRules:
        """Say which accounts your organisation allows. Needs the permission `operate`.

        Args:
            allowed_providers: Ids of providers; None for all.
            roles: By capability, the role that a person needs to connect an account for it.
        """
        return self._client.send(calls.set_account_rules(allowed_providers=allowed_providers, roles=roles))
