"""The first exchange: who is there, what was agreed, where both stand; and finishing what a crash left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from qkd import __version__, confirmation
from qkd.block import SecretBlock
from qkd.errors import PeerUnreachable, RemoteProtocolError
from qkd.exchange import handshake
from qkd.exchange.codec import decode, encode
from qkd.exchange.engine import Engine
from qkd.exchange.handshake import SessionStart
from qkd.exchange.messages import Hello
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits
from qkd.session import BlockReport, SessionParameters
from qkd.testing import MemoryVault, cut, drop, flip
from qkd.transport.memory import MemoryLine, Tamper, untouched

PRE_SHARED = FixedBits("pre-shared").take_bytes(4096)


def block(number: int) -> SecretBlock:
    key = FixedBits(f"block {number}").take_bytes(64)
    return SecretBlock(number, b"s" * 16, key, 512, 1, 1, BlockReport(block=number), simulated=True)


def meet(
    alice: MemoryVault,
    bob: MemoryVault,
    params_bob: SessionParameters | None = None,
    tamper: Tamper = untouched,
) -> tuple[SessionStart, SessionStart]:
    params = SessionParameters()
    at_alice = Engine(Role.ALICE, handshake.alice(params, alice, FixedBits("a"), simulated=False), Transcript())
    at_bob = Engine(Role.BOB, handshake.bob(params_bob or params, bob, FixedBits("b"), simulated=True), Transcript())
    MemoryLine(at_alice, at_bob, tamper=tamper).run()
    return at_alice.result, at_bob.result


def vaults() -> tuple[MemoryVault, MemoryVault]:
    return MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED)


def test_both_agree_on_session_block_and_origin() -> None:
    at_alice, at_bob = meet(*vaults())
    assert at_alice == at_bob
    assert at_alice.next_block == 0
    assert at_alice.simulated


def settled(alice: MemoryVault, bob: MemoryVault, tamper: Tamper = untouched) -> SessionStart:
    """Handshake and settlement."""
    starts, vaults, engines = meet(alice, bob), (alice, bob), []
    for role, start, vault in zip(Role, starts, vaults, strict=True):
        transcript = Transcript()
        transcript.add(Role.BOB, b"both Hellos")
        steps = confirmation.settle(role, start, SessionParameters(), vault, transcript)
        engines.append(Engine(role, steps, transcript))
    MemoryLine(*engines, tamper=tamper).run()
    return starts[0]


def open_at_bob() -> tuple[MemoryVault, MemoryVault]:
    """Alice committed block 0 and her acceptance was lost."""
    alice, bob = vaults()
    for vault in (alice, bob):
        vault.prepare(block(0))
    alice.commit(0)
    return alice, bob


def test_a_block_that_alice_committed_is_finished_at_bob_under_a_tag() -> None:
    alice, bob = open_at_bob()
    left = alice.pads_left(Role.ALICE)
    start = settled(alice, bob)
    assert (start.settles, start.next_block) == (0, 1)
    assert bob.committed == 0
    assert bob.pads_left(Role.ALICE) == alice.pads_left(Role.ALICE) == left - 1


def test_the_handshake_alone_releases_and_destroys_nothing_at_bob() -> None:
    """Its words are not authenticated: whatever a forged Hello says, Bob keeps the block as it is."""
    alice, bob = open_at_bob()
    meet(alice, bob)
    assert (bob.committed, bob.prepared) == (-1, 0)
    meet(vaults()[0], bob)  # an Alice who says that she has nothing
    assert (bob.committed, bob.prepared) == (-1, 0)
    assert settled(alice, bob).settles == 0
    assert bob.committed == 0


@pytest.mark.parametrize("act", [flip(9), flip(100), drop, cut])
def test_a_settlement_that_does_not_verify_leaves_the_block_prepared(act: Callable[[bytes], list[bytes]]) -> None:
    alice, bob = open_at_bob()
    with pytest.raises((RemoteProtocolError, PeerUnreachable)):
        settled(alice, bob, lambda _, encoded: act(encoded))
    assert (bob.committed, bob.prepared) == (-1, 0)
    assert settled(alice, bob).settles == 0
    assert bob.committed == 0


def test_both_know_what_the_other_runs() -> None:
    start, _ = meet(*vaults())
    assert start.software == f'["entangled-qkd {__version__}","entangled-qkd {__version__}"]'.encode()


def test_a_block_that_only_bob_prepared_waits_until_the_next_one_replaces_it() -> None:
    alice, bob = vaults()
    bob.prepare(block(0))
    start, _ = meet(alice, bob)
    assert (start.next_block, start.settles, bob.prepared, bob.committed) == (0, -1, 0, -1)


def test_what_alice_only_prepared_is_destroyed() -> None:
    alice, bob = vaults()
    alice.prepare(block(0))
    bob.prepare(block(0))
    start, _ = meet(alice, bob)
    assert (start.next_block, start.settles, alice.prepared, bob.committed) == (0, -1, -1, -1)


def test_stores_that_do_not_belong_together_are_refused() -> None:
    alice, bob = vaults()
    alice.prepare(block(0))
    alice.commit(0)
    with pytest.raises(RemoteProtocolError, match="no pair"):
        meet(alice, bob)


def test_differing_parameters_are_named() -> None:
    with pytest.raises(RemoteProtocolError, match=r"window_ps \(here"):
        meet(*vaults(), params_bob=SessionParameters(window_ps=900))


def test_another_protocol_version_is_refused_with_advice() -> None:
    def older(sender: Role, encoded: bytes) -> list[bytes]:
        message = decode(encoded)
        if sender is Role.BOB and isinstance(message, Hello):
            changed = Hello(**{f: getattr(message, f) for f in message.__struct_fields__} | {"version": 0})
            return [encode(changed)]
        return [encoded]

    with pytest.raises(RemoteProtocolError, match="protocol version 0") as caught:
        meet(*vaults(), tamper=older)
    assert "same release" in caught.value.hint


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": b'{"window_ps":' + b"[" * 100_000 + b"]" * 100_000 + b"}"},
        {"parameters": b'{"window_ps":' + b"9" * 6000 + b"}"},
        {"parameters": b'{"\\u001b[2J\\n' + b"x" * 100_000 + b'":1}'},
        {"parameters": b"\xff"},
        {"version": 7, "software": "\x1b[2J\n\u202e" + "x" * 100_000},
    ],
)
def test_hostile_words_are_refused_in_one_line_of_plain_text(changed: dict[str, object]) -> None:
    def hostile(sender: Role, encoded: bytes) -> list[bytes]:
        return [encode(msgspec.structs.replace(decode(encoded), **changed))] if sender is Role.BOB else [encoded]

    with pytest.raises(RemoteProtocolError) as caught:
        meet(*vaults(), tamper=hostile)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


def test_two_alices_are_refused() -> None:
    params = SessionParameters()
    first, second = vaults()
    bob = Engine(Role.BOB, handshake.bob(params, first, FixedBits("b"), simulated=True), Transcript())
    (hello,) = bob.take_outgoing()
    with pytest.raises(RemoteProtocolError, match="both ends"):
        bob.receive(hello)
    assert second.committed == -1


def test_a_block_report_adds_up() -> None:
    one = BlockReport(block=1, sifted_z=10, errors_z=1, secret_bits=3, label="x")
    total = one + replace(one, block=2)
    assert (total.sifted_bits, total.qber_z, total.secret_bits, total.block) == (20, 0.1, 6, -1)
