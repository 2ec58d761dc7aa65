"""Sifting between two stations: the right events are kept, once each, and hostile announcements are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from distribution.scenario import load_scenario
from distribution.simulate import simulate
from distribution.sources.replay import Replay
from distribution.states import Basis, BellState
from distribution.tags import TimeTags
from qkd import sifting
from qkd.errors import QkdError, RemoteProtocolError
from qkd.exchange.codec import decode, encode, pack_ascending
from qkd.exchange.engine import Engine
from qkd.exchange.messages import Bases, Detections, Kept, Message, MoreDetections
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.sifting import SiftedBlock
from qkd.station import Station
from qkd.transport.memory import MemoryLine, Tamper, untouched
from tests.small_link import PARAMS, tags


def sift(
    params: SessionParameters = PARAMS,
    tamper: Tamper = untouched,
    recordings: tuple[TimeTags, TimeTags] | None = None,
) -> tuple[SiftedBlock, SiftedBlock]:
    at_alice, at_bob = recordings or tags()
    stations = [Station(params.double_click_ps, FixedBits(name)) for name in ("alice", "bob")]
    alice = Engine(Role.ALICE, sifting.alice(stations[0], params), Transcript())
    bob = Engine(Role.BOB, sifting.bob(stations[1], params), Transcript())
    MemoryLine(alice, bob, Replay(at_alice), Replay(at_bob), tamper).run()
    return alice.result, bob.result


def test_both_keep_the_same_events() -> None:
    alice, bob = sift()
    assert alice.coincidences == bob.coincidences >= PARAMS.block_coincidences
    assert len(alice) == len(bob)
    assert abs(len(alice) - alice.coincidences / 2) < 5 * np.sqrt(alice.coincidences) / 2  # five sigma, even split
    assert np.array_equal(alice.basis, bob.basis)
    assert 0 < np.mean(alice.bit != bob.bit) < 0.05


def test_both_know_how_long_the_block_took() -> None:
    """Every announcement covers one epoch of Bob's time."""
    announced = []

    def listen(_sender: Role, encoded: bytes) -> list[bytes]:
        if isinstance(decode(encoded), Detections):
            announced.append(encoded)
        return [encoded]

    alice, bob = sift(tamper=listen)
    assert alice.seconds == bob.seconds == pytest.approx(PARAMS.epoch_s * len(announced))
    assert len(announced) > 1


def test_no_basis_is_told_before_every_event_of_the_block_is_fixed() -> None:
    """Turning every event of Bob's into the other basis changes not one message before the bases."""

    def said(turn: int) -> list[bytes]:
        heard: list[bytes] = []

        def listen(_sender: Role, encoded: bytes) -> list[bytes]:
            heard.append(encoded)
            return [encoded]

        at_alice, at_bob = tags()
        turned = TimeTags(at_bob.t_ps, at_bob.channel ^ np.uint8(turn))
        sift(tamper=listen, recordings=(at_alice, turned))
        return heard

    honest, other = said(0), said(2)
    assert [type(decode(encoded)) for encoded in honest[-3:]] == [Kept, Bases, Bases]
    assert honest[:-2] == other[:-2]
    assert honest[-2] != other[-2]
    assert honest[-1] == other[-1]


def test_an_anticorrelated_state_is_inverted_in_its_bases() -> None:
    """Told that the source makes psi-, Bob inverts both bases: what agreed then disagrees."""
    _, correlated = sift()
    _, inverted = sift(replace(PARAMS, state=BellState.PSI_MINUS))
    assert np.array_equal(correlated.bit ^ 1, inverted.bit)
    _, half = sift(replace(PARAMS, state=BellState.PHI_MINUS))
    assert np.array_equal(correlated.of(Basis.Z), half.of(Basis.Z))
    assert np.array_equal(correlated.of(Basis.X) ^ 1, half.of(Basis.X))


def test_kept_events_are_the_true_pairs() -> None:
    """Against the simulator's ground truth: at a 1 ns window nearly every kept bit belongs to a real pair."""
    made = simulate(load_scenario("metro"), 0.4, np.random.default_rng(2))
    pairs = len(made.truth.partners()[0])
    stations = [Station(PARAMS.double_click_ps, FixedBits(name)) for name in ("a", "b")]
    params = replace(PARAMS, block_bits=1_000_000)
    alice = Engine(Role.ALICE, sifting.alice(stations[0], params), Transcript())
    bob = Engine(Role.BOB, sifting.bob(stations[1], params), Transcript())
    MemoryLine(alice, bob, Replay(made.alice), Replay(made.bob)).run()
    # Doubles, window losses and accidentals together stay below 3 % of the true pairs.
    assert abs(alice.result.coincidences / pairs - 1) < 0.03
    assert abs(len(alice.result) / pairs - 0.5) < 0.02


def alter(kind: type[Message], change: Callable[[Message], Message]) -> Tamper:
    def line(_sender: Role, encoded: bytes) -> list[bytes]:
        message = decode(encoded)
        return [encode(change(message))] if isinstance(message, kind) else [encoded]

    return line


def field(**values: object) -> Callable[[Message], Message]:
    return lambda message: msgspec.structs.replace(message, **values)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Detections, field(bin_ps=1)),
        (Detections, field(count=-1)),
        (Detections, field(count=1 << 40)),
        (Detections, field(start_bin=1 << 62)),
        (Detections, field(start_bin=1 << 45)),
        (Detections, field(width=33)),
        (Bases, field(bits=b"")),
        (Bases, lambda message: Bases(message.bits + b"\x00")),  # type: ignore[attr-defined]
        (Detections, field(deltas=b"")),
        (Kept, field(count=1 << 30)),
        (Kept, field(deltas=b"\xff" * 100)),
        (Kept, lambda _: MoreDetections() and Kept(2, *pack_ascending(np.array([5, 5])), False)),
        (Kept, lambda _: Kept(1, *pack_ascending(np.array([1 << 40])), False)),
    ],
)
def test_hostile_announcements_are_refused(kind: type[Message], change: Callable[[Message], Message]) -> None:
    with pytest.raises(RemoteProtocolError):
        sift(tamper=alter(kind, change))


def test_announcing_earlier_times_again_is_refused() -> None:
    seen: list[bytes] = []

    def replay(_sender: Role, encoded: bytes) -> list[bytes]:
        if isinstance(decode(encoded), Detections):
            seen.append(encoded)
            return [seen[0]]
        return [encoded]

    with pytest.raises(QkdError):
        sift(tamper=replay)


def test_alice_reading_ahead_loses_no_pairs() -> None:
    """A search range as long as the recording makes her read it all at once; every pair is still used."""
    whole, _ = sift(replace(PARAMS, block_bits=1_000_000))
    ahead, _ = sift(replace(PARAMS, block_bits=1_000_000, clock_uncertainty_s=1.0))
    assert abs(len(ahead) / len(whole) - 1) < 0.01


def test_asking_for_more_after_the_end_is_refused() -> None:
    params = replace(PARAMS, block_bits=1_000_000)
    with pytest.raises(RemoteProtocolError, match="after the last"):
        sift(params, tamper=alter(Kept, lambda _: MoreDetections()))


def test_more_detections_than_memory_should_hold_are_refused_unread() -> None:
    """A message of 2 MiB that announces 2^24 + 1 events in one bin: well formed, and 128 MiB of times."""
    count = sifting.MOST_EVENTS + 1
    message = Detections(0, PARAMS.bin_ps, count, 0, bytes(-(-count // 8)), ended=False)
    alice = Engine(Role.ALICE, sifting.alice(Station(2000, FixedBits("alice")), PARAMS), Transcript())
    with pytest.raises(RemoteProtocolError, match="announced 16777217 detections at once"):
        alice.receive(encode(message))


def test_keeping_more_than_was_announced_is_refused_unread() -> None:
    with pytest.raises(RemoteProtocolError, match=r"kept 4096 of \d+ events"):
        sifting._read_kept(Kept(4096, 0, bytes(512), ended=False), 12)
