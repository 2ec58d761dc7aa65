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
_AT_ONCE = 1 << 16

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

    Whatever the peer announces, no more memory is taken than a few times that of `count` values, and none before the
    numbers fit each other; how many values may come at all is for the caller to check.

    Raises:
        RemoteProtocolError: the planes do not give exactly `count` values in 0 .. largest.
    """
    # Quotients of values up to `largest` add up to no more than largest >> width.
    most_bits = count * (width + 1) + (max(largest, 0) >> width) + 7 if 0 <= width <= MAX_WIDTH else -1
    if not 0 <= count * (width + 1) <= 8 * len(packed) <= most_bits:
        raise RemoteProtocolError(f"{count} values with {width}-bit remainders cannot be in {len(packed)} bytes")
    ends = _ends_of_unary(packed, count * width, count)
    quotients = np.diff(ends, prepend=-1) - 1
    # No overflow: with at most 2^29 bits of quotients, and 2^32 to each, the sum stays below 2^62.
    values = np.cumsum((quotients << width) + _remainders(packed, width, count))
    if count and values[-1] > largest:
        raise RemoteProtocolError(f"the last of {count} values is {values[-1]}, above {largest}")
    return values


def _remainders(packed: bytes, width: int, count: int) -> npt.NDArray[np.int64]:
    """The first plane: `count` numbers of `width` bits."""
    weights = np.int64(1) << np.arange(width - 1, -1, -1, dtype=np.int64)
    remainders = np.empty(count, np.int64)
    for start in range(0, count, _AT_ONCE):  # a multiple of 8 values ends at a whole byte
        stop = min(start + _AT_ONCE, count)
        part = np.frombuffer(packed[start * width // 8 : -(-stop * width // 8)], np.uint8)
        remainders[start:stop] = (
            np.unpackbits(part, count=(stop - start) * width).reshape(stop - start, width) @ weights
        )
    return remainders


def _ends_of_unary(packed: bytes, start: int, count: int) -> npt.NDArray[np.int64]:
    """The second plane, from bit `start` on: places of its first `count` zeros; nothing but padding may follow.

    Raises:
        RemoteProtocolError: there are fewer, or more follows.
    """
    bits = 8 * len(packed) - start
    ends, found = np.empty(count, np.int64), 0
    for first in range(start // 8, len(packed), _AT_ONCE):
        part = np.unpackbits(np.frombuffer(packed[first : first + _AT_ONCE], np.uint8))
        begin = 8 * first - start
        zeros = np.flatnonzero(part[max(0, -begin) :] == 0)[: count - found] + max(0, begin)
        ends[found : found + zeros.size] = zeros
        found += zeros.size
        if found == count:
            break
    used = int(ends[-1]) + 1 if count else 0
    if found < count or bits - used > 7 or (bits > used and packed[-1] & ((1 << bits - used) - 1)):
        raise RemoteProtocolError(f"{len(packed)} bytes do not end with the last of {count} values")
    return ends
