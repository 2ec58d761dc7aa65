"""How long a station waits before it begins again after runs that gave no key.

Whoever can cut the line can stop the key anyway, so waiting costs nothing against him, and it bounds what he can make
the link spend: a run costs epsilon, and one that is cut at its tags costs pads. Waiting doubles from loss to loss up
to a bound, and a committed block ends it. Pads are the dearer good, so a loss at the tags waits up to an hour; a run
that merely gave no key, as happens while a fibre is aligned or a satellite has set, up to ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class BackOff:
    """Doubling waits.

    Attributes:
        clock: seconds that only ever grow.
        first_tag_s, most_tag_s: wait after the first loss at the tags, and the longest.
        first_run_s, most_run_s: the same after a run that burnt no pad.
        tag_losses, run_losses: since the last committed block.
    """

    clock: Callable[[], float]
    first_tag_s: float = 1.0
    most_tag_s: float = 3600.0
    first_run_s: float = 0.0625
    most_run_s: float = 10.0
    tag_losses: int = 0
    run_losses: int = 0
    _until_s: float = field(default=-1.0, repr=False)

    def lost(self, *, pads: bool) -> float:
        """A run gave no key; `pads` says whether it burnt any. Returns how long to wait, s."""
        if pads:
            self.tag_losses += 1
            wait_s = _doubled(self.first_tag_s, self.most_tag_s, self.tag_losses)
        else:
            self.run_losses += 1
            wait_s = _doubled(self.first_run_s, self.most_run_s, self.run_losses)
        self._until_s = max(self._until_s, self.clock() + wait_s)
        return self.wait_s

    def gained(self) -> None:
        """A block was committed."""
        self.tag_losses = self.run_losses = 0
        self._until_s = -1.0

    @property
    def wait_s(self) -> float:
        """Seconds left to wait; 0 when the station may begin."""
        return max(0.0, self._until_s - self.clock())


def _doubled(first_s: float, most_s: float, losses: int) -> float:
    return min(most_s, first_s * 2.0 ** min(losses - 1, 64))
