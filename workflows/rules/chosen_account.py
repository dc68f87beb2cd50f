"""The account that an action uses, as a card shows it and a grant names it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field, JsonValue

from retinue.capability import ACCOUNT, OWN
from retinue.plan import BoundStep


class ChosenAccount(BaseModel):
    """The account that an action uses."""

    account: str = Field(OWN, description="its id, or `own`")
    words: str = Field("", description="what a person sees of it: you@work.example (work); empty for the own data")

    @property
    def id(self) -> str | None:
        """The account's id; None for the capability's own data."""
        return None if self.account == OWN else self.account


def without_account(step: BoundStep, args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the arguments that a grant is about; the account is a part of the grant of its own."""
    return {name: value for name, value in args.items() if not (step.annotations.accounts and name == ACCOUNT)}
