"""What a file is, by its content: names and declared types are a stranger's words."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator

from activities.email.charsets import decoded

_LOOKED_AT = 8192
"""Bytes of a text that are looked at."""
_LARGEST_DIRECTORY = 512 * 1024
"""Bytes of the list of names in an archive; a longer one is not looked through."""
_END_OF_ZIP = struct.Struct("<4s4H2LH")
_UNKNOWN = "application/octet-stream"
_PROGRAM = "application/x-executable"
_SCRIPT = "text/x-script"
_ZIP = "application/zip"
_OLE = "application/x-ole-storage"
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", _ZIP),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/x-rar"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"{\\rtf", "application/rtf"),
    (b"MZ", _PROGRAM),
    (b"\x7fELF", _PROGRAM),
    (b"\xca\xfe\xba\xbe", _PROGRAM),
    (b"\xfe\xed\xfa\xce", _PROGRAM),
    (b"\xfe\xed\xfa\xcf", _PROGRAM),
    (b"\xce\xfa\xed\xfe", _PROGRAM),
    (b"\xcf\xfa\xed\xfe", _PROGRAM),
    (b"L\x00\x00\x00\x01\x14\x02\x00", _PROGRAM),
    (b"#!", _SCRIPT),
)
_BY_NAME = {
    "application/pdf": "pdf",
    "image/png": "png",
    "image/jpeg": "jpg jpeg jpe jfif",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tif tiff",
    "image/webp": "webp",
    "image/heic": "heic heif",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "video/mp4": "mp4 m4v m4a mov",
    "application/gzip": "gz tgz",
    "application/x-7z-compressed": "7z",
    "application/x-rar": "rar",
    "application/rtf": "rtf",
    _OLE: "doc xls ppt msg dot xlt pps",
    _ZIP: "zip",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx dotx docm",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx xltx xlsm",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx ppsx pptm",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/epub+zip": "epub",
    "text/html": "html htm",
    "text/calendar": "ics",
    "text/csv": "csv",
    "text/vcard": "vcf",
    "application/json": "json",
    "text/xml": "xml",
    "text/markdown": "md",
    "message/rfc822": "eml",
    "text/plain": "txt log",
}
_TYPE_OF = {ending: kind for kind, endings in _BY_NAME.items() for ending in endings.split()}
_TEXTS_BY_NAME = frozenset({"text/csv", "text/markdown", "text/plain", "application/json", "message/rfc822"})
_PROGRAMS = frozenset(
    [
        "ade",
        "adp",
        "apk",
        "app",
        "appx",
        "bat",
        "chm",
        "cmd",
        "com",
        "cpl",
        "dll",
        "dmg",
        "elf",
        "exe",
        "gadget",
        "hta",
        "inf",
        "ins",
        "iso",
        "img",
        "jar",
        "js",
        "jse",
        "lnk",
        "mde",
        "msc",
        "msi",
        "msp",
        "mst",
        "pif",
        "pl",
        "ps1",
        "psm1",
        "py",
        "pyz",
        "rb",
        "reg",
        "scr",
        "sct",
        "sh",
        "sys",
        "vb",
        "vbe",
        "vbs",
        "vhd",
        "vhdx",
        "ws",
        "wsc",
        "wsf",
        "wsh",
        "xll",
    ]
)
_MACROS = frozenset(["docm", "dotm", "xlsm", "xltm", "xlsb", "pptm", "potm", "ppsm"])
_OFFICE = (
    ("word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)


def type_of(content: bytes, name: str) -> str:
    """Return the media type of a file by its content; the name only decides between kinds of text."""
    for magic, kind in _MAGIC:
        if content.startswith(magic) and not (kind == "image/bmp" and not _is_bitmap(content)):
            return _in_zip(content) if kind == _ZIP else kind
    if content[4:8] == b"ftyp":
        return "image/heic" if content[8:12] in (b"heic", b"heix", b"mif1") else "video/mp4"
    if content.startswith(b"RIFF"):
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(content[8:12], _UNKNOWN)
    return _text_type(content, name)


def problem_of(content: bytes, name: str) -> str:
    """Return why a file must not be saved or sent, as the end of a sentence about it; empty if it may."""
    ending = ending_of(name)
    kind = type_of(content, name)
    if kind in (_PROGRAM, _SCRIPT):
        return "it is a program"
    if ending in _PROGRAMS:
        return f"its name ends in .{ending}, as programs' do"
    if kind == _ZIP and not _is_small(content):
        return "it holds too many files to look through"
    if kind in (_ZIP, "application/epub+zip") and (inner := next(_programs_in(content), "")):
        return f"it holds a program (.{ending_of(inner)})"
    return ""


def warning_of(content: bytes, name: str) -> str:
    """Return what a person should know about a file: that it is a program, holds macros, or is not what its name says."""
    if problem := problem_of(content, name):
        return problem
    ending, kind = ending_of(name), type_of(content, name)
    if ending in _MACROS:
        return "it may hold macros"
    said = _TYPE_OF.get(ending)
    if said and said != kind and not _fits(said, kind):
        return f"its name says {said}, its content is {kind}"
    return ""


def is_text(kind: str) -> bool:
    """Whether a file of this type can be shown as text."""
    return kind.startswith("text/") or kind in ("application/json", "message/rfc822")


def ending_of(name: str) -> str:
    """Return the ending of a file's name in small letters, without blanks and dots that hide it."""
    return name.rstrip(" .").rpartition(".")[2].lower() if "." in name.rstrip(" .") else ""


def sized(size: int) -> str:
    """Return a size for people."""
    if size < 1024:
        return f"{size} bytes"
    return f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:.1f} MiB"


def _fits(said: str, kind: str) -> bool:
    """Whether a name and a content go together: kinds of text do not tell themselves apart."""
    both_texts = is_text(said) and is_text(kind) and (said in _TEXTS_BY_NAME or kind == "text/plain")
    return both_texts or (kind == _UNKNOWN and said.startswith(("audio/", "video/")))


def _is_bitmap(content: bytes) -> bool:
    return len(content) > 26 and content[6:10] == b"\0\0\0\0"


def _text_type(content: bytes, name: str) -> str:
    beginning = content[:_LOOKED_AT]
    utf16 = beginning.startswith((b"\xff\xfe", b"\xfe\xff"))
    if not utf16 and any(byte < 9 or 13 < byte < 27 for byte in beginning):
        return _UNKNOWN
    start = decoded(beginning, None).lstrip().lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body", "<script")):
        return "text/html"
    if start.startswith("begin:vcalendar"):
        return "text/calendar"
    if start.startswith("begin:vcard"):
        return "text/vcard"
    if start.startswith("<?xml"):
        return "text/xml"
    by_name = _TYPE_OF.get(ending_of(name), "text/plain")
    return by_name if by_name in _TEXTS_BY_NAME else "text/plain"


def _in_zip(content: bytes) -> str:
    names = list(_names(content))
    if "mimetype" in names[:1]:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            said = archive.open("mimetype").read(100).decode("ascii", "replace").strip()
        return said if said in _BY_NAME else _ZIP
    if "[Content_Types].xml" in names:
        return next((kind for folder, kind in _OFFICE if any(name.startswith(folder) for name in names)), _ZIP)
    return _ZIP


def _programs_in(content: bytes) -> Iterator[str]:
    return (name for name in _names(content) if ending_of(name) in _PROGRAMS)


def _names(content: bytes) -> Iterator[str]:
    """Yield the names in an archive; of a broken or an endless one none."""
    if not _is_small(content):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError, RuntimeError, NotImplementedError):
        return


def _is_small(content: bytes) -> bool:
    """Whether the list of names in an archive is short, by the record at its end: to read a long one takes seconds."""
    at = content.rfind(b"PK\x05\x06", max(0, len(content) - 65_536 - _END_OF_ZIP.size))
    if at < 0 or len(content) - at < _END_OF_ZIP.size:
        return True  # it is broken, which the reader finds at once
    size: int = _END_OF_ZIP.unpack_from(content, at)[5]
    return size <= _LARGEST_DIRECTORY and content[max(0, at - 20) : at].find(b"PK\x06\x07") < 0
