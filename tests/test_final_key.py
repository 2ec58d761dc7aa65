"""Type-7 files: exact, private, and never printed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from qkd.errors import ParameterError, TagFormatError
from qkd.kms.finalkey import FinalKey, decode_final_key, encode_final_key, read_final_key, write_final_key


def key(count: int) -> FinalKey:
    bits = np.random.default_rng(count).integers(0, 2, count).astype(np.uint8)
    return FinalKey(first_epoch=0xBA1F36C0, epochs=7, extended=True, bits=bits)


def test_bits_fill_words_from_the_top_down() -> None:
    """33 ones and a zero bit pattern by hand: word 0xF0000001 little-endian, then the top bit of the next word."""
    bits = np.array([int(b) for b in f"{0xF0000001:032b}1"], np.uint8)
    data = encode_final_key(FinalKey(first_epoch=3, epochs=1, extended=False, bits=bits))
    assert data == struct.pack("<6I", 7, 3, 1, 33, 0xF0000001, 0x80000000)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 1000])
def test_round_trip(tmp_path: Path, count: int) -> None:
    write_final_key(tmp_path / "k", key(count))
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    back = read_final_key(tmp_path / "k")
    assert np.array_equal(back.bits, key(count).bits)
    assert (back.first_epoch, back.epochs, back.extended) == (0xBA1F36C0, 7, True)


def test_the_key_is_not_printed() -> None:
    assert repr(key(64)) == f"FinalKey(first_epoch={0xBA1F36C0}, epochs=7, extended=True)"
    with pytest.raises(TagFormatError) as caught:
        decode_final_key(encode_final_key(key(64))[:-1])
    assert "64 bits are stated" in str(caught.value)


def test_files_that_others_may_read_or_that_exist_are_refused(tmp_path: Path) -> None:
    write_final_key(tmp_path / "k", key(8))
    with pytest.raises(ParameterError, match="exists"):
        write_final_key(tmp_path / "k", key(8))
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(ParameterError, match="0644"):
        read_final_key(tmp_path / "k")


def test_damage_is_refused() -> None:
    data = encode_final_key(key(40))
    for broken in (b"", data[:15], data[:-4], data + bytes(4), data[:12] + bytes(4) + data[16:], b"\x03" + data[1:]):
        with pytest.raises(TagFormatError):
            decode_final_key(broken)
    with pytest.raises(TagFormatError, match="behind the end"):
        decode_final_key(data[:-4] + bytes([data[-4] | 1]) + data[-3:])
    with pytest.raises(ParameterError):
        FinalKey(first_epoch=1 << 32, epochs=1, extended=True, bits=np.zeros(1, np.uint8))
    with pytest.raises(ParameterError):
        FinalKey(first_epoch=0, epochs=1, extended=True, bits=np.full(1, 2, np.uint8))
