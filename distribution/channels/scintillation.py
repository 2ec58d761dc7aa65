"""Turbulence makes the received light flicker: log-normal, with one correlation time.

The logarithm of the light is an Ornstein-Uhlenbeck process, sampled exactly at any step, so mean, variance and
covariance have closed forms: mean 1, variance sigma^2, covariance exp(s^2 exp(-|t|/tau)) - 1, s^2 = ln(1 + sigma^2).
Log-normal holds in weak turbulence and for apertures that average (Andrews and Phillips, Laser Beam Propagation through
Random Media (2005), 5.4 and 10.3). The true spectrum falls faster than this one's 1/f^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.channels.arm import ArmConditions

_STEPS_PER_TIME = 4.0  # steps in a correlation time


class Scintillation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Law of the flicker.

    Attributes:
        index: scintillation index sigma^2 after the aperture's averaging: variance of the light over its mean squared.
        bandwidth_hz: where the spectrum of the logarithm has fallen to a half; tens of Hz to 1 kHz, cross wind over
            the size of the eddies. The simulator follows it in steps of 1 / (8 pi bandwidth).
    """

    index: float = 0.0
    bandwidth_hz: float = 100.0

    def __post_init__(self) -> None:
        require("index", self.index, 0.0, 10.0)
        require("bandwidth_hz", self.bandwidth_hz, 1e-3, 1e4)

    @property
    def log_variance(self) -> float:
        """Variance s^2 of the logarithm."""
        return math.log1p(self.index)

    @property
    def correlation_s(self) -> float:
        """Correlation time tau of the logarithm, s."""
        return 1.0 / (2.0 * math.pi * self.bandwidth_hz)

    @property
    def step_s(self) -> float | None:
        """How often it must be looked at; None when there is none."""
        return self.correlation_s / _STEPS_PER_TIME if self.index else None

    def covariance(self, lag_s: float) -> float:
        """Covariance of the light (mean 1) at two times."""
        return math.expm1(self.log_variance * math.exp(-abs(lag_s) / self.correlation_s))


@dataclass(slots=True)
class Flicker:
    """One course of a scintillation in steps of equal length; stationary from the start.

    Args:
        law: its law.
        step_s: length of a step, s.
        rng: where it comes from.
    """

    law: Scintillation
    step_s: float
    rng: np.random.Generator
    _log: float = field(init=False, default=0.0)
    _number: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.law.index:
            self._log = float(self.rng.normal())

    def at_step(self, number: int) -> float:
        """Received light during step `number` over its mean; never asked backwards."""
        if not self.law.index:
            return 1.0
        kept = math.exp(-self.step_s / self.law.correlation_s)
        while self._number < number:  # step by step: the course must not depend on which steps are asked for
            self._log = kept * self._log + math.sqrt(1.0 - kept**2) * float(self.rng.normal())
            self._number += 1
        s = math.sqrt(self.law.log_variance)
        return math.exp(s * self._log - s**2 / 2.0)


@dataclass(frozen=True, slots=True)
class FlickeringCourse:
    """An ArmCourse through the air: conditions step by step, the flicker of the light in them.

    Attributes:
        flicker: of the light, in the course's steps.
        conditions: start of a step (s) and the light over its mean -> conditions of that step.
    """

    flicker: Flicker
    conditions: Callable[[float, float], ArmConditions]

    @property
    def step_s(self) -> float | None:
        """See ArmCourse."""
        return self.flicker.step_s

    def at(self, t_s: float) -> ArmConditions:
        """See ArmCourse."""
        return self.conditions(t_s, self.flicker.at_step(round(t_s / self.flicker.step_s)))
