"""One pass over Bob's events that aligns each of them and then learns from the pairs it may belong to."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel

# What `tally` counts: pairs in the core, those of them late in the cell, pairs within reach, and sums over the pairs'
# probabilities of being true: themselves, times the squared residual beyond what the state is unsure of, log odds.
CORE, LATE, WITHIN, TRUE, SQUARES, LOG_ODDS, TALLIES = 0, 1, 2, 3, 4, 5, 6


@inlined
def moved(state: npt.NDArray[np.float64], t: float, q: float) -> tuple[float, float, float, float, float, float]:
    """The covariance `t` seconds later: F P F' and the integrals of white jerk of density `q`."""
    c00, c01, c02, c11, c12, c22 = state[3], state[4], state[5], state[6], state[7], state[8]
    return (
        c00 + t * (2.0 * c01 + t * (c02 + c11 + t * (c12 + 0.25 * t * c22))) + q * t**5 / 20.0,
        c01 + t * (c02 + c11 + t * (1.5 * c12 + 0.5 * t * c22)) + q * t**4 / 8.0,
        c02 + t * (c12 + 0.5 * t * c22) + q * t**3 / 6.0,
        c11 + t * (2.0 * c12 + t * c22) + q * t**3 / 3.0,
        c12 + t * c22 + q * t**2 / 2.0,
        c22 + q * t,
    )


@kernel
def predicted(state: npt.NDArray[np.float64], s: float, walk: float) -> npt.NDArray[np.float64]:
    """The state of `follow` at the later time `s`, nothing having been seen."""
    t = s - state[9]
    later = np.empty(10)
    later[0] = state[0] + t * (state[1] + 0.5 * t * state[2])
    later[1] = state[1] + t * state[2]
    later[2] = state[2]
    later[3], later[4], later[5], later[6], later[7], later[8] = moved(state, t, walk * walk)
    later[9] = s
    return later


@kernel
def follow(  # noqa: C901 (one loop over events with their candidates, as the paper has it)
    a_ps: npt.NDArray[np.int64],
    b_ps: npt.NDArray[np.int64],
    reference_ps: int,
    offset_ps: int,
    state: npt.NDArray[np.float64],
    walk: float,
    variance: float,
    odds_ps: float,
    core_ps: float,
    near_ps: float,
    reach_ps: int,
    late_s: float,
    skip: int,
    stride: int,
    bin_ps: int,
    histogram: npt.NDArray[np.int32],
    tally: npt.NDArray[np.float64],
    aligned_ps: npt.NDArray[np.int64],
) -> None:
    """Sequential probabilistic data association: Bar-Shalom and Tse, Automatica 11, 451 (1975), eqs. for the update.

    t_alice = b - offset - lag(s), s = seconds since the reference. `state` is lag, lag', lag'' (ps, ps/s, ps/s^2) at
    the time state[9] (s), and before it the six entries 00 01 02 11 12 22 of their covariance. Between events the
    acceleration walks at random, `walk` ps/s^2 per root second. A pair has the density odds * normal against the
    accidental ones; each event is aligned before its own pairs are looked at, so every output depends on earlier
    events alone. All events are aligned; one in `stride`, the first after `skip`, has its pairs looked at.
    """
    first = np.int64(0)
    wait = np.int64(skip)
    q = walk * walk
    for j in range(b_ps.size):
        s = np.float64(b_ps[j] - reference_ps) * 1e-12
        t = s - state[9]
        lag = state[0] + t * (state[1] + 0.5 * t * state[2])
        whole = np.int64(math.floor(lag + 0.5))
        part = np.float64(whole) - lag
        out = b_ps[j] - offset_ps - whole
        aligned_ps[j] = out
        wait -= 1
        if wait >= 0:
            continue
        wait += stride
        # An update may have moved the alignment back by some ps, so the window may have to move back as well.
        while first > 0 and a_ps[first - 1] >= out - reach_ps:
            first -= 1
        while first < a_ps.size and a_ps[first] < out - reach_ps:
            first += 1
        weights = innovation = squares = 0.0
        p00 = p01 = p02 = p11 = p12 = p22 = total = 0.0
        k = first
        while k < a_ps.size and a_ps[k] <= out + reach_ps:
            whole_d = out - a_ps[k]
            d = np.float64(whole_d) + part
            k += 1
            tally[WITHIN] += 1.0
            histogram[(whole_d + reach_ps) // bin_ps] += 1
            if abs(d) <= core_ps:
                tally[CORE] += 1.0
                if s >= late_s:
                    tally[LATE] += 1.0
            if abs(d) > near_ps:
                continue
            if total == 0.0:
                p00, p01, p02, p11, p12, p22 = moved(state, t, q)
                total = p00 + variance
            if d * d <= 25.0 * total:
                weight = odds_ps * math.exp(-0.5 * d * d / total) / math.sqrt(2.0 * math.pi * total)
                weights += weight
                innovation += weight * d
                squares += weight * d * d
        if weights > 0.0:
            true = weights / (1.0 + weights)
            innovation /= 1.0 + weights
            squares /= 1.0 + weights
            g0, g1, g2 = p00 / total, p01 / total, p02 / total
            state[0] = lag + g0 * innovation
            state[1] += t * state[2] + g1 * innovation
            state[2] += g2 * innovation
            # What the measurement takes from the covariance, less what not knowing the true pair gives back.
            taken = true * total - (squares - innovation * innovation)
            state[3] = p00 - taken * g0 * g0
            state[4] = p01 - taken * g0 * g1
            state[5] = p02 - taken * g0 * g2
            state[6] = p11 - taken * g1 * g1
            state[7] = p12 - taken * g1 * g2
            state[8] = p22 - taken * g2 * g2
            state[9] = s
            tally[TRUE] += true
            tally[SQUARES] += squares - true * p00
            tally[LOG_ODDS] += math.log1p(weights)
