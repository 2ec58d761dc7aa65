"""PicoQuant TTTR records, whatever container they came in, to time tags.

A record is 32 bits: a detection, an overflow of the coarse counter, or an external marker. In T2 the coarse counter
counts the tagger's own unit; in T3 it counts pulses of the sync input, and a fine time tells how long after its pulse
the photon came, so that time = nsync * sync period + dtime * resolution. Both are decoded by one kernel in exact
integer arithmetic and rounded to a picosecond at the end. Layouts and wraps as in PicoQuant's "TTTR Record Format"
(Time Tagged File Format documentation, appendix).

T3 times are as good as the sync period, and files state it with few digits: a rate known to 1 Hz in 10 MHz stretches
every second by up to 0.1 us. Two detectors of one file share the stretch; two stations do not. Whoever knows the
period better gives `sync_period_ps`. Periods that the records themselves refute are errors: photons that come later
than a period after their pulse (the rate of a divided sync), or a recording that outlasts its own acquisition time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError, TagFormatError
from distribution.kernels import tttr as kernel
from distribution.kernels.tttr import SYNC_CHANNEL
from distribution.tags import TimeTags

__all__ = ["SYNC_CHANNEL", "Layout", "Photons", "Timing", "decode", "period_of", "t3_timing"]

RECORD_BYTES = 4
# Records are read and decoded 1 MB at a time, which stays in the cache: new memory is touched for the tags only.
_STRETCH = 1 << 18
_MAX_T3_DENOMINATOR = 1 << 24
_PERIOD_RANGE_PS = (100, 10**12)
# Jitter of the sync input and of its stated rate; a divided sync is wrong by a factor of two at least.
_SLACK = Fraction(102, 100)

Records = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a family of devices writes its records.

    Attributes:
        bits: one of the kernel's layouts.
        coarse_bits: width of the coarse counter.
        wrap: what one overflow adds to it.
        counted_overflows: True if an overflow record says how many it stands for.
    """

    bits: int
    coarse_bits: int
    wrap: int
    counted_overflows: bool


HYDRAHARP_V1_T2 = Layout(kernel.HARP, 25, 33_552_000, counted_overflows=False)
HYDRAHARP_V1_T3 = Layout(kernel.HARP, 10, 1024, counted_overflows=False)
HARP_T2 = Layout(kernel.HARP, 25, 1 << 25, counted_overflows=True)
HARP_T3 = Layout(kernel.HARP, 10, 1024, counted_overflows=True)
PICOHARP_T2 = Layout(kernel.PICOHARP, 28, 210_698_240, counted_overflows=False)
PICOHARP_T3 = Layout(kernel.PICOHARP, 16, 65536, counted_overflows=False)
TIMEHARP_200 = Layout(kernel.TIMEHARP200, 16, 65536, counted_overflows=False)


@dataclass(frozen=True, slots=True)
class Timing:
    """What the two counters of a record are worth.

    Attributes:
        coarse_ps: one count of the coarse counter, ps: the unit in T2, the sync period in T3.
        fine_ps: one count of the fine time, ps; 0 where there is none or it cannot be added.
        depth_ps: how far photons may be out of order.
        stop_after_ms: how long the file says that it lasts, ms, or 0.
    """

    coarse_ps: Fraction
    fine_ps: Fraction = Fraction(0)
    depth_ps: int = 0
    stop_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Photons:
    """The detections of a file and what else its records were; tags + overflows + markers = records."""

    tags: TimeTags
    overflows: int
    markers: int
    reordered: int


def period_of(seconds: float, rate_hz: int, name: str, *, divider: int = 1) -> Fraction:
    """The sync period (ps) that a header states, as a fraction.

    Args:
        seconds: the period, s, or 0 if only the rate is stated.
        rate_hz: the rate, Hz, or 0 if only the period is stated.
        name: of the file, for messages.
        divider: of the sync input: the rate may be meant before it, a period is what one count is worth.

    Raises:
        TagFormatError: neither is there, they contradict each other, or the period is absurd.
    """
    by_rate = [Fraction(10**12, rate_hz) * k for k in (1, divider)] if rate_hz > 0 else []
    period = Fraction(seconds) * 10**12 if math.isfinite(seconds) else Fraction(0)
    near = [other for other in by_rate if 1 / _SLACK <= period / other <= _SLACK]
    if seconds and by_rate and not near:
        raise TagFormatError(
            f"{name}: the header states a sync period of {seconds:.6g} s and a sync rate of {rate_hz} Hz",
            hint=_GIVE_PERIOD,
        )
    # A period that is the rate's reciprocal to all digits of a double was computed from it: take the exact one.
    computed = [other for other in near if abs(period / other - 1) < Fraction(1, 10**14)]
    best = next(iter(computed or ([period] if seconds else by_rate)), Fraction(0))
    lowest, highest = _PERIOD_RANGE_PS
    if not lowest <= best <= highest:
        raise TagFormatError(
            f"{name}: a sync period of {seconds!r} s and a sync rate of {rate_hz} Hz are absurd", hint=_GIVE_PERIOD
        )
    return best.limit_denominator(_MAX_T3_DENOMINATOR)


def t3_timing(
    period_ps: Fraction, fine_ps: Fraction, stop_after_ms: int, override_ps: Fraction | float | None
) -> Timing:
    """Timing of a T3 file.

    Args:
        period_ps: what the header states.
        fine_ps: resolution of the fine time, ps.
        stop_after_ms: how long the file says that it lasts, ms; not held against a period that the caller gave.
        override_ps: the caller's better knowledge of the period, or None.

    Raises:
        ParameterError: the caller's period is absurd.
    """
    if override_ps is not None:
        if not _PERIOD_RANGE_PS[0] <= override_ps <= _PERIOD_RANGE_PS[1]:
            raise ParameterError(f"sync_period_ps must lie in [100, 1e12], got {override_ps}")
        period_ps, stop_after_ms = Fraction(override_ps).limit_denominator(_MAX_T3_DENOMINATOR), 0
    # Photons of one pulse come in the order of the inputs, not of their fine times.
    return Timing(period_ps, fine_ps, math.ceil(period_ps * _SLACK), stop_after_ms)


def decode(path: Path, layout: Layout, timing: Timing, *, start: int, records: int) -> Photons:
    """Decode the records of a file.

    Args:
        path: the file.
        layout: of its records.
        timing: what its counters are worth.
        start: byte at which the records begin.
        records: how many there are; the file must hold them.

    Returns:
        Its photons; sync events of T2 have channel `SYNC_CHANNEL`.

    Raises:
        TagFormatError: a record that the layout does not define, out of order or beyond 26 days; a sync period that
            the records refute.
    """
    t_ps, channel = np.empty(records, np.int64), np.empty(records, np.uint8)
    state = np.zeros(kernel.STATE, np.int64)
    scale = _kernel_scale(timing)
    buffer = np.empty(min(_STRETCH, records), "<u4")
    with path.open("rb") as file:
        file.seek(start)
        for first in range(0, records, _STRETCH):
            stretch = buffer[: records - first]
            if file.readinto(stretch.data) != stretch.nbytes:
                raise TagFormatError(f"{path.name} was cut short while it was read", offset=file.tell())
            kernel.decode_records(
                stretch,
                layout.bits,
                layout.coarse_bits,
                layout.counted_overflows,
                layout.wrap,
                *scale,
                timing.depth_ps,
                state,
                t_ps,
                channel,
            )
            if state[kernel.FAULT]:
                _refuse(path.name, stretch, state, first, start, timing)
    photons = int(state[kernel.PHOTONS])
    tags = TimeTags(t_ps[:photons], channel[:photons])
    if timing.fine_ps:
        _check_period(path.name, tags, timing, int(state[kernel.LONGEST]))
    reordered = int(state[kernel.BACK])
    if reordered:
        order = np.argsort(tags.t_ps, kind="stable")
        tags = TimeTags(tags.t_ps[order], tags.channel[order])
    return Photons(tags, int(state[kernel.OVERFLOWS]), int(state[kernel.MARKERS]), reordered)


_GIVE_PERIOD = "give the true period as sync_period_ps (qkd analyse --sync-period-ps)"


def _kernel_scale(timing: Timing) -> tuple[int, int, int, int, int]:
    """Both counts as whole picoseconds and a rest over one common denominator."""
    common = math.lcm(timing.coarse_ps.denominator, timing.fine_ps.denominator)
    coarse, coarse_rest = divmod(timing.coarse_ps * common, common)
    fine, fine_rest = divmod(timing.fine_ps * common, common)
    return int(coarse), int(coarse_rest), int(fine), int(fine_rest), common


def _refuse(name: str, stretch: Records, state: npt.NDArray[np.int64], first: int, start: int, timing: Timing) -> None:
    at = int(state[kernel.FAULT_AT])
    offset = start + (first + at) * RECORD_BYTES
    what = f"{name}: record {first + at}"
    match int(state[kernel.FAULT]):
        case kernel.FAULT_UNDEFINED:
            source = int(stretch[at]) >> 25 & 63
            raise TagFormatError(f"{what} is a special one of channel {source}: that is not defined", offset=offset)
        case kernel.FAULT_TOO_LONG:
            raise TagFormatError(f"{what} carries the time beyond 26 days", offset=offset)
        case _:
            raise TagFormatError(
                f"{what} lies before an earlier one, by more than the {timing.depth_ps} ps this format may show",
                offset=offset,
                hint="the file is shuffled, joined from several, or of another format",
            )


def _check_period(name: str, tags: TimeTags, timing: Timing, longest: int) -> None:
    """Hold the sync period against the records."""
    period_ps = timing.coarse_ps
    if longest * timing.fine_ps > period_ps * _SLACK:
        raise TagFormatError(
            f"{name}: photons come up to {float(longest * timing.fine_ps):.6g} ps after their sync pulse, but the sync"
            f" period is said to be {float(period_ps):.6g} ps",
            hint="the stated sync rate is wrong or that of an undivided sync; " + _GIVE_PERIOD,
        )
    stop_ps = timing.stop_after_ms * 10**9
    # 100 ms on top: the acquisition timer runs in software.
    if stop_ps and len(tags) and int(tags.t_ps[-1]) > stop_ps * _SLACK + 10**11:
        raise TagFormatError(
            f"{name}: the last photon comes at {int(tags.t_ps[-1]) / 1e12:.6g} s, but the measurement ended after"
            f" {timing.stop_after_ms / 1000:g} s",
            hint="the stated sync rate is wrong; " + _GIVE_PERIOD,
        )
