"""Following Bob's clock along the run, from the pairs themselves.

Each of Bob's events is aligned with what all earlier ones have told, and with nothing else: the aligned times are the
same, to the bit, however the stream is cut into stretches. Outcomes and bases are never looked at. The filter itself is
`distribution.clock.servo`; here it gets its start, at the beginning of the recording in which the clock was found.
"""

from __future__ import annotations

import numpy as np

from distribution.clock.model import Acquisition, ClockModel
from distribution.clock.servo import PATIENCE_S, ClockJump, Servo
from distribution.tags import TimesPs
from distribution.times import ascending_times

__all__ = ["PATIENCE_S", "ClockJump", "ClockTracker"]


class ClockTracker:
    """Keeps Bob's times on Alice's clock, stretch after stretch.

    Args:
        acquisition: where to start.
    """

    def __init__(self, acquisition: Acquisition) -> None:
        self._start = acquisition.start.model
        self._servo = Servo(acquisition.start, pairs_per_s=acquisition.pairs_per_s, spread_ps=acquisition.spread_ps)
        self._last_ps: int | None = None

    @property
    def model(self) -> ClockModel:
        """The clock as of the latest pair, tangent to the curve that is followed."""
        return self._servo.known.model

    @property
    def spread_ps(self) -> float:
        """Standard deviation of the pair delays about the model, ps."""
        return self._servo.spread_ps

    @property
    def locked(self) -> bool:
        """True if the latest full cell showed the pairs where they were expected."""
        return self._servo.silent_s == 0.0

    @property
    def jumps(self) -> tuple[ClockJump, ...]:
        """All jumps so far that were followed."""
        return tuple(self._servo.jumps)

    def align(self, a_ps: TimesPs, b_ps: TimesPs) -> TimesPs:
        """Bob's times on Alice's clock, after following the clock through them.

        Events before the recording in which the clock was found are mapped with the clock at its beginning.

        Args:
            a_ps: shape (n,), int64, ps, ascending, Alice's clock: all her events that Bob's may pair with, to a
                microsecond on either side; more of them do no harm.
            b_ps: shape (m,), int64, ps, ascending, Bob's clock; one stretch after the other.

        Returns:
            Shape (m,), int64, ps, ascending.

        Raises:
            ClockNotFound: lost lock: no pairs for `PATIENCE_S`, or the uncertainty has grown beyond any search.
            ParameterError: unordered times.
        """
        a, b = ascending_times(a_ps, name="a_ps"), ascending_times(b_ps, name="b_ps")
        if not b.size:
            return b.copy()
        before = int(np.searchsorted(b, self._servo.origin_ps))
        aligned = np.concatenate([self._start.to_alice(b[:before]), self._servo.follow(a, b[before:])])
        if self._last_ps is not None:
            aligned[0] = max(aligned[0], self._last_ps)
        # An update of the clock may set an event some ps before the one that caused it.
        aligned = np.maximum.accumulate(aligned)
        self._last_ps = int(aligned[-1])
        return aligned
