"""What goes in and out of the bare workflow and its activities, and the queues they run on."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

WORKFLOWS = "floor-workflows"
MODEL = "floor-model"
CONTACTS = "floor-a"
EVENTS = "floor-b"
MEETINGS = "floor-c"
QUEUES = (WORKFLOWS, MODEL, CONTACTS, EVENTS, MEETINGS)


class Window(BaseModel):
    """A stretch of time."""

    start: datetime
    end: datetime


class Job(BaseModel):
    """The plan: what to look up and what to enter."""

    name: str
    window: Window
    meeting: Window


class Contact(BaseModel):
    """One person."""

    contact_id: str
    name: str
    email: str | None = None


class Event(BaseModel):
    """One event."""

    event_id: str
    title: str
    start: datetime
    end: datetime


class NewEvent(BaseModel):
    """An event to enter."""

    title: str
    start: datetime
    end: datetime


class Facts(BaseModel):
    """What the final answer is written from."""

    message: str
    contact: Contact
    events: list[Event]
    created: Event
