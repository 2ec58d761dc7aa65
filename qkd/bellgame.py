"""The CHSH test as a game that local realism wins three times in four: p-values and intervals from its counts.

A trial is won when the two outcomes are equal where the sign of the correlator is +, and different where it is -. With
one sign unlike the other three, whatever outcomes are fixed beforehand lose on one pair of settings at least. So if
that pair comes with probability q or more, whatever happened before, a local model wins with probability 1 - q at
most, and the number of its wins is stochastically below that of independent trials (Bierhorst, J. Phys. A 48, 195302
(2015); Elkouss and Wehner, npj Quantum Inf. 2, 16026 (2016)): memory does not help. q is 1/4 for uniform settings and
(1/2 - tau)^2 when each setting can be guessed with probability 1/2 + tau; for known uneven settings it is the
probability of the rarest pair.

Nothing here is a statement about trials that were not counted: see `qkd.loopholes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from distribution.tails import ln_binomial_at_least, share_limits
from qkd.errors import ParameterError

LOCAL_S = 2.0
TSIRELSON_S = 2.0 * math.sqrt(2.0)
LOCAL_WIN = 0.75
TSIRELSON_WIN = (2.0 + math.sqrt(2.0)) / 4.0
MOST_TRIALS = 10**12
LEAST_P_VALUE = 1e-300
# Bets of the mixture: enough that its e-value is within a factor of 64 of the best single bet's.
_BETS = 64

FourCells = npt.NDArray[np.int64]
"""Shape (2, 2), one entry for each pair of settings, first index Alice's."""


class SettingsFrom(Enum):
    """Where the probabilities of the settings come from."""

    DECLARED = "declared"
    COUNTED = "counted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChoice:
    """How the settings of the trials of the test were drawn.

    Attributes:
        share_a, share_b: probability of the first setting of Alice and of Bob, given that the trial is in the test;
            the two sides draw independently of each other and of all that went before.
        predictability: tau; given everything that happened before the trial, the probability of a setting is within
            tau of its share. 0: ideal.
        source: whether the shares were declared before the data, or are those counted in it.

    Raises:
        ParameterError: a share outside 0 .. 1, or a predictability that leaves some setting no probability.
    """

    share_a: float = 0.5
    share_b: float = 0.5
    predictability: float = 0.0
    source: SettingsFrom = SettingsFrom.DECLARED

    def __post_init__(self) -> None:
        for name in ("share_a", "share_b"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ParameterError(f"{name} = {getattr(self, name)} must be above 0 and below 1")
        least = min(self.share_a, self.share_b, 1.0 - self.share_a, 1.0 - self.share_b)
        if not 0.0 <= self.predictability < least:
            raise ParameterError(
                f"predictability = {self.predictability} must be in 0 .. {least:.6g}, {least:.6g} excluded",
                hint="it is how far the probability of a setting may be from its share; ideal settings have 0",
            )

    @classmethod
    def counted(cls, trials: FourCells, predictability: float = 0.0) -> SettingChoice:
        """The shares of the settings in the data, where nothing is known of how they were drawn."""
        total = int(trials.sum())
        shares = trials.sum(axis=1)[0] / total, trials.sum(axis=0)[0] / total
        return cls(
            share_a=float(shares[0]),
            share_b=float(shares[1]),
            predictability=predictability,
            source=SettingsFrom.COUNTED,
        )

    @property
    def uniform(self) -> bool:
        """Each setting with probability one half."""
        return self.share_a == self.share_b == 0.5

    def probability(self) -> npt.NDArray[np.float64]:
        """Of each pair of settings, shape (2, 2)."""
        shares: npt.NDArray[np.float64] = np.outer(
            (self.share_a, 1.0 - self.share_a), (self.share_b, 1.0 - self.share_b)
        )
        return shares

    def least_probability(self) -> npt.NDArray[np.float64]:
        """Of each pair of settings given the past, at the least: shape (2, 2)."""
        a = np.array((self.share_a, 1.0 - self.share_a)) - self.predictability
        b = np.array((self.share_b, 1.0 - self.share_b)) - self.predictability
        least: npt.NDArray[np.float64] = np.outer(a, b)
        return least

    @property
    def local_win(self) -> float:
        """beta: the largest probability with which a local model wins a trial; 3/4 + tau - tau^2 when uniform."""
        return 1.0 - float(self.least_probability().min())


@dataclass(frozen=True, slots=True)
class PValue:
    """The largest chance that a local model has of doing as well, by its natural logarithm."""

    ln: float

    @property
    def value(self) -> float:
        """As a number, never below 1e-300: what is smaller is said by `log10` alone."""
        return min(1.0, max(math.exp(self.ln), LEAST_P_VALUE))

    @property
    def log10(self) -> float:
        """Decimal logarithm."""
        return self.ln / math.log(10.0)


def exact_p_value(wins: int, trials: int, local_win: float = LOCAL_WIN) -> PValue:
    """P[Bin(trials, local_win) >= wins]: devices may have memory, the number of trials was fixed beforehand.

    Elkouss and Wehner 2016, Bierhorst 2015.

    Raises:
        ParameterError: counts that contradict each other, or a probability outside 0 .. 1.
    """
    _check(wins, trials)
    _check_probability("local_win", local_win)
    return PValue(min(0.0, ln_binomial_at_least(wins, trials, local_win)))


def hoeffding_p_value(wins: int, trials: int, local_win: float = LOCAL_WIN) -> PValue:
    """exp(-2 N (c/N - beta)^2), the closed form that is often quoted: larger than the exact one, for comparison."""
    _check(wins, trials)
    _check_probability("local_win", local_win)
    above = max(0.0, wins / trials - local_win)
    return PValue(-2.0 * trials * above**2)


def betting_p_value(wins: FourCells, losses: FourCells, choice: SettingChoice) -> PValue:
    """The inverse of the capital that bets against local realism have made: valid whenever one stops counting.

    A trial multiplies the capital of one bet by 1 + r where it was won and by 1 + r - r/q_xy where it was lost, q_xy
    the least probability of that pair of settings. A local model loses on some pair at least, so no such factor
    exceeds 1 on average, whatever happened before: capital is a supermartingale, as is its mean over bets 0 < r <
    q/(1 - q) fixed beforehand, and it ever reaches 1/p with probability p at most (Ville). Uneven settings cost
    nothing but their unevenness: each pair is weighed by its own probability. Compare Zhang, Glancy and Knill, Phys.
    Rev. A 84, 062118 (2011), who choose factors from past trials; here they need the counts alone.

    Args:
        wins, losses: shape (2, 2), int64.
        choice: of the settings.
    """
    least = choice.least_probability()
    most = float(least.min() / (1.0 - least.min()))
    bets = (np.arange(_BETS) + 0.5) / _BETS * most
    after_loss = np.log1p(bets[:, None, None] * (1.0 - 1.0 / least))
    capital = int(wins.sum()) * np.log1p(bets) + (after_loss * losses).sum(axis=(1, 2))
    ln_mean = float(np.logaddexp.reduce(capital)) - math.log(_BETS)
    return PValue(min(0.0, -ln_mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Confidence interval of S, both limits included.

    Attributes:
        low, high: limits, clipped to -4 .. 4, which no correlators leave.
        confidence: probability that the interval covers the true S, at the least.
        label: what it assumes and how it was made.
    """

    low: float
    high: float
    confidence: float
    label: str


POOLED = "independent, identical trials; Clopper-Pearson on all wins"
UNEVEN = "independent, identical trials; Clopper-Pearson on all wins, widened for uneven settings"
AZUMA = "average S of devices with memory; Azuma-Hoeffding"
# Part of the chance of error that goes into the correction for uneven settings.
_FOR_UNEVEN = 0.1


def iid_interval(wins: FourCells, trials: FourCells, choice: SettingChoice, confidence: float) -> Interval:
    """For devices that do the same in every trial.

    Settings declared uniform: all wins are one binomial of mean omega, S = 8 omega - 4. Otherwise, given the settings,
    their limits hold for the mean weighted by the counts (Hoeffding, Ann. Math. Statist. 27, 713 (1956): trials of
    unequal probability spread less than a binomial), and what the plain mean of the four may differ from that follows
    from Clopper-Pearson limits of each pair, for a tenth of the chance of error. No share is needed.
    """
    _check_probability("confidence", confidence, open_ends=True)
    chance, total = 1.0 - confidence, int(trials.sum())
    if choice.uniform and choice.source is SettingsFrom.DECLARED:
        omega = share_limits(int(wins.sum()), total, chance / 2.0)
        return _interval(8.0 * omega[0] - 4.0, 8.0 * omega[1] - 4.0, confidence, POOLED)
    low, high = share_limits(int(wins.sum()), total, (1.0 - _FOR_UNEVEN) * chance / 2.0)
    for k, n in zip(wins.flat, trials.flat, strict=True):
        cell = share_limits(int(k), int(n), _FOR_UNEVEN * chance / 8.0)
        lack = 0.25 - int(n) / total
        low, high = low + min(lack * limit for limit in cell), high + max(lack * limit for limit in cell)
    return _interval(8.0 * low - 4.0, 8.0 * high - 4.0, confidence, UNEVEN)


def memory_interval(wins: FourCells, trials: FourCells, choice: SettingChoice, confidence: float) -> Interval:
    """For devices that may do in each trial whatever the past suggests: of the average over trials of their S.

    A trial's score is +- 1/p_xy, p_xy the probability of its settings; its mean given the past is the S of that
    trial and its range 2/p_min, so S lies within (2/p_min) sqrt(ln(2/alpha) / 2N) of the mean score.
    """
    _check_probability("confidence", confidence, open_ends=True)
    p = choice.probability()
    total = int(trials.sum())
    mean = float(((2 * wins - trials) / p).sum()) / total
    reach = 2.0 / float(p.min()) * math.sqrt(math.log(2.0 / (1.0 - confidence)) / (2.0 * total))
    return _interval(mean - reach, mean + reach, confidence, AZUMA)


def _interval(low: float, high: float, confidence: float, label: str) -> Interval:
    return Interval(low=max(-4.0, low), high=min(4.0, high), confidence=confidence, label=label)


def _check(wins: int, trials: int) -> None:
    if not 1 <= trials <= MOST_TRIALS:
        raise ParameterError(f"trials = {trials} must be in 1 .. {MOST_TRIALS}")
    if not 0 <= wins <= trials:
        raise ParameterError(f"wins = {wins} must be in 0 .. {trials}, the number of trials")


def _check_probability(name: str, value: float, *, open_ends: bool = False) -> None:
    if not 0.0 <= value <= 1.0 or (open_ends and value in (0.0, 1.0)):
        raise ParameterError(f"{name} = {value} must be in 0 .. 1" + (", both excluded" if open_ends else ""))
