"""From counts of intervals to alarms: which judge looks at which stretch of data, and what has been raised so far.

Every interval is compared with the one before it; every block of the ladder is judged by itself; and once the
session's reference is complete, every later block is compared with it. An alarm is raised once per monitor, for the
first finding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from distribution.monitors.counts import Tally
from distribution.monitors.drift import bias, rate_jump
from distribution.monitors.finding import Finding, Watch, worst
from distribution.monitors.ladder import Ladder
from distribution.monitors.limits import Limits

C = TypeVar("C", bound=Tally)


class Watcher(Generic[C]):
    """Judges one stream.

    Args:
        judge: findings of a stretch by itself.
        nothing: counts of an empty stretch.
        limits: the tolerances.
    """

    def __init__(self, judge: Callable[[C], list[Finding]], nothing: C, limits: Limits) -> None:
        self._judge = judge
        self._limits = limits
        self._blocks: Ladder[C] = Ladder()
        self._later: Ladder[C] = Ladder()
        self._before: C | None = None
        self._reference = self._total = nothing
        self._jump: Finding | None = None
        self._alarms: dict[Watch, Finding] = {}

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The first alarm of each monitor, in the order in which they were raised."""
        return tuple(self._alarms.values())

    def close(self, counts: C) -> None:
        """An interval is over."""
        if self._before is not None:
            jumps = rate_jump(self._before, counts, self._limits)
            self._jump = worst([*jumps, *([self._jump] if self._jump else [])])
            self._raise(jumps)
        self._before = counts
        for block in self._blocks.add(counts):
            self._raise(self._judge(block))
        if self._reference.events < self._limits.reference_events:
            self._reference += counts
        else:
            for block in self._later.add(counts):
                self._raise(bias(self._reference, block, self._limits))
        self._total += counts

    def finish(self, rest: C) -> None:
        """The stream has ended in the middle of an interval: judge all of it."""
        self._total += rest
        self._raise(self._judge(self._total))

    def break_off(self) -> None:
        """The stream is not continuous here: the next interval has no neighbour."""
        self._before = None

    def findings(self, rest: C) -> list[Finding]:
        """What every monitor says of the whole stream, the open interval included; or its alarm, if that has passed."""
        total = self._total + rest
        jump = [self._jump] if self._jump else []
        now = [*self._judge(total), *bias(self._reference, total, self._limits), *jump]
        standing = {f.watch: f for f in now if f.alarm}
        return list(({f.watch: f for f in now} | self._alarms | standing).values())

    def _raise(self, findings: list[Finding]) -> None:
        for finding in findings:
            if finding.alarm:
                self._alarms.setdefault(finding.watch, finding)
