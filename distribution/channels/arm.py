"""What an arm of the link does to light at one moment: the seam between channel physics and the simulator.

A channel (fibre, free space, a satellite pass) is parameters. Started with its own random generator it becomes a
course, which is asked for the conditions step by step. Within a step everything is constant but the delay, which
follows its rate and its bend.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from distribution.bounds import require


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmConditions:
    """One arm during one step.

    Attributes:
        transmittance: share of the source's photons that reach the analyser, in [0, 1]; the detectors' efficiencies
            come on top.
        background_cps: unpolarised photons per second, not the source's, that reach the analyser (Raman, sky).
        delay_ps: how much later than it left the source light arrives at the start of the step, ps.
        delay_rate: change of that delay, ps per ps.
        delay_bend_per_s: change of that rate, 1/s.
        polarisation: shape (3, 3), linear map of the photon's Stokes vector (see `distribution.twoqubit`), or None.
        dispersion_ps: delay of a photon whose frequency is off its mean by one standard deviation, ps; signed.
            Partners' offsets are opposite, so equal values in both arms spread the time difference and opposite
            ones leave it.
    """

    transmittance: float
    background_cps: float = 0.0
    delay_ps: float = 0.0
    delay_rate: float = 0.0
    delay_bend_per_s: float = 0.0
    polarisation: npt.NDArray[np.float64] | None = None
    dispersion_ps: float = 0.0

    def __post_init__(self) -> None:
        require("transmittance", self.transmittance, 0.0, 1.0)
        require("background_cps", self.background_cps, 0.0, 1e10)
        require("delay_rate", self.delay_rate, -1e-3, 1e-3)


class ArmCourse(Protocol):
    """An arm as time goes on."""

    @property
    def step_s(self) -> float | None:
        """Length of a step, s; None: conditions never change."""
        ...

    def at(self, t_s: float) -> ArmConditions:
        """Conditions of the step that starts at true time `t_s`; asked step by step, never backwards."""
        ...


class Channel(Protocol):
    """Parameters of an arm."""

    def start(self, rng: np.random.Generator) -> ArmCourse:
        """A course of this channel; equal generators give equal courses."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantCourse:
    """An arm whose conditions never change."""

    conditions: ArmConditions

    @property
    def step_s(self) -> float | None:
        """See ArmCourse."""
        return None

    def at(self, t_s: float) -> ArmConditions:
        """See ArmCourse."""
        return self.conditions


@dataclass(frozen=True, slots=True)
class AttenuatedCourse:
    """An arm with something in front of it that takes a share of the source's photons and none of the background."""

    course: ArmCourse
    transmittance: float

    @property
    def step_s(self) -> float | None:
        """See ArmCourse."""
        return self.course.step_s

    def at(self, t_s: float) -> ArmConditions:
        """See ArmCourse."""
        conditions = self.course.at(t_s)
        return replace(conditions, transmittance=conditions.transmittance * self.transmittance)
