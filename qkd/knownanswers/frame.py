"""What all known-answer runners share: the shape of an answer, and how JSON writes bits and randomness.

Keys are camelCase; bytes are lower-case hex; bits are {"bitLength": n, "bits": hex}, most significant bit first with
padding 0; times are integers in ps. Randomness that a stage draws is in the vector, in the order in which it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from distribution.delivery import TagSource
from qkd.bits import Bits, pack, unpack
from qkd.errors import QkdError
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role, Steps
from qkd.exchange.transcript import Transcript
from qkd.transport.memory import MemoryLine

A = TypeVar("A")
B = TypeVar("B")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What this code makes of a vector's inputs: exactly the keys of its `expected` and of its `intermediate`."""

    expected: Json
    intermediate: Json = field(default_factory=dict)


class Mismatch(QkdError):
    """This code does not do what a vector says, in a way that no key of the answer shows."""


Runner = Callable[[Json, Json], Answer]


def bits_of(value: Json) -> Bits:
    """Bits from a vector."""
    return unpack(bytes.fromhex(value["bits"]), value["bitLength"])


def bits_json(bits: Bits) -> Json:
    """Bits as a vector writes them."""
    return {"bitLength": int(bits.size), "bits": pack(bits).hex()}


class GivenBits:
    """Secret bits that a vector dictates, one string of bytes a call; a draw of another size is a mismatch."""

    def __init__(self, draws: Sequence[str]) -> None:
        self._draws = [bytes.fromhex(draw) for draw in draws]

    def take_bytes(self, count: int) -> bytes:
        """The next string of the vector.

        Raises:
            Mismatch: the vector has none left, or one of another length: the stage draws differently.
        """
        if not self._draws or len(self._draws[0]) != count:
            at_hand = len(self._draws[0]) if self._draws else "no"
            raise Mismatch(f"the stage draws {count} bytes where the vector has {at_hand} bytes")
        return self._draws.pop(0)


@dataclass(slots=True)
class Conversation:
    """Two roles talking in process: what was said, and what each returned."""

    messages: list[tuple[Role, bytes]] = field(default_factory=list)

    def between(
        self,
        alice: Steps[A],
        bob: Steps[B],
        alice_tags: TagSource | None = None,
        bob_tags: TagSource | None = None,
    ) -> tuple[A, B]:
        """Run both to their end; raises what either raises."""
        at_alice, at_bob = Engine(Role.ALICE, alice, Transcript()), Engine(Role.BOB, bob, Transcript())
        MemoryLine(at_alice, at_bob, alice_tags, bob_tags, self._note).run()
        return at_alice.result, at_bob.result

    def _note(self, sender: Role, encoded: bytes) -> list[bytes]:
        self.messages.append((sender, encoded))
        return [encoded]


def integers(values: Sequence[int]) -> npt.NDArray[np.int64]:
    """A list of integers as int64."""
    return np.array(values, np.int64)
