"""S against counting trial by trial, what relabelling must not change, checks of the data, loopholes, bad tables."""

from __future__ import annotations

import csv
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distribution import correlators
from distribution.states import BellState
from qkd.bellgame import SettingChoice, SettingsFrom
from qkd.chsh import BellCounts, BellResult, bell_result, no_signalling, settings_check, signs_for
from qkd.errors import ParameterError
from qkd.loopholes import Loophole, label, statement
from tests.data_files import find
from tests.reference import bell

SIGNS = (1, 1, 1, -1)
tables = hnp.arrays(np.int64, (2, 2, 2, 2), elements=st.integers(0, 40)).filter(
    lambda table: bool((table.sum(axis=(2, 3)) > 0).all())
)
all_signs = st.builds(
    lambda sign, odd: tuple(-sign if cell == odd else sign for cell in range(4)),
    st.sampled_from([1, -1]),
    st.integers(0, 3),
)


def quantum_table(s: float, per_cell: int, signs: tuple[int, int, int, int] = SIGNS) -> npt.NDArray[np.int64]:
    """Expected counts with unbiased marginals and four correlators of size s/4."""
    table = np.zeros((2, 2, 2, 2), np.int64)
    for cell, sign in enumerate(signs):
        equal = round(per_cell * (1 + sign * s / 4) / 4)
        table[cell // 2, cell % 2] = [[equal, per_cell // 2 - equal], [per_cell // 2 - equal, equal]]
    return table


@given(tables, all_signs)
def test_s_and_wins_trial_by_trial(table: npt.NDArray[np.int64], signs: tuple[int, int, int, int]) -> None:
    counts = BellCounts(table=table, signs=signs)
    result = bell_result(counts, choice=SettingChoice())
    assert result.s.value == pytest.approx(bell.s_value(table, signs), abs=1e-12)
    assert result.wins == bell.wins(table, signs)
    assert result.trials == table.sum()
    for interval in (result.iid, result.memory):
        assert -4 <= interval.low <= interval.high <= 4


def same(left: BellResult, right: BellResult) -> None:
    assert left.s.value == pytest.approx(right.s.value, abs=1e-12)
    assert left.s.error == pytest.approx(right.s.error)
    assert (left.wins, left.trials) == (right.wins, right.trials)
    assert left.p_value.ln == pytest.approx(right.p_value.ln)
    assert left.betting_p_value.ln == pytest.approx(right.betting_p_value.ln, abs=1e-9)
    assert (left.iid.low, left.iid.high) == pytest.approx((right.iid.low, right.iid.high))


@given(tables, all_signs)
def test_names_do_not_matter(table: npt.NDArray[np.int64], signs: tuple[int, int, int, int]) -> None:
    """Other names of outcomes, settings or parties, with signs to match, leave the test as it is."""
    result = bell_result(BellCounts(table=table, signs=signs))
    a0b0, a0b1, a1b0, a1b1 = signs
    outcomes = (-a0b0, -a0b1, -a1b0, -a1b1)
    same(result, bell_result(BellCounts(table=table[:, :, ::-1], signs=outcomes)))
    one = table.copy()
    one[1] = table[1, :, :, ::-1]  # Bob's outcomes where Alice has her second setting
    same(result, bell_result(BellCounts(table=one, signs=(a0b0, a0b1, -a1b0, -a1b1))))
    same(result, bell_result(BellCounts(table=table[::-1], signs=(a1b0, a1b1, a0b0, a0b1))))
    same(result, bell_result(BellCounts(table=table.transpose(1, 0, 3, 2), signs=(a0b0, a1b0, a0b1, a1b1))))


def test_error_of_s() -> None:
    """sigma^2 = sum (1 - E^2)/N for many counts; and the spread of S over 2000 draws, seed 3, within five sigma."""
    table = quantum_table(2.6, 4000)
    result = bell_result(BellCounts(table=table, signs=SIGNS))
    assert result.s.value == pytest.approx(2.6, abs=1e-9)
    assert result.s.error == pytest.approx(math.sqrt(4 * (1 - 0.65**2) / 4000), rel=1e-3)
    rng = np.random.default_rng(3)
    drawn = rng.multinomial(4000, table.reshape(4, 4) / 4000, (2000, 4)).reshape(2000, 2, 2, 2, 2)
    spread = np.std([bell.s_value_fast(one, SIGNS) for one in drawn])
    assert spread == pytest.approx(result.s.error, rel=5 / math.sqrt(2 * 2000))


def test_a_large_violation() -> None:
    """S = 2.8 in 10 000 trials, 8496 of them won: p from 60 digits, 10^-129.8."""
    result = bell_result(BellCounts(table=quantum_table(2.8, 2500), signs=SIGNS), choice=SettingChoice())
    expected = float(bell.ln_binomial_tail(result.wins, 10_000, "0.75")) / math.log(10)
    assert result.p_value.log10 == pytest.approx(expected)
    assert (result.wins, round(expected, 1)) == (8496, -129.8)
    assert result.iid.low > 2.7
    assert result.memory.low > 2.6
    assert result.no_signalling.p_value == 1.0
    assert result.tsirelson_excess == 0.0


def test_s_above_what_quantum_mechanics_allows() -> None:
    """Counts may exceed 2 sqrt(2): S stays what was counted, and the excess is said in its errors."""
    result = bell_result(BellCounts(table=quantum_table(3.2, 1000), signs=SIGNS))
    assert result.s.value == pytest.approx(3.2)
    assert result.tsirelson_excess == pytest.approx((3.2 - 2 * math.sqrt(2)) / result.s.error)
    assert result.tsirelson_excess > 5


def test_the_wrong_sign_is_no_violation() -> None:
    """Signs are fixed before the data: S = -2.8 loses the game."""
    result = bell_result(BellCounts(table=quantum_table(-2.8, 1000), signs=SIGNS))
    assert result.s.value == pytest.approx(-2.8)
    assert result.p_value.value == result.betting_p_value.value == 1.0


@pytest.mark.parametrize("state", list(BellState))
def test_signs_of_ekerts_settings(state: BellState) -> None:
    """With them each correlator of the ideal state adds 1/sqrt(2)."""
    signs = signs_for((0, 45), (22.5, 67.5), state)
    assert math.prod(signs) == -1
    if state is BellState.PSI_MINUS:  # Ekert 1991: S = E11 - E13 + E31 + E33 = -2 sqrt(2)
        assert signs == (-1, 1, -1, -1)
    if state is BellState.PHI_PLUS:
        assert signs == (1, -1, 1, 1)


def test_two_settings_out_of_three() -> None:
    """Ekert's three settings a side: those of the test are picked by index, whatever else was counted."""
    rng = np.random.default_rng(5)
    whole = rng.integers(1, 100, (3, 3, 2, 2))
    signs = signs_for((0, 45), (22.5, 67.5), BellState.PSI_MINUS)
    chosen = BellCounts.chosen(whole, (0, 2), (0, 2), signs)
    assert chosen.table.tolist() == [[whole[x, y].tolist() for y in (0, 2)] for x in (0, 2)]
    for wrong in ((0, 0), (0, 3), (-1, 0)):
        with pytest.raises(ParameterError, match="settings_b"):
            BellCounts.chosen(whole, (0, 2), wrong, signs)


def test_detectors_of_a_plan() -> None:
    """Six detectors a side at Ekert's angles: the plan of the angles and the counts agree on S."""
    angles_a, angles_b = (0, 90, 22.5, 112.5, 45, 135), (22.5, 112.5, 45, 135, 67.5, 157.5)
    plan = correlators.bell_test(angles_a, angles_b, BellState.PSI_MINUS)
    assert plan is not None
    counts = np.random.default_rng(6).integers(1, 100, (6, 6))
    found = bell_result(BellCounts.of_detectors(counts, plan))
    expected = plan.s(counts)
    assert expected is not None
    assert found.s.value == pytest.approx(expected.value)
    assert found.s.error == pytest.approx(expected.error)


def test_no_signalling_holds_and_fails() -> None:
    """Independent marginals pass, a marginal that follows the other side's setting fails; Bonferroni over four."""
    clean = no_signalling(BellCounts(table=quantum_table(2.5, 2000), signs=SIGNS))
    assert clean.p_value == 1.0
    table = np.full((2, 2, 2, 2), 500, np.int64)
    table[0, 0] = [[650, 650], [350, 350]]  # Alice's outcome at a0 depends on Bob's setting
    found = no_signalling(BellCounts(table=table, signs=SIGNS))
    # By hand: rows (1300, 700), (1000, 1000): expected 1150 and 850 in each, chi2 = 2 * 150^2 (1/1150 + 1/850).
    assert found.alice[0].chi2 == pytest.approx(2 * 150**2 * (1 / 1150 + 1 / 850))
    assert found.alice[1].chi2 == 0.0
    assert found.bob[0].chi2 == 0.0
    worst = found.alice[0].p_value
    assert worst is not None
    assert found.p_value == pytest.approx(4 * worst)
    assert worst < 1e-20


def test_no_signalling_alarms_as_often_as_stated() -> None:
    """Below 5 % in at most 5 % of 2000 quantum runs of 400 trials, and nearly as often; seed 7, 5 sigma."""
    rng = np.random.default_rng(7)
    p = quantum_table(2.6, 4000).ravel() / 16_000
    chances = []
    for drawn in rng.multinomial(400, p, 2000):
        chance = no_signalling(BellCounts(table=drawn.reshape(2, 2, 2, 2), signs=SIGNS)).p_value
        assert chance is not None
        chances.append(chance)
    share = float((np.array(chances) <= 0.05).mean())
    reach = 5 * math.sqrt(0.05 * 0.95 / 2000)
    assert 0.045 - reach <= share <= 0.05 + reach


def real_link() -> dict[tuple[str, str], dict[str, str]]:
    """Rows of an open BBM92 link by loss and window; coincidences of four detectors a side, H, V, D, A."""
    with find("bbm92_link/link_counts.csv").open(newline="") as text:
        return {(row["loss_db"], row["window_ps"]): row for row in csv.DictReader(text)}


def test_a_real_link_without_a_bell_test() -> None:
    """H, V, D, A on both sides: the published error rates come out, and whatever the signs S does not exceed 2."""
    for row in real_link().values():
        block = [[[[int(row[f"ab_{a}{b}"]) for b in y] for a in x] for y in ("HV", "DA")] for x in ("HV", "DA")]
        for odd in range(4):
            signs = tuple(-1 if cell == odd else 1 for cell in range(4))
            found = bell_result(BellCounts(table=np.array(block), signs=signs))  # type: ignore[arg-type]
            assert abs(found.s.value) < 2
            assert found.p_value.value == pytest.approx(1.0)
            assert (1 - abs(found.correlators[0].value)) / 2 == pytest.approx(float(row["qber_hv"]), abs=6e-6)
            assert (1 - abs(found.correlators[3].value)) / 2 == pytest.approx(float(row["qber_da"]), abs=6e-6)


def test_a_real_link_signals_to_narrow_windows() -> None:
    """Its detectors are skewed by some 120 ps: which pairs fall into 100 ps depends on both sides' settings."""
    chances = {}
    for window in ("100", "1600"):
        row = real_link()["36.05", window]
        block = [[[[int(row[f"ab_{a}{b}"]) for b in y] for a in x] for y in ("HV", "DA")] for x in ("HV", "DA")]
        chances[window] = no_signalling(BellCounts(table=np.array(block), signs=SIGNS)).p_value
    assert chances["100"] is not None
    assert chances["1600"] is not None
    assert chances["100"] < 1e-50 < 1e-10 < chances["1600"]


def test_few_counts_leave_checks_open() -> None:
    result = bell_result(BellCounts(table=np.ones((2, 2, 2, 2), np.int64), signs=SIGNS))
    assert result.no_signalling.p_value is None
    assert result.settings.p_value is None
    zero = np.zeros((2, 2, 2, 2), np.int64)
    zero[:, :, 0, 0] = 50  # an outcome that never comes leaves nothing to compare
    assert no_signalling(BellCounts(table=zero, signs=SIGNS)).p_value is None


def test_settings_are_checked_against_what_was_declared() -> None:
    trials = np.array([[300, 300], [100, 100]])
    even = settings_check(trials, SettingChoice())
    assert (even.chi2, even.degrees) == (4 * 100**2 / 200, 3)
    assert even.p_value is not None
    assert even.p_value < 1e-10
    declared = settings_check(trials, SettingChoice(share_a=0.75))
    assert (declared.chi2, declared.p_value) == (0.0, 1.0)
    counted = settings_check(trials, SettingChoice.counted(trials))
    assert (counted.chi2, counted.degrees) == (0.0, 1)
    tied = settings_check(np.array([[300, 100], [100, 300]]), SettingChoice.counted(np.array([[300, 100], [100, 300]])))
    assert tied.chi2 == pytest.approx(200.0)


def test_shares_are_counted_unless_declared() -> None:
    table = quantum_table(2.6, 1000)
    table[0] *= 3
    counted = bell_result(BellCounts(table=table, signs=SIGNS))
    assert counted.choice.source is SettingsFrom.COUNTED
    assert counted.choice.share_a == 0.75
    assert counted.choice.local_win == 1 - 0.25 * 0.5


def test_all_loopholes_are_open_until_declared_closed() -> None:
    result = bell_result(BellCounts(table=quantum_table(2.8, 1000), signs=SIGNS), heralding=(0.3, 0.25))
    assert [state.loophole for state in result.loopholes] == list(Loophole)
    assert all(state.is_open for state in result.loopholes)
    assert result.label == "device-dependent (fair sampling assumed)"
    assert "0.3 and 0.25, below the limits 66.7% (Eberhard)" in result.loopholes[0].why
    partly = statement(closed={Loophole.FAIR_SAMPLING, Loophole.COINCIDENCE_TIME})
    assert label(partly) == "violation of local realism, but for: locality, freedom of choice"
    assert not partly[0].is_open
    assert label(statement(closed=set(Loophole))).endswith("all loopholes declared closed")
    assert "not below" in statement(heralding=(0.9, 0.85))[0].why
    assert "between" in statement(heralding=(0.9, 0.75))[0].why


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.zeros((2, 2, 2), np.int64), "shape"),
        (np.zeros((3, 2, 2, 2), np.int64), "shape"),
        (np.full((2, 2, 2, 2), 0.5), "integers"),
        (np.full((2, 2, 2, 2), True), "integers"),
        (np.full((2, 2, 2, 2), -1), "negative"),
        (np.full((2, 2, 2, 2), 2**62), "at most"),
        (np.full((2, 2, 2, 2), 2**63, np.uint64), "at most"),
        (np.zeros((2, 2, 2, 2), np.int64), "no counts at settings (a0, b0), (a0, b1)"),
    ],
)
def test_tables_that_cannot_be(table: npt.NDArray[Any], words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        BellCounts(table=table, signs=SIGNS)
    assert words in str(caught.value)


def test_one_empty_cell_is_refused() -> None:
    table = quantum_table(2.5, 100)
    table[1, 0] = 0
    with pytest.raises(ParameterError, match=r"no counts at settings \(a1, b0\)"):
        BellCounts(table=table, signs=SIGNS)


@pytest.mark.parametrize("signs", [(1, 1, 1, 1), (1, 1, -1, -1), (1, 1, 0, -1), (1, 1, -1), (2, 1, 1, -1)])
def test_signs_that_make_no_chsh_expression(signs: Any) -> None:
    with pytest.raises(ParameterError, match="signs"):
        BellCounts(table=quantum_table(2.5, 100), signs=signs)


@pytest.mark.parametrize(
    ("a", "b"),
    [((0, 45), (0, 45)), ((0, 0), (22.5, 67.5)), ((0, 90), (22.5, 67.5)), ((0,), (22.5, 67.5)), ((0, 22.5, 45), (0, 1)),
     ((math.nan, 45), (22.5, 67.5)), ((0, math.inf), (22.5, 67.5))],
)  # fmt: skip
def test_angles_that_make_no_bell_test(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    with pytest.raises(ParameterError):
        signs_for(a, b, BellState.PHI_PLUS)


@pytest.mark.parametrize("heralding", [(-0.1, 0.5), (0.5, 1.5), (math.nan, 0.5)])
def test_efficiencies_that_cannot_be(heralding: tuple[float, float]) -> None:
    with pytest.raises(ParameterError, match="heralding"):
        statement(heralding=heralding)


def test_counts_are_a_copy_that_cannot_be_changed() -> None:
    table = quantum_table(2.5, 100)
    counts = BellCounts(table=table, signs=SIGNS)
    table[0, 0, 0, 0] = 7
    assert counts.table[0, 0, 0, 0] != 7
    with pytest.raises(ValueError, match="read-only"):
        counts.table[0, 0, 0, 0] = 7
