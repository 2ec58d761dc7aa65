"""Counts of intervals, added up to blocks of 1, 2, 4, 8 ... intervals: strong effects show at once, weak ones in time.

Each block is judged when its last interval ends. Blocks of 2^k intervals end every 2^k intervals, so there are fewer
than two per interval on average, and the false alarms per interval stay below twice those of one judgement, for ever.
Any stretch of n intervals contains a whole block of more than n / 4, so an attack that lasts is judged by itself. One
block a level waits for its second half: memory grows with the logarithm of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeVar


class Addable(Protocol):
    """Counts of two stretches make those of both."""

    def __add__(self, other: Self, /) -> Self: ...


C = TypeVar("C", bound=Addable)


class Ladder(Generic[C]):
    """A binary counter whose digits are blocks that wait for a second one of their size."""

    def __init__(self) -> None:
        self._waiting: list[C | None] = []

    def add(self, counts: C) -> Iterator[C]:
        """Yield every block that the next interval's counts complete, the interval itself first."""
        yield counts
        block = counts
        for level, waiting in enumerate(self._waiting):
            if waiting is None:
                self._waiting[level] = block
                return
            block = waiting + block
            self._waiting[level] = None
            yield block
        self._waiting.append(block)
