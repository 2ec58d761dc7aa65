"""Everything that one emitted pair, and everything that noise, can make the detectors do: the simulator's alphabet.

Detectors of a side are numbered 2 x basis + outcome. An outcome set lists what may happen and how often; drawing events
at the total rate and colouring each with one of them is exact for Poisson processes, so whoever can say how often each
outcome comes about (an honest link, an eavesdropper of any kind) can be simulated at full speed. An outcome may fire up
to two detectors a side and may be late by a fixed time on either side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError
from distribution.twoqubit import TwoQubit

NOBODY = 255
"""Detector number of "no click"."""

Floats = npt.NDArray[np.float64]
Detectors = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeSet:
    """Outcomes that exclude each other.

    Attributes:
        weight: shape (n,), probability per emitted pair, or events per second; not negative.
        alice, bob: shape (n, 2), uint8, the detectors that click; NOBODY where none does, never only in second place.
        late_alice_ps, late_bob_ps: shape (n,), float64, what the clicks are late by on top of everything else, ps.
    """

    weight: Floats
    alice: Detectors
    bob: Detectors
    late_alice_ps: Floats
    late_bob_ps: Floats

    def __post_init__(self) -> None:
        if not np.all(self.weight >= 0.0):
            raise ParameterError(f"an outcome has the weight {self.weight.min()}: it must not be negative")

    def __len__(self) -> int:
        return int(self.weight.size)

    def scaled(self, factor: float) -> OutcomeSet:
        """The same outcomes, `factor` times as often."""
        return replace(self, weight=self.weight * factor)

    def delayed(self, *, alice_ps: float = 0.0, bob_ps: float = 0.0) -> OutcomeSet:
        """The same outcomes, later (negative: earlier) on either side."""
        return replace(self, late_alice_ps=self.late_alice_ps + alice_ps, late_bob_ps=self.late_bob_ps + bob_ps)


def outcome_set(rows: list[tuple[float, tuple[int, ...], tuple[int, ...]]]) -> OutcomeSet:
    """Outcomes from (weight, Alice's detectors, Bob's detectors), none late."""

    def hits(detectors: list[tuple[int, ...]]) -> Detectors:
        return np.array([(*d, NOBODY, NOBODY)[:2] for d in detectors], np.uint8).reshape(-1, 2)

    weight = np.array([w for w, _, _ in rows], np.float64)
    late = np.zeros(len(rows))
    return OutcomeSet(weight, hits([a for _, a, _ in rows]), hits([b for *_, b in rows]), late, late)


def joined(*sets: OutcomeSet) -> OutcomeSet:
    """All outcomes of several sets."""
    return OutcomeSet(
        np.concatenate([s.weight for s in sets]),
        np.concatenate([s.alice for s in sets]),
        np.concatenate([s.bob for s in sets]),
        np.concatenate([s.late_alice_ps for s in sets]),
        np.concatenate([s.late_bob_ps for s in sets]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SideOptics:
    """An analyser and its detectors, as one photon sees them.

    Attributes:
        share: shape (bases,), probability that a photon is measured in each basis; adds up to at most 1.
        axis: shape (bases, 3), unit vector on the Poincare sphere of outcome 0 of each basis.
        efficiency: shape (2 bases,), chance that a photon bound for that detector makes it click, the arm included.
        noise_cps: shape (2 bases,), clicks per second without a photon of the source.
    """

    share: Floats
    axis: Floats
    efficiency: Floats
    noise_cps: Floats

    @property
    def detectors(self) -> int:
        """Number of detectors."""
        return int(self.efficiency.size)

    def chance(self, stokes: Floats) -> Floats:
        """Chance of each detector to click for a photon of this Stokes vector, shape (2 bases,)."""
        along = np.clip(self.axis @ stokes, -1.0, 1.0)
        ideal = self.share[:, None] * (1.0 + np.stack([along, -along], axis=1)) / 2.0
        clicks: Floats = ideal.reshape(-1) * self.efficiency
        return clicks


@dataclass(frozen=True, slots=True, eq=False)
class LinkOptics:
    """What is between the source and the clicks at one moment, without an eavesdropper."""

    state: TwoQubit
    alice: SideOptics
    bob: SideOptics


@dataclass(frozen=True, slots=True, eq=False)
class LinkOutcomes:
    """Outcomes per emitted pair (weights are probabilities), and of noise (weights are events per second)."""

    pairs: OutcomeSet
    noise: OutcomeSet


class Eavesdropper(Protocol):
    """Somebody who changes what the detectors do."""

    def outcomes(self, optics: LinkOptics) -> LinkOutcomes:
        """What happens to pairs and noise with her at work."""
        ...


def pair_outcomes(optics: LinkOptics) -> OutcomeSet:
    """What one emitted pair does: every joint click, and every click whose partner is lost."""
    alice, bob = optics.alice, optics.bob
    rows: list[tuple[float, tuple[int, ...], tuple[int, ...]]] = []
    joint = np.zeros((alice.detectors, bob.detectors))
    for k, (share_a, axis_a) in enumerate(zip(alice.share, alice.axis, strict=True)):
        for m, (share_b, axis_b) in enumerate(zip(bob.share, bob.axis, strict=True)):
            table = share_a * share_b * optics.state.probabilities(axis_a, axis_b)
            joint[2 * k : 2 * k + 2, 2 * m : 2 * m + 2] = table
    joint *= np.outer(alice.efficiency, bob.efficiency)
    rows += [(joint[i, j], (i,), (j,)) for i in range(alice.detectors) for j in range(bob.detectors)]
    # Rounding of order 1e-17 is clipped when an efficiency is 1 and nothing can be lost.
    lone_a = np.maximum(alice.chance(optics.state.alice) - joint.sum(axis=1), 0.0)
    lone_b = np.maximum(bob.chance(optics.state.bob) - joint.sum(axis=0), 0.0)
    rows += [(lone_a[i], (i,), ()) for i in range(alice.detectors)]
    rows += [(lone_b[j], (), (j,)) for j in range(bob.detectors)]
    return outcome_set(rows)


def noise_outcomes(optics: LinkOptics) -> OutcomeSet:
    """Clicks without a photon of the source, each alone."""
    rows: list[tuple[float, tuple[int, ...], tuple[int, ...]]] = []
    rows += [(rate, (i,), ()) for i, rate in enumerate(optics.alice.noise_cps)]
    rows += [(rate, (), (j,)) for j, rate in enumerate(optics.bob.noise_cps)]
    return outcome_set(rows)


class Nobody:
    """No eavesdropper: the link as it is."""

    def outcomes(self, optics: LinkOptics) -> LinkOutcomes:
        """See Eavesdropper."""
        return LinkOutcomes(pair_outcomes(optics), noise_outcomes(optics))
