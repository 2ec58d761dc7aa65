"""Which outcome an event has: alias tables from the arms' conditions, the analysers' bases and the eavesdropper.

Outcomes are worked out only where something changed. When nothing but the arms' transmittance and background changes,
as it does a thousand times a second through turbulent air, honest photons are lost independently: the weights of pairs
are bilinear in the two transmittances and those of noise in the two backgrounds. Four probes give the coefficients. An
eavesdropper may do as she likes, so a fifth probe checks them, and where it fails every step is worked out by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distribution.channels.arm import ArmConditions
from distribution.errors import ParameterError
from distribution.kernels.generate import NOISE, NOTHING, PHOTONS, fill_alias
from distribution.outcomes import NOBODY, Eavesdropper, LinkOutcomes, OutcomeSet, joined
from distribution.scenario import Scenario
from distribution.source import PairSource
from distribution.units import PS_PER_S

Floats = npt.NDArray[np.float64]
Arms = tuple[ArmConditions, ArmConditions]

MAX_OUTCOMES = 1024
# Where nothing can click, an event a day keeps the mean gap a number.
_LEAST_CPS = 1e-5
_CORNERS = ((0.5, 0.5), (1.0, 0.5), (0.5, 1.0), (1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Colouring:
    """Alias tables, and which step and pair of bases uses which; see `kernels.generate.generate` for the arrays."""

    tables: npt.NDArray[np.int64]
    gap_ps: Floats
    keep: npt.NDArray[np.uint64]
    alias: npt.NDArray[np.uint16]
    kind: npt.NDArray[np.uint8]
    hits: npt.NDArray[np.uint32]
    late_ps: Floats
    theta: Floats


@dataclass(frozen=True, slots=True)
class _Events:
    """What can happen in some steps with the analysers in one pair of bases: rates of shape (steps or 1, n)."""

    rate: Floats
    theta: Floats
    kind: npt.NDArray[np.uint8]
    hits: npt.NDArray[np.uint8]
    late_ps: Floats


class Colourist:
    """Makes the colouring of stretches of a link.

    Args:
        scenario: the link.
        eavesdropper: who changes what the detectors do.
    """

    def __init__(self, scenario: Scenario, eavesdropper: Eavesdropper) -> None:
        self._scenario = scenario
        self._eavesdropper = eavesdropper
        self._choices = scenario.basis_choices

    def colour(self, steps: Sequence[Arms]) -> Colouring:
        """Tables for consecutive steps.

        Raises:
            ParameterError: the eavesdropper makes more outcomes than a table holds.
        """
        groups = []
        for stop, run in _runs(steps):
            groups += [(part_stop, events) for part_stop, events in self._run(stop - len(run), run)]
        return _assemble(groups)

    def outcomes(self, arms: Arms, bases: tuple[int, int] = (0, 0)) -> LinkOutcomes:
        """What pairs and noise do at one moment, active analysers turned to these bases."""
        return self._eavesdropper.outcomes(self._scenario.optics(*arms, bases))

    def _run(self, first: int, steps: Sequence[Arms]) -> Iterator[tuple[int, list[_Events]]]:
        """Events per pair of bases, for the whole run at once if it can be."""
        alike = [self._events_of_run(steps, bases) for bases in self._choices]
        whole = [events for events in alike if events is not None]
        if len(whole) == len(alike):
            yield first + len(steps), whole
            return
        for k, step in enumerate(steps):
            yield first + k + 1, [self._events([self.outcomes(step, bases)], None) for bases in self._choices]

    def _events_of_run(self, steps: Sequence[Arms], bases: tuple[int, int]) -> _Events | None:
        """Events of steps that differ at most in transmittance and background; None if probing does not do."""
        scale = np.array([(a.transmittance, b.transmittance) for a, b in steps])
        light = np.array([(a.background_cps, b.background_cps) for a, b in steps])
        if not (np.ptp(scale, axis=0).any() or np.ptp(light, axis=0).any()):
            return self._events([self.outcomes(steps[0], bases)], None)
        top, glare = np.maximum(scale.max(axis=0), 1e-30), np.maximum(light.max(axis=0), 1e-30)
        probes = [self.outcomes(_at(steps[0], top * corner, glare * corner), bases) for corner in _CORNERS]
        mixes = _mix(scale / top), _mix(light / glare)
        lowest = int(np.argmin(scale.prod(axis=1)))
        check = self.outcomes(steps[lowest], bases)
        if not _fits(probes, check, mixes[0][lowest], mixes[1][lowest]):
            return None
        return self._events(probes, mixes)

    def _events(self, probes: list[LinkOutcomes], mixes: tuple[Floats, Floats] | None) -> _Events:
        pairs, noise = [p.pairs for p in probes], [p.noise for p in probes]
        joint, dark = (np.array([s.weight * _visible(s) for s in sets]) for sets in (pairs, noise))
        if mixes is not None:
            joint, dark = np.maximum(mixes[0] @ joint, 0.0), np.maximum(mixes[1] @ dark, 0.0)
        rate, theta = cluster_law(self._scenario.pairs, joint.sum(axis=1))
        events = joined(pairs[0], noise[0])
        return _Events(
            rate=np.concatenate([rate[:, None] * joint, dark], axis=1),
            theta=theta,
            kind=np.repeat(np.array([PHOTONS, NOISE], np.uint8), [len(pairs[0]), len(noise[0])]),
            hits=np.concatenate([events.alice, events.bob], axis=1),
            late_ps=np.stack([events.late_alice_ps, events.late_bob_ps], axis=1),
        )


def cluster_law(source: PairSource, seen: Floats) -> tuple[Floats, Floats]:
    """How pairs of which a share `seen` makes a click come in clusters.

    A negative binomial number of mean m and K modes is a Poisson number, of mean K ln(1 + m/K), of clusters of
    logarithmic size with theta = (m/K) / (1 + m/K).

    Returns:
        clusters per second and per unit of `seen`, and theta; 0 where all clusters are single pairs.
    """
    if source.pulses is None or math.isinf(source.pulses.mode_number):
        return np.full(seen.shape, source.pairs_per_s), np.zeros(seen.shape)
    per_mode = np.maximum(source.mean_pairs * seen / source.pulses.mode_number, 1e-300)
    return source.pairs_per_s * np.log1p(per_mode) / per_mode, per_mode / (1.0 + per_mode)


def _runs(steps: Sequence[Arms]) -> Iterator[tuple[int, Sequence[Arms]]]:
    """Longest runs of steps with equal polarisation maps, each with where it stops."""
    first = 0
    for k in range(1, len(steps) + 1):
        if k == len(steps) or not all(_turned_alike(*arms) for arms in zip(steps[k - 1], steps[k], strict=True)):
            yield k, steps[first:k]
            first = k


def _turned_alike(one: ArmConditions, other: ArmConditions) -> bool:
    if one.polarisation is None or other.polarisation is None or one is other:
        return one.polarisation is other.polarisation
    return bool(np.array_equal(one.polarisation, other.polarisation))


def _at(arms: Arms, transmittance: Floats, background_cps: Floats) -> Arms:
    a, b = (
        replace(arm, transmittance=float(t), background_cps=float(g))
        for arm, t, g in zip(arms, transmittance, background_cps, strict=True)
    )
    return a, b


def _mix(place: Floats) -> Floats:
    """Shares of the four corners in a bilinear function at places (1, 1) = the highest, shape (s, 2) to (s, 4)."""
    u, v = (2.0 * place - 1.0).T
    return np.stack([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v], axis=1)


def _visible(events: OutcomeSet) -> npt.NDArray[np.bool_]:
    return (events.alice[:, 0] != NOBODY) | (events.bob[:, 0] != NOBODY)


def _fits(probes: list[LinkOutcomes], check: LinkOutcomes, pair_mix: Floats, noise_mix: Floats) -> bool:
    """Whether the probes list the same events as the check and foretell how often they happen."""
    for name, mix in (("pairs", pair_mix), ("noise", noise_mix)):
        sets = [getattr(p, name) for p in (*probes, check)]
        for field in ("alice", "bob", "late_alice_ps", "late_bob_ps"):
            if not all(np.array_equal(getattr(sets[0], field), getattr(s, field)) for s in sets[1:]):
                return False
        told = mix @ np.array([s.weight for s in sets[:4]])
        scale = max(float(s.weight.max(initial=0.0)) for s in sets)
        if not np.allclose(told, sets[4].weight, rtol=1e-6, atol=1e-12 * scale):
            return False
    return True


def _assemble(groups: list[tuple[int, list[_Events]]]) -> Colouring:
    """All groups of steps as tables: one per step of the group, or one for all of it, and per pair of bases."""
    # Bases differ in their total rate: the slower ones are filled up with nothing, and so is a dark link.
    spare = any(len(choices) > 1 or choices[0].rate.sum(axis=1).min() < _LEAST_CPS for _, choices in groups)
    most = max(events.kind.size for _, choices in groups for events in choices) + spare
    columns = max(2, 1 << (most - 1).bit_length())
    if columns > MAX_OUTCOMES:
        raise ParameterError(f"{most} outcomes are more than the {MAX_OUTCOMES} that can be simulated")
    count = sum(len(events.rate) for _, choices in groups for events in choices)
    weight, kind = np.zeros((count, columns)), np.full((count, columns), NOTHING, np.uint8)
    hits, late = np.full((count, columns, 4), NOBODY, np.uint8), np.zeros((count, columns, 2))
    theta = np.zeros(count)
    tables, gaps = np.empty((groups[-1][0], len(groups[0][1])), np.int64), np.empty(groups[-1][0])
    row = first = 0
    for stop, choices in groups:
        total = np.maximum(np.max([events.rate.sum(axis=1) for events in choices], axis=0), _LEAST_CPS)
        gaps[first:stop] = PS_PER_S / total
        for column, events in enumerate(choices):
            rows, n = slice(row, row + len(events.rate)), events.kind.size
            weight[rows, :n], kind[rows, :n], theta[rows] = events.rate, events.kind, events.theta
            hits[rows, :n], late[rows, :n] = events.hits, events.late_ps
            if spare:
                weight[rows, -1] = np.maximum(total - events.rate.sum(axis=1), 0.0)
            tables[first:stop, column] = np.arange(rows.start, rows.stop)
            row = rows.stop
        first = stop
    keep, alias = np.empty(weight.shape, np.uint64), np.empty(weight.shape, np.uint16)
    fill_alias(weight, keep, alias)
    packed = (hits.astype(np.uint32) << np.array([0, 8, 16, 24], np.uint32)).sum(axis=2, dtype=np.uint32)
    return Colouring(tables, gaps, keep, alias, kind, packed, late, theta)
