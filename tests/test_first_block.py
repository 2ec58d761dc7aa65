"""The first block after a computational beginning ends it: new hash keys and pads at both ends, whatever breaks off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from qkd import distillation
from qkd.block import PAD_BYTES, RENEWAL_BITS, Beginning, SecretBlock
from qkd.errors import AuthenticationError, KeyStoreError, KeyTooShort, LocalProtocolError, PeerUnreachable
from qkd.exchange.codec import decode
from qkd.exchange.messages import Tag
from qkd.exchange.steps import Role
from qkd.kms.store import KeyStore
from qkd.link import run_to_end
from qkd.randomness import FixedBits
from qkd.session import BlockReport
from qkd.testing import MemoryVault
from qkd.transport.memory import Tamper, untouched
from tests.small_link import PARAMS, same_blocks, small_link

ALICE, BOB = Role.ALICE, Role.BOB
SECRET = FixedBits("bootstrap").take_bytes(8192)
LINK_ID = bytes(range(32))
EPS = 2.0**-100
LABEL_FIRST = "authenticated computationally: ML-KEM-1024 and ML-DSA-87"
LABEL_LATER = "the link began with ML-KEM-1024 and ML-DSA-87"


def begun() -> tuple[MemoryVault, MemoryVault]:
    vaults = MemoryVault(b""), MemoryVault(b"")
    for vault in vaults:
        vault.begin(SECRET, LINK_ID)
    return vaults


def swallowing(number: int) -> Tamper:
    """The line that loses the tag of this number, counted from 0."""
    seen = iter(range(1 << 30))
    return lambda _s, encoded: [] if isinstance(decode(encoded), Tag) and next(seen) == number else [encoded]


def test_the_first_block_replaces_every_key_and_later_ones_do_not() -> None:
    link, alice, bob = small_link(vaults=begun())
    blocks = link.blocks()
    first, _ = next(blocks)
    key = first.block.key
    assert first.block.renews
    for vault in (alice, bob):
        assert (vault.hash_key(ALICE), vault.hash_key(BOB)) == (key[:16], key[16:32])
        pads = {role: [pad for pad in vault._pads[role] if pad] for role in Role}
        old = {SECRET[i : i + PAD_BYTES] for i in range(0, len(SECRET), PAD_BYTES)}
        assert not old & {*pads[ALICE], *pads[BOB]}
        assert b"".join(pads[ALICE] + pads[BOB]) == key[32 : 32 + PAD_BYTES * len(pads[ALICE] + pads[BOB])]
        assert [vault.pads_left(role) for role in Role] == [first.block.refill_alice, first.block.refill_bob]
    second, _ = next(blocks)
    assert not second.block.renews
    assert alice.hash_key(ALICE) == bob.hash_key(ALICE) == key[:16]
    assert same_blocks(alice, bob)


def test_the_labels_say_how_the_link_began_and_the_report_adds_up() -> None:
    link, alice, bob = small_link(vaults=begun())
    record = run_to_end(link)
    assert len(record.outcomes) >= 3
    assert same_blocks(alice, bob)
    for at_alice, at_bob in record.outcomes:
        report, number = at_alice.block.report, at_alice.block.number
        assert (LABEL_FIRST in report.label) == (number == 0)
        assert (LABEL_LATER in report.label) == (number > 0)
        assert at_bob.block.report.label == report.label
        refill = 8 * PAD_BYTES * (at_alice.block.refill_alice + at_alice.block.refill_bob)
        assert report.auth_bits_refilled == refill + (RENEWAL_BITS if number == 0 else 0)
        assert report.delivered_bits == report.secret_bits - report.auth_bits_refilled


def test_a_pre_shared_link_says_nothing_of_it_and_renews_nothing() -> None:
    link, alice, _ = small_link()
    outcome, _ = next(link.blocks())
    before = MemoryVault(alice.pre_shared)
    assert not outcome.block.renews
    assert "ML-" not in outcome.block.report.label
    assert alice.hash_key(ALICE) == before.hash_key(ALICE)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_tag_lost_in_the_first_block_leaves_both_with_the_same_keys(lost: int) -> None:
    """Up to the last tag nothing has happened; after it Alice has renewed, and Bob does so at the next handshake."""
    link, alice, bob = small_link(tamper=swallowing(lost), vaults=begun())
    with pytest.raises(PeerUnreachable):
        next(link.blocks())
    assert alice.committed == (0 if lost == 2 else -1)
    assert bob.committed == -1
    assert bob.hash_key(ALICE) == SECRET[:16]
    again, _, _ = small_link(vaults=(alice, bob))
    outcome, _ = next(again.blocks())
    assert outcome.block.number == (1 if lost == 2 else 0)
    first = alice.blocks[0]
    for vault in (alice, bob):
        assert (vault.hash_key(ALICE), vault.hash_key(BOB)) == (first.key[:16], first.key[16:32])
    assert same_blocks(alice, bob)
    assert {role: alice._next[role] for role in Role} == {role: bob._next[role] for role in Role}


def test_a_forged_first_block_renews_nothing() -> None:
    def garble(_sender: Role, encoded: bytes) -> list[bytes]:
        if isinstance(decode(encoded), Tag):
            return [encoded[:-1] + bytes([encoded[-1] ^ 1])]
        return [encoded]

    link, alice, bob = small_link(tamper=garble, vaults=begun())
    with pytest.raises(AuthenticationError):
        next(link.blocks())
    for vault in (alice, bob):
        assert vault.committed == -1
        assert vault.hash_key(ALICE) == SECRET[:16]


def test_a_first_block_that_cannot_pay_is_no_block() -> None:
    """1792 bits: two hash keys, eight pads for Alice and four for Bob. One less is refused, with what it takes."""
    with pytest.raises(KeyTooShort, match="1792") as caught:
        distillation._new_stock(1791, 5000)
    assert (caught.value.secret_bits, caught.value.sifted_bits) == (1791, 5000)
    assert "pre-shared" in caught.value.hint
    assert distillation._new_stock(1792, 5000) == (8, 4)
    alice, bob = distillation._new_stock(1_000_000, 5000)
    assert (alice, bob) == (distillation.PAD_STOCK, distillation.PAD_STOCK)
    for bits in range(1792, 60_000, 977):
        alice, bob = distillation._new_stock(bits, 5000)
        assert RENEWAL_BITS + 8 * PAD_BYTES * (alice + bob) <= bits
        assert alice >= 8
        assert bob >= 4


def test_a_recording_too_small_to_pay_gives_no_key_and_keeps_the_first_keys() -> None:
    """Some 3000 sifted bits give a key of about 1100 bits: enough for a later block, not for the first."""
    params = replace(PARAMS, block_bits=3000, least_block_bits=1000)
    link, alice, bob = small_link(params, vaults=begun())
    with pytest.raises(KeyTooShort, match="computational beginning needs 1792"):
        next(link.blocks())
    assert (alice.committed, bob.committed) == (-1, -1)
    assert alice.hash_key(ALICE) == SECRET[:16]


# The same with key stores on disk.


def opened(folder: Path, role: Role) -> KeyStore:
    return KeyStore.open(folder / f"{role.value}.db", bytes(range(32)), role=role)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[dict[Role, KeyStore]]:
    pair = {role: opened(tmp_path, role) for role in Role}
    for store in pair.values():
        store.begin(SECRET, LINK_ID)
    yield pair
    for store in pair.values():
        store.close()


def linked(stores: dict[Role, KeyStore], tamper: Tamper = untouched) -> Any:
    vaults: Any = (stores[ALICE], stores[BOB])
    return small_link(tamper=tamper, vaults=vaults)[0]


@pytest.mark.parametrize("lost", [None, 2])
def test_stores_renew_alike_through_a_crash_and_a_restart(
    stores: dict[Role, KeyStore], tmp_path: Path, lost: int | None
) -> None:
    """With `lost`, Bob's store is closed while his first block is prepared and finishes it when opened again."""
    if lost is None:
        next(linked(stores).blocks())
    else:
        with pytest.raises(PeerUnreachable):
            next(linked(stores, swallowing(lost)).blocks())
        assert (stores[ALICE].committed, stores[BOB].prepared) == (0, 0)
    for role in Role:
        stores[role].close()
        stores[role] = opened(tmp_path, role)
    next(linked(stores).blocks())
    a, b = stores[ALICE], stores[BOB]
    for role in Role:
        assert a.hash_key(role) == b.hash_key(role) != SECRET[:16]
        assert a.pads_left(role) == b.pads_left(role) > 0
    assert a.link_id == b.link_id == LINK_ID
    assert a.beginning is Beginning.POST_QUANTUM
    kept = {role: [(s.number, s.bits, s.refill_bits, s.units) for s in stores[role].blocks()] for role in Role}
    assert kept[ALICE] == kept[BOB]
    for stored in a.blocks():
        assert stored.bits == stored.refill_bits + stored.dropped_bits + 256 * stored.units
        assert stored.refill_bits == stored.report.auth_bits_refilled
    assert a.stored_key_count() > 0


def test_after_its_first_block_a_store_cannot_begin_anew(stores: dict[Role, KeyStore]) -> None:
    next(linked(stores).blocks())
    before = stores[ALICE].hash_key(ALICE)
    with pytest.raises(KeyStoreError, match="committed blocks"):
        stores[ALICE].begin(SECRET, LINK_ID)
    assert stores[ALICE].hash_key(ALICE) == before


def test_beginning_anew_drops_the_block_that_was_prepared_under_the_old_keys(stores: dict[Role, KeyStore]) -> None:
    stores[BOB].prepare(block(renews=True))
    assert stores[BOB].prepared == 0
    stores[BOB].begin(SECRET[::-1], LINK_ID[::-1])
    assert stores[BOB].prepared == -1


def block(*, renews: bool, refill: int = 1) -> SecretBlock:
    key = FixedBits("first").take_bytes(128)
    return SecretBlock(0, bytes(16), key, 1024, refill, refill, BlockReport(block=0), True, renews=renews)


def test_a_block_that_forgets_to_renew_is_refused_by_the_store(stores: dict[Role, KeyStore], tmp_path: Path) -> None:
    with pytest.raises(LocalProtocolError, match="disagree"):
        stores[ALICE].prepare(block(renews=False))
    with pytest.raises(ValueError, match="refills"):
        stores[ALICE].prepare(block(renews=True, refill=4))  # 256 bits + 8 pads: more than its 1024
    stores[ALICE].prepare(block(renews=True, refill=3))
    stores[ALICE].commit(0)
    assert [stores[ALICE].pads_left(role) for role in Role] == [3, 3]
    with KeyStore.open(tmp_path / "file.db", bytes(32), role=ALICE) as other:
        other.install_pre_shared(SECRET)
        with pytest.raises(LocalProtocolError, match="disagree"):
            other.prepare(block(renews=True))


def test_pads_of_the_beginning_are_gone_from_the_file(stores: dict[Role, KeyStore]) -> None:
    """Their numbers, too: a peer who names one is refused, and new ones are numbered on."""
    stores[ALICE].prepare(block(renews=True))
    stores[ALICE].commit(0)
    with pytest.raises(AuthenticationError):
        stores[ALICE].peer_pad(BOB, 0, EPS)
    assert stores[ALICE].take_pad(ALICE, EPS)[0] == 255
    assert stores[ALICE].peer_pad(BOB, 255, EPS) == block(renews=True).key[48:64]


# Power lost in the midst of it: every statement of the transaction is a place to stop.


def state(store: KeyStore) -> tuple[object, ...]:
    """All that `begin` and `commit` change."""
    keys = tuple(store.hash_key(role) for role in Role)
    left = tuple(store.pads_left(role) for role in Role)
    return keys, left, store.link_id, store.committed, store.prepared, store.pool_bits()


def stopping_at(store: KeyStore, number: int, act: Callable[[], None]) -> bool:
    """Whether `act` came to the end when the statement of this number is never executed."""
    connection = store._database._connection
    assert connection is not None
    seen = iter(range(1 << 30))

    def stop(*_: object) -> None:
        if next(seen) == number:
            raise InterruptedError

    event.listen(connection.engine, "before_cursor_execute", stop)
    try:
        act()
    except InterruptedError:
        return False
    finally:
        event.remove(connection.engine, "before_cursor_execute", stop)
    return True


@pytest.mark.parametrize("which", ["begin", "commit"])
def test_stopped_anywhere_the_store_holds_the_old_keys_or_the_new(stores: dict[Role, KeyStore], which: str) -> None:
    store = stores[BOB]
    store.prepare(block(renews=True))
    acts: dict[str, Callable[[], None]] = {
        "begin": lambda: store.begin(SECRET[::-1], LINK_ID[::-1]),
        "commit": lambda: store.commit(0),
    }
    before = state(store)
    stops = 0
    while not stopping_at(store, stops, acts[which]):
        assert state(store) == before
        stops += 1
    assert stops > 8
    after = state(store)
    assert after[0] != before[0]
    if which == "commit":
        first = block(renews=True).key
        assert after == ((first[:16], first[16:32]), (1, 1), LINK_ID, 0, -1, 512)
    else:
        assert after[1:] == ((255, 255), LINK_ID[::-1], -1, -1, 0)
