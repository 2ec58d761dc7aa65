"""One-time pads for the tags of both senders: numbered queues from which a pad leaves once.

A pad is deleted, durably, before anybody sees its bytes; a crash in between loses the pad, never uses it twice. What a
tag costs the link (its epsilon) is charged in the same transaction. Own pads leave in order. Of the peer's, the one
that a tag names is burnt by itself, and those before it only when the tag has verified: a forged message costs one pad.
The last pads of each sender are a reserve that no tag takes until a person releases it; whoever makes blocks fail at
their tags can stop the link, not strip it. Refills are appended in the order of the blocks, so both nodes number them
alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from qkd.bits import same
from qkd.block import MOST_AHEAD, PAD_BYTES
from qkd.errors import AuthenticationError, KeyExhausted, KeyStoreError, LocalProtocolError, ParameterError
from qkd.exchange.steps import Role
from qkd.kms.cipher import RowCipher
from qkd.kms.database import Database, driver, meta, pads, senders
from qkd.kms.ledger import Entry, EpsilonLedger

LEAST_PRE_SHARED_BYTES = 2048
DEFAULT_RESERVE = 32
# Where more than so many times the reserve is left after a refill, a released reserve is locked again.
_RELOCK = 2
_RELEASED = "reserve_released"
_EARLY = "early pad "

# Every tag runs these, so they go straight to the driver.
_READ = """
    SELECT next, "end", hash_key, (SELECT count(*) FROM pads WHERE pads.sender = senders.sender),
        EXISTS (SELECT 1 FROM meta WHERE name = ?)
    FROM senders WHERE sender = ?
"""
_BURN = "DELETE FROM pads WHERE sender = ? AND number = ? RETURNING sealed"
_FIND = "SELECT 1 FROM pads WHERE sender = ? AND number = ?"
_DROP_BEFORE = "DELETE FROM pads WHERE sender = ? AND number < ?"
_MOVE_NEXT = "UPDATE senders SET next = ? WHERE sender = ?"

_insert_pad = insert(pads)
_move_end = update(senders).where(senders.c.sender == bindparam("whose")).values(end=bindparam("to"))


@dataclass(frozen=True, slots=True)
class _Sender:
    next: int
    end: int
    hash_key: bytes = field(repr=False)  # sealed
    left: int
    released: int  # 1 if the reserve is

    def stock(self, reserve: int) -> PadStock:
        locked = 0 if self.released else min(self.left, reserve)
        return PadStock(ordinary=self.left - locked, locked=locked, used=self.end - self.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class PadStock:
    """Unused pads of one sender.

    Attributes:
        ordinary: those that tags may take. locked: the reserve.
        used: how many numbers are gone, with those that lost lines and forged tags burnt.
    """

    ordinary: int
    locked: int
    used: int

    @property
    def left(self) -> int:
        """All that are unused."""
        return self.ordinary + self.locked


class PadQueues:
    """The pads of both senders in one database.

    Args:
        database: the open store.
        cipher: seals the pads.
        role: this node; it takes its own pads and checks with the peer's.
        ledger: where tags are charged.
        reserve: how many pads of each sender are locked.
    """

    def __init__(
        self, database: Database, cipher: RowCipher, role: Role, ledger: EpsilonLedger, reserve: int = DEFAULT_RESERVE
    ) -> None:
        if reserve < 0:
            raise ParameterError(f"pad_reserve = {reserve} must not be negative")
        self._ledger = ledger
        self._reserve = reserve
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
            return self._cipher.open("senders", sender.value, _read(connection, sender).hash_key)

    @property
    def pre_shared_installed(self) -> bool:
        """Whether a secret has been dealt out."""
        with self._database.transaction() as connection:
            return connection.scalar(select(meta.c.value).where(meta.c.name == "pre_shared")) is not None

    def require(self, connection: Connection, tags: Mapping[Role, int]) -> None:
        """Refuse a block whose tags the pads outside the reserve do not cover; within a transaction of the caller.

        Raises:
            KeyExhausted: they do not.
        """
        for sender, count in tags.items():
            self._require(_read(connection, sender), sender, count)

    def take(self, sender: Role, eps: float) -> tuple[int, bytes]:
        """Number and 16 bytes of the next own pad; burnt and charged before this returns.

        Raises:
            LocalProtocolError: `sender` is not this node. KeyExhausted: none is left outside the reserve.
        """
        if sender is not self._role:
            raise LocalProtocolError(f"this is {self._role.value}'s store: it sends no tags of {sender.value}")
        with self._database.transaction() as connection:
            state = _read(connection, sender)
            number = state.next
            self._require(state, sender, 1)
            pad = self._burn(connection, sender, number)
            if pad is None:
                raise KeyStoreError(f"pad {number} of {sender.value} is missing from the store: the file was altered")
            driver(connection).execute(_MOVE_NEXT, (number + 1, sender.value))
            self._ledger.tag(connection, Entry.TAG_SENT, eps)
            return number, pad

    def take_peers(self, sender: Role, number: int, eps: float) -> bytes:
        """The 16 bytes of the pad that the peer names; it alone is burnt and charged before this returns.

        Raises:
            LocalProtocolError: `sender` is this node.
            AuthenticationError: the number was used before or is more than 256 ahead.
            KeyExhausted: it lies beyond the stock, or none is left outside the reserve.
        """
        self.check_peer(sender)
        with self._database.transaction() as connection:
            marks = _read(connection, sender)
            if not marks.next <= number <= marks.next + MOST_AHEAD:
                raise AuthenticationError(
                    f"the peer names pad {number} where {marks.next} .. {marks.next + MOST_AHEAD} may come",
                    hint="a replayed or forged tag, or one node's store was restored from an old copy",
                )
            self._require(marks, sender, 1)
            if number >= marks.end:
                have = marks.end - marks.next
                raise KeyExhausted(
                    f"{sender.value} has {have} pads left and pad {number} was asked for",
                    available=have,
                    requested=number - marks.next + 1,
                )
            pad = self._burn(connection, sender, number)
            if pad is None:
                raise AuthenticationError(
                    f"the peer names pad {number}, which was used before",
                    hint="a replayed or forged tag; if a forged one burnt the pad, the next block goes on",
                )
            self._ledger.tag(connection, Entry.TAG_CHECKED, eps)
            return pad

    def accept(self, sender: Role, number: int) -> None:
        """Drop all pads of the peer's before this one, whose tag has verified.

        Raises:
            LocalProtocolError: `sender` is this node, or the pad was not handed out.
        """
        self.check_peer(sender)
        name = sender.value
        with self._database.transaction() as connection:
            marks, raw = _read(connection, sender), driver(connection)
            if not marks.next <= number < marks.end or raw.execute(_FIND, (name, number)).fetchone() is not None:
                raise LocalProtocolError(f"pad {number} of {name} is not one that a tag was just checked with")
            raw.execute(_MOVE_NEXT, (number + 1, name))
            raw.execute(_DROP_BEFORE, (name, number))

    def left(self, sender: Role) -> int:
        """How many unused pads `sender` has, the reserve included."""
        return self.stock(sender).left

    def stock(self, sender: Role) -> PadStock:
        """What is left to `sender`, ordinary and locked."""
        with self._database.transaction() as connection:
            return _read(connection, sender).stock(self._reserve)

    def release(self) -> dict[Role, int]:
        """Let tags take the reserve, until refills have brought the stock back; how many pads of each that adds."""
        with self._database.transaction() as connection:
            locked = {sender: _read(connection, sender).stock(self._reserve).locked for sender in Role}
            self.unlock(connection)
        return locked

    def unlock(self, connection: Connection) -> None:
        """The same within a transaction of the caller."""
        if not _released(connection):
            connection.execute(insert(meta).values(name=_RELEASED, value=b"1"))

    def relock(self, connection: Connection) -> None:
        """Lock the reserve again if both senders have twice as many pads; within a transaction of the caller."""
        states = [_read(connection, sender) for sender in Role]
        if all(state.released and state.left >= _RELOCK * self._reserve for state in states):
            connection.execute(delete(meta).where(meta.c.name == _RELEASED))

    def append(self, connection: Connection, sender: Role, new: list[bytes]) -> None:
        """Add pads to the end of a sender's queue, within a transaction of the caller."""
        end = _read(connection, sender).end
        name = sender.value
        rows = [
            {"sender": name, "number": n, "sealed": self._cipher.seal("pads", f"{name} {n}", pad)}
            for n, pad in enumerate(new, start=end)
        ]
        if rows:
            connection.execute(_insert_pad, rows)
            connection.execute(_move_end, {"whose": name, "to": end + len(rows)})

    # Pads that a prepared block will bring and that Alice's settling tag named already; see qkd.kms.settling.

    def end(self, connection: Connection, sender: Role) -> int:
        """The number that the sender's next refill will begin with."""
        return _read(connection, sender).end

    def burn_early(self, connection: Connection, number: int) -> None:
        """Note that this pad of Alice's must not get into the stock."""
        connection.execute(insert(meta).values(name=f"{_EARLY}{number}", value=b"1"))

    def burnt_early(self, connection: Connection) -> set[int]:
        """The numbers noted."""
        names = connection.scalars(select(meta.c.name).where(meta.c.name.startswith(_EARLY)))
        return {int(name.removeprefix(_EARLY)) for name in names}

    def drop_early(self, connection: Connection) -> None:
        """The block was committed: take what was noted out of the stock."""
        gone = self.burnt_early(connection)
        connection.execute(delete(pads).where(pads.c.sender == Role.ALICE.value, pads.c.number.in_(gone)))
        self.forget_early(connection)

    def forget_early(self, connection: Connection) -> None:
        """The block is gone, and its pads with it."""
        connection.execute(delete(meta).where(meta.c.name.startswith(_EARLY)))

    def require_early(self, connection: Connection, refill_alice: int, refill_bob: int) -> None:
        """Refuse a settling tag when of Alice's pads to come none is left but a reserve, had they come already.

        Raises:
            KeyExhausted: none is.
        """
        used = len(self.burnt_early(connection))
        locks = not _released(connection) and min(refill_alice, refill_bob) >= _RELOCK * self._reserve
        locked = min(refill_alice - used, self._reserve) if locks else 0
        _refuse_if_short(PadStock(ordinary=refill_alice - used - locked, locked=locked, used=used), Role.ALICE, 1)

    def check_peer(self, sender: Role) -> None:
        """Raise LocalProtocolError when `sender` is this node."""
        if sender is self._role:
            raise LocalProtocolError(
                f"this is {self._role.value}'s store: the peer does not send {sender.value}'s tags"
            )

    def _require(self, state: _Sender, sender: Role, count: int) -> None:
        _refuse_if_short(state.stock(self._reserve), sender, count)

    def _burn(self, connection: Connection, sender: Role, number: int) -> bytes | None:
        """Delete a pad and return its bytes; None if it is gone."""
        name = sender.value
        row = driver(connection).execute(_BURN, (name, number)).fetchone()
        return None if row is None else self._cipher.open("pads", f"{name} {number}", row[0])


def _refuse_if_short(stock: PadStock, sender: Role, count: int) -> None:
    if stock.ordinary < count:
        raise KeyExhausted(
            f"{sender.value} has {stock.ordinary} pads left for tags and {count} are needed;"
            f" {stock.locked} more are a locked reserve",
            available=stock.ordinary,
            requested=count,
            hint="blocks kept failing at their tags: find out who cuts or alters the line, then, with both nodes"
            " stopped: qkd pads release CONFIG.toml"
            if stock.locked
            else "start both ends with new stores and a new pre-shared secret",
        )


def _released(connection: Connection) -> bool:
    return connection.scalar(select(meta.c.value).where(meta.c.name == _RELEASED)) is not None


def _read(connection: Connection, sender: Role) -> _Sender:
    row = driver(connection).execute(_READ, (_RELEASED, sender.value)).fetchone()
    if row is None:
        raise KeyStoreError(
            "no pre-shared secret is installed",
            hint="make one with: qkd pki psk, and install it at both nodes; with [bootstrap], let the two meet once",
        )
    return _Sender(*row)


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
