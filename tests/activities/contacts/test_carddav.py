"""What only an address book on a server has: cards by other programs, other devices, lost replies and faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from activities.contacts import vcard
from activities.contacts.settings import ContactsSettings
from activities.contacts.worker import import_file
from retinue.errors import InvalidArguments
from tests.radicale import PASSWORD, Radicale
from workers import temporal_server

from .between import Between, Fault, half, lost, says, slow, standing_between
from .conftest import AddressBook, on_server, retried, served

Call = Callable[..., Awaitable[dict[str, Any]]]
ANA = {"name": "Ana Ruiz", "email": "ana@example.com"}
PHOTO = "PHOTO;ENCODING=b;TYPE=JPEG:" + "A" * 400


@pytest.fixture
def provider() -> str:
    return "carddav"


@pytest.fixture
def between(server: Radicale) -> Iterator[Between]:
    """The way to the server, on which things go wrong."""
    with standing_between(server.address) as way:
        yield way


@pytest.fixture
def settings(request: pytest.FixtureRequest, between: Between, book: AddressBook, database: Path) -> ContactsSettings:
    path = "/" + book.url.split("/", 3)[3]
    return on_server(
        f"{between.url}{path}", f"sqlite+aiosqlite:///{database}", timeout=1 if "slow" in request.node.name else 10
    )


_OPENED = (
    b'<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav" xmlns:s="http://calendarserver.org/ns/">'
)


def _multistatus(value: str, *hrefs: str) -> bytes:
    """What a server says about resources: an ETag, and some value."""
    responses = (
        f"<d:response><d:href>{href}</d:href><d:propstat><d:prop><d:getetag>1</d:getetag>{value}</d:prop></d:propstat>"
        "</d:response>"
        for href in hrefs
    )
    return _OPENED + "".join(responses).encode() + b"</d:multistatus>"


async def _found(call: Call, name: str) -> list[str]:
    return [person["name"] for person in (await call("contacts.find", name=name))["contacts"]]


@pytest.mark.parametrize("query", ["ana", "annie", "acme", "ruiz acme", "ACMÉ research"])
async def test_a_person_is_found_by_name_nickname_and_organization(call: Call, book: AddressBook, query: str) -> None:
    book.put("1", "FN:Ana Ruiz", "N:Ruiz;Ana;;;", "NICKNAME:Annie", "ORG:Acme;Research", "EMAIL:a@example.com")
    book.put("2", "FN:Bo", "N:;Bo;;;", "ORG:Other")

    found = await call("contacts.find", name=query)

    assert found["match"]["name"] == "Ana Ruiz"
    assert (found["match"]["nickname"], found["match"]["organization"]) == ("Annie", "Acme Research")


def test_each_of_several_nicknames_is_read() -> None:
    card = vcard.read("BEGIN:VCARD\nVERSION:4.0\nFN:Ana\nNICKNAME;TYPE=home:Annie,La\\, Je\n fa\nEND:VCARD")

    assert card.nicknames == ("Annie", "La, Jefa")


async def test_a_whole_nickname_beats_names_that_only_contain_it(call: Call, book: AddressBook) -> None:
    book.put("1", "FN:Joanna Smith", "N:Smith;Joanna;;;", "NICKNAME:Jo", "EMAIL:jo@example.com")
    book.put("2", "FN:Jon Stone", "N:Stone;Jon;;;", "EMAIL:jon@example.com")

    found = await call("contacts.find", name="Jo")

    assert [person["name"] for person in found["contacts"]] == ["Joanna Smith", "Jon Stone"]
    assert found["match"]["email"] == "jo@example.com"


@pytest.mark.parametrize(
    ("lines", "email", "others"),
    [
        (["EMAIL:a@example.com", "EMAIL:b@example.com"], "a@example.com", ["b@example.com"]),
        (["EMAIL:a@example.com", "EMAIL;TYPE=pref:b@example.com"], "b@example.com", ["a@example.com"]),
        (["EMAIL:a@example.com", "EMAIL;TYPE=WORK,PREF:b@example.com"], "b@example.com", ["a@example.com"]),
        (["EMAIL;PREF=50:a@example.com", "EMAIL;PREF=1:b@example.com"], "b@example.com", ["a@example.com"]),
        (["EMAIL:a@example.com", "item1.EMAIL;PREF=9:b@example.com"], "b@example.com", ["a@example.com"]),
        (["EMAIL:no address", "EMAIL:b@example.com"], "b@example.com", []),
        (["EMAIL:a@example.com", "EMAIL:a@example.com"], "a@example.com", []),
        ([], None, []),
    ],
)
async def test_the_preferred_address_is_the_one_that_is_used(
    call: Call, book: AddressBook, lines: list[str], email: str | None, others: list[str]
) -> None:
    book.put("1", "FN:Ana", "N:;Ana;;;", *lines)

    match = (await call("contacts.find", name="Ana"))["match"]

    assert (match["email"], match["other_emails"]) == (email, others)


async def test_a_group_is_nobody(call: Call, book: AddressBook) -> None:
    book.put("1", "FN:Anaesthesia team", "N:;team;;;", "X-ADDRESSBOOKSERVER-KIND:group")
    book.put("2", "FN:Ana", "N:;Ana;;;", "EMAIL:a@example.com")

    assert await _found(call, "ana") == ["Ana"]
    assert (await call("contacts.list"))["skipped"] == 0


async def test_a_broken_card_is_skipped_and_named(call: Call, book: AddressBook, between: Between) -> None:
    """Radicale takes no broken card, so the answer of one that does is put in its place."""
    path = "/" + book.url.split("/", 3)[3]
    cards = {
        "1.vcf": "BEGIN:VCARD\nVERSION:3.0\nFN:Ana Ruiz\nEND:VCARD",
        "2.vcf": "rubbish",
        "3.vcf": "BEGIN:VCARD\nVERSION:3.0\nFN:\nEND:VCARD",
        "4.vcf": "BEGIN:VCARD\nVERSION:3.0\nFN:Bo Roe\nrubbish\nEND:VCARD",
    }
    between.before["PROPFIND"] = [
        says(207, _multistatus("<d:sync-token>1</d:sync-token>", path)),
        says(207, _multistatus("", *(path + name for name in cards))),
    ]
    between.before["REPORT"] = [
        says(
            207,
            b"".join(
                _multistatus(f"<c:address-data>{card}</c:address-data>", path + name) for name, card in cards.items()
            ).replace(b"</d:multistatus>" + _OPENED, b""),
        )
    ]

    found = await call("contacts.find", name="ana")

    assert ([person["name"] for person in found["contacts"]], found["skipped"]) == (["Ana Ruiz"], 3)
    assert found["skipped_cards"] == ["2.vcf: it cannot be read", "3.vcf: it has no name", "Bo Roe: it cannot be read"]


async def test_a_card_that_the_server_lists_and_does_not_give_is_counted_and_asked_for_again(
    call: Call, book: AddressBook, between: Between
) -> None:
    """Else the other Ana would be the only one, and a mail to Ana would go to her."""
    book.put("1", "FN:Ana", "N:;Ana;;;")
    between.before["REPORT"] = [says(207, _multistatus("", "/nobody"))]

    first = await call("contacts.find", name="ana")

    assert (first["contacts"], first["skipped"]) == ([], 1)
    assert [card.partition(": ")[2] for card in first["skipped_cards"]] == ["the server did not send it"]
    assert await _found(call, "ana") == ["Ana"]


async def test_a_look_up_costs_one_question_while_nothing_changes(
    call: Call, book: AddressBook, between: Between
) -> None:
    book.put("1", "FN:Ana", "N:;Ana;;;")
    await _found(call, "ana")
    between.asked.clear()

    assert await _found(call, "ana") == ["Ana"]
    assert between.asked == ["PROPFIND"]


async def test_only_what_changed_is_read_again(
    call: Call, book: AddressBook, between: Between, fill: Callable[[int, str], Awaitable[None]]
) -> None:
    await fill(150, "Bo")
    await call("contacts.list")
    between.asked.clear()
    book.put("other", "FN:Ana", "N:;Ana;;;")
    book.ask("DELETE", next(file.name for file in book.files.glob("*.vcf") if "Bo 7\n" in file.read_text()))

    assert await _found(call, "ana") == ["Ana"]
    assert (await call("contacts.list"))["contacts"][-1]["name"] == "Bo 99"
    assert "Bo 7" not in await _found(call, "bo 7")
    assert between.asked == ["PROPFIND", "PROPFIND", "REPORT", "PROPFIND", "PROPFIND"]


async def test_a_card_too_large_to_read_is_skipped(call: Call, book: AddressBook) -> None:
    book.put("1", "FN:Ana", "N:;Ana;;;", "NOTE:" + "x" * 1024 * 1024)
    book.put("2", "FN:Bo", "N:;Bo;;;")

    listed = await call("contacts.list")

    assert ([person["name"] for person in listed["contacts"]], listed["skipped"]) == (["Bo"], 1)


async def test_what_another_device_wrote_stays_when_a_number_is_added(call: Call, book: AddressBook) -> None:
    book.put("1", "FN:Ana Ruiz", "N:Ruiz;Ana;;;", "EMAIL:ana@example.com", PHOTO, "X-OTHER;A=b:as it was")

    await call("contacts.add", **ANA, phone="+34 600")

    [card] = book.cards()
    assert "X-OTHER;A=b:as it was" in card
    assert "A" * 400 in card.replace("\n ", "").replace("\r", "")
    assert (await call("contacts.find", name="ana"))["match"]["phone"] == "+34 600"


async def test_a_second_address_of_a_known_person_is_found_as_theirs(call: Call, book: AddressBook) -> None:
    book.put("1", "FN:Ana Ruiz", "N:Ruiz;Ana;;;", "EMAIL:work@example.com", "EMAIL:ana@example.com")

    added = await call("contacts.add", **ANA)

    assert (added["created"], added["email"], len(book.cards())) == (False, "work@example.com", 1)


@pytest.mark.parametrize("name", ["Ána, \\ Ruiz; Jr.", "安" * 190, "Ana\r\nEMAIL:evil@example.com", "Ana\x07\x00Ruiz"])
async def test_a_name_cannot_break_its_card(call: Call, book: AddressBook, name: str) -> None:
    await call("contacts.add", name=name, email="ana@example.com")

    [card] = book.cards()
    read = vcard.read(card)
    expected = "".join(letter for letter in " ".join(name.split()) if letter not in "\x07\x00")
    assert (read.name, read.emails) == (expected, ("ana@example.com",))
    assert all(len(line.encode()) <= 75 for line in card.splitlines())


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_person_is_entered_once_though_the_reply_is_lost(
    call: Call, book: AddressBook, between: Between, when: str
) -> None:
    getattr(between, when)["PUT"] = [lost]

    added = await retried(call, "contacts.add", step="s1", **ANA)

    assert (added["created"], len(book.cards())) == (True, 1)
    assert await call("contacts.add", step="s1", **ANA) == added


async def test_a_person_who_is_entered_again_after_a_doubt_has_the_same_uid(call: Call, book: AddressBook) -> None:
    first = await call("contacts.add", step="s1", **ANA)
    await call("contacts.remove", contact_id=first["contact_id"])
    again = await call("contacts.add", step="s1~2", **ANA)
    assert (again["contact_id"], again["created"]) == (first["contact_id"], True)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_person_is_removed_though_the_reply_is_lost(
    call: Call, book: AddressBook, between: Between, when: str
) -> None:
    ana = await call("contacts.add", **ANA)
    getattr(between, when)["DELETE"] = [lost]

    gone = await retried(call, "contacts.remove", step="s2", contact_id=ana["contact_id"])

    assert (gone["removed"], gone["name"], book.cards()) == (True, "Ana Ruiz", [])


async def test_a_worker_that_died_before_its_record_has_entered_the_person_once(
    call: Call, book: AddressBook, database: Path
) -> None:
    """The next attempt finds the card of the first and says so."""
    first = await call("contacts.add", step="s1", **ANA)
    with closing(connect(database)) as connection, connection:
        connection.execute("UPDATE ledger SET state = 'acting', result = ''")

    assert await call("contacts.add", step="s1", **ANA) == first
    assert len(book.cards()) == 1


async def test_two_workers_that_add_one_person_in_one_step_enter_them_once(
    call: Call, settings: ContactsSettings, book: AddressBook, between: Between
) -> None:
    between.after["PUT"] = [slow]
    async for other in served(settings):
        added = await retried(call, "contacts.add", step="s1", **ANA)
        assert await retried(other, "contacts.add", step="s1", **ANA) == added

    assert len(book.cards()) == 1


async def test_a_person_changed_elsewhere_meanwhile_is_not_removed(
    call: Call, book: AddressBook, between: Between
) -> None:
    """The server itself refuses, by the ETag of what was seen."""
    book.put("1", "FN:Ana Ruiz", "N:Ruiz;Ana;;;")
    ana = (await call("contacts.find", name="ana"))["match"]
    between.meanwhile["DELETE"] = lambda: book.put("1", "FN:Ana Silva", "N:Silva;Ana;;;")

    with pytest.raises(ApplicationError, match="changed on the server meanwhile") as refused:
        await call("contacts.remove", step="s1", contact_id=ana["contact_id"])

    assert (refused.value.type, refused.value.non_retryable) == ("Conflict", True)
    assert len(book.cards()) == 1


async def test_a_number_is_not_written_over_what_another_device_wrote_meanwhile(
    call: Call, book: AddressBook, between: Between
) -> None:
    book.put("1", "FN:Ana Ruiz", "N:Ruiz;Ana;;;", "EMAIL:ana@example.com")
    between.meanwhile["PUT"] = lambda: book.put("1", "FN:Ana Ruiz", "N:Ruiz;Ana;;;", "EMAIL:ana@example.com", "TEL:1")

    with pytest.raises(ApplicationError, match="changed on the server meanwhile"):
        await call("contacts.add", **ANA, phone="2")

    assert (await call("contacts.find", name="ana"))["match"]["phone"] == "1"


@pytest.mark.parametrize(
    ("fault", "kind", "final", "words"),
    [
        (lost, "ServiceUnavailable", False, "broke off"),
        (half, "ServiceUnavailable", False, "broke off"),
        (slow, "ServiceUnavailable", False, "did not answer in time"),
        (says(500), "ServiceUnavailable", False, "an internal problem"),
        (says(401), "ServiceRefused", True, "user name or password"),
        (says(403), "ServiceRefused", True, "does not allow"),
        (says(404), "ServiceRefused", True, "no such collection"),
        (says(301, Location="http://evil.example/"), "ServiceRefused", True, "HTTP 301"),
        (says(429, Retry_After="3"), "ServiceBusy", False, "asks for a pause"),
        (says(207, b"<html>"), "ServiceUnavailable", False, "is invalid"),
        (
            says(207, b'<!DOCTYPE a [<!ENTITY b "c">]><d:multistatus xmlns:d="DAV:">&b;</d:multistatus>'),
            "ServiceUnavailable",
            False,
            "is invalid",
        ),
        (says(207, b"x" * (4 * 1024 * 1024 + 1)), "AnswerTooLong", False, "longer than"),
    ],
)
async def test_what_a_server_does_wrong_is_said_in_words(
    call: Call, between: Between, fault: Fault, kind: str, final: bool, words: str
) -> None:
    between.before["PROPFIND"] = [fault]

    with pytest.raises(ApplicationError, match=words) as failed:
        await call("contacts.find", name="ana")

    assert (failed.value.type, failed.value.non_retryable) == (kind, final)
    assert PASSWORD not in str(failed.value)


@pytest.mark.parametrize(("status", "words"), [(507, "no room left"), (413, "too large"), (500, "internal problem")])
async def test_a_refused_entry_did_not_happen_and_the_next_attempt_may_do_it(
    call: Call, book: AddressBook, between: Between, status: int, words: str
) -> None:
    between.before["PUT"] = [says(status)]
    with pytest.raises(ApplicationError, match=words):
        await call("contacts.add", step="s1", **ANA)

    assert (await call("contacts.add", step="s1", **ANA))["created"]
    assert len(book.cards()) == 1


async def test_a_server_that_is_down_is_said_to_be(database: Path) -> None:
    nowhere = f"http://127.0.0.1:{temporal_server.free_port()}/book/"
    async for call in served(on_server(nowhere, f"sqlite+aiosqlite:///{database}")):
        with pytest.raises(ApplicationError, match="the address book's server cannot be reached") as failed:
            await call("contacts.list")

    assert (failed.value.type, failed.value.non_retryable) == ("ServiceUnavailable", False)


async def test_an_answer_about_another_place_is_not_followed(call: Call, between: Between, book: AddressBook) -> None:
    """A server, or whoever stands between, must not make us send a password or a change elsewhere."""
    await call("contacts.add", **ANA)
    eve_card = "<c:address-data>BEGIN:VCARD\nVERSION:3.0\nFN:Eve\nEND:VCARD</c:address-data>"
    elsewhere = _multistatus(eve_card, "/ana/../../other/1.vcf")
    tag = _multistatus("<d:sync-token>t</d:sync-token>", "/")
    between.before["PROPFIND"] = [says(207, tag), says(207, elsewhere)]
    between.before["REPORT"] = [says(207, elsewhere)]
    eve = (await call("contacts.find", name="eve"))["match"]
    between.asked.clear()
    between.before["PROPFIND"] = [says(207, tag)]

    with pytest.raises(ApplicationError, match="outside of the collection"):
        await call("contacts.remove", contact_id=eve["contact_id"])

    assert "DELETE" not in between.asked


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "needs CONTACTS_URL"),
        ({"url": "https://ana:secret-canary@example.com/book/"}, "no name or password"),
        ({"url": "http://dav.example.com/book/", "password": "secret-canary"}, "must be https"),
    ],
)
def test_settings_that_cannot_work_say_so_without_the_password(variables: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as refused:
        ContactsSettings(provider="carddav", database_url="sqlite+aiosqlite://", **variables)

    assert "canary" not in str(refused.value)


async def test_a_file_is_not_imported_beside_the_server(settings: ContactsSettings, tmp_path: Path) -> None:
    with pytest.raises(InvalidArguments, match="yours is on a server"):
        await import_file(tmp_path / "a.vcf", settings)
