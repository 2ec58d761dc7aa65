"""Final keys in files as qcrypto's error correction leaves them, "type 7": key bits and the epochs they came from.

Four little-endian 32-bit words {7 or 0x107, first epoch, epochs, bits}, then the bits in 32-bit words from the top bit
down, the rest of the last word zero; 0x107 says that epochs count from 1970 in units of 2^29 ns. Such a file is a
secret: it is written for its owner alone and refused when others may read it; qcrypto itself leaves it open to all,
so run chmod 600 on its files first. Source: qcrypto `filespec.txt`, 5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qkd.bits import Bits, as_bits, pack
from qkd.errors import ParameterError, TagFormatError
from qkd.kms.secretfile import load_secret_file, write_secret_file

_HEADER = struct.Struct("<IIII")
_TYPE, _EXTENDED = 7, 0x100


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalKey:
    """One file's key; the bits are never printed.

    Attributes:
        first_epoch: of the data, 32 bits.
        epochs: how many went into it.
        extended: True = epochs count from 1970, False = by the card's counter.
        bits: shape (n,), uint8, 0 or 1.

    Raises:
        ParameterError: a number that does not fit 32 bits.
    """

    first_epoch: int
    epochs: int
    extended: bool
    bits: Bits = field(repr=False)

    def __post_init__(self) -> None:
        for name, value in (("first_epoch", self.first_epoch), ("epochs", self.epochs), ("bits", self.bits.size)):
            if not 0 <= value < 1 << 32:
                raise ParameterError(f"{name} {value} does not fit 32 bits")
        as_bits(self.bits)


def encode_final_key(key: FinalKey) -> bytes:
    """The file of a key."""
    packed = pack(key.bits)
    words = np.frombuffer(packed + bytes(-len(packed) % 4), ">u4").astype("<u4")
    tag = _TYPE | (_EXTENDED if key.extended else 0)
    return _HEADER.pack(tag, key.first_epoch, key.epochs, key.bits.size) + words.tobytes()


def decode_final_key(data: bytes, *, what: str = "the file") -> FinalKey:
    """The key of a file.

    Raises:
        TagFormatError: another type, a length that does not fit the stated bits, or padding that is not zero.
    """
    if len(data) < _HEADER.size:
        raise TagFormatError(f"{what}: {len(data)} bytes hold no header", offset=0)
    tag, first_epoch, epochs, count = _HEADER.unpack_from(data)
    if tag & ~_EXTENDED != _TYPE:
        raise TagFormatError(f"{what} is of type {tag:#x}, not 7", offset=0)
    if len(data) != _HEADER.size + (count + 31) // 32 * 4:
        raise TagFormatError(
            f"{what}: {count} bits are stated, {(len(data) - _HEADER.size) / 4:g} words of 32 follow", offset=12
        )
    bits = np.unpackbits(np.frombuffer(data, "<u4", offset=_HEADER.size).astype(">u4").view(np.uint8))
    if bits[count:].any():
        raise TagFormatError(f"{what}: bits are set behind the end", offset=len(data) - 4)
    return FinalKey(first_epoch=first_epoch, epochs=epochs, extended=bool(tag & _EXTENDED), bits=bits[:count])


def read_final_key(path: Path | str) -> FinalKey:
    """Read a file.

    Raises:
        ParameterError: missing, or open to group or others.
        TagFormatError: as `decode_final_key`.
    """
    return decode_final_key(load_secret_file(Path(path), 0), what=Path(path).name)


def write_final_key(path: Path, key: FinalKey) -> None:
    """Write a new file of mode 0600, whole or not at all.

    Raises:
        ParameterError: it is there already, or its folder is not writable.
    """
    write_secret_file(Path(path), encode_final_key(key), replace=False)
