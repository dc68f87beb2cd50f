"""What the address book offers to the rest of Retinue. The only file of this folder that another room may import."""

from abc import abstractmethod
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from temporalio import activity

from retinue.addresses import check_address
from retinue.capability import Annotations, Capability, tool


class Contact(BaseModel):
    """One person in the address book."""

    contact_id: str
    name: str
    email: str | None = None
    phone: str | None = None


class FindContacts(BaseModel):
    """Arguments of `contacts.find`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, description="name or part of it; case and accents do not count")


class FindContactsResult(BaseModel):
    """Contacts whose name holds all the words, by name."""

    contacts: list[Contact]
    match: Contact | None = Field(None, description="the contact, when exactly one was found; else null")


class AddContact(BaseModel):
    """Arguments of `contacts.add`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    email: Annotated[str, Field(max_length=254), AfterValidator(check_address)]
    phone: str | None = Field(None, max_length=40, pattern=r"^[0-9+() ./-]+$")


class ListContactsResult(BaseModel):
    """The address book by name, at most 500."""

    contacts: list[Contact]
    truncated: bool = False


class Contacts(Capability):
    """Contract of the contacts capability."""

    name = "contacts"
    version = "1.0.0"
    description = "The person's address book: find, list and add people."
    instructions = (
        "Use find to turn a name into an address and refer to /match/email, which exists only when exactly one contact "
        "matches. Never invent an address."
    )

    @activity.defn(name="contacts.find")
    @tool(
        title="Find a contact",
        summary="{name}",
        annotations=Annotations(
            read_only=True, destructive=False, idempotent=True, open_world=False, trusted_output=True
        ),
    )
    @abstractmethod
    async def find(self, wish: FindContacts) -> FindContactsResult:
        """Find people by name. `match` is set only when exactly one person fits."""

    @activity.defn(name="contacts.add")
    @tool(
        title="Add a contact",
        summary="{name}, {email}",
        annotations=Annotations(
            read_only=False,
            destructive=False,
            idempotent=True,
            open_world=False,
            sensitive=("/email",),
            trusted_output=True,
        ),
    )
    @abstractmethod
    async def add(self, person: AddContact) -> Contact:
        """Add a person. The same name and address twice stay one contact."""

    @activity.defn(name="contacts.list")
    @tool(
        title="List contacts",
        annotations=Annotations(
            read_only=True, destructive=False, idempotent=True, open_world=False, trusted_output=True
        ),
    )
    @abstractmethod
    async def list(self) -> ListContactsResult:
        """List the whole address book by name, at most 500 people."""
