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
from qkd.kernels import ascending

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
    if not values.size:
        return 0, b""
    width, ones = _best_width(values)
    bits = values.size * (width + 1) + ones
    words = np.empty(bits // 64 + 1, np.uint64)
    ascending.pack_planes(values, width, words)
    return width, words.astype(">u8").tobytes()[: (bits + 7) // 8]


def _best_width(values: npt.NDArray[np.int64]) -> tuple[int, int]:
    """The least width that takes the fewest bits, and the sum of the quotients.

    From one width to the next every value takes one bit more and its quotient at least halves, so the size falls to
    its least and rises from there: walking downhill from any guess finds it.
    """
    n = int(values.size)
    width = min(max(int(values[-1]) // n, 1).bit_length() - 1, MAX_WIDTH)
    ones = int(ascending.quotient_sum(values, width))
    while width < MAX_WIDTH and (above := int(ascending.quotient_sum(values, width + 1))) + n < ones:
        width, ones = width + 1, above
    while width and (below := int(ascending.quotient_sum(values, width - 1))) <= ones + n:
        width, ones = width - 1, below
    return width, ones


def unpack_ascending(width: int, packed: bytes, count: int, *, largest: int) -> npt.NDArray[np.int64]:
    """Inverse of `pack_ascending`, shape (count,), int64.

    Whatever the peer announces, no more memory is taken than a few times that of the message and of `count` values, and
    none before the numbers fit each other; how many values may come at all is for the caller to check.

    Raises:
        RemoteProtocolError: the planes do not give exactly `count` values in 0 .. largest.
    """
    # Quotients of values up to `largest` add up to no more than largest >> width.
    most_bits = count * (width + 1) + (max(largest, 0) >> width) + 7 if 0 <= width <= MAX_WIDTH else -1
    if not 0 <= count * (width + 1) <= 8 * len(packed) <= most_bits:
        raise RemoteProtocolError(f"{count} values with {width}-bit remainders cannot be in {len(packed)} bytes")
    bits = 8 * len(packed)
    words = np.frombuffer(packed + bytes(16 - len(packed) % 8), ">u8").astype(np.uint64)
    values = np.zeros(count, np.int64)
    used = ascending.unpack_planes(words, bits, width, values) if count else 0
    if used < 0 or bits - used > 7 or (used < bits and packed[-1] & (0xFF >> used % 8)):
        raise RemoteProtocolError(f"{len(packed)} bytes do not end with the last of {count} values")
    if count and values[-1] > largest:
        raise RemoteProtocolError(f"the last of {count} values is {values[-1]}, above {largest}")
    return values
