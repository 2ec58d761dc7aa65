"""Bob's decoder for one codeword: priors, beliefs, decisions, and which bits to ask for.

It works on the error pattern: H e = (Alice's parities) + H (Bob's word), where Bob's word has zeros at punctured
places. A prior is a ratio P(e = 0) / P(e = 1): (1 - q) / q where the string is, 1 where punctured, certain elsewhere.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits
from qkd.errors import ParameterError
from qkd.kernels import ldpc as kernels
from qkd.reconciliation.adaption import Adapted, Places
from qkd.reconciliation.codes import Code
from qkd.reconciliation.codewords import Piece, syndrome

QBER_RANGE = (0.001, 0.25)
# How many candidates are looked at for each bit to be asked for.
CHOICE = 6

# The error rate that the syndrome shows is taken alone if it is this many deviations off the one expected.
SURPRISE = 2.6
# But no farther off than this factor: where nearly half of all checks are violated their number says little.
FARTHEST = 2.2
# Relative error with which a session knows its error rate beforehand, beside the frame's own scatter.
PRIOR_ERROR = 0.03
# An error in a column of degree d changes d checks, so their number scatters by this much more than a sum of coins.
SCATTER = 1.5

Ints = npt.NDArray[np.int32]


def within(qber: float) -> float:
    """An error rate that the decoder can work with: 0.1 % to 25 %."""
    return min(max(qber, QBER_RANGE[0]), QBER_RANGE[1])


class Decoder:
    """One codeword being decoded.

    Args:
        adapted: its code.
        qber: error rate expected.
        syndrome: uint8 (m,): what H e must be.
    """

    def __init__(self, adapted: Adapted, qber: float, syndrome: Bits) -> None:
        code = adapted.code
        q = within(qber)
        self._qber = q
        self._adapted = adapted
        self._signs = np.float32(1) - 2 * syndrome.astype(np.float32)
        priors = np.full(adapted.length, kernels.BELIEF_LIMIT, np.float32)
        priors[adapted.payload] = (1 - q) / q
        priors[adapted.punctured] = 1
        self._belief = np.empty((code.columns, 2 * code.lifting), np.float32)
        self._belief[:, : code.lifting] = priors.reshape(-1, code.lifting)
        self._at = np.zeros(code.columns, np.int32)
        self._inverse = np.ones(code.column.size * code.lifting, np.float32)
        self.pattern = np.zeros(adapted.length, np.uint8)

    @property
    def size_bytes(self) -> int:
        """Memory that it holds, but for small change."""
        return self._belief.nbytes + self._inverse.nbytes + self._signs.nbytes

    def run(self, limit: int, patience: int) -> int:
        """Iterate; `pattern` is then the decision. Returns iterations, negative if it fails (`kernels.decode`)."""
        code = self._adapted.code
        belief = self._belief.reshape(-1)
        return int(
            kernels.decode(
                code.starts, code.column, code.shift, code.lifting, self._signs,
                belief, self._at, self._inverse, limit, patience, self.pattern,
            )
        )  # fmt: skip

    def reveal(self, places: Places, pattern: Bits) -> None:
        """Take in what the error pattern is at some places; all messages stay, so the next run goes on from here."""
        certain = np.where(pattern, 1 / kernels.BELIEF_LIMIT, kernels.BELIEF_LIMIT).astype(np.float32)
        z = self._adapted.code.lifting
        column, lane = places // z, places % z
        self._belief[column, np.where(lane < self._at[column], lane + z, lane)] = certain

    def doubt(self) -> float:
        """Share of the variance of the error pattern that is left: 1 before decoding, at most 1, 0 at the end."""
        d = self._doubts()[self._adapted.payload]
        q = self._qber
        left = float((d / (1 + d) ** 2).sum(dtype=np.float64))
        return min(1.0, left / (self._adapted.payload.size * q * (1 - q)))

    def _doubts(self) -> npt.NDArray[np.float32]:
        out = np.empty(self._adapted.length, np.float32)
        kernels.doubts(self._belief.reshape(-1), self._at, self._adapted.code.lifting, out)
        return out

    def doubtful(self, count: int, known: npt.NDArray[np.bool_]) -> Places:
        """Places of the string to ask for, ascending: those it knows least about, no two of them in one check.

        Bits in one check are in doubt together, and to know one settles more than its own share; without the rule
        the same leak corrects 0.6 % less. If so many are not to be had, the rest is taken as it comes.

        Args:
            count: how many; at most as many as are unknown.
            known: shape (N,): places not to ask for.
        """
        doubt = self._doubts()
        doubt[self._adapted.punctured] = -1
        doubt[known] = -1
        most = min(CHOICE * count, int((doubt >= 0).sum()))
        if most < count:
            raise ParameterError(f"{count} places asked for, {most} are unknown")
        candidates = np.argpartition(doubt, doubt.size - most)[doubt.size - most :]
        candidates = candidates[np.argsort(-doubt[candidates], kind="stable")]
        chosen = np.empty(count, np.int64)
        starts, row, shift = _by_column(self._adapted.code)
        taken = np.zeros(self._adapted.checks, np.uint8)
        found = kernels.apart(starts, row, shift, self._adapted.code.lifting, candidates, taken, chosen)
        rest = candidates[~np.isin(candidates, chosen[:found])][: count - found]
        return np.sort(np.concatenate([chosen[:found], rest]))


class PieceDecoder:
    """One codeword at Bob, over all rounds.

    Its error rate is that expected, unless the syndrome shows another one beyond doubt.

    Args:
        piece: what it holds.
        word: uint8 (N,): Bob's codeword, zeros where punctured.
        theirs: uint8 (m,): Alice's parities.
        known: bool (N,): places not to ask for; the caller's, which changes.

    Attributes:
        qber: the error rate.
        pattern: uint8 (N,): the errors as decided last.
        done: whether the pattern has the syndrome, so that nothing is left to do.
    """

    def __init__(self, piece: Piece, word: Bits, theirs: Bits, known: npt.NDArray[np.bool_]) -> None:
        self.bits = piece.bits
        self.done = False
        self._adapted = piece.adapted
        self._word = word
        self._known = known
        self._syndrome = theirs ^ syndrome(piece.adapted, word)
        self.pattern = np.zeros(word.size, np.uint8)
        self.qber = _weighed(piece, *estimate_qber(piece.adapted, self._syndrome, within(piece.qber)))
        self._revealed: list[tuple[Places, Bits]] = []
        self._decoder: Decoder | None = None

    def run(self, limit: int, patience: int) -> None:
        """Decode from where the last run ended, or from the start if that state was dropped."""
        if self._decoder is None:
            self._decoder = Decoder(self._adapted, self.qber, self._syndrome)
            for places, pattern in self._revealed:
                self._decoder.reveal(places, pattern)
        self.done = self._decoder.run(limit, patience) > 0
        self.pattern = self._decoder.pattern

    def doubt(self) -> float:
        """Share of the variance that the last run left (`Decoder.doubt`)."""
        return self._decoder.doubt() if self._decoder else 1.0

    def doubtful(self, count: int) -> Places:
        """Places to ask for, ascending (`Decoder.doubtful`)."""
        if self._decoder is None or count <= 0:
            return np.zeros(0, np.int64)
        return self._decoder.doubtful(count, self._known)

    def keep(self, budget_bytes: int) -> int:
        """Drop the decoder's state if it is not needed or too large; returns what is left of the budget."""
        if self._decoder is not None and (self.done or self._decoder.size_bytes > budget_bytes):
            self._decoder = None
        return budget_bytes - (self._decoder.size_bytes if self._decoder else 0)

    def extend(self, adapted: Adapted, theirs: Bits) -> None:
        """Go on with the longer code, of whose further checks these are Alice's parities."""
        further = theirs ^ syndrome(adapted, self._word)[self._adapted.checks :]
        self._syndrome = np.concatenate([self._syndrome, further])
        self._adapted = adapted
        self._decoder = None

    def reveal(self, places: Places, theirs: Bits) -> None:
        """Take in Alice's values at some places."""
        pattern = theirs ^ self._word[places]
        self._revealed.append((places, pattern))
        if self._decoder is not None:
            self._decoder.reveal(places, pattern)


def _weighed(piece: Piece, shown: float, error: float) -> float:
    """Expected and shown error rate in one, on a logarithmic scale and by their errors; or the one shown alone."""
    expected = within(piece.qber)
    prior = math.hypot(math.sqrt((1 - expected) / (expected * piece.bits)), PRIOR_ERROR)
    shown = min(max(shown, expected / FARTHEST), expected * FARTHEST)
    if abs(math.log(shown / expected)) > SURPRISE * math.hypot(prior, error):
        return shown
    weight = prior**2 / (prior**2 + error**2)
    return float(expected ** (1 - weight) * shown**weight)


def estimate_qber(adapted: Adapted, syndrome: Bits, expected: float) -> tuple[float, float]:
    """The error rate that makes the number of violated checks likeliest, and its relative deviation where expected.

    A check of d bits is violated with probability (1 - (1 - 2 q)^d) / 2; those with a punctured bit say nothing. The
    deviation is SCATTER times that of the Cramer-Rao bound: 3 to 5 % with the shipped codes of 65536 bits.
    """
    degree, size = _known_checks(adapted)
    d = np.flatnonzero(size)
    violated = np.bincount(degree, syndrome, size.size)[d]
    met = size[d] - violated
    low, high = QBER_RANGE
    for _ in range(16):
        q = math.sqrt(low * high)
        bias = (1 - 2 * q) ** d
        # Derivative of the log likelihood, but for a positive factor.
        if (d * bias * (violated / (1 - bias) - met / (1 + bias))).sum() > 0:
            low = q
        else:
            high = q
    bias = (1 - 2 * expected) ** d
    information = (size[d] * (2 * d * bias / (1 - 2 * expected)) ** 2 / (1 - bias**2)).sum()
    return low, SCATTER / (expected * math.sqrt(max(information, 1.0)))


@lru_cache(maxsize=16)
def _known_checks(adapted: Adapted) -> tuple[Ints, npt.NDArray[np.int64]]:
    """How many bits of the string each check has, 0 for those with a punctured one; how many checks have how many."""
    code = adapted.code
    counts = np.empty((2, adapted.checks), np.int32)
    for places, out in zip((adapted.payload, adapted.punctured), counts, strict=True):
        member = np.zeros(adapted.length, np.uint8)
        member[places] = 1
        kernels.degrees(code.starts, code.column, code.shift, code.lifting, member, out)
    degree = np.where(counts[1] > 0, 0, counts[0]).astype(np.int32)
    size = np.bincount(degree)
    size[0] = 0
    return degree, size


@lru_cache(maxsize=64)
def _by_column(code: Code) -> tuple[Ints, Ints, Ints]:
    """The edges sorted by column: starts (columns + 1,), row and shift of each."""
    row = np.repeat(np.arange(code.rows, dtype=np.int32), np.diff(code.starts))
    order = np.argsort(code.column, kind="stable")
    starts = np.searchsorted(code.column[order], np.arange(code.columns + 1)).astype(np.int32)
    return starts, row[order], code.shift[order]
