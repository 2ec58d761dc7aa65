"""What may be claimed of a block's key, which assumptions that takes, and what remains where one of them fails.

A pure function: the failed assumptions of both stations, in; the claim and its reasons, out. The word that stands for a
proof is written only where nothing on which the proof rests was found to fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from distribution.monitors.finding import Watch
from qkd.exchange.steps import Role


class Claim(Enum):
    """What a key is called; "simulated source" is a qualifier that any of them may carry."""

    COMPOSABLE = "composable"
    ASYMPTOTIC = "asymptotic"
    FAIR_SAMPLING = "fair sampling"
    DEVICE_INDEPENDENT_SIMULATION = "device-independent (simulation)"
    NONE = "no claim"


class How(Enum):
    """How an assumption is checked."""

    MEASURED = "measured"
    ALARM = "monitors"
    PARAMETERS = "parameters"
    CONSTRUCTION = "construction"
    ASSUMED = "assumed"


class Assumption(Enum):
    """What the composable claim takes for granted of each station (docs/assumptions.md says which theorem wants it)."""

    DOUBLE_CLICKS_RANDOM = "double-clicks-random"
    BLIND_WINDOW = "blind-window"
    ONE_DEAD_WINDOW = "one-dead-window"
    EVEN_EFFICIENCY = "even-efficiency"
    BASIS_INDEPENDENT_LOSS = "basis-independent-loss"
    EVEN_SPLIT = "even-split"
    NO_MEMORY = "no-memory"
    SILENT_TIMES = "silent-times"
    DETECTORS_FREE = "detectors-free"
    SILENT_ANSWERS = "silent-answers"
    TRUSTED_DEVICES = "trusted-devices"

    @property
    def how(self) -> How:
        """How it is checked."""
        return _TABLE[self][0]

    @property
    def otherwise(self) -> Claim:
        """The most that can be claimed without it."""
        return _TABLE[self][1]

    @property
    def meaning(self) -> str:
        """What it says, in words."""
        return _TABLE[self][2]


_TABLE = {
    Assumption.DOUBLE_CLICKS_RANDOM: (
        How.PARAMETERS,
        Claim.FAIR_SAMPLING,
        "clicks of several detectors within a coincidence window are one event with a random bit",
    ),
    Assumption.BLIND_WINDOW: (
        How.CONSTRUCTION,
        Claim.FAIR_SAMPLING,
        "window, matching and alignment look at times alone",
    ),
    Assumption.ONE_DEAD_WINDOW: (
        How.MEASURED,
        Claim.FAIR_SAMPLING,
        "whenever an event counts, all detectors of the station could click",
    ),
    Assumption.EVEN_EFFICIENCY: (
        How.MEASURED,
        Claim.FAIR_SAMPLING,
        "the two detectors of a basis are equally efficient",
    ),
    Assumption.BASIS_INDEPENDENT_LOSS: (
        How.MEASURED,
        Claim.FAIR_SAMPLING,
        "a photon is detected with the same probability in either basis",
    ),
    Assumption.EVEN_SPLIT: (
        How.MEASURED,
        Claim.FAIR_SAMPLING,
        "a passive analyser divides evenly, where events of both bases are given a random basis",
    ),
    Assumption.NO_MEMORY: (How.MEASURED, Claim.NONE, "an outcome does not depend on the one before it"),
    Assumption.SILENT_TIMES: (How.ALARM, Claim.NONE, "arrival times tell nothing of the outcome"),
    Assumption.DETECTORS_FREE: (How.ALARM, Claim.NONE, "nobody but the photons makes the detectors click"),
    Assumption.SILENT_ANSWERS: (
        How.PARAMETERS,
        Claim.NONE,
        "what Bob answers during error correction, where it is not charged, tells nothing",
    ),
    Assumption.TRUSTED_DEVICES: (
        How.ASSUMED,
        Claim.COMPOSABLE,
        "random choices are random, devices do what they are built for, and nothing leaves the stations but messages",
    ),
}

BROKEN_BY = {
    Watch.ARRIVAL_INFORMATION: Assumption.SILENT_TIMES,
    Watch.TIME_SHIFT: Assumption.SILENT_TIMES,
    Watch.DOUBLE_CLICKS: Assumption.DETECTORS_FREE,
    Watch.BLINDING: Assumption.DETECTORS_FREE,
    Watch.RATE_JUMP: Assumption.DETECTORS_FREE,
    Watch.EFFICIENCY_MISMATCH: Assumption.EVEN_EFFICIENCY,
    Watch.BIAS: Assumption.BASIS_INDEPENDENT_LOSS,
}
"""Which assumption an alarm of a side-channel monitor breaks. A rate may be anything that Eve likes, but a sudden
change is how the taking over of detectors begins, and for some attacks all that is seen of it; so that counts too."""

ANNOUNCED = tuple(a for a in Assumption if a.how in (How.MEASURED, How.ALARM))
"""What one station sees and must tell the other; the rest follows from what both know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One assumption at one station, as that station sees it.

    Attributes:
        assumption: its name. how: how it is checked.
        holds: False where it was found to fail; True says no more than that it was not.
        measured, limit: the worst value seen and what is tolerated; None where there is nothing to measure.
        detail: of what, and from how many counts.
    """

    assumption: str
    how: str
    holds: bool
    measured: float | None = None
    limit: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What both stations know of the assumptions of one block.

    Attributes:
        failed: per station, what it announced, in the order of `Assumption`; equal at both ends.
        own: this station's verdicts with their numbers, which stay here.
    """

    failed: dict[Role, tuple[Assumption, ...]]
    own: tuple[Verdict, ...] = ()


NOTHING_FAILED = Findings(dict.fromkeys(Role, ()))


@dataclass(frozen=True, slots=True)
class Judged:
    """The claim of a block, and the reasons why it is not more.

    Attributes:
        claim: what may be said.
        failed: "station: assumption" for all that failed; equal at both ends.
    """

    claim: Claim
    failed: tuple[str, ...]

    def text(self, statement: str, *, simulated: bool) -> str:
        """The key's label: the claim, what it states or why it states no more, and whether the source is a simulator.

        Args:
            statement: what the claim says when nothing has failed.
            simulated: True when the photons came from a simulator.
        """
        told = f"; failed: {', '.join(self.failed)}" if self.failed else ""
        return f"{self.claim.value}: {statement}{told}" + ("; simulated source" if simulated else "")


_RANK = (Claim.NONE, Claim.ASYMPTOTIC, Claim.FAIR_SAMPLING, Claim.DEVICE_INDEPENDENT_SIMULATION, Claim.COMPOSABLE)


def judge(findings: Findings, common: Iterable[Assumption] = (), most: Claim = Claim.COMPOSABLE) -> Judged:
    """The claim that is left.

    Args:
        findings: what either station found to fail.
        common: what failed of what both know (parameters, leak model).
        most: the claim of a block in which nothing fails; a protocol with a lesser proof says so here.
    """
    every = [("both", a) for a in common] + [(r.value, a) for r in Role for a in findings.failed.get(r, ())]
    claim = min([most, *(a.otherwise for _, a in every)], key=_RANK.index)
    return Judged(claim, tuple(f"{who}: {a.value}" for who, a in every))
