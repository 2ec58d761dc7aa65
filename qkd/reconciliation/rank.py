"""How many independent bits a short frame has told: the rank over GF(2) of the parities that were asked.

Cascade counts a parity as told unless it knows a reason why it follows from earlier ones; for a long frame that is
the rank but for a fraction of a per cent. A short frame, in which chance dependences are a larger share, affords the
elimination itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MOST_BITS = 512


class Forms:
    """The span of all parities disclosed of one frame.

    Args:
        second: where each position of pass 1 is in pass 0, shape (n,).
    """

    def __init__(self, second: npt.NDArray[np.unsignedinteger]) -> None:
        self._second = [1 << int(c) for c in second]
        self._all = (1 << second.size) - 1
        self._pivots: dict[int, int] = {}

    @property
    def rank(self) -> int:
        """Independent parities."""
        return len(self._pivots)

    def add_range(self, r: int, begin: int, length: int) -> None:
        """The parity of positions begin .. begin + length - 1 of pass r, as far as the string goes."""
        if r == 0:
            self._add(((1 << length) - 1) << begin & self._all)
        else:
            self._add(sum(self._second[begin : begin + length]))

    def add_members(self, members: int, begin: int, length: int) -> None:
        """The parity of a subset's members (a bit each) among positions begin .. begin + length - 1 of pass 0."""
        self._add(members & ((1 << length) - 1) << begin)

    def _add(self, form: int) -> None:
        while form:
            top = form.bit_length()
            if top not in self._pivots:
                self._pivots[top] = form
                return
            form ^= self._pivots[top]
