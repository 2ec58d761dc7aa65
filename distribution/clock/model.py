"""How Bob's clock relates to Alice's: a parabola in int64 picoseconds, and the result of finding it.

Absolute times never become floating point. Only a difference from a local origin is multiplied by the drift, so the
rounding error is that of (duration x drift): below 0.01 ps for 10 ppm over a day. The quadratic term is what a
satellite's pass needs (25 ppm, changing by 0.4 ppm per second overhead) and what a warming crystal shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError
from distribution.kernels.correlate import near_pairs
from distribution.tags import TimesPs
from distribution.units import PS_PER_S

PPM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockModel:
    """t_bob = t_alice + offset + drift s + acceleration s^2 / 2, s = t_alice - reference, for the same instant.

    Attributes:
        reference_ps: the instant on Alice's clock at which the offset holds.
        offset_ps: whole picoseconds that Bob's clock shows more than Alice's at that instant.
        offset_fraction_ps: the rest of the offset, in [0, 1).
        drift: rate of Bob's clock against Alice's at that instant, minus one; dimensionless.
        acceleration_per_s: change of the drift, per second.

    Raises:
        ParameterError: the fraction is outside [0, 1), or drift or acceleration are not numbers well below one.
    """

    reference_ps: int
    offset_ps: int
    offset_fraction_ps: float = 0.0
    drift: float = 0.0
    acceleration_per_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.offset_fraction_ps < 1.0:
            raise ParameterError(f"offset_fraction_ps must lie in [0, 1), got {self.offset_fraction_ps}")
        if not abs(self.drift) < 0.01:
            raise ParameterError(f"a clock drift must be below 0.01 (10000 ppm), got {self.drift}")
        if not abs(self.acceleration_per_s) < 0.01:
            raise ParameterError(f"a drift must change by less than 0.01 per second, got {self.acceleration_per_s}")

    @property
    def drift_ppm(self) -> float:
        """Rate of Bob's clock against Alice's in parts per million; positive if Bob's runs fast."""
        return self.drift / PPM

    @property
    def bend_per_ps(self) -> float:
        """Half the acceleration: what multiplies the square of a time in ps."""
        return self.acceleration_per_s / (2.0 * PS_PER_S)

    def to_alice(self, b_ps: TimesPs) -> TimesPs:
        """Bob's times, int64 ps on his clock, as int64 ps on Alice's; ascending stays ascending.

        Raises:
            ParameterError: the times are so far from the reference that the parabola has turned round.
        """
        since = np.asarray(b_ps, np.int64) - (self.reference_ps + self.offset_ps)
        late = since - self.offset_fraction_ps
        rate, bend = 1.0 + self.drift, self.bend_per_ps
        if not bend:
            s = late / rate
        else:
            square = rate * rate + 4.0 * bend * late
            self._check_ascending(square)
            # This form of the root has no cancellation where the bend is small.
            s = 2.0 * late / (rate + np.sqrt(square))
        # Only the lag is rounded: s itself has lost picoseconds after 2.5 h, its product with the drift none.
        lag = (self.drift + bend * s) * s + self.offset_fraction_ps
        return since - np.rint(lag).astype(np.int64) + self.reference_ps

    def to_bob(self, a_ps: TimesPs) -> TimesPs:
        """Alice's times, int64 ps on her clock, as int64 ps on Bob's; inverse of `to_alice` to the picosecond.

        Raises:
            ParameterError: the times are so far from the reference that the parabola has turned round.
        """
        since = np.asarray(a_ps, np.int64) - self.reference_ps
        if self.bend_per_ps:
            self._check_ascending(1.0 + self.drift + 2.0 * self.bend_per_ps * since)
        lag = (self.drift + self.bend_per_ps * since) * since + self.offset_fraction_ps
        return since + np.rint(lag).astype(np.int64) + (self.reference_ps + self.offset_ps)

    def _check_ascending(self, slope: npt.NDArray[np.floating]) -> None:
        if slope.size and not slope.min() > 0.0:
            raise ParameterError(
                f"the clock model of {self.drift_ppm:.3g} ppm and {self.acceleration_per_s / PPM:.3g} ppm/s would run"
                " backwards so far from its reference",
                hint="acquire the clock nearer to these times",
            )

    def moved(self, *, offset_ps: float = 0.0, drift: float = 0.0, acceleration_per_s: float = 0.0) -> ClockModel:
        """The model with small corrections added to its offset, drift and acceleration."""
        shift = self.offset_fraction_ps + offset_ps
        whole = math.floor(shift)
        # 1 - tiny may round to 1.0 when a tiny negative correction is added to a zero fraction.
        fraction = min(shift - whole, math.nextafter(1.0, 0.0))
        return ClockModel(
            reference_ps=self.reference_ps,
            offset_ps=self.offset_ps + whole,
            offset_fraction_ps=fraction,
            drift=self.drift + drift,
            acceleration_per_s=self.acceleration_per_s + acceleration_per_s,
        )

    def referred_to(self, reference_ps: int) -> ClockModel:
        """The same map with its offset and drift stated at another instant of Alice's clock."""
        since = float(reference_ps - self.reference_ps)
        shift = self.offset_fraction_ps + (self.drift + self.bend_per_ps * since) * since
        base = replace(self, reference_ps=reference_ps, offset_fraction_ps=0.0)
        return base.moved(offset_ps=shift, drift=2.0 * self.bend_per_ps * since)

    def mirrored(self) -> ClockModel:
        """The map between both clocks run backwards, for times of the opposite sign."""
        base = replace(
            self,
            reference_ps=-self.reference_ps,
            offset_ps=-self.offset_ps,
            offset_fraction_ps=0.0,
            acceleration_per_s=-self.acceleration_per_s,
        )
        return base.moved(offset_ps=-self.offset_fraction_ps)

    def residuals(
        self, a_ps: TimesPs, b_ps: TimesPs, half_ps: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """All pairs near the delay that this model expects.

        Args:
            a_ps, b_ps: shape (n,) and (m,), int64, ps, ascending, each on its station's own clock.
            half_ps: list pairs up to about this far from the expected delay.

        Returns:
            (index into a_ps, measured minus expected delay in ps), both of shape (pairs,).
        """
        if not a_ps.size:
            return np.empty(0, np.int64), np.empty(0, np.float64)
        half = math.ceil(half_ps)
        ends = self.to_bob(a_ps[[0, -1]])
        lo, hi = np.searchsorted(b_ps, [int(ends[0]) - half - 2, int(ends[1]) + half + 2])
        near = b_ps[lo:hi]
        room = a_ps.size + 64
        while True:
            index, residual = np.empty(room, np.int64), np.empty(room, np.float64)
            n = near_pairs(
                a_ps,
                near,
                int(self.reference_ps),
                int(self.offset_ps),
                float(self.offset_fraction_ps),
                float(self.drift),
                float(self.bend_per_ps),
                half,
                index,
                residual,
            )
            if n <= room:
                return index[:n], residual[:n]
            room = n


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownClock:
    """A clock model and how well it is known where it holds best.

    Attributes:
        model: the clock, known best at its reference.
        offset_error_ps, drift_error, acceleration_error_per_s: standard errors of its terms there.
    """

    model: ClockModel
    offset_error_ps: float
    drift_error: float
    acceleration_error_per_s: float

    def covariance(self) -> npt.NDArray[np.float64]:
        """Of (ps, ps/s, ps/s^2) at the reference, shape (3, 3), as if the errors were independent."""
        errors = [self.offset_error_ps, self.drift_error * PS_PER_S, self.acceleration_error_per_s * PS_PER_S]
        return np.diag(np.square(errors))

    def referred_to(self, reference_ps: int) -> KnownClock:
        """The same knowledge at another instant of Alice's clock, if the parabola holds until then."""
        dt = (reference_ps - self.model.reference_ps) / PS_PER_S
        move = np.array([[1.0, dt, dt * dt / 2.0], [0.0, 1.0, dt], [0.0, 0.0, 1.0]])
        errors = np.sqrt(np.diag(move @ self.covariance() @ move.T))
        return KnownClock(
            model=self.model.referred_to(reference_ps),
            offset_error_ps=float(errors[0]),
            drift_error=float(errors[1]) / PS_PER_S,
            acceleration_error_per_s=float(errors[2]) / PS_PER_S,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition(KnownClock):
    """What `acquire` found: the clock in the middle of the time used, and what that rests on.

    The model has an acceleration only if the delays bend by more than three standard errors; else it is the best
    straight line, and an acceleration of up to three of its errors may have gone unseen. The errors follow from the
    number of pairs and their spread.

    Attributes:
        start: the clock at the beginning of the common time, whence `ClockTracker` follows it. A pass of a satellite is
            no parabola, so this is not `model` stated elsewhere.
        false_alarm: bound on the probability that streams without common pairs would have shown such a peak anywhere
            in the searched range of offsets, drifts and accelerations; 1e-300 stands for anything smaller.
        pairs: coincidences in the peak, accidentals subtracted.
        spread_ps: standard deviation of the pair delays about the model (jitter of both sides).
        seconds_used: length of the time over which the model was fitted.
    """

    start: KnownClock
    false_alarm: float
    pairs: int
    spread_ps: float
    seconds_used: float

    @property
    def pairs_per_s(self) -> float:
        """Pair rate during the time used."""
        return max(self.pairs / max(self.seconds_used, 1e-3), 1e-3)
