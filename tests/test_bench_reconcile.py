"""`qkd bench reconcile`: every figure against a method whose figures are known, and a few frames of the real ones."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binom

from cli.main import main
from qkd.benchmarks import batches, methods
from qkd.benchmarks.batches import Meter, Setup, draw, run_batch
from qkd.benchmarks.limits import one_way_limit_bits, one_way_limit_f, rate_upper_bound
from qkd.benchmarks.reconcile import count, measure
from qkd.errors import ParameterError
from qkd.exchange.codec import encode
from qkd.exchange.steps import Role
from qkd.reconciliation.efficiency import binary_entropy
from tests import rigged
from tests.commands import assert_refused, qkd

STABLE = {"f", "frame_error_rate", "undetected_errors", "rounds", "wire_bits_per_key_bit", "mbit_per_s", "leak_ec_bits"}


@pytest.fixture(autouse=True)
def _rigged_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.METHODS, "rigged", rigged.rigged)


def setup(preset: str = "plain", **changes: Any) -> Setup:
    fields = {"method": "rigged", "preset": preset, "qber": 0.03, "frame_bits": 1000, "frames": 10, "batch": 4}
    return Setup(**(fields | changes))


def test_figures_of_a_method_whose_figures_are_known() -> None:
    fields = measure(setup()).fields()
    # h(0.03) = 0.194392 by bc, so 1.1 n h = 213.83 and each of 10 frames says 214.
    assert fields["leak_ec_bits"] == 2140
    assert fields["leak_ec_bits_per_frame"] == 214
    assert fields["f"] == pytest.approx(214 / 194.392, abs=1e-5)
    assert fields["f_error"] == 0
    assert (fields["frame_errors"], fields["frame_error_rate"], fields["undetected_errors"]) == (0, 0, 0)
    assert fields["frame_error_rate_upper"] == pytest.approx(1 - 0.05**0.1)
    # Three batches of 4, 4, 2 frames with four messages each; Alice speaks, Bob answers, Alice ends.
    assert (fields["rounds"], fields["rounds_mean"], fields["messages"]) == (2, 2, 4)
    assert fields["wire_bits_per_key_bit"] == pytest.approx(3 * 8 * sum(len(encode(m)) for m in rigged.SAID) / 10_000)
    assert fields["payload_bits"] == 10_000


def test_f_realised_is_against_the_errors_that_were_there() -> None:
    measured = measure(setup())
    errors = np.concatenate([(drawn.alice ^ drawn.bob).sum(axis=1) for drawn in _all_drawn(measured.setup)])
    assert measured.fields()["errors"] == int(errors.sum()) == pytest.approx(300, abs=5 * np.sqrt(300))
    least = sum(1000 * binary_entropy(int(e) / 1000) for e in errors)
    assert measured.fields()["f_realised"] == pytest.approx(2140 / least)


def _all_drawn(asked: Setup) -> list[batches.Drawn]:
    return [draw(asked, index, size) for index, size in enumerate(asked.batch_sizes())]


def test_frames_left_different_are_frame_errors_and_the_tags_see_them() -> None:
    fields = measure(setup("leaves-one")).fields()
    assert fields["frame_errors"] == 3  # one in each batch
    assert fields["frame_error_rate"] == 0.3
    assert fields["undetected_errors"] == 0
    assert fields["one_way_limit_fer"] == 0.3
    assert fields["one_way_limit_f"] == pytest.approx(one_way_limit_f(1000, 0.03, 0.3))


def test_a_blind_verification_makes_them_undetected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches.verification, "tag", lambda bits, tag_bits, seed: bits[:0])
    assert measure(setup("leaves-one")).fields()["undetected_errors"] == 3


def test_a_batch_that_gives_up_fails_with_all_its_frames_and_has_no_leak() -> None:
    fields = measure(setup("quits-below-4")).fields()
    assert (fields["failed_batches"], fields["frame_errors"]) == (1, 2)
    assert fields["leak_ec_bits"] == 8 * 214
    assert fields["f"] == pytest.approx(214 / 194.392, abs=1e-5)
    nothing = measure(setup("quits-below-4", batch=3, frames=9)).fields()
    assert (nothing["f"], nothing["f_realised"], nothing["frame_error_rate"]) == (None, None, 1)
    json.dumps(nothing, allow_nan=False)


def test_a_turn_is_what_is_said_without_waiting() -> None:
    meter = Meter()
    for sender, size in ((Role.ALICE, 3), (Role.ALICE, 4), (Role.BOB, 1), (Role.ALICE, 2)):
        assert meter(sender, bytes(size)) == [bytes(size)]
    assert (meter.wire_bytes, meter.messages) == (10, 4)
    assert meter.turns == {Role.ALICE: 2, Role.BOB: 1}


def test_error_rates_share_their_random_numbers() -> None:
    less, more = (draw(setup(qber=q), 3, 4) for q in (0.02, 0.03))
    assert np.array_equal(less.alice, more.alice)
    wrong_less, wrong_more = less.alice ^ less.bob, more.alice ^ more.bob
    assert wrong_less.sum() < wrong_more.sum()
    assert not (wrong_less & ~wrong_more).any()
    other = draw(setup(qber=0.02, seed=2), 3, 4)
    assert not np.array_equal(less.alice, other.alice)


@pytest.mark.parametrize("threads", [1, 2])
def test_counting_with_threads_counts_the_same(threads: int) -> None:
    asked = Setup(method="cascade", preset="fast", qber=0.03, frame_bits=2048, frames=9, batch=2)
    plain, counted = measure(asked).fields(), count(asked, threads=threads, timed=1).fields()
    for name in plain.keys() - {"mbit_per_s", "one_core_mbit_per_s"}:
        assert plain[name] == counted[name], name


def test_threads_are_compared_with_one_in_the_same_run() -> None:
    asked = Setup(method="cascade", preset="fast", qber=0.03, frame_bits=2048, frames=16, batch=4, threads=2)
    measured = measure(asked)
    one = measure(Setup(method="cascade", preset="fast", qber=0.03, frame_bits=2048, frames=16, batch=4))
    assert measured.fields()["leak_ec_bits"] == one.fields()["leak_ec_bits"]
    assert measured.scaling is not None
    rows = {row.case: row for row in measured.rows()}
    threaded = rows["2 threads, wall clock"]
    assert threaded.reference is not None
    assert threaded.value / threaded.reference == pytest.approx(measured.scaling)
    assert one.scaling is None


def test_the_speed_is_payload_by_processor_time_of_full_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1000, 2))
    monkeypatch.setattr(batches.time, "process_time", lambda: float(next(ticks)))
    assert measure(setup()).mbit_per_s == pytest.approx(4 * 1000 / 2 / 1e6)


@pytest.mark.parametrize(("method", "preset"), [m for m in methods.all_presets() if m[0] != "rigged"])
def test_every_preset_corrects_and_is_counted(method: str, preset: str) -> None:
    outcome = run_batch(Setup(method=method, preset=preset, qber=0.02, frame_bits=16384, frames=4), 0, 4)
    assert outcome.undetected == 0
    assert not outcome.gave_up
    assert 8 * outcome.wire_bytes >= outcome.leaks.sum() > 4 * 16384 * binary_entropy(0.02) * 0.9
    assert outcome.rounds >= 1


def test_json_has_the_stable_fields() -> None:
    arguments = ["bench", "reconcile", "--method", "cascade", "--preset", "fast", "--qber", "0.02"]
    arguments += ["--frame", "4096", "--frames", "8", "--seed", "7"]
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    fields = json.loads(done.stdout)
    assert fields["schema"] == "qkd.bench.reconcile.v1"
    assert fields.keys() >= STABLE
    asked = {name: fields[name] for name in ("method", "preset", "qber", "frame", "frames", "seed")}
    assert asked == {
        "method": "cascade", "preset": "fast", "qber": 0.02, "frame": 4096, "frames": 8, "seed": 7
    }  # fmt: skip
    assert fields["f"] == pytest.approx(fields["leak_ec_bits"] / (8 * 4096 * binary_entropy(0.02)))
    assert 1 < fields["f"] < 1.4
    assert fields["mbit_per_s"] > 0
    rows = {row["case"]: row for row in fields["rows"]}
    assert rows["both parties, one core, processor time"]["value"] == fields["mbit_per_s"]
    assert rows["f"]["reference"] == fields["one_way_limit_f"]
    people = CliRunner().invoke(main, arguments)
    assert "frame_error_rate" in people.stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "turbo"}, "unknown"),
        ({"preset": "slow"}, "unknown"),
        ({"qber": 0.0}, r"0\.0001 .. 0\.25"),
        ({"qber": 3.0}, r"0\.0001 .. 0\.25"),
        ({"qber": float("nan")}, r"0\.0001 .. 0\.25"),
        ({"frame_bits": 63}, "must be in 64 .. 1048576"),
        ({"frame_bits": 1048577}, "must be in 64 .. 1048576"),
        ({"frames": 0}, "frames = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"estimate_factor": 0.0}, "estimate factor 0"),
        ({"estimate_factor": float("inf")}, "at most 0.5"),
        ({"batch": 268436}, "at most 268435"),
        ({"batch": -1}, "batch = -1"),
        ({"threads": 0}, "threads = 0"),
        ({"threads": 2, "frames": 15}, "too few to compare 2 threads"),
    ],
)
def test_impossible_setups_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        setup(**changes)


def test_a_refusal_is_one_line_and_says_what_to_do() -> None:
    assert_refused(qkd("bench", "reconcile", "--preset", "slow"), 2, "hint: presets of cascade: fast")
    assert_refused(qkd("bench", "reconcile", "--qber", "3"), 2, "hint: give a fraction: 0.03 for 3 %")


# reconciliation.md, section 1: f at QBER 1, 2, 3, 5, 8, 11 %, computed there from the same closed form.
TABLE = {
    (10**4, 1e-1): (1.096, 1.067, 1.053, 1.039, 1.029, 1.023),
    (10**4, 1e-2): (1.182, 1.125, 1.099, 1.073, 1.054, 1.043),
    (10**4, 1e-3): (1.244, 1.167, 1.133, 1.098, 1.072, 1.057),
    (10**5, 1e-1): (1.032, 1.022, 1.017, 1.013, 1.009, 1.008),
    (10**5, 1e-2): (1.059, 1.040, 1.032, 1.024, 1.017, 1.014),
    (10**5, 1e-3): (1.079, 1.054, 1.043, 1.031, 1.023, 1.018),
    (10**6, 1e-1): (1.010, 1.007, 1.006, 1.004, 1.003, 1.002),
    (10**6, 1e-2): (1.019, 1.013, 1.010, 1.008, 1.006, 1.004),
    (10**6, 1e-3): (1.025, 1.017, 1.014, 1.010, 1.007, 1.006),
}
QBERS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.11)


@pytest.mark.parametrize(("n", "rate"), TABLE)
def test_one_way_limit_against_the_reference_table(n: int, rate: float) -> None:
    assert [one_way_limit_f(n, q, rate) for q in QBERS] == pytest.approx(TABLE[n, rate], abs=1.0e-3)


@pytest.mark.parametrize(("n", "tolerance"), [(10**4, 4e-3), (10**5, 6e-4)])
def test_one_way_limit_against_the_exact_sum(n: int, tolerance: float) -> None:
    """2^m patterns can be put right: the likeliest, whose number is an exact sum of binomial coefficients."""
    for q in QBERS:
        for rate in (1e-1, 1e-2, 1e-3):
            exact = _packing_bits(n, q, rate) / (n * binary_entropy(q))
            assert one_way_limit_f(n, q, rate) == pytest.approx(exact, abs=tolerance), (q, rate)


def _packing_bits(n: int, q: float, rate: float) -> float:
    """log2 of the least number of error patterns, likeliest first, that hold all but `rate` of the probability."""
    weight = int(binom.ppf(1 - rate, n, q))
    patterns, coefficient = 0, 1
    for w in range(weight):
        patterns += coefficient
        coefficient = coefficient * (n - w) // (w + 1)
    share = (1 - rate - binom.cdf(weight - 1, n, q)) / binom.pmf(weight, n, q)
    patterns += int(coefficient * round(share * 2**50)) >> 50
    return float(patterns.bit_length() - 53 + np.log2(float(patterns >> (patterns.bit_length() - 53))))


def test_one_way_limit_refuses_what_it_cannot_say() -> None:
    for n, q, rate in ((0, 0.1, 0.1), (10, 0.0, 0.1), (10, 0.5, 0.1), (10, 0.1, 0.0), (10, 0.1, 1.0)):
        with pytest.raises(ParameterError, match="one-way limit"):
            one_way_limit_bits(n, q, rate)


def test_rate_upper_bound_is_where_the_tail_is_a_twentieth() -> None:
    assert rate_upper_bound(0, 192) == pytest.approx(1 - 0.05 ** (1 / 192))  # 1.55 %, as the reference has it
    for events, trials in ((1, 10), (3, 1000), (57, 10_048)):
        assert binom.cdf(events, trials, rate_upper_bound(events, trials)) == pytest.approx(0.05)
    assert rate_upper_bound(5, 5) == 1
    for events, trials in ((0, 0), (-1, 5), (6, 5)):
        with pytest.raises(ParameterError, match="impossible"):
            rate_upper_bound(events, trials)
