"""Triggers: which arrivals start a run, when, and how many. Pure.

What strangers wrote is only compared here: it decides whether a run starts, never what the run does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from retinue.schemas.plain_number import PLAIN_NUMBER
from retinue.times import Moment, local

MOST_REPLIES = 3
"""Runs in an hour that answers to the assistant's own mails may start, so that two programs do not answer each other."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TRIGGER_PREFIX = "t-"
Word = Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]
Sender = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s<>,;]*@[^@\s<>,;]+$")]


class TriggerEvent(StrEnum):
    """What starts a trigger's runs."""

    MAIL = "mail"
    """A mail has arrived."""
    CALENDAR = "calendar"
    """An event was added or changed, by another program or another person."""


class TriggerFolder(StrEnum):
    """The folder that is watched."""

    INBOX = "inbox"
    ARCHIVE = "archive"


class Conditions(BaseModel):
    """All must hold. They filter; they prove nothing, since anybody can write any sender into a mail."""

    model_config = ConfigDict(extra="forbid")

    senders: list[Sender] = Field(
        default_factory=list,
        max_length=20,
        description="of a mail: one of these addresses; '@example.com' is anybody there",
    )
    contact: str | None = Field(
        None, min_length=1, max_length=200, description="of a mail: the name of a contact who sent it"
    )
    words: list[Word] = Field(
        default_factory=list, max_length=20, description="all of them are in the subject, or in the event's title"
    )
    folder: TriggerFolder = Field(TriggerFolder.INBOX, description="of a mail: where it arrives")
    automatic: bool = Field(False, description="of a mail: also those that programs wrote, and mailing lists")


_Clock = Annotated[
    time, WithJsonSchema({"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"})
]


class QuietHours(BaseModel):
    """A part of the day in which no run starts; what arrives waits for its end."""

    model_config = ConfigDict(extra="forbid")

    begins: _Clock = Field(description="as in 22:00, in the trigger's time zone")
    ends: _Clock = Field(description="as in 07:00")

    @model_validator(mode="after")
    def _is_a_part_of_the_day(self) -> QuietHours:
        if self.begins == self.ends or self.begins.tzinfo or self.ends.tzinfo:
            raise ValueError("quiet hours need two different times without an offset, as in 22:00 and 07:00")
        return self


class Arrival(BaseModel):
    """A mail that arrived, or an event that was added or changed. Strangers wrote its texts."""

    change_id: str
    item_id: str = Field(description="of the mail or the event, for the tool that reads it")
    account: str = Field("", description="id of the account where it is; empty without accounts")
    sender: str = ""
    title: str = Field("", description="subject or title")
    automatic: bool = False
    replied: bool = Field(False, description="a program answered")
    own: bool = Field(False, description="this assistant sent or changed it")
    answers_own: bool = False


class Limited(BaseModel):
    """How many runs a trigger may start."""

    per_hour: Annotated[int, Field(ge=1, le=100), PLAIN_NUMBER] = Field(10, description="runs in any hour")
    per_day: Annotated[int, Field(ge=1, le=500), PLAIN_NUMBER] = Field(50, description="runs in any 24 hours")


def fits(conditions: Conditions, event: TriggerEvent, arrival: Arrival) -> bool:
    """Whether an arrival meets the conditions, without the contact: see `sent_by`."""
    if arrival.own or arrival.replied or (arrival.automatic and not conditions.automatic):
        return False
    if event is TriggerEvent.MAIL and conditions.senders and not sent_by(conditions.senders, arrival.sender):
        return False
    title = arrival.title.casefold()
    return all(word.casefold().strip() in title for word in conditions.words)


def sent_by(senders: Collection[str], sender: str) -> bool:
    """Whether a mail's sender is one of these addresses or domains."""
    address = sender.casefold()
    return any(address == each.casefold() or (each[0] == "@" and address.endswith(each.casefold())) for each in senders)


def has_room(limits: Limited, started: Sequence[datetime], now: datetime) -> bool:
    """Whether one more run may start now."""
    of_hour = sum(now - at < HOUR for at in started)
    return of_hour < limits.per_hour and sum(now - at < DAY for at in started) < limits.per_day


def quiet_until(quiet: QuietHours | None, zone: str, now: datetime) -> datetime | None:
    """Return when the quiet hours end that it is in now; None outside them."""
    if quiet is None:
        return None
    here = local(now, zone)
    clock = here.time()
    over_night = quiet.begins > quiet.ends
    in_them = clock >= quiet.begins or clock < quiet.ends if over_night else quiet.begins <= clock < quiet.ends
    if not in_them:
        return None
    last_day = here.date() + timedelta(days=1 if over_night and clock >= quiet.begins else 0)
    return datetime.combine(last_day, quiet.ends, here.tzinfo).astimezone(now.tzinfo)


def run_id(trigger_id: str, change_id: str) -> str:
    """Return the id of the one run that a trigger starts for a change."""
    digest = hashlib.sha256(change_id.encode()).hexdigest()[:24]
    return f"a-{trigger_id}-{digest}"


class TriggeredRun(BaseModel):
    """A run that a trigger started."""

    assistant_id: str
    at: Moment
    because: str = Field(description="sender and subject, or the event's title; strangers wrote it")
