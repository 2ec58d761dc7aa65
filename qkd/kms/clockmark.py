"""The wall clock as the key store sees it: the latest time it ever showed is kept, and a clock set back is refused.

Nothing is used twice because of a clock: pads, blocks and units are counted, not dated. But dates stand in the
provenance of keys, and certificates expire by them; a store that once knew a later time says so and waits for a person.
The mark is written with the transactions that read the clock, at most once a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from sqlalchemy import Connection

from qkd.errors import ClockSetBack, ParameterError
from qkd.kms.database import driver

DEFAULT_TOLERANCE_S = 300.0
_NAME = "clock_seen_s"

_READ = "SELECT value FROM meta WHERE name = ?"
_WRITE = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"


class ClockMark:
    """The clock of one store; every method works within a transaction of the caller.

    Args:
        clock: Unix time in seconds.
        tolerance_s: how far the clock may fall back unnoticed; synchronising a clock takes steps.

    Raises:
        ParameterError: a negative tolerance.
    """

    def __init__(self, clock: Callable[[], float], tolerance_s: float = DEFAULT_TOLERANCE_S) -> None:
        if not tolerance_s >= 0:
            raise ParameterError(f"clock_tolerance_s = {tolerance_s} must not be negative")
        self._clock = clock
        self._tolerance_s = tolerance_s

    def now(self, connection: Connection) -> float:
        """Unix time, s; moves the mark.

        Raises:
            ClockSetBack: more than the tolerance before the mark.
        """
        now, seen = self._clock(), self._seen(connection)
        if now < seen - self._tolerance_s:
            raise ClockSetBack(now, seen)
        if now >= seen + 1:
            self._mark(connection, now)
        return now

    def accept(self, connection: Connection) -> tuple[float, float]:
        """Move the mark to the clock, wherever it was: a person has looked. (mark before, now), Unix seconds."""
        now, seen = self._clock(), self._seen(connection)
        self._mark(connection, now)
        return float(seen), now

    def _seen(self, connection: Connection) -> int:
        row = driver(connection).execute(_READ, (_NAME,)).fetchone()
        return 0 if row is None else int.from_bytes(row[0], "big")

    def _mark(self, connection: Connection, now: float) -> None:
        value = max(0, math.floor(now)).to_bytes(8, "big")
        driver(connection).execute(_WRITE, (_NAME, value))
