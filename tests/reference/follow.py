"""The clock servo's filter in matrices, one event after the other, as the paper has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass
class SlowFilter:
    """Probabilistic data association (Bar-Shalom and Tse 1975) for a lag with a randomly walking acceleration."""

    x: Floats
    covariance: Floats
    walk: float
    variance: float
    odds_ps: float
    at_s: float = 0.0

    def predicted(self, s: float) -> tuple[Floats, Floats]:
        """State and covariance at the time s."""
        t = s - self.at_s
        move = np.array([[1, t, t * t / 2], [0, 1, t], [0, 0, 1]])
        steps = 2000  # the integral of G G', G(u) = what a unit of jerk does after u, as a sum
        u = (np.arange(steps) + 0.5) * t / steps
        jerk = np.stack([u**2 / 2, u, np.ones(steps)])
        return move @ self.x, move @ self.covariance @ move.T + self.walk**2 * (jerk @ jerk.T) * t / steps

    def see(self, s: float, measured_ps: list[float]) -> float:
        """Lag expected at s; then learn from the lags that the candidates within five sigma would mean."""
        x, covariance = self.predicted(s)
        total = covariance[0, 0] + self.variance
        off = np.array([m - x[0] for m in measured_ps if (m - x[0]) ** 2 <= 25 * total])
        if off.size:
            weight = self.odds_ps * np.exp(-(off**2) / (2 * total)) / np.sqrt(2 * np.pi * total)
            each = weight / (1 + weight.sum())
            gain = covariance[:, 0] / total
            mean = float(each @ off)
            certain = covariance - total * np.outer(gain, gain)
            spread = float(each @ off**2) - mean**2
            none = 1 - each.sum()
            self.x = x + gain * mean
            self.covariance = none * covariance + (1 - none) * certain + spread * np.outer(gain, gain)
            self.at_s = s
        return float(x[0])
