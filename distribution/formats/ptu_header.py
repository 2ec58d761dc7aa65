"""The tagged header that PicoQuant's PTU files begin with: "PQTTTR", a version, then tags until "Header_End".

A tag is 48 bytes, little-endian: a name of 32 characters, an index (-1 for none), a type and eight bytes of value. For
texts, lists and blobs the value is the number of bytes that follow the tag. Source: PicoQuant, Time Tagged File
Format documentation, appendices "Tag Types" and "Tag Dictionary".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from distribution.errors import TagFormatError

MAGIC = b"PQTTTR\0\0"
Value = int | float | bool | str

_VERSION = b"1.0.00\0\0"
_TAG = struct.Struct("<32siI8s")
# Real headers have one or two hundred tags; without a bound a damaged file would be parsed to its end.
_MAX_TAGS = 10_000
_MAX_TEXT_BYTES = 4096


class _Type(IntEnum):
    EMPTY = 0xFFFF0008
    BOOL = 0x00000008
    INT = 0x10000008
    BITS = 0x11000008
    COLOUR = 0x12000008
    FLOAT = 0x20000008
    DATE = 0x21000008
    FLOATS = 0x2001FFFF
    TEXT = 0x4001FFFF
    WIDE_TEXT = 0x4002FFFF
    BLOB = 0xFFFFFFFF


_FOLLOWED = (_Type.FLOATS, _Type.TEXT, _Type.WIDE_TEXT, _Type.BLOB)


def read_header(path: Path) -> tuple[dict[str, Value], int]:
    """The tags of a header and the byte at which the records begin.

    Returns:
        ({name: value}, offset). Of a tag with several indices the lowest counts; lists and blobs are left out.

    Raises:
        TagFormatError: no PTU file, or a header that is damaged or does not end, with the byte of the tag.
    """
    size = path.stat().st_size
    tags: dict[str, Value] = {}
    with path.open("rb") as file:
        if file.read(8) != MAGIC:
            raise TagFormatError(f"{path.name} does not begin with PQTTTR", offset=0)
        file.seek(16)
        for _ in range(_MAX_TAGS):
            at = file.tell()
            raw = file.read(_TAG.size)
            if len(raw) < _TAG.size:
                raise TagFormatError(f"{path.name}: the header does not end", offset=at, hint="the file was cut short")
            name, _, kind, value = _TAG.unpack(raw)
            text = name.split(b"\0", 1)[0].decode("ascii", "replace")
            if text == "Header_End":
                return tags, file.tell()
            if kind not in _Type.__members__.values():
                raise TagFormatError(f"{path.name}: tag {text!r} is of the unknown type {kind:#010x}", offset=at)
            known = _value(file, _Type(kind), value, size, at, path.name)
            if known is not None:
                tags.setdefault(text, known)
    raise TagFormatError(f"{path.name}: more than {_MAX_TAGS} header tags", offset=at)


def build_header(tags: Mapping[str, Value]) -> bytes:
    """A header of these tags, in their order, and the closing one."""
    parts = [MAGIC, _VERSION]
    for name, value in tags.items():
        parts.append(_tag(name, value))
    parts.append(_TAG.pack(b"Header_End", -1, _Type.EMPTY, bytes(8)))
    return b"".join(parts)


def _value(file: BinaryIO, kind: _Type, value: bytes, size: int, at: int, name: str) -> Value | None:
    if kind in _FOLLOWED:
        (length,) = struct.unpack("<q", value)
        if not 0 <= length <= size - file.tell():
            raise TagFormatError(f"{name}: a header tag claims {length} bytes", offset=at)
        if kind is not _Type.TEXT or length > _MAX_TEXT_BYTES:
            file.seek(length, 1)
            return None
        return file.read(length).split(b"\0", 1)[0].decode("latin-1")
    if kind is _Type.EMPTY:
        return None
    if kind in (_Type.FLOAT, _Type.DATE):
        return float(struct.unpack("<d", value)[0])
    number = int(struct.unpack("<q", value)[0])
    return number != 0 if kind is _Type.BOOL else number


def _tag(name: str, value: Value) -> bytes:
    label = name.encode("ascii")
    match value:
        case bool():
            return _TAG.pack(label, -1, _Type.BOOL, struct.pack("<q", -int(value)))
        case int():
            return _TAG.pack(label, -1, _Type.INT, struct.pack("<q", value))
        case float():
            return _TAG.pack(label, -1, _Type.FLOAT, struct.pack("<d", value))
        case str():
            text = value.encode("latin-1", "replace") + b"\0"
            text += bytes(-len(text) % 8)
            return _TAG.pack(label, -1, _Type.TEXT, struct.pack("<q", len(text))) + text
