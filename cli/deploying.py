"""`python -m cli.deploying ACTION OPTIONS`: what `retinue deploy` does, in a separate process. OPTIONS is a JSON object.

Each action looks at the deployment first, refuses with advice what would leave work without workers, and fails if somebody
else changed the deployment in between.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.table import Table
from temporalio.api.taskqueue.v1 import TaskQueueVersioningInfo
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from cli import render
from cli.exits import CommandError, ExitCode, WrongUsage
from retinue.runtime.process import leave
from retinue.settings import load_environment
from retinue.temporal import deployments
from retinue.temporal.connection import connect
from retinue.temporal.deployments import DeploymentState, Status, VersionState

_CONNECTING = 10.0
_KNOWN_WITHIN = 60.0
"""Seconds after which a change is reported though a queue has not heard of it."""
_LOOK = 2.0
_STEADY = 3
"""So many looks in a row must find no open run: visibility is some moments late, and a run that has just been started is
pinned with its first task."""
_WORKFLOWS = "workflows"
_STYLES = {Status.CURRENT: "green", Status.RAMPING: "bold yellow", Status.DRAINING: "yellow"}


class TemporalAway(CommandError):
    """Temporal cannot be reached."""

    exit_code = ExitCode.UNREACHABLE


class Forbidden(CommandError):
    """Temporal refuses it to this key or certificate."""

    exit_code = ExitCode.NOT_ALLOWED


@dataclass(frozen=True)
class Operator:
    """One operator's look at, and change of, one kind of workers."""

    client: Client
    name: str

    async def state(self) -> DeploymentState:
        """Return the deployment.

        Raises:
            CommandError: Temporal does not know it.
        """
        found = await deployments.state_of(self.client, self.name)
        if found is None:
            known = ", ".join(await deployments.names(self.client)) or "none"
            raise WrongUsage(
                f"Temporal knows no versions of {self.name!r}; it knows those of: {known}. Start its workers with RETINUE_BUILD_ID"
            )
        return found

    async def ramp(self, build: str, percent: float) -> str:
        """Give a version a share, or end its ramp."""
        state = await self.state()
        version = _found(state, build)
        if version.status is Status.CURRENT:
            raise CommandError(f"{build} is the current version, and gets what no ramp takes; ramp another one")
        if not percent:
            return await self._end_ramp(state, version)
        if state.that_is(Status.CURRENT) is None:
            raise CommandError(f"no version is current, so there is nothing to ramp from: `deploy promote {build}`")
        _must_poll(self.name, version)
        await deployments.set_ramp(self.client, deployments.version_of(self.name, build), percent, state.token)
        known = await self._until(build, lambda routing: routing.ramping_version_percentage == percent)
        return f"{build} gets {percent:g} % of the new work of {self.name}.{known}"

    async def promote(self, build: str) -> str:
        """Make a version the current one."""
        state = await self.state()
        version = _found(state, build)
        if version.status is Status.CURRENT and state.that_is(Status.RAMPING) is None:
            return f"{build} is the current version of {self.name} already."
        return await self._set_current(state, version)

    async def rollback(self, build: str | None) -> str:
        """End the ramp, or set an earlier version current."""
        state = await self.state()
        ramping = state.that_is(Status.RAMPING)
        if ramping is not None and build is None:
            return await self._end_ramp(state, ramping)
        return await self._set_current(state, _found(state, build) if build else _last_current(state))

    async def drain(self, build: str, *, wait: bool, move_to: str | None) -> str:
        """Return that the workers of a version can stop.

        Raises:
            CommandError: It still gets new work, or, without a wait, open runs are pinned to it.
        """
        state = await self.state()
        version = _found(state, build)
        _must_be_left(version)
        if move_to is not None:
            target = _found(state, move_to)
            _must_poll(self.name, target)
            if target is version:
                raise WrongUsage("--move-to needs another version")
            await deployments.move_runs(
                self.client, *(deployments.version_of(self.name, each) for each in (build, move_to))
            )
        elif version.open_runs and not wait:
            raise CommandError(
                f"{_assistants(version.open_runs)} on {build}: keep its workers. Wait with `deploy drain {build} --wait`, or, "
                "where the new code can replay them, move them with --move-to"
            )
        await self._until_left(build)
        return f"No open assistant is on {build}. Its workers can stop; to roll back to it, start them again."

    async def _set_current(self, state: DeploymentState, version: VersionState) -> str:
        _must_poll(self.name, version)
        build = version.build_id
        await deployments.set_current(self.client, deployments.version_of(self.name, build), state.token)
        known = await self._until(build, lambda routing: routing.current_deployment_version.build_id == build)
        before = state.that_is(Status.CURRENT)
        stay = f" {_assistants(before.open_runs)} on {before.build_id} and stay there." if before else ""
        return f"{build} is the current version of {self.name}: all new work goes to it.{stay}{known}"

    async def _end_ramp(self, state: DeploymentState, version: VersionState) -> str:
        if version.status is not Status.RAMPING:
            return f"{version.build_id} has no ramp."
        await deployments.set_ramp(self.client, deployments.version_of(self.name, ""), 0, state.token)
        known = await self._until(version.build_id, lambda routing: not routing.ramping_deployment_version.build_id)
        stay = f"{_assistants(version.open_runs)} on it and stay there."
        return f"{version.build_id} gets no new work of {self.name} any more. {stay}{known}"

    async def _until(self, build: str, holds: Callable[[TaskQueueVersioningInfo], bool]) -> str:
        """Wait until the queues of a version know of a change; says what if they do not."""
        version = deployments.version_of(self.name, build)
        try:
            async with asyncio.timeout(_KNOWN_WITHIN):
                while not await deployments.queues_know(self.client, version, holds):  # noqa: ASYNC110  # the server tells nobody
                    await asyncio.sleep(0.2)
        except TimeoutError:
            return " Not all task queues have heard of it yet; see `deploy status`."
        return ""

    async def _until_left(self, build: str) -> None:
        query = deployments.pinned_to(deployments.version_of(self.name, build))
        empty, told = 0, -1
        while empty < _STEADY:
            count = (await self.client.count_workflows(query)).count
            if count and count != told:
                render.tell(f"{_assistants(count)} on {build}.")
            empty, told = (0 if count else empty + 1), count
            await asyncio.sleep(_LOOK)


def _found(state: DeploymentState, build: str) -> VersionState:
    version = state.find(build)
    if version is None:
        known = ", ".join(one.build_id for one in state.versions)
        raise WrongUsage(
            f"{state.name} has no version {build!r}; it has: {known}. A version is known once its workers poll"
        )
    return version


def _must_poll(name: str, version: VersionState) -> None:
    if version.polls:
        return
    build = version.build_id
    start = (
        f"start one with RETINUE_BUILD_ID={build}"
        if name == _WORKFLOWS
        else f"start one whose contract has the version of {build}"
    )
    raise CommandError(f"no worker of {build} polls, so nothing that it gets would be done: {start}, then try again")


def _must_be_left(version: VersionState) -> None:
    """Refuse to drain a version that gets new work."""
    build = version.build_id
    if version.status is Status.CURRENT:
        raise CommandError(f"{build} is the current version and gets new work: `deploy promote` another one first")
    if version.status is Status.RAMPING:
        raise CommandError(f"{build} gets {version.percentage:g} % of the new work: `deploy ramp {build} 0` first")


def _last_current(state: DeploymentState) -> VersionState:
    """Return the version that was current before the present one."""
    earlier = [one for one in state.versions if one.last_current and one.status is not Status.CURRENT]
    if not earlier:
        raise CommandError(f"no other version of {state.name} was current before; name one with --to")
    return max(earlier, key=_when)


def _when(version: VersionState) -> datetime:
    assert version.last_current is not None
    return version.last_current


def _assistants(count: int) -> str:
    return "1 open assistant is" if count == 1 else f"{count} open assistants are"


async def _status(client: Client, of: str) -> list[DeploymentState]:
    chosen = [of] if of else await deployments.names(client)
    return [await Operator(client, name).state() for name in chosen]


async def _act(action: str, options: dict[str, Any]) -> str:
    """Do it; returns what is printed."""
    as_json, of = options.pop("as_json"), options.pop("of")
    client = await _connected()
    if action == "status":
        states = await _status(client, of)
        if as_json:
            return json.dumps({"deployments": [_as_json(state) for state in states]}, indent=2)
        _show(states)
        return "" if states else "No worker has a version: set RETINUE_BUILD_ID (docs/deploying.md)."
    operator = Operator(client, of)
    actions: dict[str, Callable[..., Awaitable[str]]] = {
        "ramp": operator.ramp,
        "promote": operator.promote,
        "rollback": operator.rollback,
        "drain": operator.drain,
    }
    said = await actions[action](**options)
    return json.dumps({"done": said, **_as_json(await operator.state())}, indent=2) if as_json else said


async def _connected() -> Client:
    try:
        async with asyncio.timeout(_CONNECTING):
            return await connect()
    except (RuntimeError, TimeoutError):
        raise TemporalAway("Temporal cannot be reached; see TEMPORAL_ADDRESS") from None


def _as_json(state: DeploymentState) -> dict[str, Any]:
    versions = [
        {**asdict(one), "last_current": one.last_current.isoformat() if one.last_current else None}
        for one in state.versions
    ]
    return {"name": state.name, "versions": versions}


def _show(states: Sequence[DeploymentState]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("workers", "version", "state", "polls", "assistants on it", "backlog"):
        table.add_column(title)
    for state in states:
        for one in state.versions:
            share = f" {one.percentage:g} %" if one.status in (Status.CURRENT, Status.RAMPING) else ""
            table.add_row(
                state.name,
                one.build_id,
                render.plain(f"{one.status}{share}", _STYLES.get(one.status, "")),
                "yes" if one.polls else "no",
                str(one.open_runs),
                str(one.backlog),
            )
    if states:
        render.show(table)


def _refused(error: RPCError) -> CommandError:
    """Translate an answer of Temporal."""
    if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
        return Forbidden(f"Temporal does not allow it: {error.message}; see TEMPORAL_API_KEY and TEMPORAL_TLS_*")
    if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
        return TemporalAway(f"Temporal does not answer: {error.message}")
    return CommandError(f"Temporal refuses it: {error.message}")


def main(arguments: Sequence[str]) -> int:
    """Do one action and print its outcome; returns the exit code."""
    load_environment()
    try:
        said = asyncio.run(_act(arguments[0], json.loads(arguments[1])))
    except CommandError as error:
        render.tell(str(error))
        return error.exit_code
    except RPCError as error:
        refused = _refused(error)
        render.tell(str(refused))
        return refused.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    if said:
        print(said)
    return ExitCode.DONE


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    leave(code)
