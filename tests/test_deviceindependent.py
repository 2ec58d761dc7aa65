"""Device-independent rates and lengths against published values and against the formulas as printed (mpmath)."""

from __future__ import annotations

import math
from dataclasses import replace

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd.bellgame import TSIRELSON_S, TSIRELSON_WIN
from qkd.deviceindependent import (
    COLLECTIVE,
    best_rate,
    collective_rate,
    entropy_to_eve,
    error_entropy,
    phi,
    phi_slope,
    threshold,
)
from qkd.entropyaccumulation import ACCUMULATION, Choice, Run, accumulate, key_length, least_pairs, tangent_line
from qkd.errors import ParameterError
from tests.reference import bell

OXFORD = Run(pairs=1_500_000, s=2.677, qber=0.0144)


def test_published_experiments() -> None:
    """Nadlinger et al. 2022: H = 0.69214, r = 0.58341; Zhang et al. 2022, two settings: 0.1574; ideal: 1."""
    oxford = collective_rate(2.677, 0.0144)
    assert oxford.entropy == pytest.approx(0.69214, abs=5e-6)
    assert oxford.rate == pytest.approx(0.58341, abs=5e-6)
    assert collective_rate(2.578, 0.078).rate == pytest.approx(0.1574, abs=5e-5)
    assert collective_rate(TSIRELSON_S, 0.0).rate == 1.0
    assert oxford.label == COLLECTIVE == "collective attacks, asymptotic"


def test_thresholds() -> None:
    """7.149 % without and 8.085 % with noisy preprocessing (published: 7.1 % and 8.08 %)."""
    assert threshold(noisy=False) == pytest.approx(0.07149, abs=5e-6)
    assert threshold(noisy=True) == pytest.approx(0.08085, abs=5e-6)


@pytest.mark.parametrize(("below", "above"), [(0.0714, 0.0716), (0.0808, 0.0810)])
def test_thresholds_are_where_the_rates_vanish(below: float, above: float) -> None:
    rate = (lambda s, q: collective_rate(s, q).rate) if below < 0.075 else (lambda s, q: best_rate(s, q).rate)
    assert rate(TSIRELSON_S * (1 - 2 * below), below) > 0
    assert rate(TSIRELSON_S * (1 - 2 * above), above) == 0


@given(st.floats(2.001, 2.828), st.floats(0.0, 0.49))
def test_entropy_as_printed(s: float, q: float) -> None:
    """Ho et al. 2020 in 40 digits."""
    with mp.workdps(40):
        expected = float(bell.eve_entropy(mp.mpf(s), mp.mpf(q)))
    assert entropy_to_eve(s, q) == pytest.approx(expected, abs=1e-13)


@given(st.floats(0, 0.5), st.floats(0, 0.5))
def test_errors_after_flips(qber: float, q: float) -> None:
    with mp.workdps(40):
        expected = float(bell.entropy(mp.mpf(q) * (1 - mp.mpf(qber)) + (1 - mp.mpf(q)) * mp.mpf(qber)))
    assert error_entropy(qber, q) == pytest.approx(expected, abs=1e-13)


@given(st.floats(1e-12, 0.999))
def test_slope_of_phi(u: float) -> None:
    """Against mpmath's numerical derivative of 1 - h."""
    with mp.workdps(40):

        def exact(x: mp.mpf) -> mp.mpf:
            return 1 - bell.entropy((1 + mp.sqrt(x)) / 2)

        assert phi(u) == pytest.approx(float(exact(mp.mpf(u))), rel=1e-9, abs=1e-18)
        slope = float(mp.diff(exact, mp.mpf(u), h=mp.mpf(u) * mp.mpf("1e-12")))
    assert phi_slope(u) == pytest.approx(slope, rel=1e-8)


def test_noisy_preprocessing_against_a_grid() -> None:
    """The best flips of a fine grid give no more; near the threshold only flips give a key."""
    for s, qber in ((2.677, 0.0144), (2.55, 0.06), (2.42, 0.072), (2.5, 0.02), (2.0, 0.0), (1.0, 0.2)):
        grid = max(collective_rate(s, qber, j / 4000).raw for j in range(2000))
        found = best_rate(s, qber)
        assert found.raw >= grid - 1e-12
        assert found.rate >= collective_rate(s, qber).rate
        assert 0 <= found.flip_probability <= 0.5
    assert collective_rate(2.41, 0.073).rate == 0.0 < best_rate(2.41, 0.073).rate


def test_no_violation_no_key() -> None:
    for s in (2.0, 1.3, 0.0, -2.8):
        assert collective_rate(s, 0.0).rate == 0.0
        assert collective_rate(s, 0.0, 0.2).raw == pytest.approx(0.0, abs=1e-15)
        assert best_rate(s, 0.01).rate == 0.0


def test_s_above_two_root_two_is_clamped_and_says_so() -> None:
    beyond = collective_rate(3.1, 0.01)
    assert beyond.clamped
    assert (beyond.s_given, beyond.s) == (3.1, TSIRELSON_S)
    assert beyond.rate == collective_rate(TSIRELSON_S, 0.01).rate
    assert not collective_rate(2.8, 0.01).clamped


@pytest.mark.parametrize(("s", "qber", "flips"), [(4.1, 0, 0), (-4.1, 0, 0), (math.nan, 0, 0), (2.5, -0.01, 0),
                                                  (2.5, 0.51, 0), (2.5, math.nan, 0), (2.5, 0.1, 0.6),
                                                  (2.5, 0.1, -0.1)])  # fmt: skip
def test_rates_that_cannot_be(s: float, qber: float, flips: float) -> None:
    with pytest.raises(ParameterError, match="must be in"):
        collective_rate(s, qber, flips)


choices = st.builds(
    Choice,
    test_share=st.floats(1e-3, 0.9),
    flip_probability=st.floats(0.0, 0.45),
    tangent=st.floats(0.76, 0.8534),
    alpha_less_1=st.floats(1e-7, 0.1),
    alpha2_less_1=st.floats(1e-6, 0.3),
)


@settings(max_examples=60, deadline=None)
@given(choices, st.integers(10**4, 10**10), st.floats(2.1, 2.82), st.floats(0.0, 0.1))
def test_length_term_by_term(choice: Choice, pairs: int, s: float, qber: float) -> None:
    """Against a transcription of the printed formula in 40 digits with a numerical slope."""
    run = Run(pairs=pairs, s=s, qber=qber)
    expected = bell.accumulated(
        n=pairs, s=s, qber=qber, eps=run.eps, margin=3.0, slack=50.0, gamma=choice.test_share,
        q=choice.flip_probability, t=choice.tangent,
        alpha_less_1=choice.alpha_less_1, alpha2_less_1=choice.alpha2_less_1,
    )  # fmt: skip
    assert key_length(run, choice) == pytest.approx(float(expected), rel=1e-8)


@given(st.floats(0.0, 0.45), st.floats(0.7501, 0.8535), st.floats(0.1465, 0.8535))
def test_tangents_stay_below(q: float, t: float, omega: float) -> None:
    """The bound is convex for any flips: what its tangent must be to bound the entropy of an average."""
    value, slope = tangent_line(t, q)
    assert value + slope * (omega - t) <= entropy_to_eve(8 * omega - 4, q) + 1e-12


@pytest.mark.parametrize(
    ("pairs", "bits", "within"), [(3_000_000, 305e3, 0.03), (10**7, 2.5e6, 0.07), (10**8, 0.42e8, 0.05)]
)
def test_lengths_of_the_table(pairs: int, bits: float, within: float) -> None:
    """Another transcription of the project's, with its own split of eps, for S = 2.677, Q = 1.44 %, eps = 1e-10."""
    found = accumulate(replace(OXFORD, pairs=pairs))
    assert found.secret_bits == pytest.approx(bits, rel=within)
    assert found.label == ACCUMULATION == "entropy accumulation (device-independent, simulation only)"


def test_small_runs_give_nothing() -> None:
    """Negative at 10^6; at 1.5 10^6 the sign hangs on the margins (-37k to +69k in the same table)."""
    assert accumulate(replace(OXFORD, pairs=10**6)).raw < -50e3
    assert accumulate(replace(OXFORD, pairs=10**6)).secret_bits == 0
    assert accumulate(OXFORD).raw == pytest.approx(-37e3, abs=5e3)
    assert accumulate(replace(OXFORD, margin_sigmas=0.0, leak_slack=0.0)).raw == pytest.approx(69e3, abs=7e3)


def test_longer_runs_give_more_per_pair_up_to_the_asymptotic_rate() -> None:
    rates = [accumulate(replace(OXFORD, pairs=10**k)).rate for k in (7, 9, 12, 15)]
    assert rates == sorted(rates)
    limit = collective_rate(2.677, 0.0144).rate
    assert limit * 0.998 < rates[-1] < limit


def test_better_links_give_more() -> None:
    base = accumulate(replace(OXFORD, pairs=10**7)).raw
    for better in ({"s": 2.72}, {"qber": 0.01}, {"eps": 1e-6}, {"margin_sigmas": 1.0}):
        assert accumulate(replace(OXFORD, pairs=10**7, **better)).raw > base  # type: ignore[arg-type]


def test_the_search_against_random_choices() -> None:
    """No choice around the one found gives more than a thousandth more: 20 000 tries, seed fixed."""
    import random

    run, draw = replace(OXFORD, pairs=10**7), random.Random(4)
    found = accumulate(run)
    for _ in range(20_000):
        one = found.choice
        tried = Choice(
            test_share=min(0.99, one.test_share * math.exp(draw.gauss(0, 0.3))),
            flip_probability=draw.random() * 0.02,
            tangent=min(TSIRELSON_WIN - 1e-6, max(0.751, one.tangent + draw.gauss(0, 0.01))),
            alpha_less_1=min(0.5, one.alpha_less_1 * math.exp(draw.gauss(0, 0.3))),
            alpha2_less_1=min(0.4, one.alpha2_less_1 * math.exp(draw.gauss(0, 0.3))),
        )
        assert key_length(run, tried) <= found.raw * 1.001


def test_least_pairs() -> None:
    least = least_pairs(OXFORD)
    assert least is not None
    assert accumulate(replace(OXFORD, pairs=least)).secret_bits > 0
    assert accumulate(replace(OXFORD, pairs=round(0.97 * least))).secret_bits == 0
    assert least_pairs(Run(pairs=1, s=1.99, qber=0.0)) is None
    assert least_pairs(Run(pairs=1, s=2.3, qber=0.09)) is None


def test_an_impossible_s_is_that_of_quantum_mechanics() -> None:
    assert (
        accumulate(Run(pairs=10**8, s=3.0, qber=0.01)).raw == accumulate(Run(pairs=10**8, s=TSIRELSON_S, qber=0.01)).raw
    )


@pytest.mark.parametrize("wrong", [{"pairs": 0}, {"pairs": 10**16}, {"s": 5.0}, {"qber": 0.6}, {"eps": 0.0},
                                   {"eps": 0.5}, {"margin_sigmas": -1.0}, {"leak_slack": math.inf}])  # fmt: skip
def test_runs_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="must be in"):
        replace(OXFORD, **wrong)  # type: ignore[arg-type]
