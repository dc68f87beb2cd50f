"""Sanitizes untrusted text: marks or removes invisible and confusable characters, and shortens long texts.

Console, command line, protocols and logs mark them (`safe`). Text for models, or for a format in which the character has
no meaning, loses them (`without_invisible`, `without_controls`). Imports only the standard library.

Invisible characters are controls, Unicode's default-ignorable characters (zero-width characters, variation selectors, tags,
direction marks), private and unassigned characters, and blank letters; those that a script or an emoji needs are kept.
Confusable characters are letters of other scripts that look like Latin ones, in a word that also has Latin letters.
"""

from __future__ import annotations

import re
import unicodedata

_CONTROLS = frozenset({"Cc", "Cs"})
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Categories of invisible characters."""
_BLANK = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufdd0-\ufdef"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Default-ignorable characters (Unicode 16, DerivedCoreProperties.txt), the blank of Braille, and noncharacters."""
_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Visible formatting characters: signs before Arabic, Syriac and Kaithi numbers."""
_NOT_PLAIN = re.compile(r"[^ -~\n\t]")
_JOINERS = "\u200c\u200d"
_EMOJI_STYLES = "\ufe0e\ufe0f"
_MONGOLIAN_FORMS = "\u180b\u180c\u180d\u180e\u180f"
_BESIDE_JOINERS = frozenset({"Lo", "Mn", "Mc", "So", "Sk"})
_NEVER_JOINED = ("CJK", "HANGUL", "HIRAGANA", "KATAKANA", "BRAILLE")
_KEYCAP = "\u20e3"
_LOOKALIKES = (
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u0475\u04bb\u04cf\u0501\u051b\u051d"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408\u04ae\u04c0\u050c\u051a\u051c"
    "\u03b1\u03b3\u03b9\u03ba\u03bd\u03bf\u03c1\u03c5\u03f2\u03f3"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03f9"
    "\u0585\u057d\u0578\u0570\u0581\u0555\u054d"
)
"""Letters of Cyrillic, Greek and Armenian that look like Latin ones (after Unicode's confusables.txt)."""
_LOOKALIKE = re.compile(f"[{_LOOKALIKES}]")
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")


def safe(text: str) -> str:
    """Return the text with a visible mark in place of each invisible character and after each confusable letter.

    Escape sequences could repaint the terminal, direction marks could make an address read backwards, a Cyrillic letter
    could imitate another address. Line feeds and tabs stay.
    """
    text = text.replace("\r\n", "\n")
    return _confusables_marked(_NOT_PLAIN.sub(_marked, text))


def safe_line(text: str, limit: int) -> str:
    """Return `safe` text on one line of at most `limit` characters."""
    return clip(safe(" ".join(text.split())), limit)


def safe_excerpt(text: str, limit: int, *, more: str = "") -> str:
    """Return `safe` text of at most `limit` characters; if it was cut, its full length and `more` follow."""
    return safe(text) if len(text) <= limit else f"{safe(text[:limit])}… [cut: {len(text)} characters in all{more}]"


def one_line(text: str, limit: int) -> str:
    """Return text without invisible characters on one line of at most `limit` characters."""
    return clip(" ".join(without_invisible(text).split()), limit)


def clip(text: str, limit: int) -> str:
    """Return at most `limit` characters; the last one is "…" if the text was cut."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def whole(text: str) -> str:
    """Return the text with UTF-16 surrogate pairs joined, and each half without its partner replaced by U+FFFD (�).

    JSON can name one half of a pair, and no encoder, database or Temporal payload takes it.
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def without_invisible(text: str) -> str:
    """Return the text without invisible characters, which hide words from people and show them to models."""
    return _NOT_PLAIN.sub(lambda found: "" if _hides(found) else found[0], text)


def without_controls(text: str) -> str:
    """Return the text without control characters and lone surrogates, which no file format accepts."""
    return "".join(char for char in text if unicodedata.category(char) not in _CONTROLS)


def lookalikes(word: str) -> list[str]:
    """Return the letters of a word that look like Latin ones but are not; empty if it has no Latin letter."""
    return _LOOKALIKE.findall(word) if _LATIN.search(word) else []


def looks_latin(word: str) -> bool:
    """Whether each letter of a word looks like a Latin one but is not."""
    letters = [char for char in word if char.isalpha()]
    return bool(letters) and all(char in _LOOKALIKES for char in letters)


def is_invisible(char: str) -> bool:
    """Whether this character is invisible everywhere."""
    if char in _SIGNS:
        return False
    return unicodedata.category(char) in _INVISIBLE or _BLANK.match(char) is not None or ord(char) & 0xFFFE == 0xFFFE


def mark(char: str) -> str:
    """Return the mark for an invisible character."""
    code = ord(char)
    return chr(0x2400 + code) if code < 0x20 else f"<U+{code:04X}>"


def _marked(found: re.Match[str]) -> str:
    return mark(found[0]) if _hides(found) else found[0]


def _hides(found: re.Match[str]) -> bool:
    return is_invisible(found[0]) and not _is_needed(found.string, found.start())


def _is_needed(text: str, at: int) -> bool:
    """Whether an invisible character changes how its neighbours look, as their script or emoji needs."""
    char, before, after = text[at], text[at - 1] if at else "", text[at + 1 : at + 2]
    if char in _JOINERS:
        return _takes_joiners(before) and _takes_joiners(after)
    if char in _EMOJI_STYLES:
        keycap = before.isascii() and (before.isdecimal() or before in "#*") and after == _KEYCAP
        return keycap or (bool(before) and unicodedata.category(before) in ("So", "Sm") and not is_invisible(before))
    return char in _MONGOLIAN_FORMS and bool(before) and unicodedata.name(before, "").startswith("MONGOLIAN LETTER")


def _takes_joiners(char: str) -> bool:
    if not char or unicodedata.category(char) not in _BESIDE_JOINERS:
        return False
    styled = char in _EMOJI_STYLES
    return styled or not (is_invisible(char) or unicodedata.name(char, "").startswith(_NEVER_JOINED))


def _confusables_marked(text: str) -> str:
    return _WORD.sub(_letters_marked, text) if not text.isascii() and _LOOKALIKE.search(text) else text


def _letters_marked(found: re.Match[str]) -> str:
    word, text, start = found[0], found.string, found.start()

    def marked(letter: re.Match[str]) -> str:
        known = text.startswith(mark(letter[0]), start + letter.end())  # it was marked before
        return letter[0] if known else f"{letter[0]}{mark(letter[0])}"

    return _LOOKALIKE.sub(marked, word) if lookalikes(word) else word
