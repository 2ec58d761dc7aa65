"""Cascade as one would write it on a blackboard: lists of intervals, one loop per rule, no bit tricks.

It states the schedule of `qkd.reconciliation.schedule` once more, for both parties at once, and keeps what the fast
code does not: the linear form (a set of positions) behind every parity that Alice disclosed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qkd.randomness import expand_bits, expand_permutation


@dataclass
class Interval:
    """Bits begin .. end - 1 of a pass; `odd` says that the strings differ an odd number of times in it."""

    begin: int
    end: int
    odd: bool


@dataclass
class Frame:
    """One string at both parties. `passes` are intervals of the passes begun; `search` what is left of a mask."""

    alice: list[int]
    bob: list[int]
    blocks: list[int]
    orders: list[list[int]]
    masks: list[list[int]]
    passes: list[list[Interval]] = field(default_factory=list)
    differing: list[bool] | None = None
    searched: list[int] | None = None
    forms: list[list[int]] = field(default_factory=list)
    errors: int = 0

    def due(self) -> list[list[int]]:
        """The sets of positions whose parities are asked in the next round; empty when there is nothing to ask."""
        odd = [
            self.orders[r][i.begin : (i.begin + i.end) // 2]
            for r, intervals in enumerate(self.passes)
            for i in sorted(intervals, key=lambda i: i.begin)
            if i.odd
        ]
        if odd:
            return odd
        if self.searched is not None:
            return [self.searched[: len(self.searched) // 2]]
        r = len(self.passes)
        if r < len(self.blocks):
            n, k = len(self.alice), self.blocks[r]
            blocks = [self.orders[r][a : a + k] for a in range(0, n, k)]
            return blocks if r == 0 else blocks[:-1]
        return list(self.masks) if self.differing is None else []

    def take(self, answers: list[bool]) -> None:
        """Draw the conclusions from the answers to `due`."""
        singles: list[int] = []
        if any(i.odd for intervals in self.passes for i in intervals):
            singles = self._halve(answers)
        elif self.searched is not None:
            half = len(self.searched) // 2
            self.searched = self.searched[:half] if answers[0] else self.searched[half:]
        elif len(self.passes) < len(self.blocks):
            singles = self._begin(answers)
        elif self.differing is None:
            self.differing = list(answers)
        for position in singles:
            self._correct_if_odd(position)
        self._search()

    def done(self) -> bool:
        """Nothing is left to do."""
        return self.differing is not None and not self.due()

    def _halve(self, answers: list[bool]) -> list[int]:
        singles = []
        replies = iter(answers)
        for r, intervals in enumerate(self.passes):
            halves = []
            for i in sorted(intervals, key=lambda i: i.begin):
                if not i.odd:
                    halves.append(i)
                    continue
                left_is_odd = next(replies)
                middle = (i.begin + i.end) // 2
                pair = [Interval(i.begin, middle, left_is_odd), Interval(middle, i.end, not left_is_odd)]
                halves += pair
                singles += [self.orders[r][h.begin] for h in pair if h.odd and h.end - h.begin == 1]
            self.passes[r] = halves
        return singles

    def _begin(self, answers: list[bool]) -> list[int]:
        r, n = len(self.passes), len(self.alice)
        k = self.blocks[r]
        answers = answers if r == 0 else [*answers, sum(answers) % 2 == 1]
        self.passes.append([Interval(a, min(a + k, n), d) for a, d in zip(range(0, n, k), answers, strict=True)])
        last = self.passes[r][-1]
        return [self.orders[r][n - 1]] if last.odd and last.end - last.begin == 1 else []

    def _correct_if_odd(self, position: int) -> None:
        """Correct a bit that some pass has singled out as wrong, unless another pass did so in the same round."""
        for r, intervals in enumerate(self.passes):
            j = self.orders[r].index(position)
            if any(i.odd and (i.begin, i.end) == (j, j + 1) for i in intervals):
                self._correct(position)
                return

    def _correct(self, position: int) -> None:
        self.errors += 1
        self.bob[position] ^= 1
        for r, intervals in enumerate(self.passes):
            j = self.orders[r].index(position)
            for i in intervals:
                if i.begin <= j < i.end:
                    i.odd = not i.odd
        if self.differing is not None:
            self.differing = [d != (position in mask) for d, mask in zip(self.differing, self.masks, strict=True)]

    def _search(self) -> None:
        if self.differing is None or any(i.odd for intervals in self.passes for i in intervals):
            return
        if self.searched is None and any(self.differing):
            self.searched = self.masks[self.differing.index(True)]
        if self.searched is not None and len(self.searched) == 1:
            position = self.searched[0]
            self.searched = None
            self._correct(position)


@dataclass
class Outcome:
    """What both parties end up with, and everything that was said."""

    frames: list[Frame]
    parities: list[bytes]
    differences: list[bytes]

    @property
    def leak_bits(self) -> list[int]:
        """Parities disclosed, per frame."""
        return [len(frame.forms) for frame in self.frames]


def reconcile(
    alice: list[np.ndarray], bob: list[np.ndarray], blocks: list[list[int]], masks: int, seed: bytes
) -> Outcome:
    """Both parties of a batch; `blocks` are the block lengths of each frame's passes."""
    frames = []
    for a, b, lengths in zip(alice, bob, blocks, strict=True):
        n = len(a)
        natural = expand_permutation(seed, f"cascade/{n}/pass/0", n)
        orders = [natural.tolist()]
        for r in range(1, len(lengths)):
            orders.append(natural[expand_permutation(seed, f"cascade/{n}/pass/{r}", n)].tolist())
        members = [expand_bits(seed, f"cascade/{n}/mask/{m}", n) for m in range(masks)]
        subsets = [[int(natural[c]) for c in range(n) if bits[c]] for bits in members]
        frames.append(Frame(a.tolist(), b.tolist(), lengths, orders, subsets))
    outcome = Outcome(frames, [], [])
    while not all(frame.done() for frame in frames):
        due = [frame.due() for frame in frames]
        parities, differences = [], []
        for frame, forms in zip(frames, due, strict=True):
            frame.forms += forms
            mine = [sum(frame.alice[i] for i in form) % 2 for form in forms]
            theirs = [sum(frame.bob[i] for i in form) % 2 for form in forms]
            parities += mine
            differences.append([x != y for x, y in zip(mine, theirs, strict=True)])
        outcome.parities.append(np.packbits(np.array(parities, np.uint8)).tobytes())
        outcome.differences.append(np.packbits(np.concatenate(differences).astype(np.uint8)).tobytes())
        for frame, answers in zip(frames, differences, strict=True):
            frame.take(answers)
    return outcome
