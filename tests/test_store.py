"""The key store's rules: each pad and each key leaves once, both nodes agree, and nothing secret shows."""

import hashlib
import inspect
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from qkd.block import SecretBlock, Vault
from qkd.errors import (
    AuthenticationError,
    KeyExhausted,
    KeyNotFound,
    KeyStoreError,
    LocalProtocolError,
    NotAuthorised,
    ParameterError,
    QkdError,
)
from qkd.exchange.steps import Role
from qkd.kms.cipher import RowCipher
from qkd.kms.key import Assignment, UnitState, unit_id, unit_owner, units_owned
from qkd.kms.secretfile import create_secret_file, load_secret_file, write_secret_file
from qkd.kms.store import KeyStore
from qkd.session import BlockReport

MASTER = bytes(range(32))
SECRET = hashlib.shake_256(b"pre-shared").digest(2048 + 7)
SESSION = hashlib.sha256(b"session").digest()[:16]
NOW = 1_700_000_000
EPS = 2.0**-90
ALICE_APP, BOB_APP, OTHER_APP = "alice-app", "bob-app", "other-app"


def material(number: int, count: int) -> bytes:
    """The key bytes of a test block."""
    return hashlib.shake_256(b"block %d" % number).digest(count)


def block(number: int, bits: int = 20 * 256, *, refill_alice: int = 0, refill_bob: int = 0) -> SecretBlock:
    report = BlockReport(
        block=number,
        sifted_z=1000,
        errors_z=20,
        sifted_x=500,
        errors_x=15,
        eps_sec=1e-10,
        eps_cor=2e-20,
        eps_auth=1e-15,
        label="bench",
    )
    key = material(number, (bits + 7) // 8)
    return SecretBlock(number, SESSION, key, bits, refill_alice, refill_bob, report, True)


def opened(folder: Path, role: Role = Role.ALICE, **options) -> KeyStore:
    options = {"clock": lambda: NOW, "pad_reserve": 0} | options
    return KeyStore.open(folder / f"{role.value}.db", MASTER, role=role, **options)


@pytest.fixture
def alice(tmp_path):
    with opened(tmp_path) as store:
        yield store


@pytest.fixture
def bob(tmp_path):
    with opened(tmp_path, Role.BOB) as store:
        yield store


@pytest.fixture
def pair(alice, bob):
    """Both nodes' stores with the same secret and the same first block of 20 units."""
    for store in (alice, bob):
        store.install_pre_shared(SECRET)
        store.prepare(block(0))
        store.commit(0)
    return alice, bob


def counts(store: KeyStore) -> dict[str, int]:
    """The census without its zeros, after checking that it adds up."""
    census = store.unit_census()
    assert sum(census.values()) == sum(b.units for b in store.blocks())
    assert census[UnitState.DELIVERED] == sum(b.delivered for b in store.blocks())
    assert census[UnitState.VOID] == sum(b.void for b in store.blocks())
    return {state.value: count for state, count in census.items() if count}


def rows_of(folder: Path, role: Role) -> list[int]:
    """Of which block each cut unit is, in the order of the cuts, as another connection reads it."""
    raw = sqlite3.connect(folder / f"{role.value}.db")
    numbers = [row[0] for row in raw.execute("SELECT block FROM units ORDER BY ordinal")]
    raw.close()
    return numbers


class TestPads:
    def test_secret_is_dealt_in_turn(self, alice, bob):
        chunks = [SECRET[i : i + 16] for i in range(0, 2048, 16)]
        for store in (alice, bob):
            store.install_pre_shared(SECRET)
            assert store.hash_key(Role.ALICE) == chunks[0]
            assert store.hash_key(Role.BOB) == chunks[1]
            assert store.pads_left(Role.ALICE) == store.pads_left(Role.BOB) == 63
        for number in range(63):
            assert alice.take_pad(Role.ALICE, EPS) == (number, chunks[2 + 2 * number])
            assert bob.peer_pad(Role.ALICE, number, EPS) == chunks[2 + 2 * number]
            assert bob.take_pad(Role.BOB, EPS) == (number, chunks[3 + 2 * number])
            assert alice.peer_pad(Role.BOB, number, EPS) == chunks[3 + 2 * number]
        assert alice.pads_left(Role.ALICE) == alice.pads_left(Role.BOB) == 0
        with pytest.raises(KeyExhausted) as none_left:
            alice.take_pad(Role.ALICE, EPS)
        assert (none_left.value.available, none_left.value.requested) == (0, 1)

    def test_installs_once(self, alice):
        alice.install_pre_shared(SECRET)
        alice.take_pad(Role.ALICE, EPS)
        alice.install_pre_shared(SECRET)  # a restart of the node does this; it must not bring pads back
        assert alice.take_pad(Role.ALICE, EPS)[0] == 1
        with pytest.raises(KeyStoreError, match="another pre-shared secret"):
            alice.install_pre_shared(SECRET[::-1])
        with pytest.raises(ParameterError, match="2047 bytes"):
            alice.install_pre_shared(SECRET[:2047])

    def test_without_secret(self, alice):
        for call in (
            lambda: alice.hash_key(Role.BOB),
            lambda: alice.take_pad(Role.ALICE, EPS),
            lambda: alice.pads_left(Role.ALICE),
        ):
            with pytest.raises(KeyStoreError, match="no pre-shared secret"):
                call()

    def test_marks_survive(self, tmp_path):
        with opened(tmp_path) as store:
            store.install_pre_shared(SECRET)
            first = [store.take_pad(Role.ALICE, EPS) for _ in range(5)]
            store.peer_pad(Role.BOB, 7, EPS)
            store.accept_pad(Role.BOB, 7)
        with opened(tmp_path) as store:
            again = store.take_pad(Role.ALICE, EPS)
            assert again[0] == 5
            assert again[1] not in {pad for _, pad in first}
            assert store.pads_left(Role.BOB) == 63 - 8
            with pytest.raises(AuthenticationError, match="names pad 7 where 8"):
                store.peer_pad(Role.BOB, 7, EPS)

    def test_peers_pad_goes_alone_until_its_tag_verifies(self, alice):
        alice.install_pre_shared(SECRET)
        alice.peer_pad(Role.BOB, 10, EPS)
        assert alice.pads_left(Role.BOB) == 62
        alice.peer_pad(Role.BOB, 3, EPS)  # one that Bob's store had before it
        alice.accept_pad(Role.BOB, 10)
        assert alice.pads_left(Role.BOB) == 52
        for used in (0, 3, 9, 10, -1):
            with pytest.raises(AuthenticationError):
                alice.peer_pad(Role.BOB, used, EPS)
        assert alice.pads_left(Role.BOB) == 52

    def test_only_a_pad_that_was_handed_out_is_accepted(self, alice):
        alice.install_pre_shared(SECRET)
        alice.peer_pad(Role.BOB, 5, EPS)
        alice.accept_pad(Role.BOB, 5)
        for wrong in (4, 5, 6, 63, 64, -1):
            with pytest.raises(LocalProtocolError):
                alice.accept_pad(Role.BOB, wrong)
        with pytest.raises(LocalProtocolError):
            alice.accept_pad(Role.ALICE, 0)

    def test_burnt_pads_leave_the_file(self, tmp_path):
        with opened(tmp_path) as store:
            store.install_pre_shared(SECRET)
            store.take_pad(Role.ALICE, EPS)
            store.peer_pad(Role.BOB, 10, EPS)
            store.accept_pad(Role.BOB, 10)
            store.peer_pad(Role.BOB, 12, EPS)
        raw = sqlite3.connect(tmp_path / "alice.db")
        first = dict(raw.execute("SELECT sender, min(number) FROM pads GROUP BY sender").fetchall())
        assert first == {"alice": 1, "bob": 11}
        assert raw.execute("SELECT count(*) FROM pads WHERE sender = 'bob' AND number = 12").fetchone() == (0,)
        raw.close()

    def test_peers_pad_window(self, alice):
        alice.install_pre_shared(SECRET * 10)
        left = alice.pads_left(Role.BOB)
        assert left > 257 + 256
        with pytest.raises(AuthenticationError):
            alice.peer_pad(Role.BOB, 257, EPS)
        assert alice.pads_left(Role.BOB) == left  # a forged number burns nothing
        alice.peer_pad(Role.BOB, 256, EPS)
        assert alice.pads_left(Role.BOB) == left - 1

    def test_peers_pad_beyond_stock(self, alice):
        alice.install_pre_shared(SECRET)
        with pytest.raises(KeyExhausted) as short:
            alice.peer_pad(Role.BOB, 63, EPS)
        assert (short.value.available, short.value.requested) == (63, 64)
        assert alice.pads_left(Role.BOB) == 63

    def test_roles_cannot_be_confused(self, alice):
        alice.install_pre_shared(SECRET)
        with pytest.raises(LocalProtocolError):
            alice.take_pad(Role.BOB, EPS)
        with pytest.raises(LocalProtocolError):
            alice.peer_pad(Role.ALICE, 0, EPS)


class TestBlocks:
    def test_is_a_vault(self):
        for name, wanted in vars(Vault).items():
            if isinstance(wanted, property):
                assert isinstance(getattr(KeyStore, name), property)
            elif not name.startswith("_"):
                assert inspect.signature(getattr(KeyStore, name)) == inspect.signature(wanted)

    def test_commit_refills_then_cuts(self, alice):
        alice.install_pre_shared(SECRET)
        bits = 5 * 128 + 7 * 256 + 133
        key = material(0, (bits + 7) // 8)
        alice.prepare(block(0, bits, refill_alice=2, refill_bob=3))
        alice.commit(0)
        assert alice.pads_left(Role.ALICE) == 65
        assert alice.pads_left(Role.BOB) == 66
        assert [alice.peer_pad(Role.BOB, 63 + i, EPS) for i in range(3)] == [
            key[16 * i : 16 * i + 16] for i in (2, 3, 4)
        ]
        own = [alice.take_pad(Role.ALICE, EPS) for _ in range(65)]
        assert own[63:] == [(63, key[:16]), (64, key[16:32])]
        (stored,) = alice.blocks()
        assert (stored.bits, stored.refill_bits, stored.units, stored.dropped_bits) == (bits, 640, 7, 133)
        assert stored.bits == stored.refill_bits + 256 * stored.units + stored.dropped_bits
        (assignment,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 4 * 256)
        (delivered,) = alice.deliver_reserved([assignment.key_id])
        units = [key[80 + 32 * i : 112 + 32 * i] for i in range(7)]
        assert delivered.key == b"".join(units[0::2])  # Alice owns the even ones

    def test_prepared_is_durable_and_not_deliverable(self, tmp_path):
        with opened(tmp_path) as store:
            store.prepare(block(4))
            assert (store.committed, store.prepared) == (-1, 4)
        with opened(tmp_path) as store:
            assert (store.committed, store.prepared) == (-1, 4)
            assert store.stored_key_count() == store.pool_bits() == 0
            assert store.blocks() == []
            store.commit(4)
            assert (store.committed, store.prepared) == (4, -1)
            assert store.stored_key_count() == 10

    def test_commit_is_idempotent(self, pair):
        alice, _ = pair
        before = alice.unit_census(), alice.pads_left(Role.ALICE)
        alice.commit(0)
        assert (alice.unit_census(), alice.pads_left(Role.ALICE)) == before

    def test_commit_out_of_order(self, alice):
        with pytest.raises(LocalProtocolError, match="none is prepared"):
            alice.commit(0)
        alice.prepare(block(3))
        with pytest.raises(LocalProtocolError, match="block 3 is prepared"):
            alice.commit(5)
        alice.commit(3)
        for number in (0, 3):
            with pytest.raises(LocalProtocolError):
                alice.prepare(block(number))
        alice.prepare(block(9))  # ascending is enough
        alice.commit(9)
        assert alice.committed == 9

    def test_prepare_replaces_and_discard_destroys(self, alice):
        alice.prepare(block(1))
        alice.prepare(block(2))
        assert alice.prepared == 2
        alice.discard()
        alice.discard()
        assert alice.prepared == -1
        with pytest.raises(LocalProtocolError):
            alice.commit(2)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"number": -1},
            {"session_id": b"short"},
            {"bits": 20 * 256 + 8},
            {"refill_alice": -1},
            {"refill_alice": 20, "refill_bob": 21},
        ],
    )
    def test_contradictory_block(self, alice, wrong):
        with pytest.raises(ParameterError):
            alice.prepare(replace(block(0), **wrong))
        assert alice.prepared == -1

    def test_refill_needs_a_secret_first(self, alice):
        alice.prepare(block(0, refill_alice=1))
        with pytest.raises(KeyStoreError, match="no pre-shared secret"):
            alice.commit(0)
        assert (alice.prepared, alice.committed) == (0, -1)  # rolled back as a whole

    def test_a_block_is_cut_when_a_unit_is_needed(self, tmp_path):
        with opened(tmp_path) as alice, opened(tmp_path, Role.BOB) as bob:
            for store in (alice, bob):
                for number in range(3):
                    store.prepare(block(number, 5 * 256))
                    store.commit(number)
                assert rows_of(tmp_path, store.role) == []
                assert counts(store) == {"available": 15}
                assert store.pool_bits() == 15 * 256
            assert (alice.stored_key_count(), bob.stored_key_count()) == (9, 6)
            assert (alice.stored_key_count(512), bob.stored_key_count(600)) == (4, 2)
            alice.reserve(ALICE_APP, (BOB_APP,), 3, 256)  # as many as the first block has of hers
            assert rows_of(tmp_path, Role.ALICE) == [0] * 5
            alice.reserve(ALICE_APP, (BOB_APP,), 1, 256)
            assert rows_of(tmp_path, Role.ALICE) == [0] * 5 + [1] * 5
            assert counts(alice) == {"available": 11, "reserved": 4}
            with pytest.raises(KeyExhausted) as short:
                alice.reserve(ALICE_APP, (BOB_APP,), 6, 256)
            assert (short.value.available, short.value.requested) == (5, 6)
            assert rows_of(tmp_path, Role.ALICE) == [0] * 5 + [1] * 5  # in vain is not worth a cut
            assert [b.units for b in alice.blocks()] == [5, 5, 5]
            assert [alice.cut_oldest(), alice.cut_oldest()] == [5, 0]  # ahead of need
            assert counts(alice) == {"available": 11, "reserved": 4}

    def test_blocks_go_in_order_whoever_makes_them_cut(self, tmp_path):
        with opened(tmp_path) as alice, opened(tmp_path, Role.BOB) as bob:
            for number in range(4):
                for store in (alice, bob):
                    store.prepare(block(number, 4 * 256))
                    store.commit(number)
            made = alice.reserve(ALICE_APP, (BOB_APP,), 5, 256)
            assert [a.key_id for a in made] == [unit_id(SESSION, n, i) for n in range(3) for i in (0, 2)][:5]
            bob.assign(made[4:])  # in block 2: blocks 0 and 1 are cut before it
            assert rows_of(tmp_path, Role.BOB) == [0] * 4 + [1] * 4 + [2] * 4
            theirs = bob.reserve(BOB_APP, (ALICE_APP,), 8, 256)
            assert [a.key_id for a in theirs] == [unit_id(SESSION, n, i) for n in range(4) for i in (1, 3)]
            alice.assign(theirs)
            bob.assign(made)
            mine = alice.deliver_reserved([a.key_id for a in made])
            assert bob.deliver_assigned([a.key_id for a in made], BOB_APP) == mine
            for number, key in zip([0, 0, 1, 1, 2], mine, strict=True):
                assert key.key in (material(number, 32), material(number, 96)[64:])

    def test_names_that_nobody_has_cost_one_cut_each_block(self, pair, tmp_path):
        _, bob = pair
        bob.prepare(block(1, 3 * 256))
        bob.commit(1)
        unknown = Assignment("0" * 36, ("0" * 36,), 256, ALICE_APP, (BOB_APP,))
        written = []
        for _ in range(3):
            with pytest.raises(KeyNotFound):
                bob.assign([unknown])
            written.append(rows_of(tmp_path, Role.BOB))
        assert written == [[0] * 20 + [1] * 3] * 3  # the cuts stay although the request was refused
        assert counts(bob) == {"available": 23}

    def test_a_taken_unit_makes_nobody_cut(self, pair, tmp_path):
        alice, bob = pair
        (a,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 256)
        bob.assign([a])
        bob.prepare(block(1))
        bob.commit(1)
        bob.assign([a])
        with pytest.raises(KeyNotFound):
            bob.assign([replace(a, slaves=(OTHER_APP,))])
        assert rows_of(tmp_path, Role.BOB) == [0] * 20

    def test_discard_leaves_whole_blocks(self, tmp_path):
        with opened(tmp_path) as store:
            store.prepare(block(0))
            store.commit(0)
            store.prepare(block(1))
            store.discard()
            assert (store.committed, store.prepared) == (0, -1)
        with opened(tmp_path) as store:
            store.prepare(block(2))
            assert counts(store) == {"available": 20}
            (a,) = store.reserve(ALICE_APP, (BOB_APP,), 1, 256)
            assert store.deliver_reserved([a.key_id])[0].key == material(0, 32)
            store.discard()
            assert counts(store) == {"available": 19, "delivered": 1}

    @pytest.mark.parametrize("count", [0, 1, 2, 7])
    def test_owners_of_whole_and_cut_blocks_are_the_same(self, alice, bob, count):
        for store in (alice, bob):
            store.prepare(block(0, 256 * count + 255))
            store.commit(0)
            whole = store.stored_key_count()
            assert whole == sum(unit_owner(index) is store.role for index in range(count))
            assert whole == units_owned(store.role, count)
            with pytest.raises(KeyNotFound):
                store.assign([Assignment("0" * 36, ("0" * 36,), 256, ALICE_APP, (BOB_APP,))])
            assert store.stored_key_count() == whole

    def test_block_too_short_for_a_unit(self, alice):
        alice.prepare(block(0, 255))
        alice.commit(0)
        assert alice.blocks()[0].dropped_bits == 255
        assert alice.unit_census() == dict.fromkeys(UnitState, 0)

    def test_report_is_kept(self, pair):
        stored = pair[0].blocks()[0]
        assert stored.report == block(0).report
        assert (stored.label, stored.simulated, stored.created_s) == ("bench", True, NOW)
        assert stored.session_id == SESSION.hex()


class TestNames:
    def test_same_names_and_bytes_at_both_nodes(self, pair):
        alice, bob = pair
        for master_side, slave_side in ((alice, bob), (bob, alice)):
            made = master_side.reserve(ALICE_APP, (BOB_APP,), 10, 256)
            slave_side.assign(made)
            ids = [a.key_id for a in made]
            mine, theirs = master_side.deliver_reserved(ids), slave_side.deliver_assigned(ids, BOB_APP)
            assert mine == theirs
            assert [k.key_id for k in mine] == ids
        # Every unit of the block left exactly once, by one side or the other.
        assert counts(alice) == counts(bob) == {"delivered": 20}

    def test_unit_id_rule(self):
        # Version and variant bits as the standard library reads them; the rest straight from the digest (FIPS
        # 180-4).
        name = unit_id(SESSION, 7, 3)
        assert uuid.UUID(name).version == 8
        assert uuid.UUID(name).variant == uuid.RFC_4122
        digest = hashlib.sha256(
            b"entangled-qkd unit id v1\x00" + SESSION + (7).to_bytes(8, "big") + (3).to_bytes(8, "big")
        ).hexdigest()
        flat = name.replace("-", "")
        assert flat[:12] + flat[13:16] + flat[17:] == digest[:12] + digest[13:16] + digest[17:32]

    def test_unit_ids_differ(self):
        ids = {unit_id(s, n, i) for s in (SESSION, bytes(16)) for n in range(20) for i in range(20)}
        assert len(ids) == 800


class TestKeys:
    def test_key_of_several_units(self, pair):
        alice, bob = pair
        (a,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 600)
        assert len(a.unit_ids) == 3
        assert a.key_id == a.unit_ids[0]
        bob.assign([a])
        (key,) = bob.deliver_assigned([a.key_id], BOB_APP)
        data = material(0, 640)
        assert key.key == (data[0:32] + data[64:96] + data[128:160])[:75]
        assert key.size_bits == 600

    def test_key_across_blocks(self, alice):
        for number in range(3):
            alice.prepare(block(number, 3 * 256))
            alice.commit(number)
        (a,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 5 * 256)
        (key,) = alice.deliver_reserved([a.key_id])
        assert [source.block for source in key.provenance] == [0, 1, 2]
        assert key.eps_total == pytest.approx(3 * (1e-10 + 2e-20 + 1e-15))
        assert counts(alice) == {"available": 4, "delivered": 5}

    def test_provenance(self, pair):
        alice, _ = pair
        (a,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 64)
        (key,) = alice.deliver_reserved([a.key_id])
        (source,) = key.provenance
        assert (source.block, source.session_id) == (0, SESSION.hex())
        assert (source.qber_z, source.qber_x) == (20 / 1000, 15 / 500)
        assert source.eps_total == key.eps_total == pytest.approx(1e-10 + 2e-20 + 1e-15)
        assert (source.label, source.simulated, source.created_s) == ("bench", True, NOW)
        assert (key.master, key.slaves) == (ALICE_APP, (BOB_APP,))

    def test_reserve_is_all_or_nothing(self, pair):
        alice, _ = pair
        for number, size, available in ((11, 256, 10), (4, 600, 3), (1, 11 * 256, 0), (10**30, 256, 10)):
            with pytest.raises(KeyExhausted) as short:
                alice.reserve(ALICE_APP, (BOB_APP,), number, size)
            assert (short.value.available, short.value.requested) == (available, number)
        assert counts(alice) == {"available": 20}
        assert alice.stored_key_count() == 10
        assert alice.stored_key_count(600) == 3
        assert alice.pool_bits() == 20 * 256
        alice.reserve(ALICE_APP, (BOB_APP,), 10, 256)
        assert alice.stored_key_count() == 0
        assert alice.pool_bits() == 10 * 256
        assert counts(alice) == {"available": 10, "reserved": 10}

    @pytest.mark.parametrize(
        ("slaves", "number", "size"),
        [
            ((BOB_APP,), 0, 256),
            ((BOB_APP,), 1, 0),
            ((BOB_APP,), 1, 65),
            ((BOB_APP,), 1, -8),
            ((), 1, 256),
            ((BOB_APP, BOB_APP), 1, 256),
            (("",), 1, 256),
        ],
    )
    def test_impossible_requests(self, pair, slaves, number, size):
        with pytest.raises(ParameterError):
            pair[0].reserve(ALICE_APP, slaves, number, size)

    def test_reserved_survives(self, tmp_path):
        with opened(tmp_path) as store:
            store.prepare(block(0))
            store.commit(0)
            made = store.reserve(ALICE_APP, (BOB_APP, OTHER_APP), 3, 512)
            store.deliver_reserved([made[1].key_id])
        with opened(tmp_path) as store:
            assert store.reserved() == [made[0], made[2]]
            assert store.assigned() == []

    def test_delivered_once_to_the_master(self, pair):
        alice, _ = pair
        one, two = alice.reserve(ALICE_APP, (BOB_APP,), 2, 256)
        alice.deliver_reserved([one.key_id])
        for ids in ([one.key_id], [two.key_id, one.key_id], ["no-such-key"]):
            with pytest.raises(KeyNotFound):
                alice.deliver_reserved(ids)
        with pytest.raises(ParameterError, match="more than once"):
            alice.deliver_reserved([two.key_id, two.key_id])
        assert counts(alice) == {"available": 18, "reserved": 1, "delivered": 1}
        with pytest.raises(KeyNotFound):  # reserved for the master, not assigned to a slave
            alice.deliver_assigned([two.key_id], BOB_APP)

    def test_assign_is_idempotent(self, pair):
        alice, bob = pair
        made = alice.reserve(ALICE_APP, (BOB_APP,), 2, 256)
        bob.assign(made[:1])
        bob.assign(made)
        bob.assign(made)
        assert bob.assigned() == made
        assert counts(bob) == {"available": 18, "assigned": 2}
        with pytest.raises(KeyNotFound):  # the same key, but for somebody else
            bob.assign([replace(made[0], slaves=(OTHER_APP,))])
        bob.deliver_assigned([made[0].key_id], BOB_APP)
        with pytest.raises(KeyNotFound):
            bob.assign(made)

    def test_assign_refuses_own_and_unknown_units(self, pair):
        alice, bob = pair
        own = bob.reserve(BOB_APP, (ALICE_APP,), 1, 256)
        free_own = unit_id(SESSION, 0, 3)
        for a in (
            own[0],
            Assignment(free_own, (free_own,), 256, ALICE_APP, (BOB_APP,)),
            Assignment("nothing", ("nothing",), 256, ALICE_APP, (BOB_APP,)),
        ):
            good = alice.reserve(ALICE_APP, (BOB_APP,), 1, 256)
            with pytest.raises(KeyNotFound):
                bob.assign([*good, a])
        assert bob.assigned() == []

    def test_assign_refuses_contradictions(self, pair):
        alice, bob = pair
        (a,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 512)
        for wrong in (
            replace(a, size_bits=256),
            replace(a, key_id=a.unit_ids[1]),
            replace(a, unit_ids=()),
            replace(a, unit_ids=(a.unit_ids[0],) * 2),
            replace(a, slaves=()),
        ):
            with pytest.raises(ParameterError):
                bob.assign([wrong])
        with pytest.raises(ParameterError):
            bob.assign([a, a])
        assert counts(bob) == {"available": 20}

    def test_only_named_slaves_collect(self, pair):
        alice, bob = pair
        mine, others = (alice.reserve(ALICE_APP, (s,), 1, 256)[0] for s in (BOB_APP, OTHER_APP))
        bob.assign([mine, others])
        with pytest.raises(NotAuthorised, match=others.key_id):
            bob.deliver_assigned([mine.key_id, others.key_id], BOB_APP)
        with pytest.raises(KeyNotFound, match="no-such-key"):
            bob.deliver_assigned([mine.key_id, "no-such-key"], BOB_APP)
        with pytest.raises(KeyNotFound):
            bob.deliver_assigned([mine.key_id], BOB_APP, master="somebody")
        assert counts(bob) == {"available": 18, "assigned": 2}
        assert bob.deliver_assigned([mine.key_id], BOB_APP, master=ALICE_APP)[0].key == material(0, 32)
        with pytest.raises(KeyNotFound):
            bob.deliver_assigned([mine.key_id], BOB_APP)

    def test_several_slaves(self, pair):
        alice, bob = pair
        made = alice.reserve(ALICE_APP, (BOB_APP, OTHER_APP), 2, 256)
        bob.assign(made)
        ids = [a.key_id for a in made]
        first = bob.deliver_assigned(ids, OTHER_APP)
        with pytest.raises(KeyNotFound):
            bob.deliver_assigned(ids, OTHER_APP)
        assert counts(bob)["assigned"] == 2
        assert bob.void(ids) == []  # one slave has them: too late
        assert bob.deliver_assigned(ids[:1], BOB_APP) == first[:1]
        assert counts(bob) == {"available": 18, "assigned": 1, "delivered": 1}
        bob.deliver_assigned(ids[1:], BOB_APP)
        for caller in (BOB_APP, OTHER_APP):
            with pytest.raises(KeyNotFound):
                bob.deliver_assigned(ids[:1], caller)
        assert counts(bob) == {"available": 18, "delivered": 2}

    def test_void(self, pair):
        alice, bob = pair
        made = alice.reserve(ALICE_APP, (BOB_APP,), 3, 512)
        ids = [a.key_id for a in made]
        bob.assign(made)
        alice.deliver_reserved(ids[:1])
        assert alice.void([*ids, "no-such-key"]) == ids[1:]
        assert alice.void(ids) == []
        assert bob.void(ids[1:]) == ids[1:]
        assert counts(alice) == {"available": 14, "delivered": 2, "void": 4}
        assert counts(bob) == {"available": 14, "assigned": 2, "void": 4}
        for call in (alice.deliver_reserved, lambda i: bob.deliver_assigned(i, BOB_APP)):
            with pytest.raises(KeyNotFound):
                call(ids[1:])
        assert alice.reserved() == []

    def test_void_units_do_not_return(self, pair):
        alice, _ = pair
        alice.void([a.key_id for a in alice.reserve(ALICE_APP, (BOB_APP,), 10, 256)])
        with pytest.raises(KeyExhausted):
            alice.reserve(ALICE_APP, (BOB_APP,), 1, 256)

    def test_threads_never_get_the_same_key(self, alice):
        alice.prepare(block(0, 400 * 256))
        alice.commit(0)
        got: list[bytes] = []

        def work() -> None:
            for _ in range(20):
                (a,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 256)
                got.append(alice.deliver_reserved([a.key_id])[0].key)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == len(set(got)) == 160
        assert counts(alice) == {"available": 240, "delivered": 160}


class TestOpening:
    def test_wrong_master_key(self, tmp_path):
        opened(tmp_path).close()
        with pytest.raises(KeyStoreError, match="master key does not open"):
            KeyStore.open(tmp_path / "alice.db", bytes(32), role=Role.ALICE)
        with pytest.raises(ParameterError, match="31 bytes"):
            KeyStore.open(tmp_path / "alice.db", bytes(31), role=Role.ALICE)
        opened(tmp_path).close()  # the failed attempts left no lock behind

    def test_role_and_unit_are_for_life(self, tmp_path):
        opened(tmp_path).close()
        for options in ({"role": Role.BOB}, {"role": Role.ALICE, "unit_bits": 128}):
            with pytest.raises(KeyStoreError, match="alice 256-bit"):
                KeyStore.open(tmp_path / "alice.db", MASTER, **options)

    @pytest.mark.parametrize("unit_bits", [0, 63, 250, 8192])
    def test_impossible_unit(self, tmp_path, unit_bits):
        with pytest.raises(ParameterError):
            KeyStore.open(tmp_path / "alice.db", MASTER, role=Role.ALICE, unit_bits=unit_bits)

    def test_second_opening_is_refused(self, alice, tmp_path):
        with pytest.raises(KeyStoreError, match="in use by another process"):
            opened(tmp_path)
        script = (
            "import sys; from pathlib import Path; from qkd.kms.store import KeyStore, Role\n"
            "try: KeyStore.open(Path(sys.argv[1]), bytes(range(32)), role=Role.ALICE)\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "alice.db"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
        )
        assert done.stdout.startswith("KeyStoreError")
        assert "in use by another process" in done.stdout

    def test_unknown_version(self, tmp_path):
        opened(tmp_path).close()
        with sqlite3.connect(tmp_path / "alice.db") as raw:
            raw.execute("PRAGMA user_version = 99")
        raw.close()
        with pytest.raises(KeyStoreError, match="version 99"):
            opened(tmp_path)

    def test_a_store_of_the_release_before_is_refused_with_advice(self, tmp_path):
        opened(tmp_path).close()
        with sqlite3.connect(tmp_path / "alice.db") as raw:
            raw.execute("PRAGMA user_version = 1")
            raw.execute("DROP TABLE ledger")
        raw.close()
        before = (tmp_path / "alice.db").read_bytes()
        with pytest.raises(KeyStoreError, match="schema version 1, this program knows version 2") as old:
            opened(tmp_path)
        assert "release that made it" in old.value.hint
        assert (tmp_path / "alice.db").read_bytes() == before

    def test_somebody_elses_database(self, tmp_path):
        with sqlite3.connect(tmp_path / "alice.db") as raw:
            raw.execute("CREATE TABLE recipes (name)")
        raw.close()
        with pytest.raises(KeyStoreError, match="version 0"):
            opened(tmp_path)

    def test_not_a_database(self, tmp_path):
        (tmp_path / "alice.db").write_bytes(b"dear diary, " * 100)
        with pytest.raises(KeyStoreError, match="not a key store"):
            opened(tmp_path)

    def test_missing_folder(self, tmp_path):
        with pytest.raises(KeyStoreError, match="no such file") as missing:
            KeyStore.open(tmp_path / "nowhere" / "alice.db", MASTER, role=Role.ALICE)
        assert missing.value.hint

    def test_closed(self, alice):
        alice.close()
        alice.close()
        with pytest.raises(KeyStoreError, match="is closed"):
            alice.stored_key_count()

    def test_durability_settings(self, alice):
        # https://sqlite.org/pragma.html: synchronous 2 is FULL.
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
        with alice._database.transaction() as connection:
            assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted} == wanted

    def test_files_are_private(self, alice, tmp_path):
        alice.install_pre_shared(SECRET)
        files = sorted(tmp_path.iterdir())
        assert {f.name for f in files} >= {"alice.db", "alice.db-wal", "alice.db.lock"}
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


class TestTrouble:
    def test_full_disk(self, pair):
        alice, _ = pair
        with alice._database.transaction() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(KeyStoreError, match="disk is full") as full:
            alice.prepare(block(1, 2_000_000))
        assert full.value.hint
        assert (alice.committed, alice.prepared) == (0, -1)
        (a,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 256)
        assert alice.deliver_reserved([a.key_id])[0].key == material(0, 32)
        with alice._database.transaction() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        alice.prepare(block(1, 2_000_000))
        alice.commit(1)
        assert counts(alice) == {"available": 19 + 2_000_000 // 256, "delivered": 1}

    def test_read_only(self, pair):
        alice, _ = pair
        with alice._database.transaction() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        for call in (lambda: alice.take_pad(Role.ALICE, EPS), lambda: alice.prepare(block(1))):
            with pytest.raises(KeyStoreError, match="read-only"):
                call()
        alice._database._connection.connection.driver_connection.execute("PRAGMA query_only = OFF")
        assert alice.pads_left(Role.ALICE) == 63
        assert alice.prepared == -1

    def test_locked_by_another_program(self, pair, tmp_path):
        alice, _ = pair
        with alice._database.transaction() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 1")
        intruder = sqlite3.connect(tmp_path / "alice.db", isolation_level=None)
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(KeyStoreError, match="locked"):
            alice.take_pad(Role.ALICE, EPS)
        intruder.execute("ROLLBACK")
        intruder.close()
        assert alice.take_pad(Role.ALICE, EPS)[0] == 0

    def test_damaged_file(self, tmp_path):
        with opened(tmp_path) as store:
            store.prepare(block(0, 400 * 256))
            store.commit(0)
        file = tmp_path / "alice.db"
        whole = file.read_bytes()
        file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
        with pytest.raises(KeyStoreError, match="damaged"):
            opened(tmp_path)

    def test_altered_secret_is_not_delivered(self, tmp_path):
        with opened(tmp_path) as store:
            store.install_pre_shared(SECRET)
            store.prepare(block(0))
            store.commit(0)
            store.reserve(ALICE_APP, (BOB_APP,), 1, 256)
            for number in (1, 2):
                store.prepare(block(number))
                store.commit(number)
        with sqlite3.connect(tmp_path / "alice.db") as raw:
            other = "(SELECT sealed FROM blocks AS b WHERE b.number = 2)"
            raw.execute(f"UPDATE blocks SET sealed = {other} WHERE number = 1")
            raw.execute(
                "UPDATE units SET sealed = (SELECT sealed FROM units AS u WHERE u.ordinal = 3) WHERE ordinal = 1"
            )
            raw.execute("UPDATE pads SET sealed = zeroblob(44) WHERE number = 0")
        raw.close()
        with opened(tmp_path) as store:
            (a,) = store.reserved()
            with pytest.raises(KeyStoreError, match="does not open"):
                store.deliver_reserved([a.key_id])
            with pytest.raises(KeyStoreError, match="blocks 1 units does not open"):
                store.reserve(ALICE_APP, (BOB_APP,), 10, 256)
            assert store.stored_key_count() == 9 + 20  # undone as a whole
            with pytest.raises(KeyStoreError, match="does not open"):
                store.take_pad(Role.ALICE, EPS)


class TestSecrecy:
    def test_nothing_secret_on_disk(self, tmp_path):
        with opened(tmp_path) as store:
            store.install_pre_shared(SECRET)
            store.prepare(block(0, refill_alice=2))
            store.commit(0)
            store.prepare(block(1))
            disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
            assert SESSION in disk  # the search does find what is stored in the clear
            secrets = SECRET + material(0, 640) + material(1, 640) + MASTER
            assert not [i for i in range(len(secrets) - 7) if secrets[i : i + 8] in disk]

    def test_ciphertext_is_overwritten(self, tmp_path):
        with opened(tmp_path) as store:
            store.install_pre_shared(SECRET)
            store.prepare(block(0))
        sealed = _column(tmp_path, "SELECT sealed FROM blocks")
        with opened(tmp_path) as store:
            store.commit(0)
        sealed += _column(tmp_path, "SELECT sealed FROM blocks")
        with opened(tmp_path) as store:
            store.reserve(ALICE_APP, (BOB_APP,), 10, 256)
        sealed += _column(tmp_path, "SELECT sealed FROM units WHERE key_id NOT NULL")
        sealed += _column(tmp_path, "SELECT sealed FROM pads WHERE sender = 'alice' AND number < 3")
        assert len(sealed) == 15
        with opened(tmp_path) as store:
            made = [a.key_id for a in store.reserved()]
            store.deliver_reserved(made[:5])
            store.void(made[5:])
            for _ in range(3):
                store.take_pad(Role.ALICE, EPS)
        disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert not [blob for blob in sealed if blob[-16:] in disk]

    def test_nothing_secret_in_words(self, pair, tmp_path):
        alice, bob = pair
        (a,) = alice.reserve(ALICE_APP, (BOB_APP,), 1, 256)
        bob.assign([a])
        (key,) = alice.deliver_reserved([a.key_id])
        words = [repr(key), str(key), repr(alice), repr(a), repr(alice.blocks()), repr(block(0))]
        for call in (
            lambda: alice.deliver_reserved([a.key_id]),
            lambda: bob.deliver_assigned([a.key_id], OTHER_APP),
            lambda: alice.prepare(block(0)),
            lambda: alice.install_pre_shared(SECRET[1:] + b"x"),
            lambda: alice.install_pre_shared(SECRET[:100]),
            lambda: alice.peer_pad(Role.BOB, 1000, EPS),
            lambda: KeyStore.open(tmp_path / "new.db", MASTER[1:], role=Role.ALICE),
        ):
            with pytest.raises(QkdError) as error:
                call()
            words += [str(error.value), repr(error.value), error.value.hint, repr(vars(error.value))]
        text = "\n".join(words)
        for secret in (key.key, MASTER[1:], SECRET[:16]):
            assert secret.hex() not in text
            assert repr(secret)[2:-1] not in text

    def test_sealed_rows_are_bound_to_their_place(self):
        cipher = RowCipher(MASTER, bytes(16))
        sealed = cipher.seal("units", "a", b"key")
        assert cipher.open("units", "a", sealed) == b"key"
        assert cipher.seal("units", "a", b"key") != sealed
        for other, table, row in (
            (cipher, "units", "b"),
            (cipher, "pads", "a"),
            (RowCipher(MASTER, bytes(15) + b"\x01"), "units", "a"),
            (RowCipher(bytes(32), bytes(16)), "units", "a"),
        ):
            with pytest.raises(KeyStoreError):
                other.open(table, row, sealed)
        for broken in (b"", sealed[:20], sealed[:-1], bytes([sealed[0] ^ 1]) + sealed[1:]):
            with pytest.raises(KeyStoreError):
                cipher.open("units", "a", broken)


class TestSecretFiles:
    def test_round_trip(self, tmp_path):
        file = tmp_path / "secret"
        create_secret_file(file, 40)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(load_secret_file(file, 40)) == 40
        assert sorted(tmp_path.iterdir()) == [file]
        with pytest.raises(ParameterError, match="40 bytes where at least 41"):
            load_secret_file(file, 41)

    def test_never_overwrites(self, tmp_path):
        file = tmp_path / "secret"
        create_secret_file(file, 32)
        before = file.read_bytes()
        with pytest.raises(ParameterError, match="exists already"):
            create_secret_file(file, 32)
        assert file.read_bytes() == before
        write_secret_file(file, b"new", replace=True)
        assert file.read_bytes() == b"new"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_random(self, tmp_path):
        for name in "ab":
            create_secret_file(tmp_path / name, 32)
        assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
    def test_refuses_what_others_may_open(self, tmp_path, mode):
        file = tmp_path / "secret"
        create_secret_file(file, 32)
        file.chmod(mode)
        with pytest.raises(ParameterError, match=f"mode {mode:04o}") as open_file:
            load_secret_file(file, 32)
        assert f"chmod 600 {file}" in open_file.value.hint

    def test_odd_files(self, tmp_path):
        os.mkfifo(tmp_path / "fifo", 0o600)
        for path in (tmp_path / "missing", tmp_path, tmp_path / "fifo"):
            with pytest.raises(ParameterError):
                load_secret_file(path, 1)
        for nbytes in (0, -1):
            with pytest.raises(ParameterError):
                create_secret_file(tmp_path / "new", nbytes)
        with pytest.raises(ParameterError):
            create_secret_file(tmp_path / "nowhere" / "new", 32)


def _column(folder: Path, query: str) -> list[bytes]:
    raw = sqlite3.connect(folder / "alice.db")
    values = [row[0] for row in raw.execute(query)]
    raw.close()
    return values
