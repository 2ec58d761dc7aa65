"""Closed forms of what detectors make of the clicks offered to them: dead time, recovery, afterpulses, pulses.

A detector that is blind for tau after each click shows N / (1 + N tau) of N offered clicks per second, a paralysable
one N exp(-N tau) (Knoll, Radiation Detection and Measurement, chapter 4). Recovery as 1 - exp(-t/r) adds r to tau to
first order in N r. From a pulsed source, clicks come one period T apart, so a click blinds ceil(tau/T) - 1 pulses,
each of which would have clicked with its own probability.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from distribution.scenario import Station
from distribution.source import PairSource
from distribution.units import PS_PER_NS, PS_PER_S

Floats = npt.NDArray[np.float64]


def silence(mean: Floats, modes: float) -> Floats:
    """Chance that a negative binomial number of this mean is 0: (1 + m/K)^-K; exp(-m) for infinitely many modes."""
    if math.isinf(modes):
        return np.exp(-mean)
    none: Floats = (1.0 + mean / modes) ** -modes
    return none


def blind_groups(station: Station) -> Floats:
    """Which channels blind each other, shape (channels, channels), 1 or 0."""
    owner = station.analyser.owner
    if station.detectors.mutes_station:
        return np.ones((owner.size, owner.size))
    return (owner[:, None] == owner[None, :]).astype(np.float64)


def settled_rates(station: Station, source: PairSource, photons: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """What of the offered clicks is seen.

    Args:
        station: detectors and analyser.
        source: tells whether photons come in pulses.
        photons, noise: shape (channels,), clicks offered per second.

    Returns:
        shape (channels,) each: share of time in which each channel can click, and its tags per second, afterpulses
        included.
    """
    groups, detectors = blind_groups(station), station.detectors
    dead_s = detectors.dead_ps / PS_PER_S
    recovery_s = detectors.recovery_ns * PS_PER_NS / PS_PER_S
    photons, blinding = _pulsed(source, groups, photons, dead_s)
    seen = photons + noise
    for _ in range(60):  # afterpulses follow what is seen, and blind in turn: converges as their chance to the n-th
        after = _afterpulses(station, seen)
        steady = groups @ (noise + after)
        load = blinding + steady * dead_s
        live = np.exp(-load) if detectors.paralysable else 1.0 / (1.0 + load + (groups @ photons + steady) * recovery_s)
        if detectors.paralysable:
            live = live / (1.0 + (groups @ photons + steady) * recovery_s)
        seen = (photons + noise + after) * live
    return live, seen


def _pulsed(source: PairSource, groups: Floats, photons: Floats, dead_s: float) -> tuple[Floats, Floats]:
    """Photons offered, no more than one per pulse to detectors that blind each other, and how much they blind them."""
    if source.pulses is None or not dead_s:
        return photons, groups @ photons * dead_s
    rate, modes = source.pulses.rate_hz, source.pulses.mode_number
    mean = groups @ photons / rate
    chance = 1.0 - silence(mean, modes)
    offered = photons * np.divide(chance, mean, out=np.ones_like(mean), where=mean > 0)
    return offered, chance * (math.ceil(dead_s * rate - 1e-9) - 1)


def _afterpulses(station: Station, seen: Floats) -> Floats:
    """Afterpulses that outlast the dead time after their own click, per second and channel."""
    after, detectors = station.detectors.afterpulsing, station.detectors
    if after is None:
        return np.zeros_like(seen)
    decay = np.array(after.decay_ns)
    outlast = np.exp(-detectors.dead_ns / decay) * decay / (decay + detectors.recovery_ns)
    rate = seen * after.probability * float(np.array(after.share) @ outlast)
    if not station.analyser.active:
        return rate
    shares = np.array([setting.share for setting in station.analyser.bases])
    spread: Floats = np.outer(shares, rate.reshape(-1, 2).sum(axis=0)).reshape(-1)
    return spread
