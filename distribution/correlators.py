"""What the table of outcomes of coincidences says: error rates, visibilities, correlators and a Bell test.

The table counts coincidences per pair of detectors, first index Alice's. Detectors 0..3 are H, V, D, A unless analyser
angles say otherwise. A CHSH test needs two settings a side at angles that quantum mechanics predicts to exceed the
local bound of 2; which correlator carries the minus sign follows from the angles and the state aimed at, before any
data are looked at. Lost photons are not counted: fair sampling is assumed, no loophole is closed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError
from distribution.estimates import Estimate, balance
from distribution.states import Basis, BellDiagonal, BellState
from distribution.tags import Channels

Counts = npt.NDArray[np.int64]
Setting = tuple[int, int]
"""Two detectors of one analyser setting: where outcome +1 goes, and where -1 goes."""

_ANGLE_TOLERANCE_DEG = 0.01
_LOCAL_BOUND = 2.0


def outcome_counts(channel_a: Channels, channel_b: Channels, shape: tuple[int, int] = (4, 4)) -> Counts:
    """Coincidences of each pair of detectors, first index Alice's.

    Args:
        channel_a, channel_b: shape (n,), uint8, detectors of each coincidence.
        shape: how many detectors Alice and Bob have.

    Returns:
        Counts of the given shape, int64.

    Raises:
        ParameterError: a channel beyond the shape, or vectors of unequal length.
    """
    fits = channel_a.shape == channel_b.shape
    if not fits or (channel_a.size and (channel_a.max() >= shape[0] or channel_b.max() >= shape[1])):
        raise ParameterError(f"outcomes need two equal vectors of channels below {shape[0]} and {shape[1]}")
    pair = channel_a.astype(np.int64) * shape[1] + channel_b
    return np.bincount(pair, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)


def correlator(counts: Counts, basis: Basis) -> Estimate | None:
    """E = (equal - different outcomes) / all, both sides measuring in `basis`; None without coincidences.

    Args:
        counts: shape (4, 4) from `outcome_counts`.
        basis: Z = H/V, X = D/A.
    """
    setting = (2 * basis.value, 2 * basis.value + 1)
    return setting_correlator(counts, setting, setting)


def error_rate(counts: Counts, basis: Basis, state: BellState) -> Estimate | None:
    """QBER of `basis`, a fraction: outcomes that are not as `state` predicts; None without coincidences."""
    contrast = visibility(counts, basis, state)
    return None if contrast is None else Estimate((1.0 - contrast.value) / 2.0, contrast.error / 2.0)


def visibility(counts: Counts, basis: Basis, state: BellState) -> Estimate | None:
    """V = (max - min)/(max + min) in `basis`, max being the outcomes that `state` predicts; 1 - 2 QBER."""
    e = correlator(counts, basis)
    if e is None:
        return None
    return Estimate(-e.value, e.error) if state.anticorrelated(basis) else e


def setting_correlator(counts: Counts, setting_a: Setting, setting_b: Setting) -> Estimate | None:
    """E of one pair of settings; None without coincidences.

    Args:
        counts: from `outcome_counts`.
        setting_a, setting_b: the two detectors of each side.
    """
    block = counts[np.ix_(setting_a, setting_b)]
    equal = int(np.trace(block))
    return balance(equal, int(block.sum()) - equal)


@dataclass(frozen=True, slots=True, kw_only=True)
class BellTest:
    """Which settings make a CHSH test, fixed before the data.

    Attributes:
        settings_a, settings_b: two settings a side.
        signs: of E(a0, b0), E(a0, b1), E(a1, b0), E(a1, b1); three are equal and one is opposite.
        predicted: S of the ideal state, above 2.
    """

    settings_a: tuple[Setting, Setting]
    settings_b: tuple[Setting, Setting]
    signs: tuple[int, int, int, int]
    predicted: float

    def s(self, counts: Counts) -> Estimate | None:
        """CHSH value with its standard error; None while one of the four correlators has no coincidences.

        Clauser, Horne, Shimony and Holt, PRL 23, 880 (1969): |S| <= 2 for every local model.

        Args:
            counts: from `outcome_counts`.
        """
        found = [setting_correlator(counts, a, b) for a in self.settings_a for b in self.settings_b]
        terms = [e for e in found if e is not None]
        if len(terms) < 4:
            return None
        value = sum(sign * e.value for sign, e in zip(self.signs, terms, strict=True))
        return Estimate(value, math.sqrt(sum(e.error**2 for e in terms)))


def bell_test(angles_a_deg: Sequence[float], angles_b_deg: Sequence[float], state: BellState) -> BellTest | None:
    """The CHSH test that these analysers make of `state`: the four settings with the largest predicted S.

    Args:
        angles_a_deg, angles_b_deg: polarisation that each detector of a side looks for, H = 0, D = 45, in degrees;
            two detectors at 90 degrees to each other are a setting, the one listed first being outcome +1.
        state: the Bell state aimed at.

    Returns:
        The test, or None when no four settings are predicted to exceed 2.

    Raises:
        ParameterError: an angle is not a number.
    """
    ideal = BellDiagonal.from_visibilities(state, 1.0, 1.0)
    best: BellTest | None = None
    for a in itertools.combinations(analyser_settings(angles_a_deg), 2):
        for b in itertools.combinations(analyser_settings(angles_b_deg), 2):
            e = [
                ideal.correlator(math.radians(angles_a_deg[i[0]]), math.radians(angles_b_deg[j[0]]))
                for i in a
                for j in b
            ]
            for signs in _CHSH_SIGNS:
                predicted = sum(sign * value for sign, value in zip(signs, e, strict=True))
                if predicted > max(_LOCAL_BOUND, best.predicted if best else 0.0) + 1e-9:
                    best = BellTest(settings_a=a, settings_b=b, signs=signs, predicted=predicted)
    return best


_CHSH_SIGNS: tuple[tuple[int, int, int, int], ...] = tuple(
    (overall * s[0], overall * s[1], overall * s[2], overall * s[3])
    for overall in (1, -1)
    for s in ((1, 1, 1, -1), (1, 1, -1, 1), (1, -1, 1, 1), (-1, 1, 1, 1))
)


def analyser_settings(angles_deg: Sequence[float]) -> list[Setting]:
    """Pairs of detectors at right angles, each detector in one at most, in the order of the angles.

    Raises:
        ParameterError: an angle is not a number.
    """
    if not all(math.isfinite(angle) for angle in angles_deg):
        raise ParameterError(f"analyser angles must be numbers in degrees, got {list(angles_deg)}")
    found: list[Setting] = []
    for i, j in itertools.combinations(range(len(angles_deg)), 2):
        apart = (angles_deg[j] - angles_deg[i]) % 180.0
        free = all(i not in setting and j not in setting for setting in found)
        if free and abs(apart - 90.0) <= _ANGLE_TOLERANCE_DEG:
            found.append((i, j))
    return found
