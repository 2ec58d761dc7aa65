"""p-values against exact tails, the literature's anchors and local models that do their best; coverage of intervals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkd.bellgame import (
    LOCAL_WIN,
    TSIRELSON_WIN,
    UNEVEN,
    PValue,
    SettingChoice,
    SettingsFrom,
    betting_p_value,
    exact_p_value,
    hoeffding_p_value,
    iid_interval,
    memory_interval,
)
from qkd.errors import ParameterError
from tests.reference import bell

SIGNS = (1, 1, 1, -1)


def cells(*counts: int) -> npt.NDArray[np.int64]:
    return np.array(counts, np.int64).reshape(2, 2)


@pytest.mark.parametrize(
    ("trials", "wins", "exact", "hoeffding"), [(1000, 800, 1.0898e-4, 6.74e-3), (10_000, 8000, 1.5437e-32, 1.93e-22)]
)
def test_anchors(trials: int, wins: int, exact: float, hoeffding: float) -> None:
    """Expected values from the project's reference table, computed with mpmath apart from this code."""
    assert exact_p_value(wins, trials).value == pytest.approx(exact, rel=5e-5)
    assert hoeffding_p_value(wins, trials).value == pytest.approx(hoeffding, rel=2e-3)


def test_constants() -> None:
    """Local 3/4; Tsirelson 0.853553 (Cirel'son 1980)."""
    assert LOCAL_WIN == 0.75
    assert pytest.approx(0.853553, abs=5e-7) == TSIRELSON_WIN


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(0, 12))
def test_exact_tail_in_whole_numbers(counts: tuple[int, int], tenths: int) -> None:
    wins, trials = counts
    beta = Fraction(3, 4) + Fraction(tenths, 64)
    expected = float(bell.binomial_tail(wins, trials, beta))
    assert exact_p_value(wins, trials, float(beta)).value == pytest.approx(expected, rel=1e-10, abs=1e-290)


@pytest.mark.parametrize(
    ("wins", "trials", "beta"),
    [(8535, 10_000, "0.75"), (2000, 2000, "0.75"), (1999, 2000, "0.75"), (853_553, 10**6, "0.76"),
     (85_355_300, 10**8, "0.75"), (7_600_000_000, 10**10, "0.7501")],
)  # fmt: skip
def test_logarithms_far_below_floating_point(wins: int, trials: int, beta: str) -> None:
    """Against 60 digits; most of these are below 1e-300."""
    found = exact_p_value(wins, trials, float(beta))
    assert found.ln == pytest.approx(float(bell.ln_binomial_tail(wins, trials, beta)), rel=1e-12)
    assert found.log10 == found.ln / math.log(10)
    assert found.value >= 1e-300


def test_the_tail_is_smooth_where_its_computation_changes() -> None:
    """Neighbouring wins around p = 1e-200 keep the ratio that the binomial has there."""
    logs = [exact_p_value(wins, 20_000).ln for wins in range(16_650, 16_900)]
    steps = np.diff(logs)
    assert logs[0] > -200 * math.log(10) > logs[-1]
    assert np.abs(np.diff(steps)).max() < 1e-3
    assert (steps < 0).all()


def test_a_p_value_is_never_zero_nor_above_one() -> None:
    assert PValue(-1e6).value == 1e-300
    assert PValue(0.0).value == 1.0
    assert exact_p_value(0, 10).value == 1.0
    assert exact_p_value(10, 10, 1.0).value == 1.0
    assert exact_p_value(1, 10, 0.0).value == 1e-300
    assert betting_p_value(cells(0, 0, 0, 0), cells(5, 5, 5, 5), SettingChoice()).value == 1.0


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0, 0.04), st.sampled_from([1, -1]), st.integers(0, 3))
def test_best_local_model_of_the_settings(a: float, b: float, tau: float, sign: int, odd: int) -> None:
    """beta is what the best of all sixteen fixed outcomes wins, or more where settings are predictable."""
    signs = tuple(-sign if cell == odd else sign for cell in range(4))
    choice = SettingChoice(share_a=a, share_b=b)
    assert choice.local_win == pytest.approx(bell.best_local_win(choice.probability(), signs))  # type: ignore[arg-type]
    guessed = SettingChoice(share_a=a, share_b=b, predictability=tau)
    assert guessed.local_win >= choice.local_win


def test_predictability_of_uniform_settings() -> None:
    """beta = 3/4 + tau - tau^2 (Elkouss and Wehner 2016)."""
    for tau in (0.0, 0.01, 0.1, 0.4):
        assert SettingChoice(predictability=tau).local_win == pytest.approx(0.75 + tau - tau**2)


def play(
    rng: np.random.Generator, runs: int, trials: int, chance_a: float, chance_b: float, model: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Wins and losses, shape (runs, 2, 2), of local models; chance_*: probability of setting 0."""
    wins, losses = np.zeros((2, runs, 4), np.int64)
    rows = np.arange(runs)
    for _ in range(trials):
        cell = 2 * (rng.random(runs) >= chance_a) + (rng.random(runs) >= chance_b)
        # The pair on which the outcomes fixed for this trial lose.
        if model == "rarest":  # of the settings as they are drawn
            losing = np.full(runs, 2 * (chance_a >= 0.5) + (chance_b >= 0.5))
        elif model == "gambler":  # with memory: loses where it has lost least, careless once it is ahead
            losing = losses.argmin(axis=1)
            ahead = wins.sum(axis=1) > 0.76 * (wins + losses).sum(axis=1)
            careless = ahead & (rng.random(runs) < 0.1)
            losing = np.where(careless, cell, losing)
        else:
            losing = rng.integers(0, 4, runs)
        lost = cell == losing
        np.add.at(losses, (rows[lost], cell[lost]), 1)
        np.add.at(wins, (rows[~lost], cell[~lost]), 1)
    return wins.reshape(runs, 2, 2), losses.reshape(runs, 2, 2)


def share_below(p_values: npt.NDArray[np.float64], alpha: float) -> tuple[float, float]:
    """Share of runs with p <= alpha, and alpha plus five sigma of so many runs."""
    limit = alpha + 5 * math.sqrt(alpha * (1 - alpha) / p_values.size)
    return float((p_values <= alpha).mean()), limit


def judged(wins: npt.NDArray[np.int64], losses: npt.NDArray[np.int64], choice: SettingChoice | None) -> tuple[
    npt.NDArray[np.float64], npt.NDArray[np.float64]
]:  # fmt: skip
    exact, betting = [], []
    for won, lost in zip(wins, losses, strict=True):
        drawn = choice or SettingChoice.counted(won + lost)
        exact.append(exact_p_value(int(won.sum()), int((won + lost).sum()), drawn.local_win).value)
        betting.append(betting_p_value(won, lost, drawn).value)
    return np.array(exact), np.array(betting)


@pytest.mark.parametrize("model", ["rarest", "gambler", "random"])
@pytest.mark.parametrize(
    ("chances", "choice"),
    [
        ((0.5, 0.5), SettingChoice()),
        ((0.7, 0.6), SettingChoice(share_a=0.7, share_b=0.6)),
        ((0.58, 0.57), SettingChoice(predictability=0.08)),
        ((0.5, 0.5), None),
        ((0.7, 0.6), None),
    ],
)
def test_local_models_are_rarely_called_non_local(
    model: str, chances: tuple[float, float], choice: SettingChoice | None
) -> None:
    """P(p <= alpha) <= alpha: 2000 runs of 300 trials, five sigma, seed 11; the models win as often as they can."""
    wins, losses = play(np.random.default_rng(11), 2000, 300, *chances, model)
    for p_values in judged(wins, losses, choice):
        for alpha in (0.2, 0.05, 0.01, 0.001):
            found, limit = share_below(p_values, alpha)
            assert found <= limit, (alpha, found)


def test_the_p_value_is_tight_and_the_settings_matter() -> None:
    """The best model reaches a p below 5 % nearly as often as it may; undeclared bias of the settings is exploited.

    3000 runs of 300 trials, seed 12; the limits are five sigma off.
    """
    even, _ = judged(*play(np.random.default_rng(12), 3000, 300, 0.5, 0.5, "rarest"), SettingChoice())
    assert share_below(even, 0.05)[0] > 0.03 - 5 * math.sqrt(0.03 * 0.97 / 3000)
    for p_values in judged(*play(np.random.default_rng(12), 3000, 300, 0.58, 0.57, "rarest"), SettingChoice()):
        found, limit = share_below(p_values, 0.05)
        assert found > limit


def test_betting_may_stop_at_any_time() -> None:
    """A local model that stops at its best p-value: below 5 % in at most 5 % of 1000 runs, seed 13, five sigma."""
    rng = np.random.default_rng(13)
    best = np.ones(1000)
    wins, losses = np.zeros((2, 1000, 2, 2), np.int64)
    for _ in range(12):
        more = play(rng, 1000, 30, 0.5, 0.5, "rarest")
        wins, losses = wins + more[0], losses + more[1]
        best = np.minimum(best, judged(wins, losses, SettingChoice())[1])
    found, limit = share_below(best, 0.05)
    assert found <= limit


def test_betting_sees_a_violation() -> None:
    """Within a factor of e^10 of the exact p-value at the quantum limit, 10 000 trials by expectation."""
    won = cells(2134, 2134, 2134, 2134)
    lost = 2500 - won
    ln_exact = exact_p_value(int(won.sum()), 10_000).ln
    assert ln_exact < betting_p_value(won, lost, SettingChoice()).ln < ln_exact + 10


@pytest.mark.parametrize(
    ("chances", "choice"),
    [((0.5, 0.5), SettingChoice()), ((0.7, 0.45), SettingChoice(share_a=0.7, share_b=0.45)), ((0.7, 0.45), None)],
)
def test_intervals_cover(chances: tuple[float, float], choice: SettingChoice | None) -> None:
    """90 % intervals of four unequal cells miss S in at most 10 %: 2000 runs of 1000 trials, five sigma, seed 14."""
    rng = np.random.default_rng(14)
    omega = np.array([[0.9, 0.8], [0.85, 0.7]])
    truth = float((2 * omega - 1).sum())
    shares = np.outer((chances[0], 1 - chances[0]), (chances[1], 1 - chances[1]))
    missed = np.zeros(2)
    for trials in rng.multinomial(1000, shares.ravel(), 2000):
        n = trials.reshape(2, 2)
        won = rng.binomial(n, omega)
        drawn = choice or SettingChoice.counted(n)
        for which, make in enumerate((iid_interval, memory_interval)):
            interval = make(won, n, drawn, 0.9)
            missed[which] += not interval.low <= truth <= interval.high
    assert missed.max() <= 200 + 5 * math.sqrt(2000 * 0.1 * 0.9)


def test_intervals_by_hand() -> None:
    """Azuma by its formula; pooled Clopper-Pearson is 8 omega - 4; uneven settings widen it, even ones barely."""
    won, n = cells(850, 850, 850, 850), cells(1000, 1000, 1000, 1000)
    memory = memory_interval(won, n, SettingChoice(), 0.99)
    reach = 8 * math.sqrt(math.log(200) / 8000)
    assert (memory.low, memory.high) == pytest.approx((2.8 - reach, 2.8 + reach))
    pooled = iid_interval(won, n, SettingChoice(), 0.99)
    sigma = 8 * math.sqrt(0.85 * 0.15 / 4000)
    assert (pooled.low, pooled.high) == pytest.approx((2.8 - 2.576 * sigma, 2.8 + 2.576 * sigma), abs=0.01)
    counted = iid_interval(won, n, SettingChoice.counted(n), 0.99)
    assert counted.label == UNEVEN
    assert pooled.low - 0.01 < counted.low < pooled.low
    assert pooled.high < counted.high < pooled.high + 0.01
    everything = iid_interval(n, n, SettingChoice(), 0.99)
    assert everything.high == 4.0


def test_counted_shares() -> None:
    choice = SettingChoice.counted(cells(30, 10, 20, 40))
    assert (choice.share_a, choice.share_b, choice.source) == (0.4, 0.5, SettingsFrom.COUNTED)
    assert choice.local_win == pytest.approx(1 - 0.4 * 0.5)


@pytest.mark.parametrize(
    "options",
    [
        {"share_a": 0.0},
        {"share_b": 1.0},
        {"share_a": math.nan},
        {"predictability": -0.1},
        {"predictability": 0.5},
        {"share_a": 0.9, "predictability": 0.1},
        {"predictability": math.nan},
    ],
)
def test_settings_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(options)) if len(options) == 1 else "predictability"):
        SettingChoice(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("wins", "trials", "beta"), [(-1, 10, 0.75), (11, 10, 0.75), (0, 0, 0.75), (5, 10, 1.5),
                                                      (5, 10, -0.1), (5, 10, math.nan), (1, 10**13, 0.75)])  # fmt: skip
def test_games_that_cannot_be(wins: int, trials: int, beta: float) -> None:
    for p_value in (exact_p_value, hoeffding_p_value):
        with pytest.raises(ParameterError, match="must be in"):
            p_value(wins, trials, beta)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, math.nan])
def test_confidences_that_cannot_be(confidence: float) -> None:
    n = cells(10, 10, 10, 10)
    for interval in (iid_interval, memory_interval):
        with pytest.raises(ParameterError, match="confidence"):
            interval(n, n, SettingChoice(), confidence)
