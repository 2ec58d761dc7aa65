"""E91 on a short simulated link, honest and not: both geometries, every message through the codec."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from distribution.eavesdroppers.intercept import InterceptResend
from distribution.model import link_model
from distribution.outcomes import Nobody
from distribution.simulate import simulate
from distribution.states import BellState
from distribution.tags import TimeTags
from qkd import belltest
from qkd.bellkey import GRID
from qkd.belltest import UNEVEN
from qkd.bits import Bits
from qkd.errors import BellTestFailed, KeyTooShort, ParameterError, QberTooHigh, QkdError, RemoteProtocolError
from qkd.exchange import handshake
from qkd.exchange.codec import decode, encode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import Bases, BellOutcomes, Kept
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.link import run_to_end
from qkd.protocols import SETTINGS, Protocol, inversions
from qkd.randomness import FixedBits
from qkd.reconciliation.choice import Method
from qkd.reconciliation.methods import METHODS
from qkd.session import BlockReport, SessionParameters, summarise
from qkd.sifting import SiftedBlock
from qkd.testing import EveOnTheLine, MemoryVault, cut, drop, flip, repeat
from qkd.transport.memory import MemoryLine
from tests.overlooking import Places, overlooking
from tests.reference.bellkey import bound
from tests.reference.finitekey import key_length as reference_length
from tests.small_e91 import E91, E91_3X2, e91_link, scenario, tags
from tests.small_link import PARAMS, PRE_SHARED, same_blocks, small_link

BOTH = pytest.mark.parametrize("params", [E91, E91_3X2], ids=["e91", "e91-3x2"])


@BOTH
def test_both_sides_make_the_same_key_and_report_the_same(params: SessionParameters) -> None:
    link, alice, bob = e91_link(params)
    at_alice, at_bob = next(link.blocks())
    assert same_blocks(alice, bob)
    ours, theirs = at_alice.block.report, at_bob.block.report
    own = {"detections": 0, "double_clicks": 0, "coincidences": 0}
    assert replace(ours, **own) == replace(theirs, **own)
    assert ours.coincidences >= params.block_coincidences
    assert [side.station.sifted for side in (link.alice, link.bob) if side.station] == [ours.sifted_bits] * 2
    assert abs(ours.sifted_bits - params.block_bits) < 5 * params.block_bits**0.5  # five sigma, at least
    assert ours.secret_bits > 1000
    assert bool(ours.sifted_x) is (params.protocol is Protocol.E91)
    assert ours.label.startswith("composable: ")
    assert ours.label.endswith("; Bell test: fair sampling; simulated source")
    # Shares of the pairs of settings, five sigma (coincidences are all drawn alike): key 2/9 and 1/6, CHSH 4/9 and 4/6.
    share, tested = (2 / 9, 4 / 9) if params.protocol is Protocol.E91 else (1 / 6, 4 / 6)
    for found, expected in ((ours.sifted_bits, share), (sum(ours.bell_trials), tested)):
        assert abs(found - expected * ours.coincidences) < 5 * (expected * (1 - expected) * ours.coincidences) ** 0.5


@BOTH
@pytest.mark.parametrize("intercept", [0.0, 1.0])
def test_s_is_what_the_model_says(params: SessionParameters, intercept: float) -> None:
    """Model in closed form (`distribution.model`) against the engine's own counts, five sigma of S; seed 12."""
    link, _, _ = e91_link(params, intercept=intercept)
    settings = SETTINGS[params.protocol]
    eve = InterceptResend(intercept) if intercept else Nobody()
    model = link_model(scenario(params.protocol), eve)
    expected = model.chsh(params.window_ps, settings.chsh_alice, settings.chsh_bob)  # type: ignore[arg-type]
    record = run_to_end(link)
    if intercept:
        error = record.aborts[0]
        assert isinstance(error, BellTestFailed)
        assert abs(error.chsh_s - expected) < 5 * error.chsh_s_error
        assert error.chsh_s < 1.5
        # 25 % and what the link has by itself; 200 sampled bits at least, five sigma on each side.
        assert 0.1 < error.qber_z < 0.44
        return
    s = record.outcomes[0][0].block.report.chsh
    assert s is not None
    assert abs(s.value - expected) < 5 * s.error
    assert s.value > 2.5


def test_an_eavesdropper_fails_both_tests_and_leaves_no_key() -> None:
    link, alice, bob = e91_link(intercept=1.0)
    record = run_to_end(link)
    assert not record.outcomes
    assert alice.blocks == bob.blocks == []
    error = record.aborts[0]
    assert isinstance(error, BellTestFailed)
    assert error.chsh_p_value > 0.99
    assert "CHSH S = 1." in str(error)
    assert "QBER" in str(error)


def test_errors_without_a_failed_bell_test_are_qber_too_high() -> None:
    """Three photons in ten: S is still above 2, but the session's limit is not kept."""
    link, _, _ = e91_link(replace(E91, qber_limit=0.02), intercept=0.3)
    with pytest.raises(QberTooHigh):
        next(link.blocks())


def test_a_stricter_limit_fails_a_sound_link() -> None:
    few = replace(E91, block_bits=1000, least_block_bits=1000, bell_p_limit=1e-300, epoch_s=0.02)
    with pytest.raises(BellTestFailed, match="limit 1e-300"):
        next(e91_link(few)[0].blocks())


def overheard(params: SessionParameters) -> tuple[list[object], BlockReport]:
    """All messages of one block, and Alice's report."""
    said: list[object] = []

    def listen(_sender: Role, encoded: bytes) -> list[bytes]:
        said.append(decode(encoded))
        return [encoded]

    link, _, _ = e91_link(params, tamper=listen)
    return said, next(link.blocks())[0].block.report


def bits_of(data: bytes, count: int) -> list[int]:
    return [data[i // 8] >> (7 - i % 8) & 1 for i in range(count)]


def settings_of(data: bytes, events: int, settings: int) -> list[int]:
    if settings == 2:
        return bits_of(data, events)
    bits = bits_of(data, 2 * events)
    return [2 * bits[2 * i] + bits[2 * i + 1] for i in range(events)]


def pairs_kept(said: list[object], params: SessionParameters) -> list[tuple[int, int]]:
    """Alice's and Bob's setting of every coincidence, in order."""
    geometry = SETTINGS[params.protocol]
    kept = sum(message.count for message in said if isinstance(message, Kept))
    bob, alice = (message.bits for message in said if isinstance(message, Bases))
    own = zip(settings_of(alice, kept, len(geometry.alice)), settings_of(bob, kept, len(geometry.bob)), strict=True)
    return list(own)


@BOTH
def test_the_counts_follow_from_what_was_said(params: SessionParameters) -> None:
    """Anybody who listened can recompute the Bell test: plain Python, from the messages alone."""
    said, report = overheard(params)
    geometry = SETTINGS[params.protocol]
    pairs = pairs_kept(said, params)
    outcomes = [message for message in said if isinstance(message, BellOutcomes)]
    keys = [key.key for key in geometry.keys]
    told = [pair for pair in pairs if pair not in keys]
    first, second = (bits_of(word.bits, len(told)) for word in outcomes)
    won = dict.fromkeys(((a, b) for a in geometry.chsh_alice for b in geometry.chsh_bob), 0)
    trials = dict(won)
    for pair, x, y in zip(told, first, second, strict=True):
        if pair in won:
            a, b = geometry.alice[pair[0]], geometry.bob[pair[1]]
            equal = np.cos(np.radians(2 * (a - b))) > 0
            won[pair] += (x == y) is bool(equal)
            trials[pair] += 1
    assert report.bell_wins == tuple(won.values())
    assert report.bell_trials == tuple(trials.values())
    assert report.coincidences == len(pairs)
    assert report.sifted_bits == len(pairs) - len(told)


def told_tables(said: list[object], params: SessionParameters) -> tuple[dict[tuple[int, int], list[int]], list[int]]:
    """(equal, different) for every pair of settings that was told, and how many events each side said were across."""
    geometry = SETTINGS[params.protocol]
    words = [message for message in said if isinstance(message, BellOutcomes)]
    told = [pair for pair in pairs_kept(said, params) if pair not in [key.key for key in geometry.keys]]
    first, second = (bits_of(word.bits, len(told)) for word in words)
    table: dict[tuple[int, int], list[int]] = {}
    for pair, x, y in zip(told, first, second, strict=True):
        table.setdefault(pair, [0, 0])[x != y] += 1
    return table, [word.across for word in words]


FRAME_BITS = 900


@pytest.mark.parametrize("failing", [{}, {2: (0, 7)}], ids=["all frames pass", "one fails"])
@BOTH
def test_the_secret_length_is_the_bound_on_what_was_said(
    monkeypatch: pytest.MonkeyPatch, params: SessionParameters, failing: Places
) -> None:
    """Bound and formula from 40 digits and the messages alone; our floats give away at most a bit per string."""
    params = replace(params, eps_sec=1e-6)
    monkeypatch.setitem(METHODS, Method.CASCADE_FAST, overlooking(failing, FRAME_BITS))
    said, report = overheard(params)
    assert report.failed_frames == len(failing)
    geometry = SETTINGS[params.protocol]
    table, across = told_tables(said, params)
    kept = pairs_kept(said, params)
    strings = [
        (report.sifted_z, report.sample_z, report.revealed_z + report.dropped_z),
        (report.sifted_x, report.sample_x, report.revealed_x + report.dropped_x),
    ]
    expected = -report.leak_ec_bits - report.verify_bits - report.announced_bits
    for key, (sifted, sample, left_out) in zip(geometry.keys, strings, strict=False):
        assert kept.count(key.key) == sifted
        counts = (sifted, (*table[key.plus], *table[key.minus]), across[0 if key.split is Role.ALICE else 1])
        eps = params.eps_sec / len(geometry.keys)
        share = 2.0 ** -min(max((sifted.bit_length() - 4) // 2, 1), 12)
        errors = bound(list(GRID), len(geometry.alice) * len(geometry.bob), *counts, eps * (1 - share) / 2)
        expected += reference_length(sifted - sample - left_out, errors, 0, eps * share)
    assert expected - 2 <= report.secret_bits <= expected


@pytest.mark.parametrize("state", list(BellState))
def test_every_bell_state_makes_key_or_is_refused_by_name(state: BellState) -> None:
    for params in (E91, E91_3X2):
        if params is E91 and state in (BellState.PHI_MINUS, BellState.PSI_PLUS):
            with pytest.raises(ParameterError, match=rf"phi\+ or psi-, not {state.value}".replace("+ ", r"+ ")):
                replace(params, state=state)
            continue
        link, alice, bob = e91_link(replace(params, state=state))
        report = next(link.blocks())[0].block.report
        assert report.chsh is not None
        assert report.chsh.value > 2.5
        assert report.qber_z < 0.04
        assert same_blocks(alice, bob)


def test_the_wrong_state_fails_the_bell_test() -> None:
    link, _, _ = e91_link(replace(E91, state=BellState.PSI_MINUS), recorded=tags(Protocol.E91))
    with pytest.raises(BellTestFailed, match=r"S = -2\."):
        next(link.blocks())


def uneven(shares: tuple[float, float, float]) -> tuple[TimeTags, TimeTags]:
    link = scenario(Protocol.E91)
    settings = tuple(
        msgspec.structs.replace(s, share=share) for s, share in zip(link.bob.analyser.settings, shares, strict=True)
    )
    analyser = msgspec.structs.replace(link.bob.analyser, settings=settings)
    link = msgspec.structs.replace(link, bob=msgspec.structs.replace(link.bob, analyser=analyser))
    made = simulate(link, 0.4, np.random.default_rng(13))
    return made.alice, made.bob


def test_uneven_settings_cost_the_label() -> None:
    link, _, _ = e91_link(recorded=uneven((0.38, 0.31, 0.31)))
    report = next(link.blocks())[0].block.report
    assert report.label.startswith("fair sampling: length by the bound")
    assert "both: even-split" in report.failed_assumptions
    assert UNEVEN == 1e-9


def kept_block(basis: Bits, bit: Bits) -> SiftedBlock:
    return SiftedBlock(basis, bit, basis.size, 0, basis.size, ended=False)


def test_a_test_is_not_won_by_one_pair_of_settings() -> None:
    """Nearly all trials at one pair, all won there and random elsewhere (seed 3): local realism can do that."""
    rng = np.random.default_rng(3)
    basis = np.concatenate([np.zeros(5000, np.uint8), np.repeat(np.arange(9, dtype=np.uint8), 40)])
    at_alice = rng.integers(0, 2, basis.size).astype(np.uint8)
    at_bob = np.where(basis == 0, at_alice, rng.integers(0, 2, basis.size)).astype(np.uint8)
    alice = Engine(Role.ALICE, belltest.alice(kept_block(basis, at_alice), E91), Transcript())
    bob = Engine(Role.BOB, belltest.bob(kept_block(basis, at_bob), E91), Transcript())
    MemoryLine(alice, bob).run()
    told = alice.result
    assert np.array_equal(told.table, bob.result.table)
    assert told.result.wins > 0.95 * told.result.trials
    assert told.result.p_value.value > 0.01
    assert told.evenness < UNEVEN


def test_a_setting_that_never_comes_gives_no_key() -> None:
    """Clicks across settings get a random one, so that it comes now and then all the same: no Bell test of that."""
    link, _, _ = e91_link(recorded=uneven((0.5, 0.5, 0.0)))
    with pytest.raises((BellTestFailed, KeyTooShort)):
        next(link.blocks())


@pytest.mark.parametrize("method", [Method.CASCADE_TIGHT, Method.LDPC_ONE_WAY, Method.AUTO])
def test_one_string_alone_is_corrected_by_every_kind_of_method(method: Method) -> None:
    link, alice, bob = e91_link(replace(E91_3X2, block_bits=10_000, reconciliation=method))
    report = next(link.blocks())[0].block.report
    assert same_blocks(alice, bob)
    assert report.sifted_x == report.errors_x == report.sample_x == 0
    assert report.secret_bits > 1000


@pytest.mark.parametrize(("one", "other"), [(PARAMS, E91), (E91, E91_3X2)])
def test_two_protocols_do_not_shake_hands(one: SessionParameters, other: SessionParameters) -> None:
    vaults = MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED)
    alice = handshake.alice(one, vaults[0], FixedBits("a"), simulated=True)
    bob = handshake.bob(other, vaults[1], FixedBits("b"), simulated=True)
    line = MemoryLine(Engine(Role.ALICE, alice, Transcript()), Engine(Role.BOB, bob, Transcript()))
    with pytest.raises(
        RemoteProtocolError, match=rf"protocol .here .{one.protocol.value}., there .{other.protocol.value}"
    ):
        line.run()


@BOTH
def test_tampering_never_gives_two_keys(params: SessionParameters) -> None:
    counter = EveOnTheLine(-1, drop)
    next(e91_link(params, tamper=counter)[0].blocks())
    rng = random.Random(20261128)
    seen: dict[str, int] = {}
    acts = [drop, repeat, cut, *(flip(rng.randrange(1 << 20)) for _ in range(5))]
    kinds = first_of_each(params)
    for number in [*kinds, *kinds, *(rng.randrange(counter.seen) for _ in range(8))]:
        link, alice, bob = e91_link(params, tamper=EveOnTheLine(number, rng.choice(acts)))
        came_to = "key"
        try:
            next(link.blocks())
        except QkdError as error:
            came_to = type(error).__name__
        if len(alice.blocks) == len(bob.blocks) + 1:
            bob.commit(bob.prepared)
        assert same_blocks(alice, bob)
        seen[came_to] = seen.get(came_to, 0) + 1
    assert seen.get("key", 0) <= 3  # a repeated last message may pass unnoticed
    assert seen.get("AuthenticationError", 0) + seen.get("RemoteProtocolError", 0) > 5


def first_of_each(params: SessionParameters) -> list[int]:
    """Numbers of the first message of each kind that E91 has of its own, and of the sample's."""
    said, _ = overheard(params)
    kinds = ("Bases", "BellOutcomes", "SampleRequest")
    names = [type(message).__name__ for message in said]
    return [names.index(kind) for kind in kinds]


def answering(change: object) -> object:
    """A line on which one message is replaced, found by its class."""

    def act(_sender: Role, encoded: bytes) -> list[bytes]:
        return [encode(change(decode(encoded)))]  # type: ignore[operator]

    return act


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        (Bases, {"bits": b"\xff"}, "bits need"),
        (BellOutcomes, {"bits": b""}, "bits need"),
        (BellOutcomes, {"across": -1}, "cannot be"),
        (BellOutcomes, {"across": 10**9}, "cannot be"),
        (Kept, {"count": 1}, "1 values with .* cannot be in"),
    ],
)
def test_messages_that_cannot_be_are_refused(kind: type, fields: dict[str, object], says: str) -> None:
    def change(message: object) -> object:
        return msgspec.structs.replace(message, **fields) if isinstance(message, kind) else message

    link, alice, bob = e91_link(tamper=answering(change))  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError, match=says):
        next(link.blocks())
    assert alice.blocks == bob.blocks == []


def test_a_setting_that_does_not_exist_is_refused() -> None:
    def change(message: object) -> object:
        if isinstance(message, Bases):
            return Bases(bytes([message.bits[0] | 0xC0]) + message.bits[1:])
        return message

    link, _, _ = e91_link(tamper=answering(change))  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError, match="names setting 3, the last is 2"):
        next(link.blocks())


def test_sums_of_reports_count_the_bell_test_over_all_blocks() -> None:
    link, _, _ = e91_link(replace(E91, block_bits=5000, eps_sec=1e-6))
    reports = [a.block.report for a, _ in run_to_end(link).outcomes]
    assert len(reports) >= 2
    total = sum(reports[1:], reports[0])
    assert sum(total.bell_trials) == sum(sum(r.bell_trials) for r in reports)
    assert total.chsh is not None
    assert reports[0].chsh is not None
    assert total.chsh.error < reports[0].chsh.error
    fields = summarise(reports, protocol="e91", simulated=True, keys_match=True, seconds=1.0)
    assert fields["chsh_s"] == total.chsh.value
    assert fields["chsh_p_value"] == total.chsh_p_value
    assert 0 < total.chsh_p_value < reports[0].chsh_p_value < 1e-80  # type: ignore[operator]
    without = summarise([], protocol="bbm92", simulated=True, keys_match=True, seconds=1.0)
    assert without["chsh_s"] is without["chsh_s_error"] is without["chsh_p_value"] is None


def test_bbm92_says_nothing_of_a_bell_test() -> None:
    report = next(small_link()[0].blocks())[0].block.report
    assert report.bell_trials == ()
    assert report.chsh is None
    assert "Bell" not in report.label


def test_inversions_are_those_of_the_state() -> None:
    assert inversions(Protocol.E91, BellState.PSI_MINUS).tolist() == [1, 1, 1]
    assert inversions(Protocol.E91_3X2, BellState.PHI_MINUS).tolist() == [0, 1]
    assert inversions(Protocol.BBM92, BellState.PSI_PLUS).tolist() == [1, 0]
