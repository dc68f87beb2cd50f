"""Names as people look for them: case and accents do not count."""

import unicodedata


def folded(text: str) -> str:
    """`text` in a form in which Jörg MÜLLER and jorg muller are the same; spaces are single."""
    decomposed = unicodedata.normalize("NFKD", text)
    # Only marks that combine are accents. Vowel signs of Indic scripts are marks too, and part of the name.
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return one_line(bare.casefold())


def one_line(text: str) -> str:
    """`text` without line breaks and with single spaces."""
    return " ".join(text.split())
