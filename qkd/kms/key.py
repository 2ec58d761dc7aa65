"""What the key store hands in and out: units, assignments, delivered keys and their provenance.

A committed block is *whole* until somebody needs a unit of it; then it is *cut* into units of equal length. A *key*
is one unit or several. Both nodes, whenever each of them cuts, name a unit by the same UUID, computed from the
block's public number and session, never from its bytes; a key's ID is that of its first unit. The *owner* of a unit
is the node at which a master may take it, so that the two nodes never both give it away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from qkd.exchange.steps import Role
from qkd.session import BlockReport

_UNIT_DOMAIN = b"entangled-qkd unit id v1\x00"
_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}


class UnitState(Enum):
    """Where a unit is in its life; every unit is in exactly one of these."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    ASSIGNED = "assigned"
    DELIVERED = "delivered"
    VOID = "void"


class BlockState(Enum):
    """Where a block is in its life."""

    PREPARED = "prepared"
    WHOLE = "whole"
    CUT = "cut"


def unit_id(session_id: bytes, number: int, index: int) -> str:
    """UUID (version 8, RFC 9562 section 5.8) of one unit, the same at both nodes.

    Args:
        session_id: the block's 16 public bytes.
        number: number of the block in the life of the link.
        index: place of the unit in the block, from 0.
    """
    return next(_named(session_id, number, range(index, index + 1)))


def unit_ids(session_id: bytes, number: int, count: int) -> list[str]:
    """`unit_id` of the first `count` units of a block."""
    return list(_named(session_id, number, range(count)))


def _named(session_id: bytes, number: int, indices: range) -> Iterator[str]:
    # Sixteen bytes of SHA-256 in hex, digit 12 the version, the upper two bits of digit 16 the variant.
    start = hashlib.sha256(_UNIT_DOMAIN + session_id + number.to_bytes(8, "big"))
    for index in indices:
        digest = start.copy()
        digest.update(index.to_bytes(8, "big"))
        x = digest.hexdigest()
        yield f"{x[:8]}-{x[8:12]}-8{x[13:16]}-{_VARIANT[x[16]]}{x[17:20]}-{x[20:32]}"


def unit_owner(index: int) -> Role:
    """The node whose master may take the unit at this place of a block: even ones Alice's, odd ones Bob's."""
    return Role.BOB if index % 2 else Role.ALICE


def units_owned(owner: Role, count: int) -> int:
    """How many of the first `count` units of a block are this node's."""
    return (count + 1) // 2 if owner is Role.ALICE else count // 2


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which units make up a key, and for whom; holds no secret and travels between the two key managers.

    Attributes:
        key_id: UUID text, that of the first unit.
        unit_ids: UUID texts in the order in which their bytes are joined.
        size_bits: length of the key; what the last unit has beyond it is dropped.
        master: SAE that asked for the key.
        slaves: SAEs that may collect it at the other node, each once.
    """

    key_id: str
    unit_ids: tuple[str, ...]
    size_bits: int
    master: str
    slaves: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where key bits came from: one block of the link.

    Attributes:
        block: number of the block; session_id: its 16 public bytes, hex.
        qber_z, qber_x: error fractions found; eps_total: failure probability of the block's key.
        label, simulated: the report's label, and True when the photons came from a simulator.
        created_s: Unix time at which this node prepared the block.
    """

    block: int
    session_id: str
    qber_z: float
    qber_x: float
    eps_total: float
    label: str
    simulated: bool
    created_s: int


@dataclass(frozen=True, slots=True)
class DeliveredKey:
    """A key on its way to an application; the store no longer holds it for this caller.

    Attributes:
        key_id: UUID text.
        key: its bytes, never shown.
        size_bits: 8 * len(key).
        master, slaves: for whom it was made.
        provenance: the blocks its units came from, in order; most keys have one.
    """

    key_id: str
    key: bytes = field(repr=False)
    size_bits: int
    master: str
    slaves: tuple[str, ...]
    provenance: tuple[Provenance, ...]

    @property
    def eps_total(self) -> float:
        """Failure probability of the key: those of its blocks, added."""
        return sum(source.eps_total for source in self.provenance)


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """One committed block in the store's books; the counts of units add up.

    Attributes:
        number, session_id (hex), created_s, simulated, label: as in `Provenance`. bits: length of the block's
        secret key; refill_bits: what became pads; dropped_bits: shorter than a unit. units: how many it
        gives, cut or not yet; delivered, void: how many of these are gone, and why. report: the figures of the block.
    """

    number: int
    session_id: str
    created_s: int
    simulated: bool
    label: str
    bits: int
    refill_bits: int
    dropped_bits: int
    units: int
    delivered: int
    void: int
    report: BlockReport
