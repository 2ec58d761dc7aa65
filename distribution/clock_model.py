"""How Bob's clock relates to Alice's: an affine map in int64 picoseconds, and the result of finding it.

Absolute times never become floating point. Only a difference from a local origin is multiplied by the drift, so the
rounding error is that of (duration x drift): below 0.01 ps for 10 ppm over a day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError
from distribution.kernels.correlate import near_pairs
from distribution.tags import TimesPs

PPM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockModel:
    """t_bob = t_alice + offset + drift (t_alice - reference), for the same instant on the two clocks.

    Attributes:
        reference_ps: the instant on Alice's clock at which the offset holds.
        offset_ps: whole picoseconds that Bob's clock shows more than Alice's at that instant.
        offset_fraction_ps: the rest of the offset, in [0, 1).
        drift: rate of Bob's clock against Alice's, minus one; dimensionless.

    Raises:
        ParameterError: the fraction is outside [0, 1), or the drift is not a number well below one.
    """

    reference_ps: int
    offset_ps: int
    offset_fraction_ps: float = 0.0
    drift: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.offset_fraction_ps < 1.0:
            raise ParameterError(f"offset_fraction_ps must lie in [0, 1), got {self.offset_fraction_ps}")
        if not abs(self.drift) < 0.01:
            raise ParameterError(f"a clock drift must be below 0.01 (10000 ppm), got {self.drift}")

    @property
    def drift_ppm(self) -> float:
        """Rate of Bob's clock against Alice's in parts per million; positive if Bob's runs fast."""
        return self.drift / PPM

    def to_alice(self, b_ps: TimesPs) -> TimesPs:
        """Bob's times, int64 ps on his clock, as int64 ps on Alice's; ascending stays ascending."""
        since = np.asarray(b_ps, np.int64) - (self.reference_ps + self.offset_ps)
        lag = (since * self.drift + self.offset_fraction_ps) / (1.0 + self.drift)
        return since - np.rint(lag).astype(np.int64) + self.reference_ps

    def to_bob(self, a_ps: TimesPs) -> TimesPs:
        """Alice's times, int64 ps on her clock, as int64 ps on Bob's; inverse of `to_alice` to the picosecond."""
        since = np.asarray(a_ps, np.int64) - self.reference_ps
        lag = since * self.drift + self.offset_fraction_ps
        return since + np.rint(lag).astype(np.int64) + (self.reference_ps + self.offset_ps)

    def moved(self, *, offset_ps: float = 0.0, drift: float = 0.0) -> ClockModel:
        """The model with small corrections added to its offset and its drift."""
        shift = self.offset_fraction_ps + offset_ps
        whole = math.floor(shift)
        # 1 - tiny may round to 1.0 when a tiny negative correction is added to a zero fraction.
        fraction = min(shift - whole, math.nextafter(1.0, 0.0))
        return ClockModel(
            reference_ps=self.reference_ps,
            offset_ps=self.offset_ps + whole,
            offset_fraction_ps=fraction,
            drift=self.drift + drift,
        )

    def referred_to(self, reference_ps: int) -> ClockModel:
        """The same map with its offset stated at another instant of Alice's clock."""
        shift = self.offset_fraction_ps + self.drift * float(reference_ps - self.reference_ps)
        base = ClockModel(reference_ps=reference_ps, offset_ps=self.offset_ps, drift=self.drift)
        return base.moved(offset_ps=shift)

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
                half,
                index,
                residual,
            )
            if n <= room:
                return index[:n], residual[:n]
            room = n


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """What `acquire` found.

    Attributes:
        model: the clock model; best in the middle of the time used, which is its reference.
        false_alarm: bound on the probability that streams without common pairs would have shown such a peak anywhere
            in the searched range of offsets and drifts; 1e-300 stands for anything smaller.
        pairs: coincidences in the peak, accidentals subtracted.
        spread_ps: standard deviation of the pair delays about the model (jitter of both sides).
        seconds_used: length of the time over which the model was fitted.
    """

    model: ClockModel
    false_alarm: float
    pairs: int
    spread_ps: float
    seconds_used: float
