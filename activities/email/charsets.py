"""Bytes to characters, by the names that mails give to encodings and not by what those names once meant.

Senders write `gb2312` for GBK and `iso-8859-1` for Windows-1252. Browsers read them so, by the label table of the WHATWG
(https://encoding.spec.whatwg.org/#names-and-labels); this is its part that Python's own names read differently.
"""

from __future__ import annotations

import codecs
import re

_AS_BROWSERS_DO = {
    "cp1252": "ascii us-ascii ansi_x3.4-1968 iso-8859-1 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 iso-ir-100 latin1 l1 "
    "cp819 ibm819 csisolatin1 x-cp1252 windows-1252 cp1252",
    "cp1254": "iso-8859-9 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 iso-ir-148 latin5 l5 csisolatin5 x-cp1254",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "iso8859-8": "iso-8859-8-i iso-8859-8-e csiso88598e csiso88598i logical visual",
    "gb18030": "gb2312 chinese csgb2312 csiso58gb231280 gb_2312 gb_2312-80 iso-ir-58 x-gbk gbk cp936 ms936 euc-cn",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "cp949": "ks_c_5601 ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 korean iso-ir-149 euc-kr csksc56011987 cseuckr "
    "windows-949",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji csshiftjis ms932 windows-31j",
    "euc_jp": "x-euc-jp cseucpkdfmtjapanese",
    "iso2022_jp_ext": "iso-2022-jp csiso2022jp",
    "mac_roman": "macintosh x-mac-roman csmacintosh mac",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "koi8_r": "koi koi8 koi8-ru cskoi8r",
    "cp1251": "x-cp1251 win-1251",
    "cp1250": "x-cp1250",
    "cp866": "csibm866",
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8 utf8mb4 utf-8-sig default unknown-8bit "
    "x-unknown 8bit binary",
    "utf-16-le": "utf-16 unicode csunicode iso-10646-ucs-2 ucs-2 unicodefeff",
    "utf-16-be": "unicodefffe",
}
_CODECS = {label: codec for codec, labels in _AS_BROWSERS_DO.items() for label in labels.split()}
_NOTHING_SAID = {"ascii", "us-ascii", "ansi_x3.4-1968"}
"""Labels of programs that did not look at what they sent."""

_NO_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
"""Text codecs of Python that no mail means."""

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta\s[^>]{0,500}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.I)
_LOOKED_AT_FOR_META = 4096
_ENCODED_WORD = re.compile(r"=\?([\w.:-]{1,40})((?:\*[\w-]{0,20})?\?[bBqQ]\?)")
_EXTENDED = re.compile(r"""(\*\s*=\s*"?)([\w.:-]{1,40})(?='[\w-]{0,20}')""")


def codec_of(label: str) -> str | None:
    """Python's name of the encoding that a label means, or None if it means none for text."""
    name = label.strip().strip("\"'").lower()
    try:
        codec = codecs.lookup(_CODECS.get(name, name)).name
        b"a".decode(codec, "replace")  # refuses codecs between bytes and bytes
    except (LookupError, ValueError):
        return None
    return None if codec in _NO_CHARSETS else codec


def decoded(content: bytes, label: str | None, *, is_html: bool = False) -> str:
    """Return the characters of a part.

    A byte order mark counts first, then the label, then a page's own `<meta>`. Where nothing is said it is UTF-8, and
    Windows-1252 where it cannot be that. An end that was cut inside a character is left out.
    """
    bom = next((codec for mark, codec in _BOMS if content.startswith(mark)), None)
    codec = bom or _declared(label) or (_in_page(content) if is_html else None) or "utf-8"
    try:
        text = content.decode(codec)
    except ValueError:
        if codec == "utf-8" and not _holds_utf8(content):
            return content.decode("cp1252", "replace")
        text = codecs.getincrementaldecoder(codec)("replace").decode(content)
    return text.removeprefix("\ufeff")


def as_browsers_read(header: str) -> str:
    """A header in which encoded words and extended parameters name their encodings as Python understands them."""
    if "=?" in header:
        header = _ENCODED_WORD.sub(lambda found: f"=?{_python_name(found[1])}{found[2]}", header)
    if "*" in header:
        header = _EXTENDED.sub(lambda found: f"{found[1]}{_python_name(found[2])}", header)
    return header


def _python_name(label: str) -> str:
    return codec_of(label) or label


def _declared(label: str | None) -> str | None:
    if label is None or label.strip().lower() in _NOTHING_SAID:
        return None
    return codec_of(label)


def _in_page(content: bytes) -> str | None:
    found = _META.search(content[:_LOOKED_AT_FOR_META])
    codec = codec_of(found[1].decode("ascii")) if found else None
    # A page whose <meta> could be read in ASCII is not in two bytes a character.
    return "utf-8" if codec and codec.startswith("utf-16") else codec


def _holds_utf8(content: bytes) -> bool:
    """Whether some of it is UTF-8 beyond ASCII, so that the rest is damaged and not in another encoding."""
    return not content.decode("utf-8", "ignore").isascii()
