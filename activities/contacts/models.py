"""The address book's table."""

from pathlib import Path
from uuid import uuid4

from sqlalchemy import Column, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from activities.contacts.contract import Contact
from retinue.database.migrations import migrated
from retinue.database.people import OfPerson


class ContactsBase(SQLModel, registry=registry(metadata=migrated(Path(__file__).parent / "migrations"))):
    """Base of the address book's tables; its own registry separates them from other capabilities' tables."""


class StoredContact(OfPerson, ContactsBase, table=True):
    """One person. `folded_name` is what they are found by, and with `known_by` what they are recognised by."""

    __tablename__ = "contact"
    __table_args__ = (UniqueConstraint("person", "folded_name", "known_by"),)

    contact_id: str = Field(default_factory=lambda: uuid4().hex, primary_key=True, max_length=32)
    name: str = Field(max_length=200)
    email: str | None = Field(default=None, max_length=254)
    phone: str | None = Field(default=None, max_length=40)
    note: str | None = Field(default=None, sa_column=Column(Text))
    # Folding can lengthen a name: a ligature becomes its letters.
    folded_name: str = Field(max_length=4000)
    # The address, or the telephone number of those without one. Never NULL, since no NULL equals another.
    known_by: str = Field(default="", max_length=254)

    def as_contact(self) -> Contact:
        """Return the person as the contract shows them."""
        return Contact(contact_id=self.contact_id, name=self.name, email=self.email, phone=self.phone, note=self.note)
