"""What users of the engines want in their own tests: a vault without a disk, and a line with Eve on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qkd.block import MOST_AHEAD, PAD_BYTES, RENEWAL_BITS, Beginning, SecretBlock
from qkd.errors import AuthenticationError, KeyExhausted, KeyStoreError, LocalProtocolError
from qkd.exchange.steps import Role


@dataclass(slots=True)
class MemoryVault:
    """A `Vault` that forgets everything with the process; dealt from a pre-shared secret like the key store.

    Attributes:
        pre_shared: the same bytes at both ends; r of Alice's tags, r of Bob's, then pads in turn. Empty for a link
            that is to begin by `begin`.
        blocks: the committed blocks.
        eps_spent: what the ledger holds; a vault in memory has no budget and no reserve.
        beginning: where the first keys came from.
        link_id: what `begin` was given.
    """

    pre_shared: bytes = field(repr=False)
    blocks: list[SecretBlock] = field(default_factory=list, repr=False)
    eps_spent: float = 0.0
    beginning: Beginning = Beginning.PRE_SHARED
    link_id: bytes = b""
    _begun: float = 0.0
    _burnt: set[tuple[Role, int]] = field(default_factory=set, repr=False)
    _waiting: SecretBlock | None = field(default=None, repr=False)
    _hash_keys: dict[Role, bytes] = field(init=False, repr=False)
    _pads: dict[Role, list[bytes]] = field(init=False, repr=False)
    _next: dict[Role, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._deal(self.pre_shared)

    def _deal(self, secret: bytes) -> None:
        chunks = _chunks(secret)
        self._hash_keys = dict(zip((Role.ALICE, Role.BOB), chunks, strict=False))
        self._pads = {Role.ALICE: chunks[2::2], Role.BOB: chunks[3::2]}
        self._next = dict.fromkeys(Role, 0)
        self._burnt.clear()

    def begin(self, secret: bytes, link_id: bytes) -> None:
        """See Vault."""
        if self.blocks or self.pre_shared:
            raise KeyStoreError("the link has begun already")
        self._deal(secret)
        self._waiting = None
        self.beginning, self.link_id = Beginning.POST_QUANTUM, link_id

    def hash_key(self, sender: Role) -> bytes:
        """See Vault."""
        return self._hash_keys[sender]

    def begin_block(self, eps: float, tags: Mapping[Role, int]) -> None:
        """See Vault."""
        for sender, count in tags.items():
            if self.pads_left(sender) < count:
                raise KeyExhausted("no pads left", available=self.pads_left(sender), requested=count)
        self._begun = eps
        self.eps_spent += eps

    def take_pad(self, sender: Role, eps: float) -> tuple[int, bytes]:
        """See Vault."""
        number = self._next[sender]
        pad = self._burn(sender, number, eps)
        self._next[sender] = number + 1
        return number, pad

    def peer_pad(self, sender: Role, number: int, eps: float) -> bytes:
        """See Vault."""
        ahead = number - self._next[sender]
        if not 0 <= ahead <= MOST_AHEAD or (sender, number) in self._burnt:
            raise AuthenticationError(f"pad {number} was used before or is too far ahead")
        return self._burn(sender, number, eps)

    def settling_keys(self, sender: Role, number: int, eps: float) -> tuple[bytes, bytes]:
        """See Vault."""
        block, first = self._waiting, len(self._pads[sender])
        if block is None or not self._must_renew:
            return self.hash_key(sender), self.peer_pad(sender, number, eps)
        if not 0 <= number - first < block.refill_alice or (sender, number) in self._burnt:
            raise AuthenticationError(f"pad {number} was used before or is none of the block's")
        self._burnt.add((sender, number))
        self.eps_spent += eps
        keys = _chunks(block.key[: RENEWAL_BITS // 8 + PAD_BYTES * block.refill_alice])
        return keys[0], keys[2 + number - first]

    def accept_pad(self, sender: Role, number: int) -> None:
        """See Vault."""
        self._next[sender] = max(self._next[sender], number + 1)

    def _burn(self, sender: Role, number: int, eps: float) -> bytes:
        if number >= len(self._pads[sender]):
            raise KeyExhausted("no pads left for authentication", available=0, requested=1)
        self._burnt.add((sender, number))
        self.eps_spent += eps
        return self._pads[sender][number]

    def pads_left(self, sender: Role) -> int:
        """See Vault."""
        unused = range(self._next[sender], len(self._pads[sender]))
        return sum((sender, number) not in self._burnt for number in unused)

    def prepare(self, block: SecretBlock) -> None:
        """See Vault."""
        self.eps_spent += max(0.0, block.report.eps_sec + block.report.eps_cor - self._begun)
        self.discard()
        self._waiting, self._begun = block, 0.0

    def commit(self, number: int) -> None:
        """See Vault."""
        if number <= self.committed:
            return
        if self._waiting is None or self._waiting.number != number:
            raise LocalProtocolError(f"block {number} was not prepared")
        block, self._waiting = self._waiting, None
        renews = self._must_renew
        pads = _chunks(block.key[: RENEWAL_BITS // 8 * renews + PAD_BYTES * (block.refill_alice + block.refill_bob)])
        if renews:
            self._renew(pads)
            pads = pads[RENEWAL_BITS // (8 * PAD_BYTES) :]
        self._pads[Role.ALICE] += pads[: block.refill_alice]
        self._pads[Role.BOB] += pads[block.refill_alice : block.refill_alice + block.refill_bob]
        self.blocks.append(block)

    def _renew(self, fresh: list[bytes]) -> None:
        """New hash keys; the numbers of old pads stay, so that they cannot be used again, their bytes go."""
        for sender, key in zip((Role.ALICE, Role.BOB), fresh, strict=False):
            self._hash_keys[sender] = key
            self._pads[sender] = [b""] * len(self._pads[sender])
            self._next[sender] = len(self._pads[sender])

    def discard(self) -> None:
        """See Vault."""
        self._waiting = None
        self._burnt = {(sender, number) for sender, number in self._burnt if number < len(self._pads[sender])}

    @property
    def _must_renew(self) -> bool:
        return self.beginning.computational and not self.blocks

    @property
    def committed(self) -> int:
        """See Vault."""
        return self.blocks[-1].number if self.blocks else -1

    @property
    def prepared(self) -> int:
        """See Vault."""
        return self._waiting.number if self._waiting else -1


def _chunks(data: bytes) -> list[bytes]:
    return [data[i : i + PAD_BYTES] for i in range(0, len(data) - PAD_BYTES + 1, PAD_BYTES)]


@dataclass(slots=True)
class EveOnTheLine:
    """A tampering line for `qkd.transport.memory.MemoryLine`: lets all pass but the message she waits for.

    Args:
        target: number of the message to touch, counted over both directions from 0.
        act: what she makes of it: the list of what arrives instead.
    """

    target: int
    act: Callable[[bytes], list[bytes]]
    seen: int = 0

    def __call__(self, sender: Role, encoded: bytes) -> list[bytes]:
        number, self.seen = self.seen, self.seen + 1
        return self.act(encoded) if number == self.target else [encoded]


def drop(_encoded: bytes) -> list[bytes]:
    """The message never arrives."""
    return []


def repeat(encoded: bytes) -> list[bytes]:
    """The message arrives twice."""
    return [encoded, encoded]


def flip(bit: int) -> Callable[[bytes], list[bytes]]:
    """One bit of the message arrives inverted (bit number modulo its length)."""

    def act(encoded: bytes) -> list[bytes]:
        altered = bytearray(encoded)
        at = bit % (8 * len(altered))
        altered[at // 8] ^= 0x80 >> (at % 8)
        return [bytes(altered)]

    return act


def cut(encoded: bytes) -> list[bytes]:
    """The message arrives without its last byte."""
    return [encoded[:-1]]
