"""Which method corrects a block: of those that finish in the time set, the one that tells the line least.

Each method has a row of figures that are frozen here, so that a choice can be foreseen and checked. For strings of
n_b bits with expected error rates q_b in the two bases, a method with efficiency f, r rounds and a speed of v leaks
about f sum_b n_b h(q_b) bits and takes about r (round trip + ROUND_S) + sum_b n_b / v seconds; r grows with the larger
q_b. A method is considered if both q_b lie in its range and both strings have its least length. When none finishes in
time, the fastest is taken.

Alice chooses and says why in one line. The choice is public and costs no secrecy, whatever it is: what a method
discloses is counted by its ledger.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from qkd.errors import ParameterError
from qkd.reconciliation.efficiency import shannon_limit_bits


class Method(Enum):
    """A method of error correction with its preset; AUTO leaves the choice to Alice."""

    AUTO = "auto"
    CASCADE_FAST = "cascade/fast"
    CASCADE_TIGHT = "cascade/tight"
    CASCADE_SERIAL = "cascade/serial"
    CASCADE_LARGE = "cascade/large"
    LDPC_ONE_WAY = "ldpc/one-way"
    LDPC_BLIND = "ldpc/blind"


# What a round costs beside the line's round trip: two messages through codec, TLS and two event loops. Measured
# over a loop-back line on a busy machine: 0.5 .. 0.7 ms without TLS.
ROUND_S = 1e-3
MOST_REASON_CHARACTERS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a method costs.

    Attributes:
        f: reconciliation efficiency.
        rounds: messages each way that a batch takes at no errors, rounds_per_percent: and for each per cent of them.
        mbit_per_s: bits in, both parties' work on one core.
        source: where these come from.
        least_bits: shortest string for which f holds.
        qber_low, qber_high: range of error rates for which it is meant, fractions.
    """

    f: float
    rounds: int
    mbit_per_s: float
    source: str
    rounds_per_percent: int = 0
    least_bits: int = 1
    qber_low: float = 0.0
    qber_high: float = 0.5


_CASCADE = "own measurement: 4 batches of 16 frames (large: 2) at each of seven error rates in 0.5 .. 11 %"
_LDPC = "own study, 65536 bits, 2 .. 8 %: one-way 1.13 .. 1.08, blind 1.073 .. 1.049"

FIGURES: dict[Method, Figures] = {
    Method.CASCADE_FAST: Figures(f=1.055, rounds=300, mbit_per_s=40, source=_CASCADE),
    Method.CASCADE_TIGHT: Figures(f=1.037, rounds=750, rounds_per_percent=155, mbit_per_s=16, source=_CASCADE),
    Method.CASCADE_SERIAL: Figures(f=1.033, rounds=900, rounds_per_percent=420, mbit_per_s=7, source=_CASCADE),
    Method.CASCADE_LARGE: Figures(
        f=1.032, rounds=700, rounds_per_percent=200, mbit_per_s=9, source=_CASCADE, least_bits=1 << 18
    ),
    Method.LDPC_ONE_WAY: Figures(
        f=1.10, rounds=1, mbit_per_s=5, source=_LDPC, least_bits=8_192, qber_low=0.01, qber_high=0.10
    ),
    Method.LDPC_BLIND: Figures(
        f=1.07, rounds=6, mbit_per_s=1.5, source=_LDPC, least_bits=8_192, qber_low=0.01, qber_high=0.10
    ),
}


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be corrected: length (0: no such string) and expected error rate of each basis's string, and the
    line's round trip.
    """

    bits: tuple[int, int]
    qber: tuple[float, float]
    round_trip_s: float

    def __post_init__(self) -> None:
        if min(self.bits) < 0 or not self.round_trip_s >= 0:
            raise ParameterError(f"a task of {self.bits} bits over a line of {self.round_trip_s} s cannot be")

    def rounds(self, method: Method) -> int:
        """How many messages each way the method takes, about."""
        cost = FIGURES[method]
        return cost.rounds + round(100 * max(self.qber) * cost.rounds_per_percent)

    def seconds(self, method: Method) -> float:
        """How long the method takes, about."""
        work_s = sum(self.bits) / (FIGURES[method].mbit_per_s * 1e6)
        return self.rounds(method) * (self.round_trip_s + ROUND_S) + work_s

    def leak_bits(self, method: Method) -> float:
        """What the method discloses, about."""
        limits = (shannon_limit_bits(n, q) for n, q in zip(self.bits, self.qber, strict=True))
        return FIGURES[method].f * sum(limits)

    def suits(self, method: Method) -> bool:
        """Error rates and lengths are in the method's range."""
        cost = FIGURES[method]
        in_range = all(cost.qber_low <= q <= cost.qber_high for q in self.qber)
        return in_range and all(n >= cost.least_bits for n in self.bits if n)


@dataclass(frozen=True, slots=True)
class Choice:
    """A method and, in one line for people, why; both public."""

    method: Method
    reason: str


def choose(task: Task, available: Collection[Method], limit_s: float) -> Choice:
    """The choice by the rule of the module docstring; of equal leaks the faster one.

    Args:
        task: what is to be corrected.
        available: methods that this installation has.
        limit_s: time that error correction of the block may take.

    Raises:
        ParameterError: no method is available that suits the task.
    """
    suited = [method for method in FIGURES if method in available and task.suits(method)]
    if not suited:
        raise ParameterError(f"no method corrects strings of {task.bits} bits at error rates of {task.qber}")
    timely = [method for method in suited if task.seconds(method) <= limit_s]
    if timely:
        best = min(timely, key=lambda method: (task.leak_bits(method), task.seconds(method)))
        why = f"least leak (f {FIGURES[best].f:g}) of what finishes in {limit_s:g} s"
    else:
        best = min(suited, key=task.seconds)
        why = f"nothing finishes in {limit_s:g} s, this is the fastest"
    return Choice(best, f"{why}: {_in_numbers(task, best)}")


def forced(method: Method) -> Choice:
    """The choice that the session's parameters make."""
    return Choice(method, "set by the session's parameters")


def _in_numbers(task: Task, method: Method) -> str:
    return (
        f"{task.rounds(method)} rounds at {1e3 * task.round_trip_s:.3g} ms, {sum(task.bits)} bits,"
        f" about {task.seconds(method):.2g} s; QBER {task.qber[0]:.2%} in Z, {task.qber[1]:.2%} in X"
    )
