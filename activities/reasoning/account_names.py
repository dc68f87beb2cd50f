"""The accounts that a plan may name: only those of capabilities for which the person has several."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from retinue.accounts.connection import AccountName
from retinue.capability import ACCOUNT, PLANS_KEYWORD, Manifest, ToolSpec
from retinue.errors import RetinueError

_PATIENCE = 3.0
"""Seconds; without an answer a plan names no account, and the default ones are used."""
_MOST = 20
_log = logging.getLogger("retinue.tools")


class AccountNames(Protocol):
    """Tells which accounts the person of the running step has."""

    async def names(self) -> list[AccountName]:
        """See `retinue.accounts.connection.NamedAccounts`."""


async def several_accounts(accounts: AccountNames | None, manifests: Iterable[Manifest]) -> dict[str, list[str]]:
    """Return the names of the person's accounts by capability, the default one first; none where there is only one."""
    taking = [manifest.name for manifest in manifests if any(spec.annotations.accounts for spec in manifest.tools)]
    if accounts is None or not taking:
        return {}
    try:
        async with asyncio.timeout(_PATIENCE):
            known = await accounts.names()
    except (RetinueError, TimeoutError) as error:
        _log.warning("a plan is made without the names of accounts: %s", type(error).__name__)
        return {}
    found = {capability: _of(capability, known) for capability in taking}
    return {capability: names for capability, names in found.items() if len(names) > 1}


def _of(capability: str, known: Sequence[AccountName]) -> list[str]:
    usable = [one for one in known if capability in one.capabilities]
    return [one.name for one in sorted(usable, key=lambda one: capability not in one.default_for)][:_MOST]


def naming_accounts(tools: Iterable[ToolSpec], accounts: Mapping[str, Sequence[str]]) -> list[ToolSpec]:
    """Return tools whose argument for an account is a choice of these names, where there is one."""
    return [_naming(spec, accounts.get(spec.name.partition(".")[0], ())) for spec in tools]


def _naming(spec: ToolSpec, names: Sequence[str]) -> ToolSpec:
    properties: Mapping[str, Any] = spec.args_schema.get("properties", {})
    if not spec.annotations.accounts or not names or ACCOUNT not in properties:
        return spec
    told = {name: value for name, value in properties[ACCOUNT].items() if name not in (PLANS_KEYWORD, "anyOf")}
    choice = {**told, "anyOf": [{"type": "string", "enum": list(names)}, {"type": "null"}]}
    return spec.model_copy(update={"args_schema": {**spec.args_schema, "properties": {**properties, ACCOUNT: choice}}})
