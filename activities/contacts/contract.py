"""Contract of the contacts capability, the only file of this folder that other packages may import."""

from abc import abstractmethod
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from temporalio import activity

from retinue.addresses import check_address
from retinue.capability import DESTRUCTIVE, NOT_FOR_PLANS, OWN_WRITE, READ, Capability, Id, tool

_READ = READ.replace(personal=True)
_OWN_WRITE = OWN_WRITE.replace(personal=True)
_DESTRUCTIVE = DESTRUCTIVE.replace(personal=True)


class Contact(BaseModel):
    """One person in the address book."""

    contact_id: Id
    name: str
    email: str | None = Field(None, description="the preferred address")
    phone: str | None = None
    other_emails: list[str] = Field(default_factory=list, description="further addresses of the same person")
    nickname: str | None = None
    organization: str | None = None
    note: str | None = None


class FindContacts(BaseModel):
    """Arguments of `contacts.find`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, description="or a part of it")


class FindContactsResult(BaseModel):
    """Contacts whose name, nickname or organization holds all the words; whole names first, then by name."""

    contacts: list[Contact]
    match: Contact | None = Field(
        None, description="the contact, when exactly one fits; when several do, the person is asked whom they mean"
    )
    skipped: int = Field(
        0, description="cards of the address book that could not be read and searched", json_schema_extra=NOT_FOR_PLANS
    )
    skipped_cards: list[str] = Field(
        default_factory=list,
        description="what those say of themselves, and why; at most 10",
        json_schema_extra=NOT_FOR_PLANS,
    )


class AddContact(BaseModel):
    """Arguments of `contacts.add`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    email: Annotated[str, Field(max_length=254), AfterValidator(check_address)] | None = None
    phone: str | None = Field(None, max_length=40, pattern=r"^[0-9+() ./-]+$")
    note: str | None = Field(None, max_length=1000, pattern=r"\S")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.email is None and self.phone is None and self.note is None:
            raise ValueError("a contact needs an `email`, a `phone` or a `note`")
        return self


class AddedContact(Contact):
    """The person as the address book has them now."""

    created: bool = Field(False, description="false when the person was there already", json_schema_extra=NOT_FOR_PLANS)


class ContactRef(BaseModel):
    """Names one contact: arguments of `contacts.look_up`."""

    model_config = ConfigDict(extra="forbid")

    contact_id: str = Field(max_length=32)


class RemoveContact(ContactRef):
    """Arguments of `contacts.remove`."""

    created: bool = Field(
        True,
        description="omit it: only the undo of an addition without effect sets false",
        json_schema_extra=NOT_FOR_PLANS,
    )


class RemovedContact(BaseModel):
    """What became of the person's entry."""

    contact_id: Id
    name: str = Field("", description="empty if no person was removed, or only their absence is known")
    removed: bool


class ListContactsResult(BaseModel):
    """The address book by name, at most 500."""

    contacts: list[Contact]
    truncated: bool = False
    skipped: int = Field(
        0, description="cards of the address book that could not be read", json_schema_extra=NOT_FOR_PLANS
    )
    skipped_cards: list[str] = Field(
        default_factory=list,
        description="what those say of themselves, and why; at most 10",
        json_schema_extra=NOT_FOR_PLANS,
    )


class Contacts(Capability):
    """Contract of the contacts capability."""

    name = "contacts"
    version = "1.3.0"
    uses_accounts = True
    description = "The person's address book: find, list, add and remove people."
    instructions = (
        "To turn a name into an address, find it and refer to /match/email; where several people fit, the person is "
        "asked which of them is meant. To remove one, refer to /match/contact_id. Never invent an address."
    )

    @activity.defn(name="contacts.find")
    @tool(
        title="Find a contact",
        summary="{name}",
        annotations=_READ.replace(
            finds="contact", own_errors=True, known_destinations=("email",), picks=("match", "contacts")
        ),
    )
    @abstractmethod
    async def find(self, wish: FindContacts) -> FindContactsResult:
        """Find people by name. `match` is set only when exactly one person fits."""

    @activity.defn(name="contacts.add")
    @tool(
        title="Add a contact",
        summary="{name}, {email}",
        annotations=_OWN_WRITE.replace(idempotent=True, sensitive=("/email",), own_errors=True, undo="contacts.remove"),
    )
    @abstractmethod
    async def add(self, person: AddContact) -> AddedContact:
        """Add a person by address, number or note, or add these to one who is there. The same one twice stays one."""

    @activity.defn(name="contacts.remove")
    @tool(
        title="Remove a contact",
        summary="{contact_id}",
        annotations=_DESTRUCTIVE.replace(own_errors=True, lookups={"contact_id": "contacts.look_up"}),
    )
    @abstractmethod
    async def remove(self, person: RemoveContact) -> RemovedContact:
        """Remove one person from the address book for good."""

    @activity.defn(name="contacts.list")
    @tool(
        title="List contacts",
        annotations=_READ.replace(finds="contact", own_errors=True, known_destinations=("email",)),
    )
    @abstractmethod
    async def list(self) -> ListContactsResult:
        """List the whole address book by name, at most 500 people."""

    @activity.defn(name="contacts.look_up")
    @tool(
        title="Look up a contact",
        summary="{contact_id}",
        annotations=_READ,
        plannable=False,
    )
    @abstractmethod
    async def look_up(self, person: ContactRef) -> Contact:
        """Read one person by their id, for a person who is asked about them."""
