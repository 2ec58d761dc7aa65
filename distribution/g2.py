"""Second-order correlations at zero delay: of two beams, of one beam on several detectors, and of heralded photons.

g2 compares pairs of clicks in a window with what clicks that know nothing of each other would give. Photon pairs show
far more (g2 of the two beams, which is about the coincidence-to-accidental ratio), thermal light 1 + 1/K with K modes,
coherent light 1, single photons 0. For heralded photons (Grangier, Roger and Aspect, Europhys. Lett. 1, 173 (1986))

    g2_h(0) = N_h N_h12 / (N_h1 N_h2)

with the heralds N_h, those with a click of each detector, and those with both. All pairs in the window count, not the
greedy ones. Windows are FULL widths, all delays must have been taken off.
"""

from __future__ import annotations

import math

import numpy as np

from distribution.coincidence import SHIFTED_WINDOWS, accidentals
from distribution.errors import ParameterError
from distribution.estimates import Estimate, ratio
from distribution.kernels.heralded import count_heralded
from distribution.kernels.match import count_pairs
from distribution.tags import TimesPs, TimeTags
from distribution.times import ascending_times

_MOST_DETECTORS = 64


def cross_g2(a_ps: TimesPs, b_ps: TimesPs, window_ps: int, *, period_ps: int | None = None) -> Estimate | None:
    """g2 of two different beams or detectors at zero delay, averaged over the window.

    Args:
        a_ps, b_ps: shape (n,) and (m,), int64, ps, ascending, on one clock.
        window_ps: FULL width.
        period_ps: of a pulsed source: compares with pairs one or more whole periods apart. None: continuous light.

    Returns:
        None when no accidental pair was seen to compare with.

    Raises:
        ParameterError: as `accidentals`.
    """
    expected = accidentals(a_ps, b_ps, window_ps, period_ps=period_ps)
    half_ps = window_ps // 2
    return ratio(count_pairs(a_ps, b_ps, -half_ps, half_ps), expected, weight_below=SHIFTED_WINDOWS)


def beam_g2(tags: TimeTags, window_ps: int, *, period_ps: int | None = None) -> Estimate | None:
    """g2 of one beam that a splitter or analyser shares among several detectors (Hanbury Brown and Twiss).

    Every two clicks of different detectors count, each once. A dead time that one click imposes on all detectors, or
    clicks merged by the tagger, show as a g2 too small.

    Args:
        tags: of one station.
        window_ps, period_ps: as for `cross_g2`.

    Returns:
        None with fewer than two detectors, or without accidental pairs to compare with.

    Raises:
        ParameterError: as `accidentals`.
    """
    alone = [tags.select(c).t_ps for c in tags.counts()]
    half_ps = window_ps // 2
    within = count_pairs(tags.t_ps, tags.t_ps, -half_ps, half_ps)
    within -= sum(count_pairs(t, t, -half_ps, half_ps) for t in alone)
    expected = accidentals(tags.t_ps, tags.t_ps, window_ps, period_ps=period_ps)
    expected -= sum(accidentals(t, t, window_ps, period_ps=period_ps) for t in alone)
    # Each two clicks were met twice, from either side, at zero delay and at the shifted ones.
    return ratio(within / 2, expected / 2, weight_below=SHIFTED_WINDOWS)


def heralded_g2(herald_ps: TimesPs, tags: TimeTags, window_ps: int) -> Estimate | None:
    """g2_h(0) of the photons that another beam heralds, on two or more detectors.

    With more than two detectors the counts of all pairs of them are added, above and below.

    Args:
        herald_ps: shape (n,), int64, ps, ascending: clicks of the heralding beam.
        tags: of the heralded beam, on the same clock; at most 64 detectors.
        window_ps: FULL width of the window around each herald.

    Returns:
        None when fewer than two detectors clicked with a herald.

    Raises:
        ParameterError: unordered times, a window below 1 ps, or more than 64 detectors.
    """
    heralds, t_ps = ascending_times(herald_ps, name="herald_ps"), ascending_times(tags.t_ps, name="tags")
    detectors = list(tags.counts())
    if window_ps < 1 or len(detectors) > _MOST_DETECTORS:
        raise ParameterError(f"heralded g2 needs a window of 1 ps or more and at most {_MOST_DETECTORS} detectors")
    numbers = np.zeros(256, np.uint8)
    numbers[detectors] = np.arange(len(detectors))
    single = np.zeros(_MOST_DETECTORS, np.int64)
    both = count_heralded(heralds, t_ps, numbers[tags.channel], window_ps // 2, single)
    # Sum over pairs i < j of N_i N_j.
    products = (float(single.sum()) ** 2 - float((single.astype(np.float64) ** 2).sum())) / 2.0
    if not products:
        return None
    # What independent clicks would give is known far better than the few triples: its error is left out.
    expected = products / heralds.size
    return ratio(both, expected, weight_below=math.inf)
