"""A block that replaces all keys, committed by Alice and prepared at Bob: he settles it under the keys inside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distribution.sources.replay import Replay
from distribution.tags import TimeTags
from qkd import confirmation
from qkd.block import PAD_BYTES, SecretBlock
from qkd.errors import AuthenticationError, KeyExhausted, LocalProtocolError, PeerUnreachable
from qkd.exchange import handshake
from qkd.exchange.auth import forgery_probability
from qkd.exchange.codec import decode, encode
from qkd.exchange.engine import Engine
from qkd.exchange.handshake import SessionStart
from qkd.exchange.messages import Tag
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.kms.store import KeyStore
from qkd.node.backoff import BackOff
from qkd.node.stationloop import StationLoop
from qkd.randomness import FixedBits
from qkd.session import BlockReport, SessionParameters
from qkd.testing import MemoryVault
from qkd.transport.memory import MemoryLine, Tamper, untouched

ALICE, BOB = Role.ALICE, Role.BOB
SECRET = FixedBits("first keys").take_bytes(4096)
LINK_ID = bytes(range(32))
OLD_PADS = 127  # of each sender in SECRET
EPS = 2.0**-100


def first_block(refill: int = 8, label: str = "first") -> SecretBlock:
    """256 bits of new hash keys, `refill` pads for each sender, and four units of 256 bits."""
    key = FixedBits(label).take_bytes(32 + 2 * PAD_BYTES * refill + 128)
    return SecretBlock(0, bytes(16), key, 8 * len(key), refill, refill, BlockReport(block=0), True, renews=True)


@dataclass
class Pair:
    """Both ends of a link that began by keys; on disk when there is a folder, and then closed and opened at will."""

    folder: Path | None = None
    vaults: dict[Role, Any] = field(default_factory=dict)
    sessions: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        for role in Role:
            self.vaults[role] = MemoryVault(b"") if self.folder is None else self.opened(role)
            self.vaults[role].begin(SECRET, LINK_ID)

    def opened(self, role: Role, **options: Any) -> KeyStore:
        assert self.folder is not None
        return KeyStore.open(self.folder / f"{role.value}.db", bytes(range(32)), role=role, **options)

    def reopen(self, **options: Any) -> None:
        if self.folder is not None:
            self.close()
            self.vaults = {role: self.opened(role, **options) for role in Role}

    def close(self) -> None:
        for vault in self.vaults.values():
            if isinstance(vault, KeyStore):
                vault.close()

    def lose_acceptance(self, block: SecretBlock) -> None:
        """What `qkd.confirmation` does until the line is lost with Alice's last tag."""
        for role in Role:
            number, _ = self.vaults[role].take_pad(role, EPS)
            self.vaults[role.peer].peer_pad(role, number, EPS)
            self.vaults[role.peer].accept_pad(role, number)
        for vault in self.vaults.values():
            vault.prepare(block)
        self.vaults[ALICE].take_pad(ALICE, EPS)
        self.vaults[ALICE].commit(0)

    def session(self, tamper: Tamper = untouched) -> SessionStart:
        """Handshake and settlement on a new line; `tamper` has the settlement."""
        label, params, transcripts = next(self.sessions), SessionParameters(), {role: Transcript() for role in Role}
        shakes = {ALICE: handshake.alice, BOB: handshake.bob}
        engines = []
        for role in Role:
            steps = shakes[role](params, self.vaults[role], FixedBits(f"{role} {label}"), simulated=True)
            engines.append(Engine(role, steps, transcripts[role]))
        MemoryLine(*engines).run()
        starts = {role: engine.result for role, engine in zip(Role, engines, strict=True)}
        settling = [
            Engine(
                role,
                confirmation.settle(role, starts[role], params, self.vaults[role], transcripts[role]),
                transcripts[role],
            )
            for role in Role
        ]
        MemoryLine(*settling, tamper=tamper).run()
        return starts[BOB]

    def left(self, at: Role) -> list[int]:
        return [self.vaults[at].pads_left(sender) for sender in Role]

    def hash_keys(self, at: Role) -> tuple[bytes, bytes]:
        return self.vaults[at].hash_key(ALICE), self.vaults[at].hash_key(BOB)

    def spent(self, at: Role) -> float:
        vault = self.vaults[at]
        return float(vault.account().spent if isinstance(vault, KeyStore) else vault.eps_spent)


@pytest.fixture(params=["memory", "disk"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path if request.param == "disk" else None)
    yield made
    made.close()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


def noting(seen: list[int], act: Callable[[Tag], list[Tag]]) -> Tamper:
    """A line that notes the pads of all tags and makes of each what `act` says."""

    def tamper(_sender: Role, encoded: bytes) -> list[bytes]:
        tag = decode(encoded)
        if not isinstance(tag, Tag):
            return [encoded]  # Bob says why he hangs up
        seen.append(tag.pad)
        return [encode(arrives) for arrives in act(tag)]

    return tamper


def forged(tag: Tag) -> list[Tag]:
    return [Tag(tag.pad, bytes([tag.tag[0] ^ 1]) + tag.tag[1:])]


def test_a_lost_acceptance_is_settled_under_the_keys_inside_the_block(pair: Pair) -> None:
    block = first_block()
    pair.lose_acceptance(block)
    assert pair.hash_keys(BOB) == (SECRET[:16], SECRET[16:32])
    pair.reopen()
    seen: list[int] = []
    assert pair.session(noting(seen, lambda tag: [tag])).settles == 0
    assert seen == [OLD_PADS]  # the first new one, numbered on from the old
    pair.reopen()
    for role in Role:
        assert pair.hash_keys(role) == (block.key[:16], block.key[16:32])
        assert pair.left(role) == [7, 8]
        assert (pair.vaults[role].committed, pair.vaults[role].prepared) == (0, -1)
    assert pair.session().settles == -1
    # The next tags of both are made and checked alike.
    for sender in Role:
        taken = pair.vaults[sender].take_pad(sender, EPS)
        assert pair.vaults[sender.peer].peer_pad(sender, taken[0], EPS) == taken[1]


def test_a_forged_settlement_costs_one_pad_and_leaves_the_block_prepared(pair: Pair) -> None:
    pair.lose_acceptance(first_block())
    seen: list[int] = []
    for attempt in range(3):
        before = pair.spent(BOB)
        with pytest.raises(AuthenticationError, match="does not verify"):
            pair.session(noting(seen, forged))
        assert (pair.vaults[BOB].committed, pair.vaults[BOB].prepared) == (-1, 0)
        assert pair.hash_keys(BOB) == (SECRET[:16], SECRET[16:32])
        # One tag of a few hundred bytes: two Hellos and the header.
        assert 0 < pair.spent(BOB) - before < forgery_probability(100_000)
        assert seen[attempt] == OLD_PADS + attempt
        pair.reopen()
    assert pair.session(noting(seen, lambda tag: [tag])).settles == 0
    assert seen == [OLD_PADS + n for n in range(4)]
    assert pair.left(ALICE) == pair.left(BOB) == [4, 8]


def test_a_guess_ahead_burns_that_pad_alone_and_it_never_gets_into_the_stock(pair: Pair) -> None:
    pair.lose_acceptance(first_block())
    ahead = OLD_PADS + 5
    with pytest.raises(AuthenticationError, match="does not verify"):
        pair.session(lambda _s, _e: [encode(Tag(ahead, bytes(16)))])
    pair.reopen()
    with pytest.raises(AuthenticationError, match=f"pad {ahead}.* was used before"):
        pair.session(lambda _s, _e: [encode(Tag(ahead, bytes(16)))])
    assert pair.session().settles == 0  # Alice's third pad
    pair.reopen()
    assert pair.left(ALICE)[0] == 5
    assert pair.left(BOB)[0] == 4
    with pytest.raises(AuthenticationError):
        pair.vaults[BOB].peer_pad(ALICE, ahead, EPS)
    assert pair.vaults[BOB].peer_pad(ALICE, OLD_PADS + 3, EPS) == pair.vaults[ALICE].take_pad(ALICE, EPS)[1]


@pytest.mark.parametrize("number", [0, 3, OLD_PADS - 1, OLD_PADS + 8, OLD_PADS + 300, 2**70])
def test_no_other_number_is_looked_at_and_nothing_is_burnt(pair: Pair, number: int) -> None:
    """Neither the old pads, which Bob still has, nor any that the block does not bring."""
    pair.lose_acceptance(first_block())
    before = pair.left(BOB), pair.spent(BOB)
    with pytest.raises(AuthenticationError, match="used before or is"):
        pair.vaults[BOB].settling_keys(ALICE, number, EPS)
    assert (pair.left(BOB), pair.spent(BOB)) == before


def test_a_settlement_that_is_lost_too_is_settled_by_the_next(pair: Pair) -> None:
    pair.lose_acceptance(first_block())
    with pytest.raises(PeerUnreachable):
        pair.session(lambda _s, _e: [])
    pair.reopen()
    assert pair.session().settles == 0
    assert pair.left(ALICE) == pair.left(BOB) == [6, 8]


def test_a_settlement_of_an_earlier_line_is_no_settlement_of_this(pair: Pair) -> None:
    """Eve keeps what she swallowed; both nonces are fresh."""
    pair.lose_acceptance(first_block())
    kept: list[bytes] = []
    with pytest.raises(PeerUnreachable):
        pair.session(lambda _s, encoded: kept.append(encoded) or [])  # type: ignore[func-returns-value]
    with pytest.raises(AuthenticationError, match="does not verify"):
        pair.session(lambda _s, _e: kept)
    assert pair.vaults[BOB].prepared == 0
    assert pair.session().settles == 0


def test_the_keys_are_those_inside_the_block_one_guess_a_pad(stores: Pair) -> None:
    block, bob = first_block(), stores.vaults[BOB]
    stores.lose_acceptance(block)
    before = bob.account()
    for n in (0, 7, 3):
        at = 32 + 16 * n
        assert bob.settling_keys(ALICE, OLD_PADS + n, EPS) == (block.key[:16], block.key[at : at + 16])
    after = bob.account()
    assert after.tags_checked == before.tags_checked + 3
    assert after.eps_tags == pytest.approx(before.eps_tags + 3 * EPS, rel=1e-12)
    stores.reopen()
    for n in (0, 7, 3):
        with pytest.raises(AuthenticationError, match="used before"):
            stores.vaults[BOB].settling_keys(ALICE, OLD_PADS + n, EPS)
    stores.vaults[BOB].commit(0)
    assert stores.left(BOB) == [5, 8]


@pytest.mark.parametrize("drop", ["prepare", "discard", "begin"])
def test_guesses_at_a_block_go_with_it(pair: Pair, drop: str) -> None:
    """Pads of another block are other pads, whatever their number."""
    bob = pair.vaults[BOB]
    bob.prepare(first_block())
    bob.settling_keys(ALICE, OLD_PADS, EPS)
    if drop == "begin" and isinstance(bob, KeyStore):
        bob.begin(SECRET[::-1], LINK_ID[::-1])
    elif drop == "discard":
        bob.discard()
    other = first_block(label="other")
    bob.prepare(other)
    assert bob.settling_keys(ALICE, OLD_PADS, EPS) == (other.key[:16], other.key[32:48])


def test_an_ordinary_block_is_settled_under_the_keys_in_store(tmp_path: Path) -> None:
    with KeyStore.open(tmp_path / "bob.db", bytes(32), role=BOB) as bob:
        bob.install_pre_shared(SECRET)
        bob.prepare(replace(first_block(), renews=False))
        assert bob.settling_keys(ALICE, 0, EPS) == (SECRET[:16], SECRET[32:48])
        with pytest.raises(AuthenticationError):
            bob.settling_keys(ALICE, 0, EPS)
        assert bob.pads_left(ALICE) == 126


def test_only_alice_settles(stores: Pair) -> None:
    for role in Role:
        stores.vaults[role].prepare(first_block())
    with pytest.raises(LocalProtocolError, match="alice's store"):
        stores.vaults[ALICE].settling_keys(ALICE, OLD_PADS, EPS)
    for role in Role:
        with pytest.raises(LocalProtocolError):
            stores.vaults[role].settling_keys(BOB, OLD_PADS, EPS)


# The reserve.


def test_guesses_stop_at_the_reserve_until_a_person_releases_it(stores: Pair) -> None:
    """64 new pads of each sender, 32 of them locked, as they will be after the commit."""
    stores.lose_acceptance(first_block(refill=64))
    for n in range(32, 64):
        stores.vaults[BOB].settling_keys(ALICE, OLD_PADS + n, EPS)
    with pytest.raises(KeyExhausted, match="32 more are a locked reserve") as caught:
        stores.session()
    assert "qkd pads release" in caught.value.hint
    assert stores.vaults[BOB].prepared == 0
    stores.vaults[BOB].release_reserve()
    stores.reopen()
    assert stores.session().settles == 0  # Alice's second pad: the first went with the line
    assert (stores.left(ALICE), stores.left(BOB)) == ([62, 64], [30, 64])


@pytest.mark.parametrize(("refill", "locked"), [(8, 0), (63, 0), (64, 32), (200, 32)])
def test_a_renewed_stock_smaller_than_two_reserves_is_not_locked(stores: Pair, refill: int, locked: int) -> None:
    """Else a small first block would end the link that it begins: no tag may take a locked pad."""
    alice = stores.vaults[ALICE]
    alice.prepare(first_block(refill=refill))
    alice.commit(0)
    for sender in Role:
        stock = alice.pad_stock(sender)
        assert (stock.ordinary, stock.locked) == (refill - locked, locked)
    alice.begin_block(EPS, confirmation.TAGS)


def test_a_link_with_a_prepared_block_has_begun_however_few_pads_are_left(stores: Pair) -> None:
    """Bob must not ask for a new beginning while Alice may have committed: her store could not give him one."""
    bob = stores.vaults[BOB]
    for n in range(OLD_PADS - 32 - 1):
        bob.peer_pad(ALICE, n, EPS)
    assert bob.link_id == b""
    bob.prepare(first_block())
    assert bob.link_id == LINK_ID
    bob.commit(0)
    assert bob.link_id == LINK_ID


# At a station.


class _Line:
    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers

    async def send(self, encoded: bytes) -> None:
        """Whoever is there listens."""

    async def receive(self) -> bytes:
        return self.answers.pop(0)

    async def close(self) -> None:
        """Nothing to close."""


class _Settling(StationLoop):
    async def _shake_hands(self, line: Any) -> tuple[SessionStart, Transcript]:
        return SessionStart(bytes(16), 1, False, settles=0), Transcript()


def test_a_station_waits_after_a_forged_settlement() -> None:
    """The pad that it burnt lies inside the block, where `pads_left` does not see it."""
    bob, aborts = MemoryVault(b""), list[Exception]()
    bob.begin(SECRET, LINK_ID)
    bob.prepare(first_block())
    empty = TimeTags(np.empty(0, np.int64), np.empty(0, np.uint8))
    loop = _Settling(
        role=BOB,
        params=SessionParameters(),
        vault=bob,
        secrets=FixedBits("b"),
        source=Replay(empty, simulated=True),
        reopen=lambda: pytest.fail("the tagger is well"),
        on_block=lambda _: None,
        on_abort=aborts.append,
        on_line=lambda _s, _w: None,
        backoff=BackOff(lambda: 0.0),
    )
    left = bob.pads_left(ALICE)
    line: Any = _Line([encode(Tag(OLD_PADS, bytes(16)))])
    assert asyncio.run(loop.attempt(line)) is False
    assert [type(error) for error in aborts] == [AuthenticationError]
    assert (loop.backoff.tag_losses, loop.backoff.wait_s) == (1, 1.0)
    assert (bob.pads_left(ALICE), bob.prepared) == (left, 0)
