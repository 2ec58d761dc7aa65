"""The key store of one node: pads and blocks for the engine (it is its `Vault`), keys for applications.

A key is reserved at the master's node, assigned to its slaves at the other, and delivered once at each: the
transaction that reads a key's bytes deletes them, so a crash may lose a key but never gives it out twice.
Everything secret rests encrypted (`qkd.kms.cipher`). May be used from several threads.

What a store cannot notice is that its file was put back from an old copy: never restore one, make a new store.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, select

from qkd.block import Beginning, SecretBlock
from qkd.errors import KeyExhausted, ParameterError
from qkd.exchange.steps import Role
from qkd.kms import checks, records
from qkd.kms.beginnings import Beginnings
from qkd.kms.blocks import BlockBooks
from qkd.kms.cipher import RowCipher
from qkd.kms.clockmark import DEFAULT_TOLERANCE_S, ClockMark
from qkd.kms.database import Database, meta
from qkd.kms.key import Assignment, DeliveredKey, StoredBlock, UnitState, units_owned
from qkd.kms.ledger import DEFAULT_BUDGET, Account, EpsilonLedger
from qkd.kms.pads import DEFAULT_RESERVE, PadQueues, PadStock
from qkd.kms.settling import Settling
from qkd.kms.unlock import unlock


class KeyStore:
    """One node's keys; made by `KeyStore.open`.

    Its Vault methods are those of `qkd.block.Vault`; see `qkd.kms.pads` and `qkd.kms.blocks` for their rules.
    """

    def __init__(
        self,
        database: Database,
        cipher: RowCipher,
        role: Role,
        unit_bits: int,
        clock: ClockMark,
        ledger: EpsilonLedger,
        pad_reserve: int,
    ) -> None:
        self.role = role
        self.unit_bits = unit_bits
        self._database = database
        self._cipher = cipher
        self._clock = clock
        self._ledger = ledger
        self._pads = PadQueues(database, cipher, role, ledger, pad_reserve)
        self._beginnings = Beginnings(database, cipher, self._pads)
        self._settling = Settling(database, cipher, self._pads, self._beginnings, ledger)
        self._blocks = BlockBooks(database, cipher, self._pads, self._beginnings, unit_bits, clock, ledger)

    @classmethod
    def open(
        cls,
        path: Path,
        master_key: bytes,
        *,
        role: Role,
        unit_bits: int = 256,
        clock: Callable[[], float] = time.time,
        eps_budget: float = DEFAULT_BUDGET,
        pad_reserve: int = DEFAULT_RESERVE,
        clock_tolerance_s: float = DEFAULT_TOLERANCE_S,
        accept_clock: bool = False,
    ) -> KeyStore:
        """Open a store, or make one where there is none.

        Args:
            path: the database file; a lock file and SQLite's logs lie beside it.
            master_key: 32 bytes, under which everything secret is encrypted.
            role: which node this is; a store is one node's for life.
            unit_bits: granularity of keys, a multiple of 8 in 64 .. 4096; equal at both nodes, and for life.
            clock: Unix time in seconds.
            eps_budget: what the link may risk in the life of this store; see `qkd.kms.ledger`.
            pad_reserve: how many pads of each sender are locked; see `qkd.kms.pads`.
            clock_tolerance_s: by how much the clock may be behind the latest time that the store has seen.
            accept_clock: take the clock as it is, because a person has looked at it.

        Raises:
            ParameterError: a wrong key length or unit length, or another argument out of its range.
            KeyStoreError: in use by another process, wrong master key, other role or unit, damaged file.
            ClockSetBack: the wall clock is behind what the store has seen.
        """
        if unit_bits % 8 or not 64 <= unit_bits <= 4096:
            raise ParameterError(f"unit_bits = {unit_bits} must be a multiple of 8 in 64 .. 4096")
        database = Database(Path(path))
        try:
            cipher = unlock(database, master_key, role, unit_bits)
            mark, ledger = ClockMark(clock, clock_tolerance_s), EpsilonLedger(eps_budget)
            with database.transaction() as connection:
                if accept_clock:
                    mark.accept(connection)
                mark.now(connection)
            return cls(database, cipher, role, unit_bits, mark, ledger, pad_reserve)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Give the file up; every later call raises KeyStoreError. Harmless when done twice."""
        self._database.close()

    def __enter__(self) -> KeyStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<KeyStore of {self.role.value} in {self._database.path}>"

    # The engine's side: qkd.block.Vault.

    def install_pre_shared(self, data: bytes) -> None:
        """Deal out the pre-shared secret into hash keys and pads, once; see `PadQueues`."""
        self._pads.install_pre_shared(data)

    @property
    def pre_shared_installed(self) -> bool:
        """Whether a secret has been dealt out here; it is then needed no more."""
        return self._pads.pre_shared_installed

    @property
    def identity(self) -> str:
        """32 hex digits that no other store has; public."""
        with self._database.transaction() as connection:
            salt = connection.scalar(select(meta.c.value).where(meta.c.name == "salt")) or b""
        return hashlib.sha256(b"entangled-qkd store identity" + salt).hexdigest()[:32]

    def begin_block(self, eps: float, tags: Mapping[Role, int]) -> None:
        """Charge the ledger with a run that begins now. Raises KeyExhausted, EpsilonBudgetSpent."""
        with self._database.transaction() as connection:
            self._pads.require(connection, tags)
            self._ledger.begin(connection, eps)

    def hash_key(self, sender: Role) -> bytes:
        """The 16-byte hash key r of the tags that `sender` sends."""
        return self._pads.hash_key(sender)

    def take_pad(self, sender: Role, eps: float) -> tuple[int, bytes]:
        """Number and 16 bytes of the next own pad; burnt from now on, its eps charged. Raises KeyExhausted."""
        return self._pads.take(sender, eps)

    def peer_pad(self, sender: Role, number: int, eps: float) -> bytes:
        """The pad that the peer names; burnt from now on, its eps charged. Raises AuthenticationError."""
        return self._pads.take_peers(sender, number, eps)

    def settling_keys(self, sender: Role, number: int, eps: float) -> tuple[bytes, bytes]:
        """Hash key and the named pad of the tag that settles the prepared block; see `qkd.kms.settling`."""
        return self._settling.keys(sender, number, eps)

    def accept_pad(self, sender: Role, number: int) -> None:
        """The tag under this pad has verified: those before it go, too."""
        self._pads.accept(sender, number)

    def pads_left(self, sender: Role) -> int:
        """How many unused pads `sender` has, the reserve included."""
        return self._pads.left(sender)

    def pad_stock(self, sender: Role) -> PadStock:
        """The same, ordinary and locked apart."""
        return self._pads.stock(sender)

    def release_reserve(self) -> dict[Role, int]:
        """Unlock the reserve of pads until refills have brought the stock back; how many of each that adds."""
        return self._pads.release()

    def account(self) -> Account:
        """The epsilon ledger."""
        with self._database.transaction() as connection:
            return self._ledger.account(connection)

    def prepare(self, block: SecretBlock) -> None:
        """Keep the block durably without making it deliverable; replaces an earlier prepared one."""
        self._blocks.prepare(block)

    def commit(self, number: int) -> None:
        """Make the prepared block deliverable and refill the pads, durably and once."""
        self._blocks.commit(number)

    def cut_oldest(self) -> int:
        """Cut the oldest block that is whole into units, durably; how many, 0 when none is whole.

        Nobody need call this: blocks are cut when a unit is needed.
        """
        with self._database.transaction() as connection:
            return self._blocks.cut_oldest(connection)

    def discard(self) -> None:
        """Destroy the prepared block, if there is one."""
        self._blocks.discard()

    @property
    def committed(self) -> int:
        """Number of the last committed block, or -1."""
        return self._blocks.committed

    @property
    def prepared(self) -> int:
        """Number of the prepared block, or -1."""
        return self._blocks.prepared

    @property
    def beginning(self) -> Beginning:
        """Where the link's first keys came from."""
        return self._beginnings.beginning

    @property
    def link_id(self) -> bytes:
        """32 public bytes that name the keys from `begin`; empty when there are none, or none of use are left."""
        return self._beginnings.link_id

    def begin(self, secret: bytes, link_id: bytes) -> None:
        """Install the first keys of a computational beginning; see `qkd.kms.beginnings`."""
        self._beginnings.begin(secret, link_id)

    def check_can_begin(self) -> None:
        """Raise KeyStoreError when the link began with a pre-shared file."""
        self._beginnings.check()

    # The applications' side.

    def reserve(self, master: str, slaves: tuple[str, ...], number: int, size_bits: int) -> list[Assignment]:
        """Set units of this node aside for new keys, oldest first; durable, all or none.

        Args:
            master: SAE that asks.
            slaves: SAEs that may collect each key at the other node.
            number: how many keys.
            size_bits: length of each, a multiple of 8.

        Raises:
            KeyExhausted: too few units; nothing was set aside.
            ParameterError: a count or length is impossible, or there is no slave.
            ClockSetBack: the wall clock is behind what the store has seen; nothing was set aside.
        """
        checks.check_request(slaves, number, size_bits)
        per_key = self._units_per_key(size_bits)
        with self._database.transaction() as connection:
            self._clock.now(connection)
            free = self._oldest_free(connection, number * per_key)
            if len(free) < number * per_key:
                have = records.count_free(connection, self.role.value) // per_key
                raise KeyExhausted(
                    f"{number} keys of {size_bits} bits were asked for and {have} are in store",
                    available=have,
                    requested=number,
                )
            groups = [tuple(free[i : i + per_key]) for i in range(0, len(free), per_key)]
            made = [Assignment(group[0], group, size_bits, master, slaves) for group in groups]
            records.bind(connection, made, UnitState.RESERVED)
        return made

    def assign(self, assignments: Sequence[Assignment]) -> None:
        """Set the units aside that the peer reserved for its masters; durable, all or none.

        The same assignment again is no-op, so after a lost answer the peer may simply ask again.

        Raises:
            KeyNotFound: a unit is not here, not the peer's, or taken.
            ParameterError: an assignment contradicts itself.
        """
        for assignment in assignments:
            self._check_assignment(assignment)
        checks.check_distinct([name for assignment in assignments for name in assignment.unit_ids])
        while not self._assign_or_cut(assignments):
            pass

    def deliver_reserved(self, key_ids: Sequence[str]) -> list[DeliveredKey]:
        """Hand keys to their master, once; their bytes are deleted in the same transaction. All or none.

        Raises:
            KeyNotFound: one is not reserved here, or was delivered.
            ParameterError: one is named twice.
        """
        checks.check_distinct(key_ids)
        with self._database.transaction() as connection:
            found = records.load(connection, key_ids, UnitState.RESERVED)
            checks.check_present(found, key_ids)
            delivered = self._read(connection, found, key_ids)
            records.finish(connection, key_ids, UnitState.DELIVERED)
        return delivered

    def deliver_assigned(self, key_ids: Sequence[str], caller: str, *, master: str | None = None) -> list[DeliveredKey]:
        """Hand keys to one of their slaves, once each; deleted when the last slave has them. All or none.

        Args:
            key_ids: which.
            caller: the SAE that asks.
            master: when given, only keys that this SAE had made count as found.

        Raises:
            KeyNotFound: one is not assigned here, or this caller had it before.
            NotAuthorised: one was not made for this caller.
            ParameterError: one is named twice.
            ClockSetBack: the wall clock is behind what the store has seen; nothing was handed out.
        """
        checks.check_distinct(key_ids)
        with self._database.transaction() as connection:
            self._clock.now(connection)
            found = records.load(connection, key_ids, UnitState.ASSIGNED)
            checks.check_present([n for n, a in found.items() if master is None or a.master == master], key_ids)
            checks.check_caller(found, caller)
            had = records.collected(connection, key_ids, by=caller)
            checks.check_present([name for name in key_ids if name not in had], key_ids)
            delivered = self._read(connection, found, key_ids)
            last = records.collect(connection, key_ids, caller)
            records.finish(connection, last, UnitState.DELIVERED)
        return delivered

    def void(self, key_ids: Sequence[str]) -> list[str]:
        """Destroy keys that nobody has received yet; which of them were there to destroy.

        Keys that are unknown, delivered, void already, or collected by one of several slaves are left as they
        are.
        """
        with self._database.transaction() as connection:
            found = records.load(connection, key_ids)
            had = records.collected(connection, key_ids)
            doomed = [name for name in found if name not in had]
            records.finish(connection, doomed, UnitState.VOID)
        return doomed

    def reserved(self) -> list[Assignment]:
        """Keys reserved and neither delivered nor void, oldest first: what a crash may have left behind."""
        with self._database.transaction() as connection:
            return records.load_state(connection, UnitState.RESERVED)

    def assigned(self) -> list[Assignment]:
        """Keys that wait here for a slave, oldest first."""
        with self._database.transaction() as connection:
            return records.load_state(connection, UnitState.ASSIGNED)

    def stored_key_count(self, size_bits: int | None = None) -> int:
        """How many keys of this length (default: one unit) this node could reserve now."""
        per_key = self._units_per_key(self.unit_bits if size_bits is None else size_bits)
        with self._database.transaction() as connection:
            return records.count_free(connection, self.role.value) // per_key

    def pool_bits(self) -> int:
        """Bits in available units, this node's and the peer's."""
        with self._database.transaction() as connection:
            return records.count_free(connection) * self.unit_bits

    def blocks(self) -> list[StoredBlock]:
        """The committed blocks and what became of their units, oldest first."""
        return self._blocks.summary()

    def unit_census(self) -> dict[UnitState, int]:
        """How many units are in each state, those of whole blocks too; together, all that the blocks give."""
        with self._database.transaction() as connection:
            return records.census(connection)

    def _oldest_free(self, connection: Connection, wanted: int) -> list[str]:
        """This node's oldest units, blocks cut as far as it takes; if there are too few of them, nothing is cut."""
        owner = self.role.value
        free = records.oldest_free(connection, owner, wanted)
        missing = wanted - len(free)
        if missing <= 0 or records.count_free(connection, owner) < wanted:
            return free
        while missing > 0 and (cut := self._blocks.cut_oldest(connection)):
            missing -= units_owned(self.role, cut)
        return records.oldest_free(connection, owner, wanted)

    def _assign_or_cut(self, assignments: Sequence[Assignment]) -> bool:
        """Assign, or cut one more block because a name may be in it; whether it was the former.

        A cut is a transaction of its own: it stays when the names turn out to be nobody's, so that whoever sends such
        names makes this node cut what it holds once, and the engine's transactions find their turn in between.
        """
        with self._database.transaction() as connection:
            known = records.load(connection, [a.key_id for a in assignments], UnitState.ASSIGNED)
            new = [a for a in assignments if known.get(a.key_id) != a]
            wanted = [name for a in new for name in a.unit_ids]
            if records.unknown_units(connection, wanted) and self._blocks.cut_oldest(connection):
                return False
            free = records.free_units(connection, wanted, self.role.peer.value)
            checks.check_present([name for name in wanted if name in free], wanted)
            records.bind(connection, new, UnitState.ASSIGNED)
        return True

    def _units_per_key(self, size_bits: int) -> int:
        checks.check_size(size_bits)
        return -(-size_bits // self.unit_bits)

    def _check_assignment(self, assignment: Assignment) -> None:
        checks.check_request(assignment.slaves, 1, assignment.size_bits)
        named, needed = len(assignment.unit_ids), self._units_per_key(assignment.size_bits)
        if named != needed or assignment.key_id != assignment.unit_ids[0]:
            raise ParameterError(
                f"key {assignment.key_id}, {assignment.size_bits} bits, names {named} units, takes {needed}"
                f" of {self.unit_bits} bits, the first of the same name",
                hint="the two nodes must run with the same unit_bits",
            )

    def _read(self, connection: Connection, found: dict[str, Assignment], key_ids: Sequence[str]) -> list[DeliveredKey]:
        joined, sources = records.key_bytes(connection, self._cipher, key_ids)
        known = self._blocks.provenance(connection, {number for numbers in sources.values() for number in numbers})
        return [
            DeliveredKey(
                key_id=name,
                key=joined[name][: found[name].size_bits // 8],
                size_bits=found[name].size_bits,
                master=found[name].master,
                slaves=found[name].slaves,
                provenance=tuple(known[number] for number in sources[name]),
            )
            for name in key_ids
        ]
