"""Names as people look for them: case and accents do not count."""

import unicodedata

_LETTERS = str.maketrans({
    "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ŧ": "t", "ŋ": "n", "ĸ": "k", "ƒ": "f",
    "æ": "ae", "œ": "oe", "þ": "th", "ə": "e", "ɨ": "i", "ƶ": "z", "ȼ": "c", "ɇ": "e", "ɉ": "j", "ɍ": "r", "ɏ": "y",
})  # fmt: skip
"""Letters that Unicode does not decompose, and that people type without the stroke."""


def folded(text: str) -> str:
    """`text` in a form in which Jörg MÜLLER and jorg muller, or Søren and soren, are the same; spaces are single."""
    decomposed = unicodedata.normalize("NFKD", text)
    # Only marks that combine are accents. Vowel signs of Indic scripts are marks too, and part of the name.
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return one_line(bare.casefold().translate(_LETTERS))


def one_line(text: str) -> str:
    """`text` without line breaks and with single spaces."""
    return " ".join(text.split())
