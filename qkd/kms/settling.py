"""The keys under which Alice settles a block: those of the store or, where that block replaces them, those inside it.

After a computational beginning Alice's commit of the first block destroys all keys that it replaces
(`qkd.kms.beginnings`). If her acceptance is then lost, Bob has the block prepared and still holds the old keys; what
she says from then on is tagged under the block's first 16 bytes as hash key and its first pads, numbered on from the
end of the old ones. Bob reads both from the block that he has prepared.

Why this is sound. He prepared the block when her tag over its whole conversation, seeds and verification included, had
verified: so its key is known to her and to him alone, but for what that block's epsilons and label allow, which is
what every tag of the link from then on rests on anyway. If she committed it, it is the one that he has
(`qkd.confirmation.settle`), and he checks with what she tags with. If she did not, nobody tags under these keys, and
who would have Bob commit has to guess.

The rules are those of all pads (`qkd.kms.pads`): a number is noted, durably, before the bytes under it are used, once;
its guess is charged; as much as the reserve stays locked. A pad that was guessed at does not get into the stock when
the block is committed. When the block is replaced or dropped instead, its pads go with it, and the notes too.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from qkd.block import PAD_BYTES, RENEWAL_BITS
from qkd.errors import AuthenticationError, LocalProtocolError
from qkd.exchange.steps import Role
from qkd.kms.beginnings import Beginnings
from qkd.kms.cipher import RowCipher
from qkd.kms.database import Database, blocks, is_prepared
from qkd.kms.ledger import Entry, EpsilonLedger
from qkd.kms.pads import PadQueues


class Settling:
    """What Bob checks Alice's settling tag with.

    Args:
        database: the open store.
        cipher: opens the prepared block.
        queues: pads that are in the stock.
        beginnings: know whether the prepared block replaces them.
        ledger: where tags are charged.
    """

    def __init__(
        self, database: Database, cipher: RowCipher, queues: PadQueues, beginnings: Beginnings, ledger: EpsilonLedger
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._queues = queues
        self._beginnings = beginnings
        self._ledger = ledger

    def keys(self, sender: Role, number: int, eps: float) -> tuple[bytes, bytes]:
        """Hash key and the pad of this number, 16 bytes each; the pad is burnt and charged before this returns.

        Raises:
            LocalProtocolError: `sender` is this node, or Bob: only Alice settles.
            AuthenticationError: the number was used before or cannot come.
            KeyExhausted: only the reserve is left.
        """
        self._queues.check_peer(sender)
        if sender is not Role.ALICE:
            raise LocalProtocolError("Bob settles nothing: he commits after Alice")
        with self._database.transaction() as connection:
            prepared = connection.execute(select(blocks).where(is_prepared)).one_or_none()
            if prepared is not None and self._beginnings.must_renew(connection):
                return self._keys_inside(connection, prepared, number, eps)
        return self._queues.hash_key(sender), self._queues.take_peers(sender, number, eps)

    def _keys_inside(self, connection: Connection, block: Row[Any], number: int, eps: float) -> tuple[bytes, bytes]:
        first = self._queues.end(connection, Role.ALICE)
        burnt = self._queues.burnt_early(connection)
        if not first <= number < first + block.refill_alice or number in burnt:
            raise AuthenticationError(
                f"the peer settles block {block.number} under pad {number}, which was used before or is none of"
                f" {first} .. {first + block.refill_alice - 1}",
                hint="a replayed or forged tag; if a forged one burnt the pad, the next line goes on",
            )
        self._queues.require_early(connection, block.refill_alice, block.refill_bob)
        self._queues.burn_early(connection, number)
        self._ledger.tag(connection, Entry.TAG_CHECKED, eps)
        key = self._cipher.open("blocks", str(block.number), block.sealed)
        at = RENEWAL_BITS // 8 + PAD_BYTES * (number - first)
        return key[:PAD_BYTES], key[at : at + PAD_BYTES]
