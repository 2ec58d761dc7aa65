"""Two key stores against a model of dictionaries, under any sequence of calls that hypothesis can think of.

The model holds plain bytes in plain lists and knows nothing of SQL, encryption or transactions, nor of blocks that are
cut late; after every step both stores must count, deliver and refuse exactly as it does.
"""

import hashlib
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qkd.block import SecretBlock
from qkd.errors import AuthenticationError, KeyExhausted, KeyNotFound, KeyStoreError, NotAuthorised
from qkd.exchange.steps import Role
from qkd.kms.key import Assignment, UnitState, unit_id
from qkd.kms.store import KeyStore
from qkd.session import BlockReport

MASTER = bytes(range(32))
SECRET = hashlib.shake_256(b"properties").digest(2048)
SESSION = bytes(16)
UNIT = 64
RESERVE = 4
EPS = 2.0**-90
SLAVES = ("slave-1", "slave-2")


@dataclass
class ModelKey:
    assignment: Assignment
    state: UnitState
    collected: set[str] = field(default_factory=set)


class Model:
    """One node, without a database: what a store must behave like."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.pads = {sender: [SECRET[i : i + 16] for i in range(start, 2048, 32)] for start, sender in self.deal()}
        self.next = dict.fromkeys(Role, 0)
        self.guessed: set[int] = set()  # of the peer's
        self.tags: Counter[Role] = Counter()
        self.eps, self.runs = 0.0, 0
        self.free: list[tuple[str, Role]] = []
        self.keys: dict[str, ModelKey] = {}
        self.gone: Counter[UnitState] = Counter()

    @staticmethod
    def deal() -> tuple[tuple[int, Role], ...]:
        return (32, Role.ALICE), (48, Role.BOB)

    def census(self) -> dict[UnitState, int]:
        living = Counter({UnitState.AVAILABLE: len(self.free)})
        for key in self.keys.values():
            living[key.state] += len(key.assignment.unit_ids)
        return {state: (living + self.gone)[state] for state in UnitState}

    def left(self, sender: Role) -> int:
        gone = sum(number >= self.next[sender] for number in self.guessed) if sender is self.role.peer else 0
        return len(self.pads[sender]) - self.next[sender] - gone

    def own(self, owner: Role) -> list[str]:
        return [name for name, whose in self.free if whose is owner]

    def take(self, names: tuple[str, ...]) -> None:
        self.free = [unit for unit in self.free if unit[0] not in names]

    def end(self, key_id: str, state: UnitState) -> None:
        self.gone[state] += len(self.keys.pop(key_id).assignment.unit_ids)


sides = st.sampled_from(Role)


class TwoStores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.models = {role: Model(role) for role in Role}
        self.stores = {role: self.opened(role) for role in Role}
        self.unit_bytes: dict[str, bytes] = {}
        self.made: list[Assignment] = []
        self.number = -1
        self.pending: SecretBlock | None = None

    def opened(self, role: Role) -> KeyStore:
        store = KeyStore.open(self.folder / role.value, MASTER, role=role, unit_bits=UNIT, pad_reserve=RESERVE)
        store.install_pre_shared(SECRET)
        return store

    def teardown(self) -> None:
        for store in self.stores.values():
            store.close()
        shutil.rmtree(self.folder)

    # Blocks: prepared at both, then committed at one after the other or discarded.

    @rule(units=st.integers(0, 9), spare=st.integers(0, UNIT - 1), alice=st.integers(0, 2), bob=st.integers(0, 2))
    def prepare(self, units: int, spare: int, alice: int, bob: int) -> None:
        bits = 128 * (alice + bob) + UNIT * units + spare
        number = self.number + 1
        key = hashlib.shake_256(b"%d %d" % (number, bits)).digest((bits + 7) // 8)
        self.pending = SecretBlock(number, SESSION, key, bits, alice, bob, BlockReport(block=number), True)
        for store in self.stores.values():
            store.prepare(self.pending)

    @precondition(lambda self: self.pending is not None)
    @rule(first=sides)
    def commit(self, first: Role) -> None:
        block, self.pending = self.pending, None
        self.number = block.number
        key, pads = block.key, []
        for _ in range(block.refill_alice + block.refill_bob):
            pads.append(key[:16])
            key = key[16:]
        for role in (first, first.peer, first):
            self.stores[role].commit(block.number)
        names = []
        for index in range((block.bits - 128 * len(pads)) // UNIT):
            name = unit_id(SESSION, block.number, index)
            self.unit_bytes[name] = key[8 * index : 8 * index + 8]
            names.append((name, Role.BOB if index % 2 else Role.ALICE))
        for model in self.models.values():
            model.free += names
            model.pads[Role.ALICE] += pads[: block.refill_alice]
            model.pads[Role.BOB] += pads[block.refill_alice :]

    @rule()
    def discard(self) -> None:
        self.pending = None
        for store in self.stores.values():
            store.discard()

    @rule(side=sides)
    def reopen(self, side: Role) -> None:
        self.stores[side].close()
        self.stores[side] = self.opened(side)

    @rule(side=sides)
    def lose_power(self, side: Role) -> None:
        """The store goes on from what is on disk at this moment: its file and its log, nothing folded in."""
        file, log = self.folder / side.value, self.folder / f"{side.value}-wal"
        saved = {path: path.read_bytes() for path in (file, log)}
        self.stores[side].close()
        for path, data in saved.items():
            path.write_bytes(data)
        self.stores[side] = self.opened(side)

    @rule(side=sides)
    def cut_all(self, side: Role) -> None:
        """Somebody names a unit that never was; one node has now cut what the other may not have."""
        with pytest.raises(KeyNotFound):
            self.stores[side].assign([Assignment("no unit", ("no unit",), UNIT, "master", SLAVES)])
        with self.stores[side]._database.transaction() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM blocks WHERE state = 'whole'").scalar_one() == 0

    # Pads.

    @rule(side=sides)
    def take_pad(self, side: Role) -> None:
        model = self.models[side]
        number = model.next[side]
        if len(model.pads[side]) - number <= RESERVE:
            with pytest.raises(KeyExhausted):
                self.stores[side].take_pad(side, EPS)
        else:
            assert self.stores[side].take_pad(side, EPS) == (number, model.pads[side][number])
            model.next[side] += 1
            model.tags[side] += 1

    @rule(side=sides, ahead=st.integers(-3, 12), verifies=st.booleans())
    def peer_pad(self, side: Role, ahead: int, verifies: bool) -> None:
        model, sender = self.models[side], side.peer
        number = model.next[sender] + ahead
        if ahead < 0:
            with pytest.raises(AuthenticationError):
                self.stores[side].peer_pad(sender, number, EPS)
        elif model.left(sender) <= RESERVE or number >= len(model.pads[sender]):
            with pytest.raises(KeyExhausted):
                self.stores[side].peer_pad(sender, number, EPS)
        elif number in model.guessed:
            with pytest.raises(AuthenticationError):
                self.stores[side].peer_pad(sender, number, EPS)
        else:
            assert self.stores[side].peer_pad(sender, number, EPS) == model.pads[sender][number]
            model.guessed.add(number)
            model.tags[sender] += 1
            if verifies:
                self.stores[side].accept_pad(sender, number)
                model.next[sender] = number + 1

    @rule(side=sides, eps=st.sampled_from((1e-10, 1e-9)))
    def begin_block(self, side: Role, eps: float) -> None:
        model = self.models[side]
        if min(model.left(sender) for sender in Role) <= RESERVE:
            with pytest.raises(KeyExhausted):
                self.stores[side].begin_block(eps, dict.fromkeys(Role, 1))
        else:
            self.stores[side].begin_block(eps, dict.fromkeys(Role, 1))
            model.eps += eps
            model.runs += 1

    # Keys.

    @rule(side=sides, number=st.integers(1, 3), size=st.integers(1, 20), slaves=st.integers(1, 2))
    def reserve(self, side: Role, number: int, size: int, slaves: int) -> None:
        model, per_key = self.models[side], -(-8 * size // UNIT)
        names = model.own(side)[: number * per_key]
        if len(names) < number * per_key:
            with pytest.raises(KeyExhausted) as short:
                self.stores[side].reserve("master", SLAVES[:slaves], number, 8 * size)
            assert short.value.available == len(names) // per_key
            return
        groups = [tuple(names[i : i + per_key]) for i in range(0, len(names), per_key)]
        expected = [Assignment(g[0], g, 8 * size, "master", SLAVES[:slaves]) for g in groups]
        assert self.stores[side].reserve("master", SLAVES[:slaves], number, 8 * size) == expected
        for assignment in expected:
            model.take(assignment.unit_ids)
            model.keys[assignment.key_id] = ModelKey(assignment, UnitState.RESERVED)
        self.made += expected

    @precondition(lambda self: self.made)
    @rule(side=sides, data=st.data())
    def assign(self, side: Role, data: st.DataObject) -> None:
        assignment = data.draw(st.sampled_from(self.made))
        model = self.models[side]
        known = model.keys.get(assignment.key_id)
        if known is not None and known.state is UnitState.ASSIGNED:
            self.stores[side].assign([assignment])
        elif set(assignment.unit_ids) <= set(model.own(side.peer)):
            self.stores[side].assign([assignment])
            model.take(assignment.unit_ids)
            model.keys[assignment.key_id] = ModelKey(assignment, UnitState.ASSIGNED)
        else:
            with pytest.raises(KeyNotFound):
                self.stores[side].assign([assignment])

    @precondition(lambda self: self.made)
    @rule(side=sides, data=st.data())
    def deliver_reserved(self, side: Role, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from([a.key_id for a in self.made]), unique=True, max_size=3))
        model = self.models[side]
        if not all(name in model.keys and model.keys[name].state is UnitState.RESERVED for name in ids):
            with pytest.raises(KeyNotFound):
                self.stores[side].deliver_reserved(ids)
            return
        self.check_bytes(model, ids, self.stores[side].deliver_reserved(ids))
        for name in ids:
            model.end(name, UnitState.DELIVERED)

    @precondition(lambda self: self.made)
    @rule(side=sides, caller=st.sampled_from(SLAVES), data=st.data())
    def deliver_assigned(self, side: Role, caller: str, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from([a.key_id for a in self.made]), unique=True, max_size=3))
        model, refusal = self.models[side], None
        keys = [model.keys.get(name) for name in ids]
        if not all(key is not None and key.state is UnitState.ASSIGNED for key in keys):
            refusal = KeyNotFound
        elif not all(caller in key.assignment.slaves for key in keys):
            refusal = NotAuthorised
        elif any(caller in key.collected for key in keys):
            refusal = KeyNotFound
        if refusal is not None:
            with pytest.raises(KeyStoreError) as refused:
                self.stores[side].deliver_assigned(ids, caller)
            assert type(refused.value) is refusal
            return
        self.check_bytes(model, ids, self.stores[side].deliver_assigned(ids, caller))
        for name, key in zip(ids, keys, strict=True):
            key.collected.add(caller)
            if key.collected == set(key.assignment.slaves):
                model.end(name, UnitState.DELIVERED)

    @precondition(lambda self: self.made)
    @rule(side=sides, data=st.data())
    def void(self, side: Role, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from([a.key_id for a in self.made]), max_size=3))
        model = self.models[side]
        doomed = {name for name in ids if name in model.keys and not model.keys[name].collected}
        assert set(self.stores[side].void(ids)) == doomed
        for name in doomed:
            model.end(name, UnitState.VOID)

    def check_bytes(self, model: Model, ids: list[str], delivered: list) -> None:
        assert [key.key_id for key in delivered] == ids
        for key in delivered:
            assignment = model.keys[key.key_id].assignment
            joined = b"".join(self.unit_bytes[name] for name in assignment.unit_ids)
            assert key.key == joined[: assignment.size_bits // 8]
            assert (key.size_bits, key.master, key.slaves) == (
                assignment.size_bits,
                assignment.master,
                assignment.slaves,
            )

    @invariant()
    def counts_agree(self) -> None:
        for side, store in self.stores.items():
            model = self.models[side]
            assert store.unit_census() == model.census()
            assert store.stored_key_count() == len(model.own(side))
            assert store.pool_bits() == UNIT * len(model.free)
            assert store.committed == self.number
            assert store.prepared == (self.pending.number if self.pending else -1)
            for sender in Role:
                stock = store.pad_stock(sender)
                assert stock.left == model.left(sender)
                assert stock.locked == min(RESERVE, stock.left)
                assert stock.used == len(model.pads[sender]) - stock.left
            account = store.account()
            assert (account.tags_sent, account.tags_checked) == (model.tags[side], model.tags[side.peer])
            assert account.runs == model.runs
            assert account.eps_runs == pytest.approx(model.eps, rel=1e-12)
            assert account.eps_tags == pytest.approx(EPS * model.tags.total(), rel=1e-12)
            assert account.spent >= model.eps
            for state, listed in ((UnitState.RESERVED, store.reserved()), (UnitState.ASSIGNED, store.assigned())):
                wanted = {name: key.assignment for name, key in model.keys.items() if key.state is state}
                assert {a.key_id: a for a in listed} == wanted


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
