"""The key store against SIGKILL: whatever the moment, no pad and no key leaves twice and the books add up.

A child process works on a store at random and reports every outcome on a pipe *after* the call has returned; the
parent kills it, opens the store and holds the two against each other. The children come from a fork server that has
imported the store already, so that most of the test's time is spent killing.
"""

import contextlib
import hashlib
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from qkd.block import SecretBlock
from qkd.errors import AuthenticationError, KeyExhausted, KeyNotFound, KeyStoreError
from qkd.exchange.steps import Role
from qkd.kms.key import UnitState
from qkd.kms.store import KeyStore
from qkd.session import BlockReport

MASTER = bytes(range(32))
SECRET = hashlib.shake_256(b"crash").digest(4096)
ROUNDS = 16
UNITS = 40
EPS = 2.0**-90
SEED = 20_261_123


def opened(path: Path) -> KeyStore:
    store = KeyStore.open(path, MASTER, role=Role.ALICE, pad_reserve=0)
    store.install_pre_shared(SECRET)
    return store


def new_block(number: int) -> SecretBlock:
    bits = UNITS * 256 + 16 * 128 * 2
    key = hashlib.shake_256(b"crash %d" % number).digest(bits // 8)
    return SecretBlock(number, bytes(16), key, bits, 16, 16, BlockReport(block=number), True)


def digest(data: bytes) -> str:
    """What is told of a secret: enough to notice it a second time."""
    return hashlib.sha256(data).hexdigest()


class Worker:
    """Uses a store at random and tells what has come out of it, each time after the call has returned."""

    def __init__(self, store: KeyStore, rng: random.Random, pipe) -> None:
        self.store = store
        self.rng = rng
        self.tell = pipe.send
        self.next_heard = 0
        self.actions = (self.block, self.pad, self.peer_pad, self.reserve, self.reserve, self.deliver, self.void)

    def step(self) -> None:
        with contextlib.suppress(KeyExhausted):
            self.rng.choice(self.actions)()

    def block(self) -> None:
        number = max(self.store.committed, self.store.prepared) + 1
        self.store.begin_block(EPS, dict.fromkeys(Role, 1))
        self.tell(("begun", number))
        self.store.prepare(new_block(number))
        self.tell(("prepared", number))
        self.store.commit(number)
        self.tell(("committed", number))

    def pad(self) -> None:
        number, pad = self.store.take_pad(Role.ALICE, EPS)
        self.tell(("pad", number, digest(pad)))

    def peer_pad(self) -> None:
        number = self.next_heard + self.rng.randint(0, 2)
        self.next_heard = number + 1
        with contextlib.suppress(AuthenticationError):  # a predecessor got further
            self.store.peer_pad(Role.BOB, number, EPS)
            self.tell(("peer_pad", number))
            if self.rng.random() < 0.5:
                self.store.accept_pad(Role.BOB, number)
                self.tell(("accepted", number))

    def reserve(self) -> None:
        made = self.store.reserve("m", ("s",), self.rng.randint(1, 3), self.rng.choice((128, 256, 512)))
        self.tell(("reserved", [a.key_id for a in made]))

    def deliver(self) -> None:
        ids = [a.key_id for a in self.store.reserved()][: self.rng.randint(1, 4)]
        for key in self.store.deliver_reserved(ids):
            self.tell(("key", key.key_id, digest(key.key)))

    def void(self) -> None:
        ids = [a.key_id for a in self.store.reserved()][:1]
        self.tell(("void", self.store.void(ids)))


def work(path: Path, seed: int, pipe) -> None:
    """A child's life."""
    worker = Worker(opened(path), random.Random(seed), pipe)
    worker.tell(("ready",))
    while True:
        worker.step()


def killed(path: Path, seed: int, events: int, delay_s: float) -> list[tuple]:
    """What a child told before it was killed `delay_s` after it had told so many events, however busy the machine."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qkd.kms.store"])
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(path, seed, there), daemon=True)
    child.start()
    there.close()
    assert here.poll(60)
    told = [here.recv() for _ in range(1 + events)]
    deadline = time.monotonic() + delay_s
    while (left := deadline - time.monotonic()) > 0:
        if here.poll(left):
            told.append(here.recv())
    os.kill(child.pid, signal.SIGKILL)
    try:
        while True:
            told.append(here.recv())
    except EOFError:
        pass
    child.join()
    assert child.exitcode == -signal.SIGKILL
    return told


def check_books(store: KeyStore) -> None:
    with store._database.transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    census, books = store.unit_census(), store.blocks()
    assert [b.units for b in books] == [UNITS] * len(books)
    assert sum(census.values()) == UNITS * len(books)
    assert census[UnitState.DELIVERED] == sum(b.delivered for b in books)
    assert census[UnitState.VOID] == sum(b.void for b in books)
    reserved = [name for a in store.reserved() for name in a.unit_ids]
    assert len(reserved) == len(set(reserved)) == census[UnitState.RESERVED]
    assert store.prepared == -1 or store.prepared > store.committed


class Record:
    """Everything that the children told, held against the rules as it comes."""

    def __init__(self) -> None:
        self.pads: dict[int, str] = {}
        self.keys: dict[str, str] = {}
        self.void: set[str] = set()
        self.heard: set[int] = set()
        self.accepted = self.committed = -1
        self.steps: Counter[str] = Counter()

    def add(self, event: tuple) -> None:
        self.steps[event[0]] += 1
        match event:
            case ("pad", number, digest_of_pad):
                assert number > max(self.pads, default=-1), "a pad number came twice"
                self.pads[number] = digest_of_pad
            case ("key", key_id, digest_of_key):
                assert key_id not in self.keys, "a key came twice"
                assert key_id not in self.void, "a void key came"
                self.keys[key_id] = digest_of_key
            case ("void", key_ids):
                assert not self.keys.keys() & set(key_ids), "a delivered key was void later"
                self.void.update(key_ids)
            case ("peer_pad", number):
                assert number not in self.heard, "a peer's pad was handed out twice"
                assert number > self.accepted, "a peer's pad was handed out after a later one had verified"
                self.heard.add(number)
            case ("accepted", number):
                self.accepted = number
            case ("committed", number):
                assert number > self.committed
                self.committed = number

    def check(self, store: KeyStore) -> None:
        """The store as a killed child left it."""
        assert store.committed >= self.committed, "a committed block was forgotten"
        for gone in [*self.keys][-5:] + [*self.void][-5:]:
            with pytest.raises(KeyNotFound):
                store.deliver_reserved([gone])
        assert not (self.keys.keys() | self.void) & {a.key_id for a in store.reserved()}
        for used in sorted(self.heard)[-3:]:
            with pytest.raises(AuthenticationError):
                store.peer_pad(Role.BOB, used, EPS)
        account = store.account()
        assert account.tags_sent >= self.steps["pad"], "a tag sent was not charged"
        assert account.tags_checked >= self.steps["peer_pad"], "a tag checked was not charged"
        assert account.runs >= self.steps["begun"], "a run was not charged"
        number, pad = store.take_pad(Role.ALICE, EPS)  # charged and told, like all others
        self.add(("pad", number, digest(pad)))


def test_killed_at_any_moment(tmp_path):
    rng = random.Random(SEED)
    path = tmp_path / "alice.db"
    record = Record()
    for _ in range(ROUNDS):
        for event in killed(path, rng.getrandbits(32), rng.randint(0, 60), rng.uniform(0.0, 0.01)):
            record.add(event)
        with opened(path) as store:
            check_books(store)
            record.check(store)
    assert len(set(record.pads.values())) == len(record.pads), "a pad came twice under two numbers"
    assert len(set(record.keys.values())) == len(record.keys), "a key came twice under two names"
    # The test is worth something only if much was going on when the children died.
    assert min(record.steps[n] for n in ("pad", "key", "void", "peer_pad", "committed")) >= ROUNDS // 4, record.steps


def test_lock_goes_with_its_process(tmp_path):
    path = tmp_path / "alice.db"
    killed(path, 1, 2, 0.0)
    with opened(path) as store, pytest.raises(KeyStoreError, match="in use"):
        opened(store._database.path)
