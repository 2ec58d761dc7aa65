"""How a store's link began, and the renewal that a computational beginning owes.

The keys of `qkd.exchange.bootstrap` go into the same tables as those of a pre-shared file. The store remembers in
`meta` that they did, and renews them by itself when its first block is committed, so that no way of committing
(engine or recovery after a crash) can leave them behind.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from qkd.block import PAD_BYTES, RENEWAL_BITS, Beginning
from qkd.confirmation import TAGS
from qkd.errors import KeyExhausted, KeyStoreError, ParameterError
from qkd.exchange.steps import Role
from qkd.kms.cipher import RowCipher
from qkd.kms.database import Database, blocks, is_prepared, meta, pads, senders
from qkd.kms.pads import LEAST_PRE_SHARED_BYTES, PadQueues

_LINK_ID = "link_id"
_RENEWED_BY = "renewed_by"
_PRE_SHARED = "pre_shared"
LINK_ID_BYTES = 32


class Beginnings:
    """The beginning of one store's link.

    Args:
        database: the open store.
        cipher: seals hash keys.
        queues: where pads go.
    """

    def __init__(self, database: Database, cipher: RowCipher, queues: PadQueues) -> None:
        self._database = database
        self._cipher = cipher
        self._queues = queues

    @property
    def beginning(self) -> Beginning:
        """Where the first keys came from; PRE_SHARED when there are none yet."""
        with self._database.transaction() as connection:
            return _beginning(connection)

    @property
    def link_id(self) -> bytes:
        """What `begin` was given; empty before, and while no block was committed and the pads cover no other.

        A block that is prepared may be committed at the other end: then the link has begun, however few pads are left.
        """
        with self._database.transaction() as connection:
            name = _value(connection, _LINK_ID) or b""
            unfinished = _value(connection, _RENEWED_BY) is None
            prepared = connection.scalar(select(blocks.c.number).where(is_prepared))
            if name and unfinished and prepared is None and not self._covers_a_block(connection):
                return b""
            return name

    def begin(self, secret: bytes, link_id: bytes) -> None:
        """Install the first keys of a computational beginning, in place of those of an earlier attempt.

        A block that was only prepared goes with the keys that it was made under.

        Raises:
            ParameterError: a wrong length.
            KeyStoreError: a block was committed already, or the link began with a pre-shared file.
        """
        if len(secret) < LEAST_PRE_SHARED_BYTES or len(link_id) != LINK_ID_BYTES:
            raise ParameterError(f"first keys of {len(secret)} bytes with a link id of {len(link_id)} bytes")
        with self._database.transaction() as connection:
            _check(connection)
            if connection.scalar(select(blocks.c.number).where(~is_prepared).limit(1)) is not None:
                raise KeyStoreError("this store holds committed blocks: its link cannot begin anew")
            for table in (pads, senders, blocks):
                connection.execute(delete(table))
            connection.execute(delete(meta).where(meta.c.name == _LINK_ID))
            connection.execute(insert(meta).values(name=_LINK_ID, value=link_id))
            self._queues.forget_early(connection)
            self._queues.deal(connection, secret)
            self._queues.relock(connection)

    def check(self) -> None:
        """Raise KeyStoreError when the link began with a pre-shared file."""
        with self._database.transaction() as connection:
            _check(connection)

    def must_renew(self, connection: Connection) -> bool:
        """Whether the next block to be committed has to replace all keys of the tags."""
        return _beginning(connection).computational and _value(connection, _RENEWED_BY) is None

    def renew(self, connection: Connection, number: int, key: bytes) -> bytes:
        """Replace hash keys by the front of a block's key and destroy all pads; what remains of the key.

        Pads to come are numbered on from the end, which is the same at both nodes, whatever each has used. The reserve
        is released: new pads may be fewer than it. A refill that brings twice as many locks it again (`relock`).
        """
        for place, sender in enumerate((Role.ALICE, Role.BOB)):
            fresh = self._cipher.seal("senders", sender.value, key[place * PAD_BYTES : (place + 1) * PAD_BYTES])
            mine = senders.c.sender == sender.value
            connection.execute(update(senders).where(mine).values(hash_key=fresh, next=senders.c.end))
        connection.execute(delete(pads))
        self._queues.unlock(connection)
        connection.execute(insert(meta).values(name=_RENEWED_BY, value=str(number).encode()))
        return key[RENEWAL_BITS // 8 :]

    def renewal_bits(self, connection: Connection, number: int) -> int:
        """How many bits of this committed block became hash keys."""
        return RENEWAL_BITS if _value(connection, _RENEWED_BY) == str(number).encode() else 0

    def _covers_a_block(self, connection: Connection) -> bool:
        try:
            self._queues.require(connection, TAGS)
        except KeyExhausted:
            return False
        return True


def _check(connection: Connection) -> None:
    if _value(connection, _PRE_SHARED) is not None:
        raise KeyStoreError(
            "this store's link began with a pre-shared file",
            hint="name that file as store.pre_shared, or make a new store at both nodes",
        )


def _beginning(connection: Connection) -> Beginning:
    return Beginning.PRE_SHARED if _value(connection, _LINK_ID) is None else Beginning.POST_QUANTUM


def _value(connection: Connection, name: str) -> bytes | None:
    return connection.scalar(select(meta.c.value).where(meta.c.name == name))
