"""Several mails in one file, as mail programs export a folder (mbox, RFC 4155)."""

from __future__ import annotations

import re

_SEPARATOR = re.compile(
    rb"(?:\A|(?<=\n\n)|(?<=\r\n\r\n))From [^\r\n]*\d{2}:\d{2}[^\r\n]*\r?\n(?=[!-9;-~]+[ \t]*:|>From )"
)
"""A line `From sender date`, at the beginning or after an empty line, which headers follow: a sentence is none."""

_QUOTED = re.compile(rb"^>(>*From )", re.M)


def is_mbox(beginning: bytes) -> bool:
    """Whether a file begins as an mbox does."""
    return _SEPARATOR.match(beginning) is not None


def mails_of(content: bytes) -> list[bytes]:
    """Return the mails of a file: those of an mbox without their separators, or the one that the file is."""
    if not is_mbox(content):
        return [content]
    starts = [found.span() for found in _SEPARATOR.finditer(content)]
    ends = [begin for begin, _ in starts[1:]] + [len(content)]
    return [_QUOTED.sub(rb"\1", content[begin:end]) for (_, begin), end in zip(starts, ends, strict=True)]
