"""Bit strings: uint8 arrays of 0 and 1 inside, packed most significant bit first on the wire and in vectors."""

from __future__ import annotations

import hmac

import numpy as np
import numpy.typing as npt

from qkd.errors import ParameterError, RemoteProtocolError

Bits = npt.NDArray[np.uint8]


def pack(bits: Bits) -> bytes:
    """Bits, shape (n,), 0 or 1, to ceil(n/8) bytes, first bit = most significant, padding 0."""
    return np.packbits(bits).tobytes()


def unpack(data: bytes, count: int) -> Bits:
    """Inverse of `pack`.

    Raises:
        RemoteProtocolError: the length does not fit `count`, or padding bits are set (data come from a peer).
    """
    if len(data) != (count + 7) // 8:
        raise RemoteProtocolError(f"{count} bits need {(count + 7) // 8} bytes, got {len(data)}")
    if count % 8 and data[-1] & (0xFF >> count % 8):
        raise RemoteProtocolError("padding bits after the last bit are not zero")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count)


def same(first: bytes, second: bytes) -> bool:
    """Constant-time equality of two byte strings."""
    return hmac.compare_digest(first, second)


def as_bits(values: npt.ArrayLike, *, name: str = "bits") -> Bits:
    """Check that something is a vector of 0 and 1 and return it as uint8, C-contiguous."""
    bits = np.ascontiguousarray(values, dtype=np.uint8)
    if bits.ndim != 1 or (bits.size and bits.max() > 1):
        raise ParameterError(f"{name} must be a vector of 0 and 1, got shape {bits.shape}")
    return bits
