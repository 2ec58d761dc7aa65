"""Following Bob's clock along the run, from the pairs themselves.

Each of Bob's events is aligned with what all earlier ones have told, and with nothing else: the aligned times are the
same, to the bit, however the stream is cut into stretches. Outcomes and bases are never looked at. The filter itself is
`distribution.clock_servo`; here it is started at the beginning of the stretch in which the clock was found, and what
came before that is followed backwards, as a clock that runs the other way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from distribution.clock_model import Acquisition, ClockModel
from distribution.clock_servo import PATIENCE_S, REACH_PS, ClockJump, Servo
from distribution.tags import TimesPs
from distribution.times import ascending_times
from distribution.units import PS_PER_S, seconds_to_ps

__all__ = ["PATIENCE_S", "ClockJump", "ClockTracker"]


class ClockTracker:
    """Keeps Bob's times on Alice's clock, stretch after stretch.

    Args:
        acquisition: where to start.
    """

    def __init__(self, acquisition: Acquisition) -> None:
        self._acquisition = acquisition
        self._origin_ps = acquisition.model.reference_ps - seconds_to_ps(acquisition.seconds_used / 2.0)
        self._servo = Servo(acquisition, self._origin_ps)
        self._head_jumps: list[ClockJump] = []
        self._last_ps: int | None = None

    @property
    def model(self) -> ClockModel:
        """The clock as of the latest pair, tangent to the curve that is followed."""
        return self._servo.model

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
        return (*self._head_jumps, *self._servo.jumps)

    def align(self, a_ps: TimesPs, b_ps: TimesPs) -> TimesPs:
        """Bob's times on Alice's clock, after following the clock through them.

        Events before the stretch in which the clock was found are followed backwards from there if the first call goes
        on into that stretch, as the recording given to `acquire` does; else they are mapped with the clock as found.

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
        cut = int(np.searchsorted(b, self._servo.origin_ps))
        if cut < b.size and self._last_ps is None:
            head = self._backwards(a, b[:cut])
        else:
            head = self._acquisition.model.to_alice(b[:cut])
        aligned = np.concatenate([head, self._servo.follow(a, b[cut:])])
        if self._last_ps is not None:
            aligned[0] = max(aligned[0], self._last_ps)
        # An update of the clock may set an event some ps before the one that caused it.
        aligned = np.maximum.accumulate(aligned)
        self._last_ps = int(aligned[-1])
        return aligned

    def _backwards(self, a_ps: TimesPs, b_ps: TimesPs) -> TimesPs:
        """Follow the clock from where it is known back to the first event: forwards, with all times negated."""
        if not b_ps.size:
            return b_ps
        mirrored = replace(self._acquisition, model=self._acquisition.model.mirrored())
        servo = Servo(mirrored, -self._origin_ps, patient=True)
        before = int(np.searchsorted(a_ps, self._origin_ps + PS_PER_S // 1000 + REACH_PS))
        aligned = -servo.follow(-a_ps[:before][::-1], -b_ps[::-1])[::-1]
        self._head_jumps += [ClockJump(-jump.at_ps, -jump.step_ps) for jump in reversed(servo.jumps)]
        return aligned
