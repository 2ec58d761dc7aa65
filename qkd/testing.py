"""What users of the engines want in their own tests: a vault without a disk, and a line with Eve on it."""

from __future__ import annotations

from collections.abc import Callable
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
        beginning: where the first keys came from.
        link_id: what `begin` was given.
    """

    pre_shared: bytes = field(repr=False)
    blocks: list[SecretBlock] = field(default_factory=list, repr=False)
    beginning: Beginning = Beginning.PRE_SHARED
    link_id: bytes = b""
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

    def take_pad(self, sender: Role) -> tuple[int, bytes]:
        """See Vault."""
        number = self._next[sender]
        return number, self._burn(sender, number)

    def peer_pad(self, sender: Role, number: int) -> bytes:
        """See Vault."""
        if not self._next[sender] <= number < self._next[sender] + MOST_AHEAD:
            raise AuthenticationError(f"pad {number} was used before or is too far ahead")
        return self._burn(sender, number)

    def _burn(self, sender: Role, number: int) -> bytes:
        if number >= len(self._pads[sender]):
            raise KeyExhausted("no pads left for authentication", available=0, requested=1)
        self._next[sender] = number + 1
        return self._pads[sender][number]

    def pads_left(self, sender: Role) -> int:
        """See Vault."""
        return len(self._pads[sender]) - self._next[sender]

    def prepare(self, block: SecretBlock) -> None:
        """See Vault."""
        self._waiting = block

    def commit(self, number: int) -> None:
        """See Vault."""
        if number <= self.committed:
            return
        if self._waiting is None or self._waiting.number != number:
            raise LocalProtocolError(f"block {number} was not prepared")
        block, self._waiting = self._waiting, None
        pads = _chunks(block.key)
        if self.beginning.computational and not self.blocks:
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
