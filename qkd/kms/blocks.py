"""Blocks on their way into the store: prepared (durable, not deliverable), then committed or discarded.

A commit is one transaction: the front of the key becomes pads for Alice, then for Bob, and the rest takes the place
of the whole key. What is left over after the last whole unit is dropped. Cutting the rest into units, thousands of
rows, waits until one of them is needed, always in the oldest whole block, so that a link can make key faster than a
database takes rows; names and owners of units follow from the block alone, so it does not matter to the peer when.
The first block after a computational beginning gives new hash keys before the pads (`qkd.kms.beginnings`).
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from qkd.block import PAD_BYTES, RENEWAL_BITS, SecretBlock
from qkd.errors import LocalProtocolError, ParameterError
from qkd.exchange.steps import Role
from qkd.kms.beginnings import Beginnings
from qkd.kms.cipher import RowCipher
from qkd.kms.clockmark import ClockMark
from qkd.kms.database import Database, blocks, is_prepared, is_whole
from qkd.kms.key import BlockState, Provenance, StoredBlock, unit_ids, unit_owner
from qkd.kms.ledger import EpsilonLedger
from qkd.kms.pads import PadQueues
from qkd.session import BlockReport

SESSION_ID_BYTES = 16

# Statements are built once: building one costs more than running it. The sealed value is long and seldom wanted.
_clear = select(*(column for column in blocks.c if column is not blocks.c.sealed))
_in_order = _clear.where(~is_prepared).order_by(blocks.c.number)
_last_committed = select(func.max(blocks.c.number)).where(~is_prepared)
_oldest_whole = select(blocks).where(is_whole).order_by(blocks.c.number).limit(1)
_the_prepared = select(blocks).where(is_prepared)
_drop_prepared = delete(blocks).where(is_prepared)
_insert_block = insert(blocks)
_change = update(blocks).where(blocks.c.number == bindparam("which"))
_keep_rest = _change.values(state=bindparam("now"), sealed=bindparam("rest"), units=bindparam("count"))
_end_rest = _change.values(state=BlockState.CUT.value, sealed=None)

_INSERT_UNIT = "INSERT INTO units (unit_id, block, owner, sealed) VALUES (?, ?, ?, ?)"


class BlockBooks:
    """The blocks of one database.

    Args:
        database: the open store.
        cipher: seals prepared keys and units.
        pads: where refills go.
        beginnings: know whether a block has to replace the keys of the tags.
        unit_bits: length of a unit, a multiple of 8.
        clock: the wall clock.
        ledger: where blocks are charged.
    """

    def __init__(
        self,
        database: Database,
        cipher: RowCipher,
        pads: PadQueues,
        beginnings: Beginnings,
        unit_bits: int,
        clock: ClockMark,
        ledger: EpsilonLedger,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._pads = pads
        self._beginnings = beginnings
        self._unit_bits = unit_bits
        self._clock = clock
        self._ledger = ledger

    def prepare(self, block: SecretBlock) -> None:
        """Keep a block durably without making it deliverable; replaces an earlier prepared one.

        Raises:
            ParameterError: its counts contradict each other.
            LocalProtocolError: its number is not above that of the last committed block, or it would not replace the
                keys of the tags when it must, or would when it must not.
            EpsilonBudgetSpent: it cost more than it was charged when it began, and the budget does not cover that.
            ClockSetBack: the wall clock is behind what the store has seen.
        """
        _check(block)
        row = {
            "number": block.number,
            "state": BlockState.PREPARED.value,
            "session_id": block.session_id,
            "sealed": self._cipher.seal("blocks", str(block.number), block.key),
            "bits": block.bits,
            "refill_alice": block.refill_alice,
            "refill_bob": block.refill_bob,
            "report": msgspec.json.encode(block.report).decode(),
            "simulated": int(block.simulated),
            "units": 0,
            "delivered": 0,
            "void": 0,
        }
        with self._database.transaction() as connection:
            committed = _committed(connection)
            if block.number <= committed:
                raise LocalProtocolError(f"block {block.number} comes after block {committed} was committed")
            if block.renews != self._beginnings.must_renew(connection):
                raise LocalProtocolError(f"block {block.number} and this store disagree on replacing the first keys")
            self._drop_prepared(connection)
            self._ledger.complete(connection, block.report.eps_sec + block.report.eps_cor)
            connection.execute(_insert_block, row | {"created_s": int(self._clock.now(connection))})

    def commit(self, number: int) -> None:
        """Make the prepared block deliverable and refill the pads, durably and once; a second time is no-op.

        Raises:
            LocalProtocolError: another block is prepared, or none.
        """
        with self._database.transaction() as connection:
            if number <= _committed(connection):
                return
            prepared = _prepared(connection)
            if prepared is None or prepared.number != number:
                have = "none" if prepared is None else f"block {prepared.number}"
                raise LocalProtocolError(f"block {number} was to be committed, {have} is prepared")
            key = self._cipher.open("blocks", str(number), prepared.sealed)
            if self._beginnings.must_renew(connection):
                key = self._beginnings.renew(connection, number, key)
            key = self._refill(connection, prepared, key)
            if prepared.refill_alice or prepared.refill_bob:
                self._pads.relock(connection)
            self._pads.drop_early(connection)
            renewal_bits = self._beginnings.renewal_bits(connection, number)
            count = (_unit_bits_of(prepared) - renewal_bits) // self._unit_bits
            state, rest = BlockState.CUT, None
            if count:
                state = BlockState.WHOLE
                rest = self._cipher.seal("blocks", _rest_of(number), key[: count * self._unit_bits // 8])
            values = {"which": number, "now": state.value, "rest": rest, "count": count}
            connection.execute(_keep_rest, values)

    def cut_oldest(self, connection: Connection) -> int:
        """Cut the oldest block that is whole into units, within a transaction of the caller.

        Returns:
            How many units there are now; 0 when no block was whole.

        Raises:
            KeyStoreError: what is sealed was altered.
        """
        row = connection.execute(_oldest_whole).one_or_none()
        if row is None:
            return 0
        self._cut(connection, row, self._cipher.open("blocks", _rest_of(row.number), row.sealed))
        connection.execute(_end_rest, {"which": row.number})
        return int(row.units)

    def discard(self) -> None:
        """Destroy the prepared block, if there is one."""
        with self._database.transaction() as connection:
            self._drop_prepared(connection)

    @property
    def committed(self) -> int:
        """Number of the last committed block, or -1."""
        with self._database.transaction() as connection:
            return _committed(connection)

    @property
    def prepared(self) -> int:
        """Number of the prepared block, or -1."""
        with self._database.transaction() as connection:
            row = _prepared(connection)
            return -1 if row is None else row.number

    def summary(self) -> list[StoredBlock]:
        """The committed blocks, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(_in_order).all()
            return [self._stored(row, self._beginnings.renewal_bits(connection, row.number)) for row in rows]

    def provenance(self, connection: Connection, numbers: set[int]) -> dict[int, Provenance]:
        """Where the keys of these blocks came from, by block number; within a transaction of the caller."""
        rows = connection.execute(_clear.where(blocks.c.number.in_(sorted(numbers))))
        return {row.number: _provenance(row) for row in rows}

    def _drop_prepared(self, connection: Connection) -> None:
        connection.execute(_drop_prepared)
        self._pads.forget_early(connection)

    def _refill(self, connection: Connection, row: Row[Any], key: bytes) -> bytes:
        """Turn the front of the key into pads; what remains of it."""
        for sender, count in ((Role.ALICE, row.refill_alice), (Role.BOB, row.refill_bob)):
            fresh = [key[i * PAD_BYTES : (i + 1) * PAD_BYTES] for i in range(count)]
            if fresh:
                self._pads.append(connection, sender, fresh)
            key = key[count * PAD_BYTES :]
        return key

    def _cut(self, connection: Connection, row: Row[Any], key: bytes) -> None:
        size, count = self._unit_bits // 8, row.units
        names = unit_ids(row.session_id, row.number, count)
        sealed = self._cipher.seal_all("units", zip(names, _pieces(key, size, count), strict=True))
        # Through the driver: for thousands of rows the dictionaries that SQLAlchemy takes cost as much as the database.
        owners = [unit_owner(index).value for index in range(2)] * (count // 2 + 1)
        rows = [
            (name, row.number, owner, secret) for name, owner, secret in zip(names, owners[:count], sealed, strict=True)
        ]
        connection.exec_driver_sql(_INSERT_UNIT, rows)

    def _stored(self, row: Row[Any], renewal_bits: int) -> StoredBlock:
        source = _provenance(row)
        for_units = _unit_bits_of(row) - renewal_bits
        return StoredBlock(
            number=row.number,
            session_id=source.session_id,
            created_s=row.created_s,
            simulated=source.simulated,
            label=source.label,
            bits=row.bits,
            refill_bits=row.bits - for_units,
            dropped_bits=for_units - row.units * self._unit_bits,
            units=row.units,
            delivered=row.delivered,
            void=row.void,
            report=msgspec.json.decode(row.report, type=BlockReport),
        )


def _pieces(key: bytes, size: int, count: int) -> list[bytes]:
    return [key[at : at + size] for at in range(0, count * size, size)]


def _check(block: SecretBlock) -> None:
    if not 0 <= block.number < 1 << 63:
        raise ParameterError(f"block number {block.number} must be in 0 .. 2^63 - 1")
    if len(block.session_id) != SESSION_ID_BYTES:
        raise ParameterError(f"the session id has {len(block.session_id)} bytes, it must have {SESSION_ID_BYTES}")
    if len(block.key) != (block.bits + 7) // 8:
        raise ParameterError(f"a key of {block.bits} bits came in {len(block.key)} bytes")
    if min(block.refill_alice, block.refill_bob) < 0 or _unit_bits_of(block) < RENEWAL_BITS * block.renews:
        raise ParameterError(
            f"refills of {block.refill_alice} and {block.refill_bob} pads do not fit {block.bits} bits of key"
        )


def _unit_bits_of(block: SecretBlock | Row[Any]) -> int:
    """Bits of a block that remain behind its pads: for applications, but for what new hash keys take."""
    return int(block.bits - 8 * PAD_BYTES * (block.refill_alice + block.refill_bob))


def _committed(connection: Connection) -> int:
    number = connection.scalar(_last_committed)
    return -1 if number is None else int(number)


def _prepared(connection: Connection) -> Row[Any] | None:
    return connection.execute(_the_prepared).one_or_none()


def _rest_of(number: int) -> str:
    """Under which name a whole block's key for units is sealed: not that of a prepared key."""
    return f"{number} units"


def _provenance(row: Row[Any]) -> Provenance:
    report = msgspec.json.decode(row.report, type=BlockReport)
    return Provenance(
        block=row.number,
        session_id=row.session_id.hex(),
        qber_z=report.qber_z,
        qber_x=report.qber_x,
        eps_total=report.eps_total,
        label=report.label,
        simulated=bool(row.simulated),
        created_s=row.created_s,
    )
