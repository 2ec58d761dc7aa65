"""The link model held to nature: a real BBM92 link at three losses (arXiv:2502.03556, open data).

scenarios/edinburgh-36db.toml was fitted to the rows at 36.05 dB (and one number from outside them: the sum of Bob's
singles at 48.03 dB). The simulator must give those rows back; with nothing changed but Bob's loss, the model must
predict the other two losses.

What changes physically with loss: partners of Alice's photons at Bob, and so coincidences, fall by the loss. His
background and dark counts do not (his singles say so: 5589, 3570 and 3053 per s are a background of 2881 per s and
2708 per s times 1, 0.255 and 0.063). Accidentals follow from the singles.

What the model cannot know: each loss was recorded at another time. Alice's singles, which see no extra loss, differ
by up to 4 % from row to row, and so may the pair rate; the attenuator's label has its own error.

The table's windows are half widths; `full_ps` below is always the full one.
"""

from __future__ import annotations

import csv
import math
import runpy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from distribution.model import error_fraction, link_model
from distribution.scenario import load_scenario, shipped_directory
from distribution.simulate import simulate
from distribution.states import Basis, BellState
from distribution.tags import TimeTags
from tests.data_files import find

TABLE = "bbm92_link/link_counts.csv"
CALIBRATED_DB = 36.05


@dataclass(frozen=True)
class Row:
    """One loss and window of the table."""

    loss_db: float
    seconds: float
    full_ps: int
    singles_a: np.ndarray
    singles_b: np.ndarray
    counts: np.ndarray

    def same_basis(self, basis: Basis) -> float:
        """Events that the QBER of a basis is taken over."""
        return float(self.counts[2 * basis.value : 2 * basis.value + 2, 2 * basis.value : 2 * basis.value + 2].sum())

    def qber(self, basis: Basis) -> float:
        """Measured QBER."""
        return error_fraction(self.counts, BellState.PHI_PLUS, basis)


def table() -> list[Row]:
    """The measured rows."""

    def numbers(row: dict[str, str], names: list[str]) -> np.ndarray:
        return np.array([float(row[name]) for name in names])

    with find(TABLE).open() as file:
        return [
            Row(
                float(row["loss_db"]),
                float(row["seconds"]),
                2 * int(row["window_ps"]),
                numbers(row, [f"a_{d}" for d in "HVDA"]),
                numbers(row, [f"b_{d}" for d in "HVDA"]),
                numbers(row, [f"ab_{a}{b}" for a in "HVDA" for b in "HVDA"]).reshape(4, 4),
            )
            for row in csv.DictReader(file)
        ]


def test_the_tables_windows_are_half_widths() -> None:
    # At 48.03 dB, from 1000 to 1600 ps, where few partners are left: 612 +- 25 more coincidences. Accidentals alone
    # are 268 if the window is a full width and 536 if it is half of one; the rest is the responses' tail.
    narrow, wide = (r for r in table() if r.loss_db == 48.03 and r.full_ps in (2000, 3200))
    grown = (wide.counts - narrow.counts).sum()
    per_ps = wide.singles_a.sum() * wide.singles_b.sum() / wide.seconds * 1e-12
    assert grown > per_ps * 600 + 10 * math.sqrt(grown)
    assert abs(grown - per_ps * 1200) < 5 * math.sqrt(grown)


def test_simulation_gives_the_calibrated_rows_back() -> None:
    # 6 s of 84: 8 million tags, 3.7e3 coincidences at the widest window. Errors: Poisson of both recordings.
    seconds = 6.0
    run = simulate("edinburgh-36db", seconds, np.random.default_rng(3605))
    rows = [r for r in table() if r.loss_db == CALIBRATED_DB]
    share = seconds / rows[0].seconds
    for tags, singles in ((run.alice, rows[0].singles_a), (run.bob, rows[0].singles_b)):
        mine = np.bincount(tags.channel, minlength=4)
        assert np.abs((mine - singles * share) / np.sqrt(singles * share * (1 + share))).max() < 5
    model = link_model(load_scenario("edinburgh-36db"))
    for row in rows:
        mine = simulated_counts(run.alice, run.bob, row.full_ps)
        expected = model.coincidence_cps(row.full_ps) * seconds
        # Against the closed form of the same scenario, and against the measured counts.
        assert np.abs((mine - expected) / np.sqrt(expected)).max() < 5
        assert np.abs((mine - row.counts * share) / np.sqrt(expected * (1 + share))).max() < 5
        for basis in Basis:
            q = model.qber(row.full_ps, basis)
            sigma = math.sqrt(q * (1 - q) / row.same_basis(basis) / share)
            assert abs(error_fraction(mine, BellState.PHI_PLUS, basis) - row.qber(basis)) < 5 * sigma


def simulated_counts(alice: TimeTags, bob: TimeTags, full_ps: int) -> np.ndarray:
    """All pairs of tags within the window, shape (4, 4)."""
    low, high = (np.searchsorted(bob.t_ps, alice.t_ps + side * full_ps // 2) for side in (-1, 1))
    counts = np.zeros((4, 4))
    for extra in range(int((high - low).max())):
        more = high - low > extra
        np.add.at(counts, (alice.channel[more], bob.channel[low[more] + extra]), 1)
    return counts


def test_fit_describes_every_measured_count() -> None:
    # 16 detector pairs x 7 windows; chi-square of the increments, which are independent, with 112 - 30 degrees of
    # freedom: 5 sigma above 82 is 146. Reading the windows as full widths gives 240.
    rows = sorted((r for r in table() if r.loss_db == CALIBRATED_DB), key=lambda r: r.full_ps)
    model = link_model(load_scenario("edinburgh-36db"))
    expected = np.array([model.coincidence_cps(r.full_ps) * r.seconds for r in rows])
    grown = np.diff([r.counts for r in rows], axis=0, prepend=0.0)
    chi2 = ((np.diff(expected, axis=0, prepend=0.0) - grown) ** 2 / (grown + 1)).sum()
    assert chi2 < 82 + 5 * math.sqrt(2 * 82)


# Allowed deviation: (Bob's singles per detector, all coincidences, error of the D/A basis beyond 2 sigma).
# Singles and coincidences: the run-to-run changes named above, 4 %, and at 48 dB 0.2 dB of attenuator on top; seen are
# 4 %, +4.4 % and, at 48.03 dB, +5.8 ... +9.6 %. D/A error: less accidentals it was 3.0 % at 41.99 dB but 2.1 % at 36.05
# and 1.5 % at 48.03 dB; loss cannot do that, alignment can.
ALLOWED = {41.99: (0.03, 0.05, 0.012), 48.03: (0.05, 0.10, 0.0)}


@pytest.mark.parametrize("loss_db", list(ALLOWED))
def test_prediction_at_higher_loss(loss_db: float) -> None:
    rows = [r for r in table() if r.loss_db == loss_db]
    model = link_model(load_scenario("edinburgh-36db").with_extra_loss(bob_db=loss_db - CALIBRATED_DB))
    singles, coincidences, alignment = ALLOWED[loss_db]
    assert np.abs(rows[0].singles_b / rows[0].seconds / model.singles_b - 1).max() < singles
    assert np.abs(rows[0].singles_a / rows[0].seconds / model.singles_a - 1).max() < 0.04
    print(f"\n{loss_db} dB   full ps   counts measured / predicted    QBER H/V        QBER D/A")
    for row in rows:
        expected = float(model.coincidence_cps(row.full_ps).sum() * row.seconds)
        counts = float(row.counts.sum())
        z, x = ((row.qber(basis), model.qber(row.full_ps, basis)) for basis in Basis)
        print(
            f"{row.full_ps:17} {counts:12.0f} / {expected:8.0f} {counts / expected - 1:+.1%}"
            f"     {z[0]:.4f}/{z[1]:.4f}   {x[0]:.4f}/{x[1]:.4f}"
        )
        assert abs(counts / expected - 1) < coincidences
        for (measured, predicted), basis, beyond in ((z, Basis.Z, 0.0), (x, Basis.X, alignment)):
            sigma = math.sqrt(predicted * (1 - predicted) / row.same_basis(basis))
            assert abs(measured - predicted) < beyond + 2 * sigma


@pytest.mark.slow
def test_the_shipped_scenario_is_what_the_script_fits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = runpy.run_path(str(shipped_directory() / "fit_edinburgh.py"))
    script["main"](find(TABLE))
    refitted = tmp_path / "refitted.toml"
    refitted.write_text(capsys.readouterr().out)
    mine, shipped = (link_model(load_scenario(x)) for x in (refitted, "edinburgh-36db"))
    for full_ps in (100, 800, 3200):
        np.testing.assert_allclose(mine.coincidence_cps(full_ps), shipped.coincidence_cps(full_ps), rtol=0.01)
