"""Fits the link model to a measured BBM92 link at one loss; makes scenarios/edinburgh-36db.toml.

    python scenarios/fit_edinburgh.py link_counts.csv > scenarios/edinburgh-36db.toml

Data: T. Jaeken, A. Pickston et al., "Emulation of satellite up-link quantum communication with entangled photons",
arXiv:2502.03556 (2025), open data: per loss and window 8 singles and 16 coincidence counts. Alice is the 1572 nm side,
Bob the 785 nm side behind the loss.

What is fitted, all from the rows at 36.05 dB: the 16 x 7 counts of pairs that enter as the window widens (independent
Poisson numbers), less accidentals, which the measured singles fix without a parameter. Free are 7 efficiency ratios and
one rate, two visibilities, two analyser angles, 7 delays, and width and tail of the timing of each detector of Bob's.

The table's windows are HALF widths, so a row's FULL width is twice its window_ps: chi-square is 84 for 82 degrees of
freedom; reading them as full widths gives 240, and a second look at 48.03 dB, where accidentals dominate the widest
windows, agrees (tests/test_link_calibration.py).

What one loss cannot tell: which part of Bob's singles are partners of Alice's photons and which is background; no
coincidence depends on it. One number from elsewhere settles it: the sum of Bob's singles at 48.03 dB (none of that
row's coincidences, and no other number of it).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from distribution.detector import Detectors, Response
from distribution.scenario import Station
from distribution.states import BellDiagonal, BellState
from distribution.timing import Timing, window_fraction

DETECTORS = ("H", "V", "D", "A")
ALICE_SIGMA_PS = 25.0  # only the sum of both sides' variances shows; a nanowire detector's share is assumed
BOB_BEST_EFFICIENCY = 0.6  # only loss x efficiency shows; the best silicon detector is assumed to have this
Vector = npt.NDArray[np.float64]


class Rows:
    """The rows of one loss: singles and coincidences per second, and the windows as full widths."""

    def __init__(self, path: Path, loss_db: float) -> None:
        with path.open() as file:
            rows = [row for row in csv.DictReader(file) if float(row["loss_db"]) == loss_db]
        rows.sort(key=lambda row: float(row["window_ps"]))
        self.seconds = float(rows[0]["seconds"])
        self.full_windows_ps = np.array([2.0 * float(row["window_ps"]) for row in rows])
        self.singles_a = np.array([float(rows[0][f"a_{d}"]) for d in DETECTORS]) / self.seconds
        self.singles_b = np.array([float(rows[0][f"b_{d}"]) for d in DETECTORS]) / self.seconds
        self.counts = np.array([[[float(row[f"ab_{a}{b}"]) for b in DETECTORS] for a in DETECTORS] for row in rows])

    def accidentals(self) -> Vector:
        """Expected accidental counts, shape (windows, 4, 4)."""
        area = np.outer(self.singles_a, self.singles_b) * self.seconds
        return area * self.full_windows_ps[:, None, None] * 1e-12


def unpack(p: Vector) -> dict[str, Vector]:
    """The vector that is fitted, by name. Rates absorb the overall scale; Alice's first delay is the origin."""
    return {
        "a": np.exp(np.concatenate([[0.0], p[0:3]])),
        "b": np.exp(p[3:7]),
        "visibility": p[7:9],
        "angle_deg": p[9:11],
        "delay_a": np.concatenate([[0.0], p[11:14]]),
        "delay_b": p[14:18],
        "timing": p[18:30].reshape(4, 3),
    }


def timing(v: dict[str, Vector]) -> tuple[Timing, Timing]:
    """Alice's and Bob's timing."""
    h, w, d, a = (Response(sigma_ps=s, tail_fraction=f, tail_ps=t) for s, f, t in v["timing"].tolist())
    alice = Detectors(delay_ps=tuple(v["delay_a"].tolist()), response=Response(sigma_ps=ALICE_SIGMA_PS))
    bob = Detectors(delay_ps=tuple(v["delay_b"].tolist()), response=(h, w, d, a))
    return Timing.of(Station(detectors=alice)), Timing.of(Station(detectors=bob))


def expected(p: Vector, rows: Rows) -> Vector:
    """Counts of partners per window, shape (windows, 4, 4)."""
    v = unpack(p)
    state = BellDiagonal.from_visibilities(BellState.PHI_PLUS, *(float(x) for x in v["visibility"]))
    angle_a = np.radians([v["angle_deg"][0], 45.0 + v["angle_deg"][1]])
    angle_b = np.radians([0.0, 45.0])
    e = np.array([[state.correlator(float(x), float(y)) for y in angle_b] for x in angle_a])
    sign = np.kron(e, np.array([[1.0, -1.0], [-1.0, 1.0]]))
    rate = np.outer(v["a"], v["b"]) * (1.0 + sign) / 4.0
    return rate * rows.seconds * window_fraction(*timing(v), rows.full_windows_ps)


def fit(rows: Rows) -> tuple[Vector, float, int]:
    """Best parameters, chi-square, and degrees of freedom."""
    accidentals, grown = rows.accidentals(), np.diff(rows.counts, axis=0, prepend=0.0)

    def residuals(p: Vector) -> Vector:
        model = np.diff(expected(p, rows) + accidentals, axis=0, prepend=0.0)
        # Pearson against the model would let it grow its own error bars: use the data's, smoothed by one count.
        return ((model - grown) / np.sqrt(grown + 1.0)).ravel()

    start = np.concatenate(
        [np.zeros(3), np.full(4, np.log(150.0)), [0.95, 0.95], np.zeros(9), np.tile([120.0, 0.1, 300.0], 4)]
    )
    low = np.concatenate(
        [np.full(3, -2), np.full(4, -9), [0.5, 0.5], np.full(2, -20), np.full(7, -400), np.tile([20, 0, 20], 4)]
    )
    high = np.concatenate(
        [np.full(3, 2), np.full(4, 9), [1, 1], np.full(2, 20), np.full(7, 400), np.tile([400, 0.8, 1500], 4)]
    )
    best = least_squares(residuals, start, bounds=(low, high), x_scale=np.maximum(np.abs(start), 0.1))
    return best.x, float(2.0 * best.cost), grown.size - start.size


def numbers(values: Vector, digits: int) -> str:
    """A TOML array."""
    return "[" + ", ".join(f"{x:.{digits}f}" for x in values) + "]"


def main(path: Path) -> None:
    """Fit and print the scenario."""
    rows, high_loss = Rows(path, 36.05), Rows(path, 48.03)
    p, chi2, freedom = fit(rows)
    v = unpack(p)
    # S_b(48.03) = background + partners x 10^-1.198: the one number from outside.
    drop = 1.0 - 10.0 ** -((48.03 - 36.05) / 10.0)
    partners_b = (rows.singles_b.sum() - high_loss.singles_b.sum()) / drop
    # A photon of Bob's partners is seen by Alice with her mean efficiency: coincidences / partners.
    shape_a, shape_b = v["a"] / v["a"].sum() * 4.0, v["b"] / v["b"].sum() * 4.0
    coincidences = np.outer(v["a"], v["b"]).sum() / 4.0
    mean_a = coincidences / partners_b
    efficiency_a = mean_a * shape_a
    background_b = rows.singles_b - partners_b * shape_b / 4.0
    # Alice: as little background as leaves none of her detectors with less than nothing.
    pairs = float((rows.singles_a / (efficiency_a / 4.0)).min())
    background_a = rows.singles_a - pairs * efficiency_a / 4.0
    mean_b = partners_b / pairs
    loss_b = -10.0 * np.log10(mean_b * shape_b.max() / BOB_BEST_EFFICIENCY)
    print(
        f"""\
# Fitted by scenarios/fit_edinburgh.py to the 36.05 dB rows of the open data of arXiv:2502.03556 (1 mW, no fibre);
# chi-square {chi2:.0f} for {freedom} degrees of freedom over 112 counts of up to {rows.counts.max():.0f}.
# The table's window_ps is a half width; the full window is twice as wide.
# From outside those rows comes one number: the sum of Bob's singles at 48.03 dB, which splits his singles into
# partners of Alice's photons ({partners_b:.0f} per s) and background ({background_b.sum():.0f} per s).
# Only products of efficiency and loss show in counts: Alice's efficiency is that of her whole arm.

title = "satellite up-link emulation, 36.05 dB"
source = "fit to open data of Jaeken, Pickston et al., arXiv:2502.03556 (2025), by scenarios/fit_edinburgh.py"

[pairs]
pairs_per_s = {pairs:.4e}
state = "phi+"
visibility_z = {v["visibility"][0]:.4f}
visibility_x = {v["visibility"][1]:.4f}

[alice]
loss_db = 0.0

[alice.analyser]
z_error_deg = {v["angle_deg"][0]:.2f}
x_error_deg = {v["angle_deg"][1]:.2f}

[alice.detectors]
efficiency = {numbers(efficiency_a, 4)}
background_cps = {numbers(background_a, 0)}
delay_ps = {numbers(v["delay_a"], 1)}

[alice.detectors.response]
sigma_ps = {ALICE_SIGMA_PS}

[bob]
loss_db = {loss_b:.3f}

[bob.detectors]
efficiency = {numbers(BOB_BEST_EFFICIENCY * shape_b / shape_b.max(), 4)}
background_cps = {numbers(background_b, 1)}
delay_ps = {numbers(v["delay_b"], 1)}"""
    )
    for sigma, fraction, tail in v["timing"]:
        print(f"\n[[bob.detectors.response]]\nsigma_ps = {sigma:.1f}")
        print(f"tail_fraction = {fraction:.4f}\ntail_ps = {tail:.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
