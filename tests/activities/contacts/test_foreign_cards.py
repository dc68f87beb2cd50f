"""vCards as phones and other programs write them; files and CardDAV servers share this reading."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from activities.contacts import vcard
from activities.contacts.names import folded
from activities.contacts.settings import ContactsSettings
from activities.contacts.vcard_file import read_cards
from activities.contacts.worker import import_file

Call = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def provider() -> str:
    """Files are imported into the own store alone."""
    return "own"


def _card(*lines: str, version: str = "3.0") -> str:
    return "\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD", ""])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=D0=9C=D0=B0=D1=80=\r\n=D0=B8=D1=8F", "Мария"),
        ("FN;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:J=C3=\r\n=B6rg", "Jörg"),
        ("FN;QUOTED-PRINTABLE:J=C3=B6rg", "Jörg"),
        ("fn;quoted-printable;charset=windows-1252:J=F6rg =96 Bau", "Jörg – Bau"),
        ("FN;ENCODING=QUOTED-PRINTABLE:J=F6rg", "Jörg"),
        ("FN;ENCODING=QUOTED-PRINTABLE;CHARSET=nope:J=C3=B6rg", "Jörg"),
        ("item1.FN;ENCODING=Quoted-Printable:J=C3=B6rg=0D=0ABau", "Jörg Bau"),
        ("FN:a=b", "a=b"),
    ],
)
def test_quoted_printable_is_read_however_it_is_announced(line: str, name: str) -> None:
    card = vcard.read(_card(line, "EMAIL;INTERNET:one@example.com", version="2.1"))

    assert (card.name, card.emails) == (name, ("one@example.com",))


def test_what_follows_a_soft_break_is_no_line_of_its_own() -> None:
    note = "NOTE;ENCODING=QUOTED-PRINTABLE:first=\r\nEMAIL:two@example.com=\r\n=20end"

    assert vcard.read(_card("FN:Ana", note, "EMAIL:one@example.com", version="2.1")).emails == ("one@example.com",)


@pytest.mark.parametrize(
    ("written", "phone"),
    [
        ("\u202a+49 170 0000003\u202c", "+49 170 0000003"),
        ("\u200e+49\u2011170\u00a05", "+49-170 5"),
        ("\ufeff555\u200b1234", "5551234"),
        ("+49 \u2013 30", "+49 - 30"),
        ("Tel:+49 30", "+49 30"),
        ("\u0660\u0661\u0662", "012"),
        ("+49 30;ext=4", "+49 30"),
    ],
)
def test_marks_that_nobody_sees_do_not_cost_a_number(written: str, phone: str | None) -> None:
    assert vcard.read(_card("FN:Ana", f"TEL:{written}")).phone == phone


@pytest.mark.parametrize(
    "written",
    ["MAILTO:ana@example.com", "Mailto:ana@example.com", "mailto:ana@example.com?subject=Hi", "ana@example.com"],
)
def test_an_address_may_be_written_as_a_link(written: str) -> None:
    assert vcard.read(_card("FN:Ana", f"EMAIL:{written}")).emails == ("ana@example.com",)


GROUPS = ["X-ADDRESSBOOKSERVER-KIND:group", "x-addressbookserver-kind:Group", "KIND:group"]


@pytest.mark.parametrize("kind", GROUPS)
def test_a_group_is_nobody_and_is_named(kind: str) -> None:
    file = read_cards(_card("FN:Choir", kind) + _card("FN:Choir Singer"))

    assert [person.name for person in file.people] == ["Choir Singer"]
    assert [str(each) for each in file.left_out] == [
        "card 1 ('Choir'): it is a group of people, and the address book holds people only"
    ]


@pytest.mark.parametrize(
    ("card", "named"),
    [
        (_card("FN:Ana", "rubbish"), "card 2 ('Ana'): it cannot be read"),
        (_card("N:Ruiz;Ana", "rubbish"), "card 2 ('Ruiz;Ana'): it cannot be read"),
        (_card("EMAIL:ana@example.com"), "card 2 ('ana@example.com'): it has no name"),
        (_card("NOTE:x"), "card 2: it has no name"),
        (_card("FN:Ana", "EMAIL:ana at home"), "'Ana': this is no address or number that can be used: 'ana at home'"),
        (_card("FN:Ana", "TEL:ask me"), "'Ana': this is no address or number that can be used: 'ask me'"),
        (_card("FN:Ana", "EMAIL:a@example.com", "EMAIL:b@example.com"), "'Ana': other addresses were not taken: b@example.com"),
        (_card("FN:Ana", "TEL:1", "TEL:2"), "'Ana': other telephone numbers were not taken: 2"),
        (_card("FN:Ana", "BDAY:19700101", "item1.ADR:;;x"), "details of which the address book keeps none: ADR (1), BDAY (1)"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_named(card: str, named: str) -> None:
    file = read_cards(_card("FN:Bo") + card)

    assert [str(each) for each in file.left_out] == [named]
    assert file.outcome(added=2).splitlines()[1:] == [f"  - {named}"]


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("Søren Kjær", "soren kjaer"),
        ("Łukasz", "lukasz"),
        ("Đorđe", "dorde"),
        ("Þór", "thor"),
        ("Işık İpek", "isik ipek"),
        ("Straße", "STRASSE"),
        ("Œuvre", "oeuvre"),
        ("Ħamrun", "hamrun"),
    ],
)
async def test_letters_of_their_own_are_found_by_those_that_people_type(
    call: Call, settings: ContactsSettings, tmp_path: Path, name: str, query: str
) -> None:
    path = tmp_path / "people.vcf"
    path.write_text(_card(f"FN:{name}"))
    await import_file(path, settings)

    found = [(await call("contacts.find", name=each))["match"] for each in (query, name)]

    assert [match["name"] for match in found] == [name, name]


FIRST_TABLES = """
DROP TABLE contact;
DROP TABLE alembic_version;
CREATE TABLE contact (contact_id VARCHAR(32) NOT NULL, name VARCHAR(200) NOT NULL, email VARCHAR(254), phone VARCHAR(40),
    folded_name VARCHAR(4000) NOT NULL, known_by VARCHAR(254) NOT NULL, PRIMARY KEY (contact_id), UNIQUE (folded_name, known_by));
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('contacts_0001');
"""


async def test_people_who_were_there_before_are_found_by_them_too(
    settings: ContactsSettings, tmp_path: Path, call: Call, database: Path
) -> None:
    path = tmp_path / "people.vcf"
    path.write_text(_card("FN:Søren") + _card("FN:Bo"))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript(FIRST_TABLES)
        connection.execute("INSERT INTO contact VALUES ('1', 'Søren', NULL, NULL, 'søren', '')")

    await import_file(path, settings)

    assert (await call("contacts.find", name="soren"))["match"]["name"] == "Søren"
    assert folded("søren") == "soren"
