"""Messages to bytes and back, and the bit-packed coding of ascending integers.

A message is one MessagePack map with its class name under "type". Ascending integers (detection bins, indices) are
coded as differences d >= 0 by Golomb-Rice codes in two planes: first all remainders d mod 2^width, `width` bits each,
most significant bit first; then all quotients d >> width in unary, each as so many ones and a zero. Padding bits are
zero. For the exponential gaps of a Poisson stream this is within 0.1 bit of the entropy.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from qkd.errors import RemoteProtocolError
from qkd.exchange.messages import AnyMessage, Message

MAX_MESSAGE_BYTES = 64 << 20
MAX_WIDTH = 32

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: Message) -> bytes:
    """One message as bytes."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Inverse of `encode`.

    Raises:
        RemoteProtocolError: not a message of this protocol.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise RemoteProtocolError(f"a message of {len(data)} bytes is above the limit of {MAX_MESSAGE_BYTES}")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"not a message of this protocol: {error}") from error


def pack_ascending(values: npt.NDArray[np.int64]) -> tuple[int, bytes]:
    """Ascending integers >= 0 (equal ones allowed) to (width, packed differences); the first difference is to 0.

    The width is the one that takes the fewest bits for these values.
    """
    deltas = np.diff(values, prepend=np.int64(0))
    sizes = [deltas.size * width + int((deltas >> width).sum()) for width in range(MAX_WIDTH + 1)]
    width = int(np.argmin(sizes))
    shifts = np.arange(width - 1, -1, -1, dtype=np.int64)
    remainders = ((deltas[:, None] >> shifts) & 1).astype(np.uint8).reshape(-1)
    quotients = deltas >> width
    unary = np.ones(int(quotients.sum()) + deltas.size, np.uint8)
    unary[np.cumsum(quotients + 1) - 1] = 0
    return width, np.packbits(np.concatenate([remainders, unary])).tobytes()


def unpack_ascending(width: int, packed: bytes, count: int, *, largest: int) -> npt.NDArray[np.int64]:
    """Inverse of `pack_ascending`, shape (count,), int64.

    Raises:
        RemoteProtocolError: the planes do not give exactly `count` values in 0 .. largest.
    """
    if not 0 <= width <= MAX_WIDTH or not 0 <= count * (width + 1) <= 8 * len(packed):
        raise RemoteProtocolError(f"{count} values with {width}-bit remainders cannot be in {len(packed)} bytes")
    raw = np.unpackbits(np.frombuffer(packed, np.uint8))
    weights = np.int64(1) << np.arange(width - 1, -1, -1, dtype=np.int64)
    remainders = raw[: count * width].reshape(count, width) @ weights
    unary = raw[count * width :]
    ends = np.nonzero(unary == 0)[0][:count]
    used = int(ends[-1]) + 1 if ends.size else 0
    if ends.size < count or unary.size - used > 7 or unary[used:].any():
        raise RemoteProtocolError(f"{len(packed)} bytes do not end with the last of {count} values")
    quotients = np.diff(ends, prepend=-1) - 1
    values = np.cumsum((quotients << width) + remainders)
    if count and (values[-1] > largest or values[0] < 0 or (quotients > largest >> width).any()):
        raise RemoteProtocolError(f"the last of {count} values is {values[-1]}, above {largest}")
    return values
