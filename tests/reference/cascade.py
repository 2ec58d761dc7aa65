"""Cascade as one would write it on a blackboard: lists of intervals, one loop per rule, no bit tricks.

It states the schedule of `qkd.reconciliation.schedule` once more, for both parties at once, and keeps what the fast
code does not: the linear form (a set of positions) behind every parity that Alice disclosed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import galois
import numpy as np

from qkd.randomness import expand_bits, expand_permutation

# log2 of the narrow blocks' length, how many blocks of twice that come first, how many blocks there are in all
Cut = tuple[int, int, int]
SLACK = 64  # a frame is given up when it would disclose so many bits more than it has


@dataclass(eq=False)
class Interval:
    """Positions begin .. begin + length - 1 of a pass, some of them perhaps behind the string's end.

    `odd` says that the strings differ an odd number of times in it, `waits` that it stands in the queue.
    """

    r: int
    begin: int
    length: int
    odd: bool = False
    waits: bool = False


@dataclass
class Frame:
    """One string at both parties; `passes` are the intervals of the passes begun, `orders` the places of positions."""

    alice: list[int]
    bob: list[int]
    cuts: tuple[Cut, Cut]
    orders: list[list[int]]
    masks: list[set[int]]  # positions of pass 0
    limit: int
    passes: list[list[Interval]] = field(default_factory=list)
    queue: list[Interval] = field(default_factory=list)
    asked: list[Interval] = field(default_factory=list)
    differing: list[bool] | None = None
    search: tuple[int, int, int] | None = None  # mask, low, length
    forms: list[list[int]] = field(default_factory=list)
    leak: int = 0
    errors: int = 0
    given_up: bool = False

    # ---------------------------------------------------------------- what is due

    def blocks(self, r: int) -> list[list[int]]:
        """Open pass r; the sets of places whose parities are asked, all blocks but the last one of pass 1."""
        log, wide, count = self.cuts[r]
        intervals, begin = [], 0
        for t in range(count):
            length = 2 << log if t < wide else 1 << log
            intervals.append(Interval(r, begin, length))
            begin += length
        self.passes.append(intervals)
        return self._tell([self._places(i) for i in intervals[: count - r]])

    def halves_of_pass_0(self, level: int) -> list[list[int]]:
        """Left halves of the odd intervals after so many cuts; wide blocks are one cut longer than narrow ones."""
        log, wide, _ = self.cuts[0]
        border = wide * (2 << log)
        self.asked = [
            i for i in self.passes[0] if i.odd and i.length == (2 << log if i.begin < border else 1 << log) >> level
        ]
        self.asked = [i for i in self.asked if i.length > 1]
        return self._ask_halves()

    def due(self) -> list[list[int]]:
        """Steps 4 to 6: the sets of places whose parities are asked in the next round; empty when none is."""
        forms = [] if self.given_up else self._due()
        self.given_up = self.given_up or self.leak > len(self.alice) + SLACK
        return [] if self.given_up else forms

    def _due(self) -> list[list[int]]:
        self.asked, rest, room = [], [], self.limit
        for interval in self.queue:
            if not interval.odd:
                interval.waits = False
            elif interval.r == 1 and room == 0:
                rest.append(interval)
            else:
                room -= interval.r
                self.asked.append(interval)
        self.queue = rest
        if self.asked:
            return self._ask_halves()
        if self.differing is None:
            return self._tell([[self.orders[0][c] for c in sorted(mask)] for mask in self.masks])
        if self.search is not None:
            mask, low, length = self.search
            return self._tell([[self.orders[0][c] for c in self._members(mask, low, length // 2)]])
        return []

    def _ask_halves(self) -> list[list[int]]:
        forms = []
        for interval in self.asked:
            left = Interval(interval.r, interval.begin, interval.length // 2)
            forms.append(self._places(left))
            self.forms.append(forms[-1])
            self.leak += self._tells(interval)
        return forms

    def _tells(self, interval: Interval) -> bool:
        middle = interval.begin + interval.length // 2
        if middle >= len(self.alice):
            return False
        if interval.length > 2 or len(self.passes) < 2:
            return True
        return not any(self._single(1 - interval.r, place) for place in self._places(interval))

    def _single(self, r: int, place: int) -> bool:
        return any(i.length == 1 and self._places(i) == [place] for i in self.passes[r])

    @property
    def rank(self) -> int:
        """Of all forms disclosed, over GF(2)."""
        matrix = np.zeros((len(self.forms), len(self.alice)), np.uint8)
        for row, form in zip(matrix, self.forms, strict=True):
            row[form] = 1
        return int(np.linalg.matrix_rank(galois.GF2(matrix)))

    def _tell(self, forms: list[list[int]]) -> list[list[int]]:
        self.forms += forms
        self.leak += len(forms)
        return forms

    def _places(self, interval: Interval) -> list[int]:
        return self.orders[interval.r][interval.begin : interval.begin + interval.length]

    def _members(self, mask: int, low: int, length: int) -> list[int]:
        return [c for c in range(low, low + length) if c in self.masks[mask]]

    # ---------------------------------------------------------------- what the answers imply

    def open(self, r: int, answers: list[bool]) -> None:
        """Which blocks of pass r are odd."""
        answers = answers if r == 0 else [*answers, sum(answers) % 2 == 1]
        for interval, odd in zip(self.passes[r], answers, strict=True):
            interval.odd = odd
        if r == 1:
            self.queue = [i for i in self.passes[1] if i.odd]
            for interval in self.queue:
                interval.waits = True

    def cut_pass_0(self, answers: list[bool]) -> None:
        """Cut what `halves_of_pass_0` asked."""
        for interval, left in zip(self.asked, answers, strict=True):
            self._cut(interval, left)

    def close_pass_0(self) -> None:
        """Every odd interval of pass 0 is one bit now: an error."""
        for interval in self.passes[0]:
            if interval.odd:
                interval.odd = False
                self._flip(self._places(interval)[0])

    def take(self, answers: list[bool]) -> None:
        """Draw the conclusions from the answers to `due`."""
        if not answers:
            return
        rest, self.queue = self.queue, []
        if self.asked:
            singles = []
            for interval, left in zip(self.asked, answers, strict=True):
                interval.waits = False
                half = self._cut(interval, left)
                if half.length > 1:
                    self._enter(half)
                else:
                    singles.append(half)
            for single in singles:
                if single.odd:
                    self._correct(self._places(single)[0])
        elif self.differing is None:
            self.differing = list(answers)
        elif self.search is not None:
            mask, low, length = self.search
            self.search = (mask, low if answers[0] else low + length // 2, length // 2)
        self.queue += rest
        if self.differing is not None and not any(i.odd for intervals in self.passes for i in intervals):
            self._go_on_in_masks()

    def _cut(self, interval: Interval, left: bool) -> Interval:
        half = interval.length // 2
        right = Interval(interval.r, interval.begin + half, half, odd=not left)
        interval.length, interval.odd = half, left
        intervals = self.passes[interval.r]
        intervals.insert(intervals.index(interval) + 1, right)
        return interval if left else right

    def _enter(self, interval: Interval) -> None:
        if not interval.waits:
            interval.waits = True
            self.queue.append(interval)

    def _flip(self, place: int) -> None:
        self.errors += 1
        self.bob[place] ^= 1

    def _correct(self, place: int) -> None:
        self._flip(place)
        for r in range(2):
            for interval in self.passes[r]:
                if place in self._places(interval):
                    interval.odd = not interval.odd
                    if interval.odd:
                        self._enter(interval)
        if self.differing is not None:
            c = self.orders[0].index(place)
            self.differing = [d != (c in mask) for d, mask in zip(self.differing, self.masks, strict=True)]

    def _go_on_in_masks(self) -> None:
        if self.search is None:
            if not any(self.differing or []):
                return
            length = 1
            while length <= len(self.alice):
                length *= 2
            self.search = ((self.differing or []).index(True), 0, length)
        mask, low, length = self.search
        while length > 1:
            length //= 2
            left, right = self._members(mask, low, length), self._members(mask, low + length, length)
            if left and right:
                self.search = (mask, low, 2 * length)
                return
            if right:
                low += length
        self.search = None
        self._correct(self.orders[0][low])


@dataclass
class Outcome:
    """What both parties end up with, and everything that was said."""

    frames: list[Frame]
    parities: list[bytes] = field(default_factory=list)
    differences: list[bytes] = field(default_factory=list)

    @property
    def leak_bits(self) -> list[int]:
        """Independent parities disclosed, per frame: their rank where the frame is short, else what was counted."""
        return [frame.rank if len(frame.alice) <= 512 else frame.leak for frame in self.frames]

    def ask(self, due: list[list[list[int]]]) -> list[list[bool]]:
        """One round: the parities of these forms, frame by frame, and where they differ."""
        answers = []
        parities: list[int] = []
        for frame, forms in zip(self.frames, due, strict=True):
            mine = [sum(frame.alice[i] for i in form) % 2 for form in forms]
            theirs = [sum(frame.bob[i] for i in form) % 2 for form in forms]
            parities += mine
            answers.append([x != y for x, y in zip(mine, theirs, strict=True)])
        if parities:
            self.parities.append(np.packbits(np.array(parities, np.uint8)).tobytes())
            flat = np.concatenate([np.array(a, np.uint8) for a in answers])
            self.differences.append(np.packbits(flat).tobytes())
        return answers


def reconcile(
    alice: list[np.ndarray],
    bob: list[np.ndarray],
    cuts: list[tuple[Cut, Cut]],
    masks: int,
    limit: int,
    seed: bytes,
) -> Outcome:
    """Both parties of a batch; `cuts` say how both passes of each frame are cut into blocks."""
    frames = [_frame(a, b, pair, masks, limit, seed) for a, b, pair in zip(alice, bob, cuts, strict=True)]
    outcome = Outcome(frames)
    for frame, answers in zip(frames, outcome.ask([frame.blocks(0) for frame in frames]), strict=True):
        frame.open(0, answers)
    for level in range(32):
        for frame, answers in zip(frames, outcome.ask([f.halves_of_pass_0(level) for f in frames]), strict=True):
            frame.cut_pass_0(answers)
    for frame in frames:
        frame.close_pass_0()
    for frame, answers in zip(frames, outcome.ask([frame.blocks(1) for frame in frames]), strict=True):
        frame.open(1, answers)
    while any(due := [frame.due() for frame in frames]):
        for frame, answers in zip(frames, outcome.ask(due), strict=True):
            frame.take(answers)
    return outcome


def _frame(alice: np.ndarray, bob: np.ndarray, cuts: tuple[Cut, Cut], masks: int, limit: int, seed: bytes) -> Frame:
    n = len(alice)
    natural = expand_permutation(seed, f"cascade/{n}/pass/0", n)
    second = natural[expand_permutation(seed, f"cascade/{n}/pass/1", n)]
    members = [expand_bits(seed, f"cascade/{n}/mask/{m}", n) for m in range(masks)]
    subsets = [{c for c in range(n) if bits[c]} for bits in members]
    return Frame(alice.tolist(), bob.tolist(), cuts, [natural.tolist(), second.tolist()], subsets, limit)
