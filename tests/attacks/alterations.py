"""What Eve makes of a field: other values of its type, impossible ones, and one of another type."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from qkd.exchange.codec import encode
from qkd.exchange.messages import Message

HUGE = 1 << 40
WORD = (1 << 64) - 1


# The few of them that stand for all where time is short.
TELLING = frozenset({"inverted", "one more", "one less", "-1", "2^63", "some bit flipped", "cut", "empty", "longer"})
TELLING |= {"huge", "control characters", "not a number", "names of Python's own", "of another type"}


def altered_values(value: Any, rng: random.Random) -> Iterator[tuple[str, Any]]:
    """(name, another value) for a field that holds `value`.

    Raises:
        TypeError: nobody has said how fields of this type are attacked.
    """
    if isinstance(value, bool):
        yield "inverted", not value
    elif isinstance(value, int):
        yield from (("one more", value + 1), ("one less", value - 1), ("0", 0), ("-1", -1), ("255", 255))
        yield from (("2^40", HUGE), ("2^63", 1 << 63), ("2^64 - 1", WORD), ("-2^63", -(1 << 63)))
    elif isinstance(value, bytes):
        yield from _bytes(value, rng)
    elif isinstance(value, str):
        yield from (("empty", ""), ("longer", value + "x"), ("other", "ldpc/none"), ("huge", "x" * 100_000))
        yield from (("control characters", "\x1b[2J\n\0"), ("not Latin", "\u202e\U0001f511"))
    elif isinstance(value, tuple):
        yield from (("one more", (*value, "even-split")), ("other", ("no such thing",)), ("huge", ("x",) * 100_000))
        yield from (("twice", ("even-split", "even-split")), ("control characters", ("\x1b[2J",)))
        if value:
            yield from (("empty", ()), ("cut", value[:-1]))
    elif isinstance(value, dict):
        yield from (("empty", {}), ("not a number", {"qber_z": float("nan"), "limit": float("inf")}))
        yield "names of Python's own", dict.fromkeys(("__class__", "args", "__traceback__", "__cause__", "hint"), 1.0)
        yield "many", {f"figure{i}": 1.0 for i in range(10_000)}
    else:
        raise TypeError(f"no alterations for {type(value).__name__}")
    yield "of another type", 1.5 if isinstance(value, str | bytes) else "text"


def _bytes(value: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    if value:
        for name, bit in (("first", 0), ("last", 8 * len(value) - 1), ("some", rng.randrange(8 * len(value)))):
            yield f"{name} bit flipped", flipped(value, bit)
        yield from (("cut", value[:-1]), ("empty", b""), ("zeros", bytes(len(value))))
    yield from (("longer", value + b"\0"), ("longer by ones", value + b"\xff"), ("twice", value + value + b"\1"))


def flipped(data: bytes, bit: int) -> bytes:
    """One bit inverted."""
    altered = bytearray(data)
    altered[bit // 8] ^= 0x80 >> (bit % 8)
    return bytes(altered)


def altered_messages(message: Message, field: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """(name, encoding) of the message with another value in one field; those that say the same are left out."""
    for name, value in altered_values(getattr(message, field), rng):
        encoded = encode(msgspec.structs.replace(message, **{field: value}))
        if encoded != encode(message):
            yield name, encoded


def fields(kind: type[Message]) -> tuple[str, ...]:
    """Names of a message's fields."""
    return kind.__struct_fields__
