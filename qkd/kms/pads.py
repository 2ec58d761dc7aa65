"""One-time pads for the tags of both senders: numbered queues from which a pad leaves once.

A pad is deleted and its sender's mark moved, durably, before anybody sees its bytes; a crash in between loses
the pad, never uses it twice. Refills are appended in the order of the blocks, so both nodes number them
alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from qkd.bits import same
from qkd.block import MOST_AHEAD, PAD_BYTES
from qkd.errors import AuthenticationError, KeyExhausted, KeyStoreError, LocalProtocolError, ParameterError
from qkd.exchange.steps import Role
from qkd.kms.cipher import RowCipher
from qkd.kms.database import Database, meta, pads, senders

LEAST_PRE_SHARED_BYTES = 2048

_insert_pad = insert(pads)


@dataclass(frozen=True, slots=True)
class _Marks:
    next: int
    end: int


class PadQueues:
    """The pads of both senders in one database.

    Args:
        database: the open store.
        cipher: seals the pads.
        role: this node; it takes its own pads and checks with the peer's.
    """

    def __init__(self, database: Database, cipher: RowCipher, role: Role) -> None:
        self._database = database
        self._cipher = cipher
        self._role = role

    def install_pre_shared(self, data: bytes) -> None:
        """Deal out the pre-shared secret: r of Alice's tags, r of Bob's (16 bytes each), then pads in turn.

        The first pad is Alice's; bytes at the end that fill no pad are not used. The same secret again is
        no-op.

        Raises:
            ParameterError: shorter than 2 KiB.
            KeyStoreError: another secret is installed already.
        """
        if len(data) < LEAST_PRE_SHARED_BYTES:
            raise ParameterError(
                f"the pre-shared secret has {len(data)} bytes, it needs at least {LEAST_PRE_SHARED_BYTES}",
                hint="make one with: qkd pki psk --out FILE, and carry it to both nodes",
            )
        fingerprint = self._cipher.fingerprint("pre_shared", data)
        with self._database.transaction() as connection:
            known = connection.scalar(select(meta.c.value).where(meta.c.name == "pre_shared"))
            if known is not None:
                _check_same_secret(known, fingerprint)
                return
            _check_not_begun(connection)
            connection.execute(insert(meta).values(name="pre_shared", value=fingerprint))
            self.deal(connection, data)

    def deal(self, connection: Connection, data: bytes) -> None:
        """Fill the queues of both senders, which must not exist, within a transaction of the caller."""
        chunks = [data[i : i + PAD_BYTES] for i in range(0, len(data) - PAD_BYTES + 1, PAD_BYTES)]
        for place, sender in enumerate((Role.ALICE, Role.BOB)):
            sealed = self._cipher.seal("senders", sender.value, chunks[place])
            connection.execute(insert(senders).values(sender=sender.value, hash_key=sealed, next=0, end=0))
            self.append(connection, sender, chunks[2 + place :: 2])

    def hash_key(self, sender: Role) -> bytes:
        """The 16-byte hash key r of the tags that `sender` sends.

        Raises:
            KeyStoreError: no pre-shared secret is installed.
        """
        with self._database.transaction() as connection:
            _read_marks(connection, sender)
            sealed = connection.scalar(select(senders.c.hash_key).where(senders.c.sender == sender.value))
            return self._cipher.open("senders", sender.value, sealed or b"")

    def take(self, sender: Role) -> tuple[int, bytes]:
        """Number and 16 bytes of the next own pad; burnt before this returns.

        Raises:
            LocalProtocolError: `sender` is not this node. KeyExhausted: none is left.
        """
        if sender is not self._role:
            raise LocalProtocolError(f"this is {self._role.value}'s store: it sends no tags of {sender.value}")
        with self._database.transaction() as connection:
            marks = _read_marks(connection, sender)
            return marks.next, self._burn(connection, sender, marks, marks.next)

    def take_peers(self, sender: Role, number: int) -> bytes:
        """The 16 bytes of the pad that the peer names; burnt before this returns, with all before it.

        Raises:
            LocalProtocolError: `sender` is this node.
            AuthenticationError: the number was used before or is more than 256 ahead.
            KeyExhausted: it lies beyond the stock.
        """
        if sender is self._role:
            raise LocalProtocolError(
                f"this is {self._role.value}'s store: the peer does not send {sender.value}'s tags"
            )
        with self._database.transaction() as connection:
            marks = _read_marks(connection, sender)
            if not marks.next <= number <= marks.next + MOST_AHEAD:
                raise AuthenticationError(
                    f"the peer names pad {number} where {marks.next} .. {marks.next + MOST_AHEAD} may come",
                    hint="a replayed or forged tag, or one node's store was restored from an old copy",
                )
            return self._burn(connection, sender, marks, number)

    def left(self, sender: Role) -> int:
        """How many unused pads `sender` has."""
        with self._database.transaction() as connection:
            marks = _read_marks(connection, sender)
            return marks.end - marks.next

    def append(self, connection: Connection, sender: Role, new: list[bytes]) -> None:
        """Add pads to the end of a sender's queue, within a transaction of the caller."""
        end = _read_marks(connection, sender).end
        name = sender.value
        rows = [
            {"sender": name, "number": n, "sealed": self._cipher.seal("pads", f"{name} {n}", pad)}
            for n, pad in enumerate(new, start=end)
        ]
        if rows:
            connection.execute(_insert_pad, rows)
            connection.execute(update(senders).where(senders.c.sender == name).values(end=end + len(rows)))

    def _burn(self, connection: Connection, sender: Role, marks: _Marks, number: int) -> bytes:
        if number >= marks.end:
            have = marks.end - marks.next
            raise KeyExhausted(
                f"{sender.value} has {have} pads left and pad {number} was asked for",
                available=have,
                requested=number - marks.next + 1,
            )
        name = sender.value
        sealed = connection.scalar(select(pads.c.sealed).where(pads.c.sender == name, pads.c.number == number))
        if sealed is None:
            raise KeyStoreError(f"pad {number} of {name} is missing from the store: the file was altered")
        pad = self._cipher.open("pads", f"{name} {number}", sealed)
        connection.execute(update(senders).where(senders.c.sender == name).values(next=number + 1))
        connection.execute(delete(pads).where(pads.c.sender == name, pads.c.number <= number))
        return pad


def _read_marks(connection: Connection, sender: Role) -> _Marks:
    row = connection.execute(
        select(senders.c.next, senders.c.end).where(senders.c.sender == sender.value)
    ).one_or_none()
    if row is None:
        raise KeyStoreError(
            "no pre-shared secret is installed",
            hint="make one with: qkd pki psk, and install it at both nodes",
        )
    return _Marks(row.next, row.end)


def _check_same_secret(known: bytes, fingerprint: bytes) -> None:
    if not same(known, fingerprint):
        raise KeyStoreError(
            "another pre-shared secret is installed in this store already",
            hint="a store keeps its first secret for life; for a new one make a new store, at both nodes",
        )


def _check_not_begun(connection: Connection) -> None:
    if connection.scalar(select(senders.c.sender).limit(1)) is not None:
        raise KeyStoreError(
            "this store's link began with signing keys, not with a pre-shared file",
            hint="keep [bootstrap] in the configuration, or make a new store at both nodes",
        )
