"""What a benchmark measures: rows of value against reference, and one headline; and how time is taken.

A speed on a shared machine means little by itself. Every row may carry a reference that was measured in the same run,
by the same clock; the ratio of the two is what survives a busy neighbour. Times are medians of whole repeats.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement.

    Attributes:
        case: what was measured, unique within a result.
        value: the figure.
        unit: its unit, as "Mevents/s" or "s".
        reference: the same figure of the reference that `against` names, measured in this run; None if there is none.
        against: what the reference is, or "".
        details: further figures of the same measurement, by name.
    """

    case: str
    value: float
    unit: str
    reference: float | None = None
    against: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """The row as it stands in JSON."""
        fixed = {"case": self.case, "value": self.value, "unit": self.unit, "reference": self.reference}
        return fixed | ({"against": self.against} if self.against else {}) | self.details


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All rows of a benchmark.

    Attributes:
        headline: the figures to quote, by their stable JSON name (seconds, mevents_per_s, gbyte_per_s).
        rows: what they were taken from.
    """

    headline: dict[str, float]
    rows: tuple[Row, ...]


def median_seconds(work: Callable[[], object], *, repeats: int = 5, warmup: int = 1) -> float:
    """Median wall-clock time of `work`, s, after `warmup` uncounted calls (compilation, caches).

    Args:
        work: what to time; it must do the whole of it at each call.
        repeats: counted calls, at least one.
        warmup: uncounted calls before them.
    """
    for _ in range(warmup):
        work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
