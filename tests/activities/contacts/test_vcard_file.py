"""Importing vCard files, from the file to the tools."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from activities.contacts import vcard
from activities.contacts.settings import ContactsSettings
from activities.contacts.vcard_file import LARGEST_FILE, read_cards
from activities.contacts.worker import import_file
from retinue.errors import InvalidArguments, NotFound

Call = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def provider() -> str:
    """Files are imported into the own store alone."""
    return "own"


def _card(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", *lines, "END:VCARD", ""])


ANA = _card(
    "N:Ruiz;Ana;;;", "FN:Ana Ruiz", "EMAIL;TYPE=home:ana@example.com", "EMAIL:second@example.com", "TEL:+34 600"
)
OTHER = "  - 'Ana Ruiz': other addresses were not taken: second@example.com"
BO = _card("N:Bo;;;;", "TEL;TYPE=cell:555-1234")


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes cards into a file."""

    def write(*cards: str) -> Path:
        path = tmp_path / "export.vcf"
        path.write_bytes("".join(cards).encode())
        return path

    return write


async def test_a_file_is_imported_once_however_often_it_is_read(
    call: Call, settings: ContactsSettings, written: Callable[..., Path], count_contacts: Callable[[], int]
) -> None:
    path = written(ANA, BO)

    assert await import_file(path, settings) == f"2 contacts imported, 0 already known, 1 left out:\n{OTHER}"
    assert await import_file(path, settings) == f"0 contacts imported, 2 already known, 1 left out:\n{OTHER}"
    assert count_contacts() == 2


async def test_imported_people_are_found(call: Call, settings: ContactsSettings, written: Callable[..., Path]) -> None:
    await import_file(written(ANA), settings)

    match = (await call("contacts.find", name="ruiz"))["match"]

    assert (match["name"], match["email"], match["phone"]) == ("Ana Ruiz", "ana@example.com", "+34 600")


async def test_a_person_who_was_added_is_already_known_to_an_import(
    call: Call, settings: ContactsSettings, written: Callable[..., Path]
) -> None:
    await call("contacts.add", name="ana ruiz", email="ANA@example.com")

    assert await import_file(written(ANA), settings) == f"0 contacts imported, 1 already known, 1 left out:\n{OTHER}"


async def test_a_card_that_comes_twice_in_a_file_is_one_contact(
    settings: ContactsSettings, written: Callable[..., Path]
) -> None:
    assert (
        await import_file(written(ANA, ANA), settings)
        == f"1 contact imported, 1 already known, 2 left out:\n{OTHER}\n{OTHER}"
    )


@pytest.mark.parametrize(
    ("lines", "name", "email", "phone"),
    [
        (["FN:Ana"], "Ana", None, None),
        (["N:Ruiz;Ana;Maria;;"], "Ana Maria Ruiz", None, None),
        (["FN:", "N:Ruiz;Ana;;;"], "Ana Ruiz", None, None),
        (["ORG:Acme;Sales"], "Acme Sales", None, None),
        (["FN:Ana", "EMAIL:not an address"], "Ana", None, None),
        (["FN:Ana", "EMAIL:Ana <ana@example.com>"], "Ana", None, None),
        (["FN:Ana", "item1.EMAIL:ana@example.com"], "Ana", "ana@example.com", None),
        (["FN:Ana", "EMAIL:mailto:ana@example.com"], "Ana", "ana@example.com", None),
        (["FN:Ana", "TEL;VALUE=uri:tel:+1-555-0100;ext=5"], "Ana", None, "+1-555-0100"),
        (["FN:Ana", "TEL:+49\u00a0170 1"], "Ana", None, "+49 170 1"),
        (["FN:Ana", "TEL:ask me"], "Ana", None, None),
        (["FN:Ana", "TEL:- -"], "Ana", None, None),
        (["FN:" + "x" * 300], "x" * 200, None, None),
        (["FN:Ana", " Lucia"], "AnaLucia", None, None),
    ],
)
def test_a_card_is_read_as_far_as_it_makes_sense(
    lines: list[str], name: str, email: str | None, phone: str | None
) -> None:
    (person,) = read_cards(_card(*lines)).people

    assert (person.name, person.email, person.phone) == (name, email, phone)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (_card("rubbish"), "it cannot be read"),
        ("BEGIN:VCARD\r\nFN:No end\r\n", "it cannot be read"),
        (_card("TEL:555"), "it has no name"),
        (_card("FN: "), "it has no name"),
    ],
)
def test_a_broken_card_is_skipped_and_takes_no_other_with_it(broken: str, reason: str) -> None:
    file = read_cards(ANA + broken + BO)

    assert [person.name for person in file.people] == ["Ana Ruiz", "Bo"]
    assert file.outcome(added=2).splitlines()[0] == "2 contacts imported, 0 already known, 2 left out:"
    assert file.outcome(added=2).endswith(f": {reason}")


def test_people_without_an_address_are_told_apart_by_their_number() -> None:
    first, second, third = read_cards(_card("FN:Bo", "TEL:1") + _card("FN:Bo", "TEL:2") + _card("FN:Bo")).people

    assert len({first.known_by, second.known_by, third.known_by}) == 3


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe\x00", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"])
async def test_what_holds_no_card_is_refused(tmp_path: Path, settings: ContactsSettings, content: bytes) -> None:
    path = tmp_path / "odd.vcf"
    path.write_bytes(content)

    with pytest.raises(InvalidArguments, match=r"not a vCard file|not text in UTF-8"):
        await import_file(path, settings)


async def test_too_large_a_file_is_refused_unread(tmp_path: Path, settings: ContactsSettings) -> None:
    path = tmp_path / "large.vcf"
    path.write_bytes(b"\0" * (LARGEST_FILE + 1))

    with pytest.raises(InvalidArguments, match="larger than 5 MiB"):
        await import_file(path, settings)


async def test_a_missing_file_is_not_found(tmp_path: Path, settings: ContactsSettings) -> None:
    with pytest.raises(NotFound):
        await import_file(tmp_path / "absent.vcf", settings)


def test_endless_nesting_is_one_unreadable_card() -> None:
    with pytest.raises(vcard.Unreadable):
        vcard.read(_card("FN:Ana", *["BEGIN:X"] * 5000, *["END:X"] * 5000))


async def test_a_path_that_cannot_be_opened_is_told(tmp_path: Path, settings: ContactsSettings) -> None:
    with pytest.raises(InvalidArguments, match="cannot be read: File name too long"):
        await import_file(tmp_path / f"{'x' * 300}.vcf", settings)
