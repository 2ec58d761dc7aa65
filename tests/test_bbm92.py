"""The whole protocol on a short simulated link, honest and not; every message goes through the codec."""

from __future__ import annotations

from dataclasses import replace

import mpmath as mp
import msgspec
import numpy as np
import pytest

from distribution.analyser import Analyser
from distribution.scenario import load_scenario
from distribution.simulate import simulate
from distribution.sources.replay import Replay
from distribution.tags import TimeTags
from qkd.assumptions.claim import NOTHING_FAILED
from qkd.distillation import judged, label
from qkd.errors import (
    AuthenticationError,
    ClockNotFound,
    KeyExhausted,
    KeyTooShort,
    PeerUnreachable,
    QberTooHigh,
    RemoteProtocolError,
)
from qkd.exchange.codec import decode
from qkd.exchange.messages import Detections, Tag
from qkd.exchange.steps import Role
from qkd.link import Link, Side, run_to_end
from qkd.randomness import FixedBits
from qkd.reconciliation.choice import Method
from qkd.reconciliation.ledger import LeakModel
from qkd.reconciliation.methods import METHODS
from qkd.session import BlockReport, SessionParameters
from qkd.testing import MemoryVault
from tests.overlooking import Places, overlooking
from tests.reference.finitekey import key_length as reference_length
from tests.reference.finitekey import ln_tail_large, pa_share, split_over_bases
from tests.small_link import PARAMS, PRE_SHARED, same_blocks, small_link, tags


def test_blocks_follow_blocks_and_both_sides_hold_the_same() -> None:
    link, alice, bob = small_link()
    record = run_to_end(link)
    assert len(record.outcomes) >= 5
    assert not record.aborts
    assert same_blocks(alice, bob)
    assert [b.number for b in alice.blocks] == list(range(len(alice.blocks)))
    keys = [b.key for b in alice.blocks]
    assert len(set(keys)) == len(keys)


def test_the_report_adds_up_and_both_sides_agree_on_it() -> None:
    link, _, _ = small_link()
    at_alice, at_bob = next(link.blocks())
    ours, theirs = at_alice.block.report, at_bob.block.report
    own = {"detections": 0, "double_clicks": 0, "coincidences": 0}  # each side counts its own
    assert replace(ours, **own) == replace(theirs, **own)
    assert ours.sifted_bits >= PARAMS.block_bits
    assert ours.coincidences >= ours.sifted_bits
    assert ours.detections >= ours.coincidences
    assert ours.auth_bits_used == 3 * 128
    assert ours.delivered_bits + ours.auth_bits_refilled == ours.secret_bits == at_alice.block.bits
    assert ours.label.endswith("simulated source")
    assert 1.0 < ours.f < 1.35


def slow_length(key_bits: int, left_out: int, tested: int, errors: int, eps_sec: float) -> int:
    """Length by the documented split, undisclosed, from the 60-digit reference."""
    population = key_bits + left_out

    def phase_errors(eps: float) -> int:
        low, high = 0, population
        while high - low > 1:
            middle = (low + high) // 2
            tail = ln_tail_large(errors, population + tested, middle + 1 + errors, tested)
            low, high = (low, middle) if tail <= 2 * mp.log(eps) else (middle, high)
        return high

    share = pa_share(population)
    return reference_length(key_bits, phase_errors(eps_sec * (1 - share) / 2), 0, eps_sec * share)


def assert_length_is_the_bound(r: BlockReport, eps_sec: float = PARAMS.eps_sec) -> None:
    """Recomputed from the report alone in 60-digit arithmetic; our floats give away at most a bit per basis.

    What is left out of a basis's key keeps its phase errors in the key; dropped bits count as wrong in the test.
    """
    known = {"z": r.sifted_z, "x": r.sifted_x}
    left_out = {"z": r.revealed_z + r.dropped_z, "x": r.revealed_x + r.dropped_x}
    key = {"z": known["z"] - r.sample_z - left_out["z"], "x": known["x"] - r.sample_x - left_out["x"]}
    eps_z, eps_x = split_over_bases(*(key[name] + left_out[name] for name in "zx"), eps_sec)
    from_z = slow_length(key["z"], left_out["z"], known["x"], r.errors_x + r.dropped_x, eps_z)
    from_x = slow_length(key["x"], left_out["x"], known["z"], r.errors_z + r.dropped_z, eps_x)
    expected = from_z + from_x - r.leak_ec_bits - r.verify_bits - r.announced_bits
    assert expected - 2 <= r.secret_bits <= expected


def test_the_secret_length_is_the_bound_on_these_counts() -> None:
    link, _, _ = small_link()
    assert_length_is_the_bound(next(link.blocks())[0].block.report)


FRAME_BITS = 450  # about seven frames in each basis of the small link


@pytest.mark.parametrize("failing", [{}, {2: (0, 7)}, {9: (3, 4)}, {0: (1, 2), 8: (5, 6), 12: (100, 200)}])
def test_a_block_survives_frames_that_fail(monkeypatch: pytest.MonkeyPatch, failing: Places) -> None:
    params = replace(PARAMS, eps_sec=1e-4)
    monkeypatch.setitem(METHODS, Method.CASCADE_FAST, overlooking(failing, FRAME_BITS))
    link, alice, bob = small_link(params)
    at_alice, at_bob = next(link.blocks())
    ours, theirs = at_alice.block.report, at_bob.block.report
    own = {"detections": 0, "double_clicks": 0, "coincidences": 0}
    assert replace(ours, **own) == replace(theirs, **own)
    assert same_blocks(alice, bob)
    assert ours.frames >= 13
    assert ours.failed_frames == len(failing)
    assert bool(ours.revealed_z + ours.revealed_x) == bool(failing)
    assert ours.revealed_z + ours.revealed_x <= FRAME_BITS * len(failing)
    assert ours.dropped_z + ours.dropped_x > 0
    assert ours.eps_cor == ours.frames * 2.0**-64
    assert ours.verify_bits == 64 * (ours.frames - len(failing))
    assert_length_is_the_bound(ours, params.eps_sec)


def test_biased_bases_give_the_bound_on_unequal_counts() -> None:
    """Both analysers send 80 % to Z, so 16 Z bits for each X bit: equal keys, as long as the counts allow."""
    metro = load_scenario("metro")
    sides = {
        name: msgspec.structs.replace(getattr(metro, name), analyser=Analyser(z_share=0.8)) for name in ("alice", "bob")
    }
    made = simulate(msgspec.structs.replace(metro, **sides), 0.4, np.random.default_rng(12))
    vaults = MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED)
    link = Link(
        replace(PARAMS, block_bits=20_000),
        *(
            Side(Replay(tags, simulated=True), vault, FixedBits(name))
            for tags, vault, name in zip((made.alice, made.bob), vaults, ("alice", "bob"), strict=True)
        ),
    )
    report = next(link.blocks())[0].block.report
    assert same_blocks(*vaults)
    assert 13 < report.sifted_z / report.sifted_x < 19
    assert report.secret_bits > 0
    assert_length_is_the_bound(report)


def test_failed_frames_shorten_the_key_and_change_no_error_count(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = []
    for failing in ({}, {2: (0, 7)}, {2: (0, 7), 9: (3, 4)}):
        monkeypatch.setitem(METHODS, Method.CASCADE_FAST, overlooking(failing, FRAME_BITS))
        link, _, _ = small_link(replace(PARAMS, eps_sec=1e-4))
        reports.append(next(link.blocks())[0].block.report)
    assert len({(r.errors_z, r.errors_x, r.sifted_z, r.sifted_x) for r in reports}) == 1
    lengths = [r.secret_bits for r in reports]
    assert lengths == sorted(set(lengths), reverse=True)


@pytest.mark.parametrize("model", list(LeakModel))
def test_the_label_says_which_leak_model_and_what_is_assumed(model: LeakModel) -> None:
    params = replace(PARAMS, block_bits=12_000, eps_sec=1e-4, leak_model=model)
    link, _, _ = small_link(params)
    report = next(link.blocks())[0].block.report
    assert report.leak_model == model.value
    assert report.reconciliation == "cascade/fast"
    said = {
        LeakModel.ERROR_PATTERN_PUBLIC: "composable: ",
        LeakModel.BOTH_DIRECTIONS: "composable: ",
        LeakModel.ONE_WAY_PARITIES: "no claim: ",
    }
    assert report.label.startswith(said[model])
    assert report.label.startswith(f"{report.claim}: ")
    assert ("both: silent-answers" in report.failed_assumptions) == (model is LeakModel.ONE_WAY_PARITIES)


def test_one_way_correction_needs_no_assumption_under_one_way_parities() -> None:
    def said(model: LeakModel, *, two_way: bool) -> str:
        params = replace(PARAMS, leak_model=model)
        return label(judged(NOTHING_FAILED, params, two_way=two_way), params, simulated=False)

    assert said(LeakModel.ONE_WAY_PARITIES, two_way=False).startswith("composable: ")
    assert "composable" not in said(LeakModel.ONE_WAY_PARITIES, two_way=True)
    assert len({said(m, two_way=w) for m in LeakModel for w in (True, False)}) == 4


def test_charging_both_directions_costs_what_was_said() -> None:
    """On the same strings: the parities once more, and Bob's word on each frame."""
    reports = {}
    for model in LeakModel:
        params = replace(PARAMS, block_bits=12_000, eps_sec=1e-4, leak_model=model)
        reports[model] = next(small_link(params)[0].blocks())[0].block.report
    usual, both = reports[LeakModel.ERROR_PATTERN_PUBLIC], reports[LeakModel.BOTH_DIRECTIONS]
    assert both.leak_ec_bits == 2 * usual.leak_ec_bits
    answers = both.verify_bits - usual.verify_bits
    assert answers == 2 * (1 + 13)  # a frame of 4096 .. 8191 bits in each basis
    assert both.secret_bits == usual.secret_bits - usual.leak_ec_bits - answers
    assert reports[LeakModel.ONE_WAY_PARITIES].secret_bits == usual.secret_bits - answers


def test_transcripts_are_equal_at_both_ends() -> None:
    link, _, _ = small_link()
    next(link.blocks())
    assert link.transcripts[Role.ALICE].recorded() == link.transcripts[Role.BOB].recorded()


def test_bob_never_tells_what_he_detected() -> None:
    """Bob's announcement is the same whatever his outcomes: flip every bit, and only the key changes."""

    def announced(flip: int) -> list[bytes]:
        seen: list[bytes] = []

        def listen(sender: Role, encoded: bytes) -> list[bytes]:
            if sender is Role.BOB and isinstance(decode(encoded), Detections):
                seen.append(encoded)
            return [encoded]

        at_alice, at_bob = tags()
        flipped = TimeTags(at_bob.t_ps, at_bob.channel ^ np.uint8(flip))
        link = Link(
            PARAMS,
            Side(Replay(at_alice), MemoryVault(PRE_SHARED), FixedBits("alice")),
            Side(Replay(flipped), MemoryVault(PRE_SHARED), FixedBits("bob")),
            listen,
        )
        with pytest.raises(QberTooHigh) if flip else _nothing():
            next(link.blocks())
        return seen

    honest, inverted = announced(0), announced(1)
    assert honest[: len(inverted)] == inverted[: len(honest)]
    assert honest


def _nothing():  # type: ignore[no-untyped-def]
    from contextlib import nullcontext

    return nullcontext()


def test_intercept_resend_gives_no_key() -> None:
    link, alice, bob = small_link(intercept=1.0)
    record = run_to_end(link)
    assert not record.outcomes
    assert record.aborts
    error = record.aborts[0]
    assert isinstance(error, QberTooHigh)
    assert 0.17 < error.qber_z < 0.36  # 25 % plus the link's own 2 %, 200 sampled bits, five sigma on each side
    assert alice.blocks == bob.blocks == []


def test_half_an_eavesdropper_costs_key() -> None:
    calm, _, _ = small_link()
    watched, _, _ = small_link(replace(PARAMS, qber_limit=0.11), intercept=0.15)
    honest = next(calm.blocks())[0].block.report
    noisy = next(watched.blocks())[0].block.report
    assert noisy.qber_z > honest.qber_z
    assert noisy.secret_bits < honest.secret_bits


def test_different_pre_shared_secrets_are_caught_before_any_key() -> None:
    link, alice, bob = small_link(vaults=(MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED[::-1])))
    with pytest.raises(AuthenticationError):
        next(link.blocks())
    assert alice.blocks == bob.blocks == []


def test_without_pads_there_is_no_key() -> None:
    poor = (MemoryVault(PRE_SHARED[:64]), MemoryVault(PRE_SHARED[:64]))  # two hash keys, one pad each
    link, alice, bob = small_link(vaults=poor)
    with pytest.raises((KeyExhausted, PeerUnreachable, RemoteProtocolError)):
        next(link.blocks())
    assert bob.blocks == []
    assert len(alice.blocks) <= 1


def test_a_lost_acceptance_is_settled_by_the_next_handshake() -> None:
    """Eve swallows the last message: Alice holds the block, Bob has it prepared; meeting again finishes it."""
    tags_seen = 0

    def swallow_third_tag(_sender: Role, encoded: bytes) -> list[bytes]:
        nonlocal tags_seen
        if isinstance(decode(encoded), Tag):
            tags_seen += 1
            if tags_seen == 3:
                return []
        return [encoded]

    link, alice, bob = small_link(tamper=swallow_third_tag)
    with pytest.raises(PeerUnreachable):
        next(link.blocks())
    assert (alice.committed, bob.committed, bob.prepared) == (0, -1, 0)
    again, _, _ = small_link(vaults=(alice, bob))
    outcome, _ = next(again.blocks())
    assert outcome.block.number == 1
    assert same_blocks(alice, bob)
    assert alice.pads_left(Role.ALICE) >= bob.pads_left(Role.ALICE) - 1


def test_streams_without_pairs_give_an_honest_error() -> None:
    at_alice, at_bob = (stream.between(0, int(stream.t_ps[0]) + 50_000_000_000) for stream in tags())
    shuffled = TimeTags(
        np.cumsum(np.random.default_rng(3).permutation(np.diff(at_bob.t_ps, prepend=0))), at_bob.channel
    )
    link = Link(
        PARAMS,
        Side(Replay(at_alice), MemoryVault(PRE_SHARED), FixedBits("alice")),
        Side(Replay(shuffled), MemoryVault(PRE_SHARED), FixedBits("bob")),
    )
    with pytest.raises(ClockNotFound):
        next(link.blocks())


def test_a_block_too_small_for_a_key_says_how_large_it_must_be() -> None:
    """A small eps makes the small link's 1,650 bits too few; the size named, tried on the same link, gives a key."""
    params = replace(PARAMS, block_bits=1200, least_block_bits=1000, eps_sec=1e-30)
    link, _, _ = small_link(params)
    with pytest.raises(KeyTooShort, match="it takes about") as caught:
        next(link.blocks())
    assert caught.value.secret_bits < 0
    assert 1200 <= caught.value.sifted_bits < 2000
    least = caught.value.least_sifted_bits
    assert least is not None
    assert caught.value.sifted_bits < least < 6000
    larger, _, _ = small_link(replace(params, block_bits=int(1.1 * least)))
    assert next(larger.blocks())[0].block.report.secret_bits > 0


def test_a_recording_too_short_for_any_key_says_so() -> None:
    link, _, _ = small_link(
        SessionParameters(epoch_s=0.02, clock_uncertainty_s=0.2, block_bits=10_000_000, least_block_bits=10_000_000)
    )
    record = run_to_end(link)
    assert not record.outcomes
    assert isinstance(record.aborts[-1], KeyTooShort)
