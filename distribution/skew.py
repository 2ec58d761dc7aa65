"""Detector skew: how much later each detector of a station reports than the others, found from the pairs themselves.

A photon pair that clicks in Alice's detector i and Bob's j shows the delay d_b[j] - d_a[i] + common. Weighted least
squares over all pairs of detectors gives every d with its standard error. Two sums are free and are fixed to zero: the
mean of the d of each station; a delay of a whole station is the clock's business. Detectors that never share pairs
with the others cannot be placed and stay None.

Skew matters twice: it widens the coincidence peak, and it tells everybody who reads announced times which detector
fired (Lamas-Linares and Kurtsiefer, Opt. Express 15, 9388 (2007)). `own_skew` calibrates one station from what the
other announces anyway, times and bases, without a single outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.coincidence import SHIFTED_WINDOWS, accidental_delays_ps
from distribution.errors import ParameterError
from distribution.kernels.skew import add_moments, shift_and_settle
from distribution.tags import EMPTY, TimesPs, TimeTags, join
from distribution.times import ascending_times, check_one_clock

Floats = npt.NDArray[np.float64]

LEAST_PAIRS = 20
"""A pair of detectors counts when this many true coincidences, and five sigma, stand above the accidentals."""
LARGEST_PS = 1_000_000
"""Skews beyond this are no detector's: order is mended by insertion, whose cost grows with them."""
_BASIS_DETECTORS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDelays:
    """Delays of each pair of groups, usually detectors; entries without enough pairs are nan.

    Attributes:
        pairs: shape (n, m), coincidences in the window with the accidentals taken off.
        mean_ps: shape (n, m), mean of b - a, ps.
        error_ps: shape (n, m), standard error of that mean, ps.
    """

    pairs: Floats
    mean_ps: Floats
    error_ps: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """Delays of each station's detectors against the mean of that station.

    Attributes:
        a_ps, b_ps: by detector number, ps, positive where the detector reports late; None where unknown.
        a_error_ps, b_error_ps: standard errors, ps.
        common_ps: delay of b against a that all pairs share.
        chi2, degrees: misfit of the pairs of detectors to these delays, and its degrees of freedom.
    """

    a_ps: tuple[float | None, ...]
    b_ps: tuple[float | None, ...]
    a_error_ps: tuple[float | None, ...]
    b_error_ps: tuple[float | None, ...]
    common_ps: float
    chi2: float
    degrees: int


def estimate_skew(a: TimeTags, b: TimeTags, window_ps: int) -> Skew | None:
    """Skew of both stations' detectors from both recordings, on one clock.

    The delays are applied and measured once more, because a window that cuts one side of a late detector's peak makes
    its first figure too small.

    Args:
        a, b: tags on one clock (see `distribution.clock`).
        window_ps: FULL width of the window to look in; the delays must lie well inside.

    Returns:
        The skew, or None when no two detectors share enough pairs.

    Raises:
        ParameterError: unordered times, or a window below 1 ps.
    """
    first = _solve_both(pair_delays(a, b, window_ps))
    if first is None:
        return None
    rest = _solve_both(pair_delays(corrected(a, first.a_ps), corrected(b, first.b_ps), window_ps))
    if rest is None:
        return first
    return Skew(
        a_ps=_added(first.a_ps, rest.a_ps),
        b_ps=_added(first.b_ps, rest.b_ps),
        a_error_ps=rest.a_error_ps,
        b_error_ps=rest.b_error_ps,
        common_ps=rest.common_ps,
        chi2=rest.chi2,
        degrees=rest.degrees,
    )


def own_skew(
    own: TimeTags, other_ps: TimesPs, other_basis: npt.NDArray[np.uint8], window_ps: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Skew of one station's four detectors from the times and bases of the other, without any outcome.

    In unlike bases the other side's outcomes are independent of ours, so both detectors of a basis see the same mean
    delay and their difference is ours alone. In like bases they are not: there an unknown of its own, with opposite
    signs for the two outcomes, takes up the other side's skew. What is left over places our two bases, exactly when the
    other side's two detectors of a basis are equally efficient.

    Args:
        own: tags of detectors 0..3 = H, V, D, A.
        other_ps: shape (m,), int64, ps, ascending, on the same clock.
        other_basis: shape (m,), uint8, 0 = Z or 1 = X for each of them.
        window_ps: FULL width of the window to look in.

    Returns:
        (delays, standard errors) of the four detectors, ps, mean zero; None when a pair of detector and basis shows too
        few coincidences.

    Raises:
        ParameterError: another detector or basis, unordered times, or a window below 1 ps.
    """
    if (len(own) and own.channel.max() >= _BASIS_DETECTORS) or (other_basis.size and other_basis.max() > 1):
        raise ParameterError("own skew needs detectors 0..3 (H, V, D, A) and bases 0 and 1")
    found = pair_delays(own, TimeTags(other_ps, other_basis), window_ps, shape=(_BASIS_DETECTORS, 2))
    if np.isnan(found.mean_ps).any():
        return None
    rows = []
    for detector in range(_BASIS_DETECTORS):
        for basis in range(2):
            row = np.zeros(8)  # our four delays, the other side's mean in each basis, its half skew in each basis
            row[detector], row[4 + basis] = -1.0, 1.0
            row[6 + basis] = (detector >> 1 == basis) * (1 - 2 * (detector & 1))
            rows.append(row)
    gauge = np.array([[1.0] * 4 + [0.0] * 4])
    value, error, _ = _least_squares(np.array(rows), found.mean_ps.ravel(), found.error_ps.ravel(), gauge)
    return tuple(value[:4].tolist()), tuple(error[:4].tolist())


def pair_delays(a: TimeTags, b: TimeTags, window_ps: int, *, shape: tuple[int, int] | None = None) -> PairDelays:
    """Mean delay of every pair of detectors, accidentals taken off.

    All pairs in the window count, not the greedy ones, so that one detector's pairs do not depend on another's.

    Args:
        a, b: tags on one clock.
        window_ps: FULL width of the window to look in.
        shape: numbers of detectors; None: up to the highest that fired.

    Raises:
        ParameterError: unordered times, or a window below 1 ps.
    """
    near_ps, far_ps = accidental_delays_ps(window_ps)
    a_ps, b_ps = ascending_times(a.t_ps, name="a"), ascending_times(b.t_ps, name="b")
    check_one_clock(a_ps, b_ps)
    a_channel, b_channel = np.ascontiguousarray(a.channel), np.ascontiguousarray(b.channel)
    size = shape or (int(a_channel.max(initial=0)) + 1, int(b_channel.max(initial=0)) + 1)

    def moments(least_ps: int, most_ps: int) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
        count, total, square = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
        add_moments(a_ps, a_channel, b_ps, b_channel, least_ps, most_ps, count, total, square)
        return count, total, square

    background = (moments(near_ps, far_ps)[0] + moments(-far_ps, -near_ps)[0]) / SHIFTED_WINDOWS
    return _means(*moments(-(window_ps // 2), window_ps // 2), background)


def _means(count: npt.NDArray[np.int64], total: Floats, square: Floats, background: Floats) -> PairDelays:
    net = count - background
    enough = (net >= LEAST_PAIRS) & (net >= 5.0 * np.sqrt(background))
    safe = np.where(enough, net, 1.0)
    # Accidentals are spread evenly about zero: they add nothing to the sum of delays, only to its variance.
    mean = np.where(enough, total / safe, np.nan)
    # Variance of a sum over a Poisson number of terms is the sum of their squares, here about the mean.
    variance = (square - 2.0 * mean * total + mean**2 * count) / safe**2
    error = np.sqrt(np.maximum(variance, 1.0 / 12.0 / safe))  # not below what rounding to 1 ps leaves
    return PairDelays(pairs=net, mean_ps=mean, error_ps=np.where(enough, error, np.nan))


def _solve_both(delays: PairDelays) -> Skew | None:
    """Least squares for the largest set of detectors that pairs connect."""
    known = _largest_connected(delays)
    i, j = np.nonzero(known)
    if not i.size:
        return None
    n, m = known.shape
    design = np.zeros((i.size, n + m + 1))
    rows = np.arange(i.size)
    design[rows, i], design[rows, n + j], design[rows, n + m] = -1.0, 1.0, 1.0
    seen_a, seen_b = known.any(axis=1), known.any(axis=0)
    used = np.concatenate([seen_a, seen_b, [True]])
    gauge = np.zeros((2, n + m + 1))
    gauge[0, :n], gauge[1, n : n + m] = seen_a, seen_b
    value, error, chi2 = _least_squares(design[:, used], delays.mean_ps[i, j], delays.error_ps[i, j], gauge[:, used])
    whole, whole_error = np.full(used.size, np.nan), np.full(used.size, np.nan)
    whole[used], whole_error[used] = value, error
    return Skew(
        a_ps=_optional(whole[:n]),
        b_ps=_optional(whole[n : n + m]),
        a_error_ps=_optional(whole_error[:n]),
        b_error_ps=_optional(whole_error[n : n + m]),
        common_ps=float(value[-1]),
        chi2=chi2,
        degrees=int(i.size - (seen_a.sum() + seen_b.sum() - 1)),
    )


def _largest_connected(delays: PairDelays) -> npt.NDArray[np.bool_]:
    """The known pairs of the connected set of detectors with most coincidences, shape (n, m)."""
    left: npt.NDArray[np.bool_] = ~np.isnan(delays.mean_ps)
    best, best_pairs = np.zeros_like(left), 0.0
    while left.any():
        part = np.zeros_like(left)
        part.flat[int(left.argmax())] = True
        while True:
            grown = left & (part.any(axis=1, keepdims=True) | part.any(axis=0, keepdims=True))
            if grown.sum() == part.sum():
                break
            part = grown
        pairs = float(delays.pairs[part].sum())
        if pairs > best_pairs:
            best, best_pairs = part, pairs
        left &= ~part
    return best


def _least_squares(design: Floats, y: Floats, error: Floats, gauge: Floats) -> tuple[Floats, Floats, float]:
    """Weighted least squares within gauge @ x = 0: solution, its standard errors, chi squared.

    The directions that the gauge leaves are an orthonormal basis of its null space, in which the problem is regular.
    """
    _, _, turned = np.linalg.svd(gauge)
    free = turned[np.linalg.matrix_rank(gauge) :].T
    scaled = (design @ free) / error[:, None]
    inverse = np.linalg.pinv(scaled.T @ scaled)
    x = free @ (inverse @ (scaled.T @ (y / error)))
    covariance = free @ inverse @ free.T
    chi2 = float((((design @ x - y) / error) ** 2).sum())
    return x, np.sqrt(np.maximum(np.diag(covariance), 0.0)), chi2


def _optional(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(v) else float(v) for v in values)


def _added(one: Sequence[float | None], other: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if x is None or y is None else x + y for x, y in zip(one, other, strict=True))


def corrected(tags: TimeTags, delays_ps: Sequence[float | None]) -> TimeTags:
    """Tags with each detector's delay taken off, to whole picoseconds, in order again.

    Args:
        tags: one station's tags.
        delays_ps: by detector number, ps; None, and detectors beyond the end, are left alone.

    Raises:
        ParameterError: a delay above `LARGEST_PS`, or unordered times.
    """
    shift_ps = _shifts(delays_ps)
    t_ps, channel = ascending_times(tags.t_ps, name="tags").copy(), tags.channel.copy()
    shift_and_settle(t_ps, channel, shift_ps)
    return TimeTags(t_ps, channel)


class SkewCorrector:
    """`corrected` for a stream that arrives in pieces; the same tags come out however it is cut.

    Args:
        delays_ps: as for `corrected`.

    Raises:
        ParameterError: a delay above `LARGEST_PS`.
    """

    def __init__(self, delays_ps: Sequence[float | None]) -> None:
        self._delays_ps = tuple(delays_ps)
        self._latest_ps = int(_shifts(delays_ps).max())
        self._held = EMPTY

    def feed(self, tags: TimeTags) -> TimeTags:
        """The tags, corrected, that no later one can precede.

        Raises:
            TagFormatError: the piece starts before the last one ended.
        """
        self._held = join(self._held, tags)
        if not len(self._held):
            return EMPTY
        # Later tags come at the last time or after, and are moved forward by the largest delay at most. What is kept
        # stays as it came, so that order is judged on the station's own clock.
        safe_ps = int(self._held.t_ps[-1]) - self._latest_ps
        settled = corrected(self._held, self._delays_ps)
        ready = int(np.searchsorted(settled.t_ps, safe_ps))
        shift = _shifts(self._delays_ps)
        stays = self._held.t_ps - shift[self._held.channel] >= safe_ps
        self._held = TimeTags(self._held.t_ps[stays], self._held.channel[stays])
        return TimeTags(settled.t_ps[:ready], settled.channel[:ready])

    def finish(self) -> TimeTags:
        """The rest, when no more tags will come."""
        rest, self._held = corrected(self._held, self._delays_ps), EMPTY
        return rest


def _shifts(delays_ps: Sequence[float | None]) -> TimesPs:
    """Whole picoseconds to take off, for each of 256 channels."""
    shift_ps = np.zeros(256, np.int64)
    for detector, delay in enumerate(delays_ps):
        if delay is not None:
            if not abs(delay) <= LARGEST_PS:
                raise ParameterError(f"detector {detector}: a skew of {delay} ps is beyond {LARGEST_PS} ps")
            shift_ps[detector] = round(delay)
    return shift_ps
