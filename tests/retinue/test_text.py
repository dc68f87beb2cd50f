"""Characters that nobody sees, and letters that are taken for others: marked in one place, and refused in addresses."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.web.readable import tidy
from api.protocols.shared.run_summary import _text as shown_text
from cli.render import plain as on_the_terminal
from console.rendering import templates
from retinue import addresses
from retinue.addresses import check_address, misleading, readable_domain
from retinue.runtime import logs
from retinue.text import is_invisible, one_line, safe, without_controls, without_invisible
from tests.workflows.test_presentation import details

INVISIBLE = {
    "soft hyphen": "\u00ad",
    "combining grapheme joiner": "\u034f",
    "Arabic letter mark": "\u061c",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "Khmer inherent vowel": "\u17b4",
    "Mongolian separator": "\u180e",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff",
    "direction marks": "\u200e\u200f\u202a\u202e\u2066\u2069",
    "blank Braille": "\u2800",
    "variation selectors": "\ufe00\ufe0e\ufe0f\U000e0100\U000e01ef",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "reserved default-ignorables": "\u2065\ufff0\U000e0fff",
    "musical format": "\U0001d173",
    "line separators": "\u2028\u2029",
    "controls": "\x00\x07\x1b\x7f\x9b",
    "private and impossible": "\ue000\ufdd0\uffff",
}
SURFACES: dict[str, Callable[[str], str]] = {
    "console": lambda text: (
        templates().from_string("{{ text }}").render(text=text).replace("&lt;", "<").replace("&gt;", ">")
    ),
    "command line": lambda text: str(on_the_terminal(text)),
    "Web UI": lambda text: details(reply=text).partition("```text\n")[2].partition("\n```")[0],
    "doors": lambda text: str(shown_text(text)),
    "logs": lambda text: logs._Formatter("%(message)s").format(logging.makeLogRecord({"msg": text})),
}
NEEDED = {
    "Persian": "می\u200cخواهم",
    "Hindi": "क्\u200dष",
    "emoji family": "👩\u200d👩\u200d👧",
    "emoji with skin": "👩🏽\u200d💻",
    "heart": "❤\ufe0f",
    "rainbow flag": "🏳\ufe0f\u200d🌈",
    "keycap": "1\ufe0f\u20e3",
    "arrow": "↔\ufe0f",
    "Arabic number sign": "\u0600",
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("kind", INVISIBLE)
def test_what_nobody_sees_is_marked_wherever_it_is_shown(surface: str, kind: str) -> None:
    for char in INVISIBLE[kind]:
        shown = SURFACES[surface](f"pay{char}pal")
        assert char not in shown
        assert shown not in ("paypal", "pay pal")


@pytest.mark.parametrize("kind", INVISIBLE)
def test_it_is_left_out_of_what_only_models_read(kind: str) -> None:
    text = f"pay{INVISIBLE[kind]}pal"
    assert without_invisible(text) == one_line(text, 99) == tidy(text) == "paypal"


@pytest.mark.parametrize("kind", NEEDED)
def test_what_a_script_or_an_emoji_needs_stays(kind: str) -> None:
    assert safe(NEEDED[kind]) == without_invisible(NEEDED[kind]) == NEEDED[kind]


@pytest.mark.parametrize("text", ["pay\u200dpal", "日\u200d本", "a\ufe0f", "👩\u200d", "\u200c\u200c", "ক\u200dx"])
def test_the_same_character_where_nothing_needs_it_is_marked(text: str) -> None:
    assert safe(text) != text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p\u0430ypal", "p\u0430<U+0430>ypal"),
        ("PAYP\u0410L", "PAYP\u0410<U+0410>L"),
        ("micr\u03bfsoft", "micr\u03bf<U+03BF>soft"),
        ("Привет, мир", "Привет, мир"),
        ("5 \u03bcm, \u0394t, \u03b2-carotene", "5 \u03bcm, \u0394t, \u03b2-carotene"),
        ("Zo\u00eb und M\u00fcller", "Zo\u00eb und M\u00fcller"),
    ],
)
def test_letters_that_are_taken_for_others_are_marked_in_words_that_mix_them(text: str, shown: str) -> None:
    assert safe(text) == shown


@given(st.text(st.characters(), max_size=30))
def test_nothing_invisible_is_left_and_twice_marks_no_more(text: str) -> None:
    shown = safe(text)
    assert safe(shown) == shown
    left = [char for char in without_invisible(text) if is_invisible(char) and char not in "\n\t"]
    assert set(left) <= set("\u200c\u200d\ufe0e\ufe0f\u180b\u180c\u180d\u180e\u180f")
    assert all(unicodedata.category(char) not in ("Cc", "Cs") for char in without_controls(text))


def test_a_log_record_stays_one_line() -> None:
    line = SURFACES["logs"]("sent\n2027-01-01 INFO retinue: all is well")
    assert "\n" not in line


MISLEADING = {
    "ana@ex\u0430mple.com": "Cyrillic and Latin",
    "\u0430na@example.com": "Cyrillic and Latin",
    "ana@xn--exmple-4nf.com": "Cyrillic and Latin",
    "ANA@XN--EXMPLE-4NF.COM": "Cyrillic and Latin",
    "Ana Berg <ana@ex\u0430mple.com>": "Cyrillic and Latin",
    "ben@example.com, ana@ex\u0430mple.com": "Cyrillic and Latin",
    "mailto:ana@xn--80ak6aa92e.com": "look like Latin ones",
    "https://xn--exmple-4nf.com/pay": "Cyrillic and Latin",
    "ana@example.com\u200b": "an invisible character (<U+200B>)",
    "ana@\uff45xample.com": "special form",
    "ana@xn--99999999.com": "cannot be read",
}
HONEST = (
    *("ana@example.com", "o'brien+news@mail.example.co.uk", "почта@пример.рф", "ana@xn--e1afmkfd.xn--p1ai"),
    *("müller@bücher.example", "a@例え.example", "оса@оса.рф", "https://bücher.example/a?b=c", "hello p\u0430ypal"),
    *("#team", "ana berg", "", "http://[::1", "https://xn--/"),
)


@pytest.mark.parametrize("value", MISLEADING)
def test_an_address_that_imitates_another_is_known_with_the_reason(value: str) -> None:
    assert MISLEADING[value] in (misleading(value) or "")


@pytest.mark.parametrize("value", HONEST)
def test_an_honest_address_in_any_script_is_none(value: str) -> None:
    assert misleading(value) is None


def test_an_address_book_takes_no_imitation() -> None:
    with pytest.raises(ValueError, match="imitate another address"):
        check_address("ana@xn--exmple-4nf.com")


def test_an_encoded_domain_can_be_read() -> None:
    assert readable_domain("ana@xn--bcher-kva.example") == "bücher.example"
    assert readable_domain("https://xn--bcher-kva.example/x") == "bücher.example"
    assert [readable_domain(value) for value in ("ana@example.com", "a@xn--99999999")] == ["", ""]


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_addresses(text: str) -> None:
    for value in (
        text,
        f"{text}@example.com",
        f"a@{text}",
        f"a@xn--{text}.com",
        f"https://{text}/",
        f"https://xn--{text}",
    ):
        misleading(value)
        readable_domain(value)
    assert addresses.misleading("") is None
