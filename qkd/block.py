"""The secret block: what the engines hand to the key store, and the store's side of that bargain.

A block is prepared (durable, not deliverable) at Bob before he answers with his tag, committed at Alice before she
says so, and committed at Bob when he hears it. After a crash the two ends compare numbers and finish or drop the
prepared block; see `qkd.exchange.messages.Hello`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from qkd.exchange.steps import Role
from qkd.session import BlockReport

PAD_BYTES = 16
# How far the peer's pad number may jump: sessions that broke off burnt pads that we never heard of.
MOST_AHEAD = 256
# Two hash keys at the front of a block that replaces them.
RENEWAL_BITS = 2 * 8 * PAD_BYTES


class Beginning(Enum):
    """Where a link's first authentication keys came from.

    After a computational beginning (`qkd.exchange.bootstrap`) the first block that is committed replaces all of them
    by key of its own, in the commit's transaction: its first 32 bytes become the hash keys of Alice's and of Bob's
    tags, the pads that are left over are destroyed, and the block's refill is the new stock.
    """

    PRE_SHARED = "pre-shared"
    POST_QUANTUM = "ml-kem-1024 + ml-dsa-87"

    @property
    def computational(self) -> bool:
        """Whether the first keys rest on an assumption on Eve's computer."""
        return self is Beginning.POST_QUANTUM

    def claim(self, *, first: bool) -> str:
        """What a block's label has to say of it; `first` when the block was authenticated by these keys."""
        if not self.computational:
            return ""
        if first:
            return "; authenticated computationally: ML-KEM-1024 and ML-DSA-87 unbroken while this block was made"
        return "; the link began with ML-KEM-1024 and ML-DSA-87, unbroken while its first block was made"


@dataclass(frozen=True, slots=True)
class SecretBlock:
    """Key bits of one block, the same at both ends.

    Attributes:
        number: number of the block in the life of the link, from 0.
        session_id: 16 bytes, equal at both ends, public.
        key: the secret bits, packed; never shown.
        bits: how many of them.
        refill_alice, refill_bob: how many one-time pads (16 bytes each) at the front of `key` go to the tags that
            Alice and Bob send; Alice's come first. What remains is for applications.
        report: the block's figures, kept as provenance.
        simulated: True when the photons came from a simulator.
        software: what both ends run, as the handshake said; bound into the block's tags.
        renews: True when the first 32 bytes of `key`, before the pads, become the two hash keys; see `Beginning`.
    """

    number: int
    session_id: bytes
    key: bytes = field(repr=False)
    bits: int
    refill_alice: int
    refill_bob: int
    report: BlockReport
    simulated: bool
    software: bytes = b""
    renews: bool = False


class Vault(Protocol):
    """What an engine needs of the key store: pads for its tags, and a durable place for the block.

    Pads are numbered from 0 per sender for the life of the link; each is used for one tag and never again, and its
    use is on disk before the pad is handed out. The last pads of each sender are a reserve that is locked: no tag takes
    them until a person releases them.
    The vault also keeps the link's epsilon ledger: every run of the protocol that began, and every tag.
    """

    def begin_block(self, eps: float, tags: Mapping[Role, int]) -> None:
        """Charge the ledger with a run that begins now, durably, before its first word is said.

        Args:
            eps: failure probability of the run, its tags not counted.
            tags: how many each side sends in it.

        Raises:
            KeyExhausted: too few pads outside the reserve. EpsilonBudgetSpent: the budget does not cover the run.
        """
        ...

    def hash_key(self, sender: Role) -> bytes:
        """The 16-byte hash key r of the tags that `sender` sends; recycled (Portmann 2014)."""
        ...

    def take_pad(self, sender: Role, eps: float) -> tuple[int, bytes]:
        """Number and 16 bytes of the next own pad; burnt from now on, its tag's eps charged. Raises KeyExhausted."""
        ...

    def peer_pad(self, sender: Role, number: int, eps: float) -> bytes:
        """The pad that the peer names; burnt from now on, alone, and the eps of the one guess it allows charged.

        Raises:
            AuthenticationError: the number was used before or is unreasonably far ahead.
            KeyExhausted: it lies beyond the stock, or only the reserve is left.
        """
        ...

    def settling_keys(self, sender: Role, number: int, eps: float) -> tuple[bytes, bytes]:
        """What the tag that settles the prepared block is checked with: hash key and the pad that the peer names.

        They are those of `hash_key` and `peer_pad`, unless the block replaces them: Alice, who has committed it, tags
        under the keys inside, and so they are read from there, under the same rule: the pad is burnt and its eps
        charged before this returns, and after the commit it is none of the stock.

        Raises:
            AuthenticationError, KeyExhausted: as `peer_pad`.
        """
        ...

    def accept_pad(self, sender: Role, number: int) -> None:
        """The tag under this pad of the peer's has verified: he has used all before it, so they go, too."""
        ...

    def pads_left(self, sender: Role) -> int:
        """How many unused pads `sender` has, the reserve included."""
        ...

    def prepare(self, block: SecretBlock) -> None:
        """Keep the block durably without making it deliverable; replaces an earlier prepared one.

        Raises:
            EpsilonBudgetSpent: it turned out to cost more than was charged, and the budget does not cover that.
        """
        ...

    def commit(self, number: int) -> None:
        """Make the prepared block deliverable and refill the pads, durably and once."""
        ...

    def discard(self) -> None:
        """Destroy the prepared block, if there is one."""
        ...

    @property
    def committed(self) -> int:
        """Number of the last committed block, or -1."""
        ...

    @property
    def prepared(self) -> int:
        """Number of the prepared block, or -1."""
        ...

    @property
    def beginning(self) -> Beginning:
        """Where the link's first keys came from."""
        ...

    @property
    def link_id(self) -> bytes:
        """32 public bytes that name the keys from `begin`; empty when there are none, or none of use are left."""
        ...

    def begin(self, secret: bytes, link_id: bytes) -> None:
        """Install the first keys of a computational beginning, durably, in place of those of an earlier attempt.

        Raises:
            KeyStoreError: a block was committed already, or the link began with a pre-shared file.
        """
        ...
